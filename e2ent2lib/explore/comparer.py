"""The SR comparer (Tables 1 and 2, Fig. 7): any two systems over each other, with the scores of what is seen."""

from functools import partial

import ipywidgets as w
from matplotlib.figure import Figure

from e2ent2lib.explore.comparison import INPUT, TRUTH, Comparison, called, expected_seconds, shipped_results, shown
from e2ent2lib.explore.drawing import Panel, face, strip
from e2ent2lib.explore.explorer import PairExplorer, choice, row
from e2ent2lib.explore.inputs import Wipe
from e2ent2lib.explore.job import Job, ticks
from e2ent2lib.report.plots import CROP, Pixels, Window, cut, png


class Comparer(PairExplorer):
    """Two systems on one pair; ``box`` is what is seen, (x, y, width, height). ``Comparer(**c.state())`` is c again."""

    def __init__(
        self, pair: str = "motorcycle", left: str = "bicubic", right: str = "e2ent2-mse", box: Window | None = None
    ):
        self._first_box = box
        own = self.choose_photographs(pair)
        self.left, self.right = choice("left", [left]), choice("right", [right])
        self._shown = (left, right)
        self.mode = choice("shown as", ["wipe", "side by side", "difference"])
        self.wipe, self.job, self.every = Wipe(layout=w.Layout(max_width="900px")), Job(self.guarded), w.HTML()
        self.all = w.Button(description="what is seen, by every system", layout=w.Layout(width="auto"))
        super().__init__(
            "SR comparer",
            "A photograph made four times smaller and enlarged again, by any two systems of the tables.",
            [
                w.VBox([row(self.pair, self.left, self.right, self.mode), own, self.job]),
                self.wipe,
                row(self.all),
                self.every,
            ],
        )
        self.wipe.observe(lambda _: self.guarded(self.tell), "box")
        self._load()
        self.on(self.pair, self._load)
        for control in (self.left, self.right):
            self.on(control, self._choose)
        self.on(self.mode, self._mode)
        self.all.on_click(lambda _: self.guarded(self._every))
        self.job.stop.on_click(lambda _: self.guarded(self._stopped))

    def state(self) -> dict:
        """What it takes to make this one again."""
        return {"pair": self.pair.value, "left": self._shown[0], "right": self._shown[1], "box": tuple(self.wipe.box)}

    def summary(self) -> str:
        """The scores of what is seen."""
        return self.comparison.summary(*self._shown, tuple(self.wipe.box))

    def figure(self) -> Figure:
        """The crop of Fig. 1 by every system that is ready, as a montage."""
        whole = tuple(self.wipe.box) == (0, 0, *self.wipe.size)
        box = CROP if whole and self.wipe.size[0] >= sum(CROP[::2]) else tuple(self.wipe.box)
        panels = [Panel(caption.replace(": ", "\n"), image) for caption, image in self._crops(box).items()]
        return face(panels, f"{self.pair.value}, {self.comparison.summary(*self._shown, box)}", 6, 12)

    def _load(self) -> None:
        """Other photographs."""
        chosen = self.chosen()
        shipped = shipped_results() if self.pair.value == "motorcycle" else None
        self.comparison, self._note = Comparison(chosen, shipped), chosen.note
        self.job.cancel()
        self.every.value = ""
        options = [(called(name), name) for name in (TRUTH, INPUT, *self.comparison.systems)]
        known = {name for _, name in options}
        wanted = [n if n in known else "bicubic" for n in (self.left.value, self.right.value)]
        self._shown = ("bicubic", "bicubic")  # ready at once, until the wanted ones are
        with self.quietly():
            for control, name in zip((self.left, self.right), wanted):
                control.options = options
                control.value = name
        height, width = chosen.hr.shape[:2]
        self.wipe.size = [width, height]
        self.wipe.box = list(self._first_box or (0, 0, width, height))
        self._first_box = None
        self._show()
        self._choose()

    def _choose(self) -> None:
        """Show the two chosen systems once both are ready; what is missing is computed beside the page."""
        wanted = (self.left.value, self.right.value)
        missing = [name for name in dict.fromkeys(wanted) if name not in self.comparison.images]
        if not missing:
            self._shown = wanted
            self._show()
            return
        name, seconds = missing[0], expected_seconds(missing[0], self.comparison.hr.size // 3)
        seconds = seconds if seconds == seconds else 10.0
        work = ticks(partial(self.comparison.image, name), seconds)

        def show(image: Pixels | None) -> None:
            if image is not None:
                self._choose()

        self.job.run(work, max(1, round(4 * seconds)), show, f"{called(name)} enlarges {self.pair.value}")

    def _stopped(self) -> None:
        """The lists say again what is shown."""
        with self.quietly():
            self.left.value, self.right.value = self._shown

    def _show(self) -> None:
        left, right = self._shown
        self.wipe.left, self.wipe.right = png(self.comparison.image(left)), png(self.comparison.image(right))
        self.wipe.names = [called(left), called(right)]
        self._mode()
        self.say(self._note)
        self.tell()

    def _mode(self) -> None:
        if self.mode.value == "difference":
            self.wipe.difference = png(self.comparison.difference(*self._shown))
        self.wipe.mode = self.mode.value

    def _every(self) -> None:
        """What is seen by every row of the tables; those that are missing are computed first."""
        box = tuple(self.wipe.box)
        names = [n for n in shown() if n in self.comparison.systems and n not in self.comparison.images]

        def show(_: object) -> None:
            self.every.value = strip(self._crops(box), 170)

        if names:
            self.job.run(map(self.comparison.image, names), len(names), show, f"{len(names)} systems")
        show(None)

    def _crops(self, box: Window) -> dict[str, Pixels]:
        """The crop by each system that is ready, its scores in the caption; the truth last."""
        crops = {}
        for name in (n for n in (*shown(), TRUTH) if n in self.comparison.images):
            decibels, similarity = self.comparison.score(name, box)
            score = "" if name == TRUTH else f": {decibels:.2f} dB / {similarity:.3f}"
            crops[called(name) + score] = cut(self.comparison.image(name), box)
        return crops
