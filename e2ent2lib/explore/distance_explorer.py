"""The feature-distance explorer (Table 3): how far F is from φ(HR), where, in which layer, by which encoder."""

import ipywidgets as w
import numpy as np
from matplotlib.figure import Figure

from e2ent2lib.explore.distances import FORMS, OUTPUT, PairDistances, by_picture
from e2ent2lib.explore.drawing import Panel, around, bars, face, mark, strip
from e2ent2lib.explore.explorer import CHART, PlaceExplorer, choice, row
from e2ent2lib.explore.inputs import Picture
from e2ent2lib.explore.matches import FEATURES
from e2ent2lib.report.plots import Pixels, heat, png

SHOWN = 6
"""So many of the largest distances are shown."""


class DistanceExplorer(PlaceExplorer):
    """A pair through four encoders. ``DistanceExplorer(**explorer.state())`` is its twin."""

    choices = ("pair", "features", "layer", "form")

    def __init__(
        self,
        pair: str = "motorcycle, a part",
        features: str = "end-to-end",
        layer: str = OUTPUT,
        form: str = FORMS[0],
        place: tuple[int, int] | None = None,
    ):
        self._distances: dict[str, PairDistances] = {}
        own = self.choose_photographs(pair)
        self.features = choice("encoder φ", list(FEATURES), features)
        self.layer = choice("layer", [layer], layer, "of the encoder; φ is its output")
        self.form = choice("distance", list(FORMS), form, "scale-free: divided by the mean length of φ(HR)")
        numbers = self.choose_place()
        self.truth = Picture(title="HR: point at a place", pointable=True, width=380)
        self.swapped = Picture(title="F as pixels: the reference's, swapped", pointable=True, width=380)
        self.map = Picture(pointable=True, width=380)
        self.here, self.worst = w.HTML(), w.HTML()
        self.next = w.Button(description="next largest", tooltip="go to the place with the next largest distance")
        self.by_layer, self.by_encoder, self.by_picture = charts = [w.HTML(layout=CHART) for _ in range(3)]
        super().__init__(
            "Feature-distance explorer",
            "Table 3 has one number for how far the swapped features F are from φ(HR). This is its map: bright is far.",
            [
                w.VBox([row(self.pair, self.features, self.layer, self.form, *numbers, self.next), own]),
                row(self.truth, self.swapped, self.map),
                row(self.here, self.worst),
                row(*charts),
            ],
        )
        self._load()
        if place is not None:
            self._go(*place)
        self.on(self.pair, self._load)
        for control in (self.features, self.layer, self.form):
            self.on(control, self._show)
        self.on_place(self.truth, self.swapped, self.map)
        self.next.on_click(lambda _: self.guarded(self._next))

    @property
    def now(self) -> PairDistances:
        """The chosen encoder's distances."""
        return self._distances[self.features.value]

    def summary(self) -> str:
        """The picture's distance, and that of the place."""
        layer, form = self.layer.value, self.form.value
        here = self.now.map(layer, form)[self.row.value, self.column.value]
        mean = self.now.mean(layer, form)
        return (
            f"{self.features.value}, {layer}: feature distance {mean:.3g} over the picture ({form}); {here:.3g} at row "
            f"{self.row.value}, column {self.column.value}, {here / mean:.1f} times the mean" if mean else
            f"{self.features.value}, {layer}: no distance anywhere"
        )  # fmt: skip

    def figure(self) -> Figure:
        """The three pictures, and the places with the largest distances."""
        shown = zip((self.truth, self.swapped, self.map), (self.now.hr, self.now.pixels, self._heat()))
        panels = [Panel(p.title.split(":")[0], image, p.grid, p.marks) for p, image in shown]
        return face(panels + [Panel(f"no. {t}", i) for t, i in self._patches(3).items()], self.summary(), 3, 9)

    def _load(self) -> None:
        """Other photographs, through all encoders."""
        chosen = self.chosen()
        distances: dict[str, PairDistances] = {}
        for name in FEATURES:
            with self.busy(f"{name}: features, matches and distances, {len(distances) + 1} of {len(FEATURES)}"):
                distances[name] = PairDistances(chosen, name)
        self._distances = distances
        self.say(chosen.note)
        self.truth.data, grid = png(chosen.hr), [n // 4 for n in chosen.hr.shape[:2]]
        self.limit_place(*grid)
        self.truth.grid = self.swapped.grid = self.map.grid = grid
        self._show()
        self._go(*self.now.largest(self.layer.value, 1)[0])

    def _show(self) -> None:
        """Another encoder, layer or form of the same photographs."""
        if list(self.layer.options) != list(self.now.maps):
            chosen = self.layer.value
            with self.quietly():
                self.layer.options = list(self.now.maps)
                self.layer.value = chosen if chosen in self.now.maps else OUTPUT
        layer, form = self.layer.value, self.form.value
        self.swapped.data, self.map.data = png(self.now.pixels), png(self._heat())
        self.map.title = f"|F − φ(HR)| in {layer}: bright from {self._high():.3g}"
        means = {name: self.now.mean(name, form) for name in self.now.maps}
        self.by_layer.value = bars(means, {}, f"{self.features.value}: by layer", "distance, " + form)
        every = {name: one.mean(OUTPUT, form) for name, one in self._distances.items()}
        self.by_encoder.value = bars(every, {}, "by encoder, φ", "distance, " + form)
        stored = {_short(name): value for name, value in by_picture(self.features.value, form).head(10).items()}
        none = "<p>No stored scores of this encoder.</p>"
        self.by_picture.value = bars(stored, {}, "stored scores, largest ten pictures", form) if stored else none
        largest = strip(self._patches(SHOWN), 120)
        self.worst.value = f"<b>largest distances</b>: HR beside what was swapped in{largest}"
        self._go(self.row.value, self.column.value)

    def _go(self, y: int, x: int) -> None:
        """Show a place."""
        y, x = min(y, self.row.max), min(x, self.column.max)
        with self.quietly():
            self.row.value, self.column.value = y, x
            for picture in (self.truth, self.swapped, self.map):
                picture.place, picture.marks = [y, x], [mark("best", x - 1, y - 1, 3, 3)]
        value = self.now.map(self.layer.value, self.form.value)[y, x]
        self.here.value = "<b>this place</b>" + strip({f"HR | swapped in: {value:.3g}": self._two(y, x)}, 120)
        self.tell()

    def _next(self) -> None:
        places = self.now.largest(self.layer.value, SHOWN)
        here = (self.row.value, self.column.value)
        self._go(*places[(places.index(here) + 1) % len(places) if here in places else 0])

    def _patches(self, count: int) -> dict[str, Pixels]:
        values = self.now.map(self.layer.value, self.form.value)
        places = self.now.largest(self.layer.value, count)
        return {f"{i}: {values[p]:.3g}, row {p[0]}, column {p[1]}": self._two(*p) for i, p in enumerate(places, 1)}

    def _two(self, y: int, x: int) -> Pixels:
        """What lies around a cell in HR, and in the swapped reference below it, so that a strip's tiles are square."""
        above, below = (around(image, y, x, 12)[4:-4] for image in (self.now.hr, self.now.pixels))
        return np.concatenate([above, np.full_like(above[:2], 255), below])

    def _high(self) -> float:
        return float(np.quantile(self.now.map(self.layer.value, self.form.value), 0.995))

    def _heat(self) -> Pixels:
        return heat(self.now.map(self.layer.value, self.form.value), self._high())


def _short(name: str, most: int = 16) -> str:
    """A picture's name, its middle left out if it is long: the data set before it says more than the number does."""
    data, _, image = name.partition(" ")
    return name if len(name) <= most else f"{data} …{image[-(most - len(data) - 2) :]}"
