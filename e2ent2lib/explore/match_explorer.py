"""The match explorer (Eq. 3 to 5): point at a place of the input, see what it is matched with. Notebook 12."""

import ipywidgets as w
import numpy as np
from matplotlib.figure import Figure

from e2ent2lib.explore.drawing import Panel, around, face, mark, strip
from e2ent2lib.explore.explorer import OWN, PlaceExplorer, choice, row
from e2ent2lib.explore.inputs import Picture
from e2ent2lib.explore.matches import FEATURES, MatchedPair
from e2ent2lib.explore.photos import LONGEST, Photos, fitted
from e2ent2lib.photos.images import downscale
from e2ent2lib.report.plots import Pixels, cut, heat, png

MOST_CHOOSERS = 60
"""That many are drawn; K says how many there are."""


class MatchExplorer(PlaceExplorer):
    """Two photographs, a place in the first, and Eq. 3 and 4 for it; a place in the second shows who chose it.

    ``place`` is (row, column) in cells of the low-resolution input; ``MatchExplorer(**explorer.state())`` is its twin.
    """

    parts = {"input": LONGEST // 4, "reference": LONGEST}  # noqa: RUF012
    choices = ("pair", "features", "norm")

    def __init__(
        self, pair: str = "motorcycle", features: str = "end-to-end", norm: str = "l2", place: tuple = (64, 150)
    ):
        self._reference_place: tuple[int, int] | None = None
        own = self.choose_photographs(pair)
        self.features = choice("features", list(FEATURES), features, "what is compared in Eq. 3")
        self.norm = choice("norm", {"L2": "l2", "L1 (the paper's text)": "l1"}, norm, "the norm of Eq. 3")
        numbers = self.choose_place(place)
        self.reset = w.Button(description="reset")
        self.input = Picture(title="I_in, the input: point at a place", pointable=True, width=540)
        self.reference = Picture(title="I_ref, the reference: point to see who chose it", pointable=True, width=540)
        self.similarity = Picture(title="Eq. 3: similarity of every patch of I_ref↓", width=540)
        self.piled = Picture(title="K: how often each patch was chosen", width=540)
        self.patches = w.HTML()
        super().__init__(
            "Match explorer",
            "Every 3×3 patch of the low-resolution input's features looks for the most similar patch of the reduced "
            "reference (Eq. 3); the 12×12 patch at the same place of the reference is swapped in (Eq. 4).",
            [
                w.VBox([row(self.pair, self.features, self.norm, *numbers, self.reset), own]),
                row(self.input, self.reference),
                self.patches,
                row(self.similarity, self.piled),
            ],
        )
        self._load()
        self._first = self.state()
        for control in (self.pair, self.features, self.norm):
            self.on(control, self._load)
        self.on_place(self.input)
        self.on(self.reference, lambda: self._ask(*self.reference.place), "place")
        self.input.on_again(lambda: self.guarded(self._go, *self.input.place))
        self.reference.on_again(lambda: self.guarded(self._ask, *self.reference.place))
        self.reset.on_click(lambda _: self.guarded(self._reset))

    def summary(self) -> str:
        """The place and its match in one sentence."""
        return self.matched.summary(self.place)

    def figure(self) -> Figure:
        """The four pictures and the patches."""
        pictures = (self.input, self.reference, self.similarity, self.piled)
        images = (self.matched.lr, self.matched.ref, self._heat_of_place(), self._heat_of_k())
        panels = [Panel(p.title.split(": point")[0], i, p.grid, p.marks) for p, i in zip(pictures, images)]
        patches = list(self._patches().items())
        return face([*panels, *(Panel(*patches[i]) for i in (0, 1, 2, 4))], self.summary(), 4, 10)

    def _photos(self) -> tuple[Pixels, Pixels, str]:
        """The input, the reference, and what was done to them."""
        if self.pair.value != OWN:
            chosen = self.chosen()
            return downscale(chosen.hr), chosen.ref, chosen.note
        if not self._own:
            raise ValueError("choose your input and your reference first, with the two buttons below")
        default: Photos = self._pairs["motorcycle"]()
        images = {"input": downscale(default.hr), "reference": default.ref} | self._own
        (lr, note), (ref, more) = (fitted(images[p], f"your {p}", longest) for p, longest in self.parts.items())
        return lr, ref, f"{note} {more}".strip()

    def _load(self) -> None:
        """Match again: other photographs, features or norm."""
        lr, ref, note = self._photos()
        with self.busy(f"matching {lr.shape[1]}×{lr.shape[0]} cells with {self.features.value} features"):
            self.matched = MatchedPair(lr, ref, self.features.value, self.norm.value)
        self.say(note)
        self.limit_place(*lr.shape[:2])
        height, width = self.matched.ref_down.shape[:2]
        self.input.grid = list(lr.shape[:2])
        self.reference.grid = self.similarity.grid = self.piled.grid = [height, width]
        self.input.data, self.reference.data = png(lr), png(self.matched.ref)
        self.piled.data = png(self._heat_of_k())
        self.piled.title = f"K: how often each patch was chosen (bright: {self.matched.chosen.max()} times, log scale)"
        self._go(self.row.value, self.column.value)

    def _go(self, y: int, x: int) -> None:
        """Show a place of the input."""
        y, x = min(y, self.row.max), min(x, self.column.max)
        self._reference_place, self.place = None, self.matched.at(y, x)
        with self.quietly():
            self.row.value, self.column.value, self.input.place = y, x, [y, x]
        self._draw(self.place.choosers)
        self.similarity.data = png(self._heat_of_place())
        self.patches.value = strip(self._patches())
        self.tell()

    def _ask(self, y: int, x: int) -> None:
        """Show who chose the patch around a place of the reference."""
        self._reference_place = (y, x)
        chosen = self.matched.choosers(y, x)
        self._draw(chosen)
        self.tell(
            f"the patch around row {y}, column {x} of the reference was chosen {len(chosen)} times (K); Eq. 5 adds up "
            "the errors of all these places (Q)"
        )

    def _draw(self, choosers: np.ndarray) -> None:
        y, x = self.place.query
        others = [mark("chooser", b + 0.25, a + 0.25, 0.5, 0.5) for a, b in choosers[:MOST_CHOOSERS].tolist()]
        asked = self._reference_place
        self.input.marks = others + ([] if asked else [mark("here", x - 1, y - 1, 3, 3)])
        b, a = self.place.best
        marks = [mark("rival", u - 1, v - 1, 3, 3, str(i)) for i, ((v, u), _) in enumerate(self.place.runners_up, 2)]
        marks.append(mark("best", a - 1, b - 1, 3, 3, "1"))
        self.reference.marks = [mark("here", asked[1] - 1, asked[0] - 1, 3, 3)] if asked else marks
        self.similarity.marks = self.piled.marks = self.reference.marks

    def _patches(self) -> dict[str, Pixels]:
        """The patch of the input, its match, and what is swapped in, by caption."""
        (y, x), (b, a) = self.place.query, self.place.best
        patches = {
            "I_in around it": _framed(self.matched.lr.repeat(4, 0).repeat(4, 1), y, x),
            "I_ref around its match": _framed(self.matched.ref, b, a),
            "I_in, 3×3": around(self.matched.lr, y, x, 1, cell=1),  # over the border repeated, as in Eq. 3
            f"I_ref↓, best: {self.place.score:.3g}": cut(self.matched.ref_down, (a - 1, b - 1, 3, 3)),
            "I_ref, swapped in, 12×12": self.place.swapped,
            "after overlaps": around(self.matched.pixels, y, x, 4),
        }
        for i, ((v, u), score) in enumerate(self.place.runners_up, 2):
            patches[f"no. {i}: {score:.3g}"] = cut(self.matched.ref, (4 * u - 4, 4 * v - 4, 12, 12))
        return patches

    def _heat_of_place(self) -> Pixels:
        scores = self.place.similarity
        return heat(np.pad(scores, 1, mode="edge"), float(scores.max()), float(np.quantile(scores, 0.25)))

    def _heat_of_k(self) -> Pixels:
        k = np.log1p(np.pad(self.matched.chosen, 1))
        return heat(k, float(k.max()))

    def _reset(self) -> None:
        with self.quietly():
            for name in self.choices:
                getattr(self, name).value = self._first[name]
            self.row.value, self.column.value = self._first["place"]
        self._load()


def _framed(image: Pixels, y: int, x: int, reach: int = 40) -> Pixels:
    """The surroundings of a cell, a frame around its patch."""
    framed = around(image, y, x, reach).copy()
    outer, inner = slice(reach - 6, reach + 10), slice(reach - 4, reach + 8)
    kept = framed[inner, inner].copy()
    framed[outer, outer] = (213, 94, 0)
    framed[inner, inner] = kept
    return framed
