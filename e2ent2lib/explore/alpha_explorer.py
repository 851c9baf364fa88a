"""The α explorer (Eq. 5 and 6, Table 4): what (α1, α2, α3) does to the error maps and to the encoder's gradient."""

import ipywidgets as w
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from e2ent2lib.explore.alphas import FIRST_STEPS, PAPER, WAYS, AlphaGradients, first_steps, place
from e2ent2lib.explore.drawing import Panel, bars, curves, face, raster
from e2ent2lib.explore.explorer import CHART, Explorer, choice, row
from e2ent2lib.explore.inputs import Picture, Triangle
from e2ent2lib.explore.job import Job
from e2ent2lib.measure.results import read_seeds, results_folder
from e2ent2lib.report.diagrams import Drawing
from e2ent2lib.report.plots import Pixels, engine, example_model, heat, png
from e2ent2lib.report.printed import PRINTED
from e2ent2lib.report.studies import over_seeds
from e2ent2lib.systems import SYSTEMS

POINTS = {
    name: SYSTEMS[name].options.get("alphas", PAPER)
    for name in ("e2ent2-ablation", "e2ent2-alpha-100", "e2ent2-alpha-010", "e2ent2-alpha-001")
}
"""Table 4's columns: the only α that were trained."""
SHORT = {"in": "E at φ(I_in), × α1", "ref_down": "E at φ(I_ref↓), × α2", "ref": "E at φ(I_ref), × α3"}


class AlphaExplorer(Explorer):
    """A triangle of α; nothing is computed again when it moves. ``AlphaExplorer(**explorer.state())`` is its twin."""

    def __init__(self, alphas: tuple[float, float, float] = PAPER):
        self.example = engine()
        self.gradients = AlphaGradients(example_model("compact"), self.example)
        self._paper = self.gradients.at(PAPER).layers
        self._high = max(np.quantile(e, 0.995) for e in self.gradients.errors.values())
        self._curves: dict[tuple, list[float]] = {}
        self._shown: tuple | None = None
        self.points = measured_points()
        layout, style = w.Layout(width="110px"), {"description_width": "auto"}
        self.numbers = [
            w.BoundedFloatText(a, min=0, max=1, step=0.05, description=f"α{i}", layout=layout, style=style)
            for i, a in enumerate(alphas, 1)
        ]
        presets = {_said(a) + (" the paper's" if a == PAPER else ""): a for a in POINTS.values()}
        self.preset = choice("of Table 4", {"choose": None} | presets | {"(1, 1, 1) Fig. 5": (1.0, 1.0, 1.0)})
        self.sum_to_one = w.Checkbox(True, description="sum to 1", indent=False, layout=w.Layout(width="auto"))
        self.triangle = Triangle(pins=[{"alphas": list(a), "text": f"{self.points.loc[n, 'psnr']:.2f}"} for n, a in
                                       POINTS.items() if n in self.points.index])  # fmt: skip
        self.maps = {way: Picture(title=SHORT[way], width=212) for way in WAYS}
        self.layers, self.steps = w.HTML(layout=CHART), w.HTML()
        tip = "train the first steps of stage 2 under this α"
        self.go, self.job = w.Button(description=f"train {FIRST_STEPS} steps", tooltip=tip), Job(self.guarded)
        charts = row(self.layers, w.VBox([self.steps, row(self.go, self.job)], layout=CHART))
        left, right = (w.Layout(flex=flex, min_width="0") for flex in ("1 1 320px", "2 1 480px"))
        box = row(
            w.VBox([self.triangle, w.HTML(_table(self.points))], layout=left),
            w.VBox([row(*self.maps.values()), charts], layout=right),
        )
        box.layout.align_items = "flex-start"
        super().__init__(
            "α explorer",
            "Eq. 5 sends the error at F back on three ways, weighed by α1, α2, α3. Drag the point: the maps show how "
            "much error reaches each image's features, the bars how long the gradient of each layer of the encoder is.",
            [row(*self.numbers, self.sum_to_one, self.preset), box],
        )
        self._set(tuple(alphas))
        self._draw_steps()
        self.on(self.triangle, lambda: self._set(tuple(self.triangle.alphas)), "alphas")
        for i, box in enumerate(self.numbers):
            self.on(box, lambda i=i: self._typed(i))
        self.on(self.preset, self._preset)
        self.on(self.sum_to_one, lambda: self._typed(0))
        self.go.on_click(lambda _: self.guarded(self._train))

    def state(self) -> dict:
        """What it takes to make this one again."""
        return {"alphas": self.alphas}

    def summary(self) -> str:
        """The α in one sentence; whether it was trained."""
        trained = [n for n, a in POINTS.items() if np.allclose(a, self.alphas, atol=0.005)]
        if trained and trained[0] in self.points.index:
            known = f"; trained so: {self.points.loc[trained[0], 'psnr']:.2f} dB (mean of seeds, Table 4's protocol)"
        else:
            known = "; nothing was trained at this α, and nothing is interpolated"
        return self.gradients.summary(self.alphas) + known

    def figure(self) -> Figure:
        """Triangle, error maps, gradient by layer."""
        points = [(*place(POINTS[name]), f"{psnr:.2f} dB") for name, psnr in self.points["psnr"].items()]
        triangle = Drawing("triangle", {}, {}, "", {"points": points, "alpha": place(self.alphas)})
        panels = [Panel("α; measured points of Table 4", raster(triangle.svg)), Panel("", raster(self._bars()))]
        return face([*panels, *(Panel(SHORT[way], self._heat(way)) for way in WAYS)], self.summary(), 3, 9)

    def _set(self, alphas: tuple[float, float, float]) -> None:
        """Show an α; all controls follow."""
        place(alphas)  # refuses what is no α
        self.alphas = tuple(round(float(a), 3) for a in alphas)
        with self.quietly():
            self.triangle.alphas = list(self.alphas)
            for box, a in zip(self.numbers, self.alphas):
                box.value = a
            if self.preset.value != self.alphas:
                self.preset.value = None
        for way in WAYS:
            self.maps[way].data = png(self._heat(way))
            total = self._strength(way).sum()
            self.maps[way].description = f"{SHORT[way]}: lengths of the error add up to {total:.3g}"
        self.layers.value = self._bars()
        self.say("")
        self.tell()

    def _bars(self) -> str:
        layers = self.gradients.at(self.alphas).layers
        return bars(layers, self._paper, "length of each layer's gradient", "this α", "the paper's α")

    def _typed(self, changed: int) -> None:
        """A number was typed; where they sum to 1 the other two make room, in their proportion."""
        alphas = [box.value for box in self.numbers]
        if self.sum_to_one.value and abs(sum(alphas) - 1) > 0.002:
            others = [i for i in range(3) if i != changed]
            rest, room = sum(alphas[i] for i in others), 1 - alphas[changed]
            for i in others:
                alphas[i] = alphas[i] / rest * room if rest else room / 2
        if not np.allclose(alphas, self.alphas, atol=0.002):
            self._set(tuple(alphas))

    def _preset(self) -> None:
        if self.preset.value is not None:
            self.sum_to_one.value = abs(sum(self.preset.value) - 1) < 0.01
            self._set(self.preset.value)

    def _strength(self, way: str) -> np.ndarray:
        return self.gradients.errors[way] * self.alphas[WAYS.index(way)]

    def _heat(self, way: str) -> Pixels:
        """One scale for all three, so that they can be compared; the root, for most of the error is in few places."""
        return heat(np.sqrt(self._strength(way)), float(np.sqrt(self._high)))

    def _train(self) -> None:
        """The first steps under this α, and under the paper's if they have not been trained yet."""
        wanted = [a for a in dict.fromkeys((PAPER, self.alphas)) if len(self._curves.get(a, ())) <= FIRST_STEPS]
        for alphas in wanted:
            self._curves[alphas] = []
        self._shown = self.alphas
        items = ((a, value) for a in wanted for value in first_steps(a, self.example))

        def show(item: tuple) -> None:
            self._curves[item[0]].append(item[1])
            self._draw_steps()

        self.job.run(items, len(wanted) * (FIRST_STEPS + 1), show, "training")
        self._draw_steps()

    def _draw_steps(self) -> None:
        shown = self._shown
        series = {} if shown is None else {f"α = {_said(shown)}": self._curves[shown]}
        if shown is not None and shown != PAPER:
            series["the paper's α"] = self._curves[PAPER]
        title = "first training steps of stage 2, PSNR of this example"
        wait = f"<b>{title}</b><br>press “train”: live, with the MSE, 5 s for each of 2 curves, this α and the paper's"
        self.steps.value = curves(series, title, "PSNR / dB", FIRST_STEPS) if series else wait


def measured_points() -> pd.DataFrame:
    """Table 4 by our models' names: the paper's PSNR, ours (mean over seeds) and its spread; ours alone if measured."""
    measured = over_seeds(read_seeds(results_folder(), "compact"), POINTS)
    if not len(measured):
        return pd.DataFrame(columns=["psnr", "spread", "images"])
    return measured.set_index("model").rename(columns={"mean": "psnr"})[["psnr", "spread", "images"]]


def _table(points: pd.DataFrame) -> str:
    """Table 4's four points as HTML."""
    printed = {p.model: p.psnr for p in PRINTED if p.table == 4}
    images = f"{points['images'].iloc[0]:.0f} pictures" if len(points) else "not measured"
    rows = []
    for name, alphas in POINTS.items():
        ours = f"{points.loc[name, 'psnr']:.2f} ({points.loc[name, 'spread']:.2f})" if name in points.index else "–"
        rows.append((_said(alphas), f"{printed.get(name, float('nan')):.2f}", ours))
    columns = ["α", "the paper's, CUFED5", f"ours, {images} (spread of 3 seeds)"]
    table = pd.DataFrame(rows, columns=columns).to_html(index=False, border=0, justify="left")
    return f"<b>Table 4, PSNR / dB: the four α that were trained</b>{table}"


def _said(alphas: tuple[float, float, float]) -> str:
    return f"({', '.join(f'{a:g}' for a in alphas)})"
