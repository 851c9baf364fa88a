"""The match explorer (Eq. 3 to 5): point at a place of the input, see what it is matched with. Notebook 12."""

from functools import lru_cache
from typing import NamedTuple

import ipywidgets as w
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import nn

from e2ent2lib.exact.search import similarity_map
from e2ent2lib.explore.explorer import PlaceExplorer, choice, row
from e2ent2lib.explore.view import Picture, around, face, mark, strip
from e2ent2lib.matching import Choosers, Matches, Norm, chosen_count, match, swap
from e2ent2lib.photos.images import downscale, to_image, to_tensor
from e2ent2lib.photos.inference import prepare_reference
from e2ent2lib.report.plots import Pixels, cut, heat, png
from e2ent2lib.runs.checkpoints import load_model

FEATURES = {"RGB": None, "VGG19 relu1_2": "feature-vgg", "SISR, pre-trained": "sisr-pretrained", "end-to-end": "e2ent2"}
"""The kinds of features, and the shipped model whose encoder makes them."""
RUNNERS_UP = 4
MOST_CHOOSERS = 60
"""That many are drawn; K says how many there are."""


class Place(NamedTuple):
    """A place of the input and everything that Eq. 3 and 4 say of it; places are (row, column) in cells."""

    query: tuple[int, int]
    best: tuple[int, int]
    """The middle cell of the best patch, in I_ref↓."""
    score: float
    """Eq. 3."""
    confidence: float
    """The cosine; NaN for the norm L1."""
    runners_up: list[tuple[tuple[int, int], float]]
    """The next best patches and their scores, best first."""
    similarity: Float[np.ndarray, "H-2 W-2"]
    """Eq. 3 of all patches."""
    choosers: Int[np.ndarray, "k 2"]
    """Q: the places that chose the same patch; K is how many."""
    swapped: UInt8[np.ndarray, "12 12 3"]
    """The reference's pixels that Eq. 4 puts there."""


class MatchedPair:
    """A small picture and a reference, matched by one of ``FEATURES``. Raises ValueError for too small a reference."""

    def __init__(self, lr: Pixels, ref: Pixels, features: str = "end-to-end", norm: Norm = "l2"):
        self.lr, self.norm, phi = lr, norm, encoder(features)
        full, down = prepare_reference(ref)
        self.ref, self.ref_down = to_image(full), to_image(down)
        with torch.inference_mode():
            self._query, self._key = phi(to_tensor(lr)), phi(down)
        self.matches: Matches = match(self._query, self._key, norm)
        self.chosen = chosen_count(self.matches, self._key.shape[2:])[0].numpy()
        """K of every patch of the reference, (H−2, W−2)."""
        self.pixels = to_image(swap(full, self.matches))
        """The reference's own pixels, swapped: what the matches alone would make of the input."""

    def at(self, row: int, column: int) -> Place:
        """The place (row, column) of the input, in cells. Raises IndexError outside of it."""
        similarity = similarity_map(self._query, self._key, (row, column), self.norm)[0]
        score, index = similarity.flatten().sort(descending=True, stable=True)
        best = int(self.matches.index[0, row, column])
        rows, columns = np.unravel_index([best, *index[1 : RUNNERS_UP + 1].tolist()], self.chosen.shape)
        (y, x), *others = zip((rows + 1).tolist(), (columns + 1).tolist())  # the middle cells of patches
        return Place(
            query=(row, column),
            best=(y, x),
            score=float(self.matches.score[0, row, column]),
            confidence=float(self.matches.confidence[0, row, column]) if self.norm == "l2" else float("nan"),
            runners_up=list(zip(others, score[1 : RUNNERS_UP + 1].tolist())),
            similarity=similarity.numpy(),
            choosers=Choosers(self.matches)(best).numpy(),
            swapped=self.ref[4 * y - 4 : 4 * y + 8, 4 * x - 4 : 4 * x + 8],
        )

    def choosers(self, row: int, column: int) -> Int[np.ndarray, "k 2"]:
        """Q of Eq. 5: the places that chose the patch around (row, column) of I_ref↓, at its border the nearest one."""
        patch = np.ravel_multi_index((row - 1, column - 1), self.chosen.shape, mode="clip")
        return Choosers(self.matches)(int(patch)).numpy()


@lru_cache(maxsize=len(FEATURES))
def encoder(features: str) -> nn.Module:
    """The encoder of a kind of features, from the shipped models; loaded once."""
    name = FEATURES[features]
    return nn.Identity() if name is None else load_model(name, "compact").encoder


class MatchExplorer(PlaceExplorer):
    """Two photographs, Eq. 3 and 4 for a place in the first, (row, column) in cells; the second shows who chose one."""

    def __init__(
        self, pair: str = "motorcycle", features: str = "end-to-end", norm: Norm = "l2", place: tuple = (64, 150)
    ):
        self.features = choice("features", list(FEATURES), features, "what is compared in Eq. 3")
        self.norm = choice("norm", {"L2": "l2", "L1 (the paper's text)": "l1"}, norm, "the norm of Eq. 3")
        self.input = Picture(title="I_in, the input: point at a place", pointable=True, width=540)
        self.reference = Picture(title="I_ref, the reference: point to see who chose it", pointable=True, width=540)
        self.similarity = Picture(title="Eq. 3: similarity of every patch of I_ref↓", width=540)
        self.piled = Picture(width=540)
        self.strip = w.HTML()
        super().__init__(
            "Match explorer",
            "Every 3×3 patch of the low-resolution input's features looks for the most similar patch of the reduced "
            "reference (Eq. 3); the 12×12 patch at the same place of the reference is swapped in (Eq. 4).",
            pair,
            [self.features, self.norm, *self.choose_place(place, self.input)],
            [row(self.input, self.reference), self.strip, row(self.similarity, self.piled)],
        )
        self.on(self.load, self.features, self.norm)
        self.on(self.show_choosers, self.reference)

    def summary(self) -> str:
        """The place and its match in one sentence."""
        p, norm = self.place, self.norm.value
        sure = f", cosine {p.confidence:.2f}" if norm == "l2" else ""
        return (
            f"patch around row {p.query[0]}, column {p.query[1]} → row {p.best[0]}, column {p.best[1]} of the "
            f"reference ({self.features.value}, {norm.upper()}): similarity {p.score:.3g}{sure}, "
            f"chosen {len(p.choosers)} times"
        )

    def figure(self) -> Figure:
        """The four pictures and the patches."""
        patches = list(self._patches().items())
        pictures = (self.input, self.reference, self.similarity, self.piled)
        return face(pictures, dict([*patches[:3], patches[4]]), self.summary(), 4)

    def load(self) -> None:
        """Match again: other photographs, features or norm."""
        chosen = self.chosen()
        lr = downscale(chosen.hr)
        self.say(f"working: matching {lr.shape[1]}×{lr.shape[0]} cells with {self.features.value} features …")
        self.matched = MatchedPair(lr, chosen.ref, self.features.value, self.norm.value)
        self.say(chosen.note)
        self.limit_place(*lr.shape[:2])
        self.reference.grid = self.similarity.grid = self.piled.grid = list(self.matched.ref_down.shape[:2])
        self.input.data, self.reference.data = png(lr), png(self.matched.ref)
        k = np.log1p(np.pad(self.matched.chosen, 1))
        self.piled.data = png(heat(k, float(k.max())))
        self.piled.title = f"K: how often each patch was chosen (bright: {self.matched.chosen.max()} times, log scale)"
        self.go(self.row.value, self.column.value)

    def show_place(self) -> None:
        """The match of the place, and its runners-up."""
        self.place = self.matched.at(self.row.value, self.column.value)
        (y, x), (b, a), scores = self.place.query, self.place.best, self.place.similarity
        self.input.marks = [*self._choosers(self.place.choosers), mark("here", x, y)]
        others = [mark("rival", u, v, text=str(i)) for i, ((v, u), _) in enumerate(self.place.runners_up, 2)]
        marks = [*others, mark("best", a, b, text="1")]
        self.reference.marks = self.similarity.marks = self.piled.marks = marks
        bright = heat(np.pad(scores, 1, mode="edge"), float(scores.max()), float(np.quantile(scores, 0.25)))
        self.similarity.data = png(bright)
        self.strip.value = strip(self._patches())

    def show_choosers(self) -> None:
        """Who chose the patch around the place of the reference that is pointed at."""
        y, x = self.reference.place
        chosen = self.matched.choosers(y, x)
        self.input.marks = self._choosers(chosen)
        self.reference.marks = self.similarity.marks = self.piled.marks = [mark("here", x, y)]
        self.tell(
            f"the patch around row {y}, column {x} of the reference was chosen {len(chosen)} times (K); Eq. 5 adds up "
            "the errors of all these places (Q)"
        )

    def _choosers(self, places: Int[np.ndarray, "k 2"]) -> list[dict]:
        return [mark("chooser", x, y, 0.5) for y, x in places[:MOST_CHOOSERS].tolist()]

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


def _framed(image: Pixels, y: int, x: int) -> Pixels:
    """The surroundings of a cell, a frame around its patch."""
    framed = Image.fromarray(around(image, y, x, 40))
    ImageDraw.Draw(framed).rectangle((34, 34, 49, 49), outline=(213, 94, 0), width=2)
    return np.asarray(framed)
