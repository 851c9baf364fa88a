"""The α explorer (Eq. 5 and 6, Table 4): what (α1, α2, α3) does to the error maps and to the encoder's gradient.

The gradient is linear in α (Eq. 6), so the three gradients at unit α and their dot products say all: of a layer with
Gram matrix G it is √(αᵀGα) long. So nothing is computed again when α moves.

And the staircase explorer (Eq. 5): the loss J along the step of an α, with the matches held, and matched again. In
φ(I_in) and φ(I_ref↓) J is flat until a match flips, and then it jumps; only φ(I_ref) moves it smoothly. Notebooks 09
and 12.
"""

import io
from copy import deepcopy

import ipywidgets as w
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from e2ent2lib.crops import Crops
from e2ent2lib.explore.distance import layer_name
from e2ent2lib.explore.explorer import CHART, Explorer, row
from e2ent2lib.explore.view import Picture, Triangle, bars, curves, face
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import match, swap
from e2ent2lib.measure import results
from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import as_rgb, to_tensor
from e2ent2lib.report import diagrams, figures, plots, printed, studies
from e2ent2lib.runs import probes
from e2ent2lib.systems import SYSTEMS

Alphas = tuple[float, float, float]
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
"""Of the triangle: where α1, α2 and α3 are 1; its sides are 1 long."""
WAYS = {"in": "E at φ(I_in), × α1", "ref_down": "E at φ(I_ref↓), × α2", "ref": "E at φ(I_ref), × α3"}
PAPER: Alphas = (0.25, 0.25, 0.5)
AS_TEXT = "α = ({:g}, {:g}, {:g})"
SAMPLES = 16
"""J of the staircase is computed at so many lengths, evenly up to that of the step."""
POINTS: dict[str, Alphas] = {
    name: SYSTEMS[name].options.get("alphas", PAPER)
    for name in ("e2ent2-ablation", "e2ent2-alpha-100", "e2ent2-alpha-010", "e2ent2-alpha-001")
}
"""Table 4's columns: the only α that were trained."""


class AlphaGradients:
    """A network on one example: everything that α scales, at unit α. Leaves the network as it is."""

    def __init__(self, model: E2ENT2, example: plots.Example):
        model = deepcopy(model)
        model.encoder.requires_grad_(True)
        images = (to_tensor(x) for x in (example.hr, example.lr, example.ref, example.ref_down))
        by_way = probes.gradients(model, Crops(*images))
        self._unit = torch.stack([by_way[way] for way in WAYS]).double()
        self.direct = (by_way["res1"] + by_way["sisr"]).double().norm().item()
        """How long what reaches the encoder through Res1 and the SISR branch is, which no α weighs."""
        sizes = [(layer_name(n.rsplit(".", 1)[0]), weight.numel()) for n, weight in model.encoder.named_parameters()]
        parts = self._unit.split([size for _, size in sizes], dim=1)
        self.grams: dict[str, Float[np.ndarray, "3 3"]] = {}
        for (layer, _), part in zip(sizes, parts):  # a convolution's weight and bias count as one
            self.grams[layer] = self.grams.get(layer, 0) + (part @ part.T).numpy()
        errors = figures.error_maps(model, example)._asdict()
        self.errors = {way: errors[f"at_{way}"][0].norm(dim=0).numpy() for way in WAYS}
        """Length over channels of the three error maps of Eq. 5, each α at 1."""

    def layers(self, alphas: Alphas) -> dict[str, float]:
        """The length of the encoder's gradient through F in each convolution, in units of the loss."""
        a = np.array(alphas, dtype=float)
        return {name: float(np.sqrt(max(0.0, a @ gram @ a))) for name, gram in self.grams.items()}

    def whole(self, alphas: Alphas) -> tuple[float, float]:
        """The whole gradient's length, and its cosine to the true one, which is that of α = (0, 0, 1)."""
        gradient = torch.tensor(alphas, dtype=torch.float64) @ self._unit
        return gradient.norm().item(), torch.cosine_similarity(gradient, self._unit[2], dim=0).item()


def place(alphas: Alphas) -> tuple[float, float]:
    """Where an α lies in the triangle; it is scaled to a sum of 1. Raises ValueError for (0, 0, 0) or below 0."""
    a = np.array(alphas, dtype=float)
    if a.min() < 0 or a.sum() <= 0:
        raise ValueError(f"α = {alphas}: none may be below 0, and not all may be 0")
    return tuple((a / a.sum() @ CORNERS).tolist())


class AlphaExplorer(Explorer):
    """A triangle of α; nothing is computed again when it moves."""

    def __init__(self, alphas: Alphas = PAPER):
        self.example = plots.engine()
        self.gradients = AlphaGradients(plots.example_model("compact"), self.example)
        self._paper = self.gradients.layers(PAPER)
        self._high = max(np.quantile(e, 0.995) for e in self.gradients.errors.values())
        paper = {p.model: p.psnr for p in printed.PRINTED if p.table == 4}
        points = studies.over_seeds(results.read_seeds(results.results_folder(), "compact"), POINTS)
        points = points.assign(alphas=points["model"].map(POINTS), paper=points["model"].map(paper))
        self.points = points.set_index("model")
        """Of the α that were measured the mean PSNR over seeds, its spread and how many images, beside the paper's."""
        layout, style = w.Layout(width="110px"), {"description_width": "auto"}
        self.numbers = [
            w.BoundedFloatText(a, min=0, max=1, step=0.05, description=f"α{i}", layout=layout, style=style)
            for i, a in enumerate(alphas, 1)
        ]
        self.sum_to_one = w.Checkbox(True, description="sum to 1", indent=False, layout=w.Layout(width="auto"))
        pins = [{"alphas": list(p.alphas), "text": f"{p.mean:.2f}"} for p in self.points.itertuples()]
        left, right = (w.Layout(flex=flex, min_width="0") for flex in ("1 1 320px", "2 1 480px"))
        self.triangle = Triangle(pins=pins, layout=left)
        self.maps = {way: Picture(title=title, width=212) for way, title in WAYS.items()}
        self.layers = w.HTML(layout=CHART)
        box = row(self.triangle, w.VBox([row(*self.maps.values()), row(self.layers)], layout=right))
        box.layout.align_items = "flex-start"
        super().__init__(
            "α explorer",
            "Eq. 5 sends the error at F back on three ways, weighed by α1, α2, α3. Drag the point: the maps show how "
            "much error reaches each image's features, the bars how long the gradient of each layer of the encoder is. "
            "The four pins are the α of Table 4, the only ones that were trained.",
            [row(*self.numbers, self.sum_to_one), box],
        )
        self.go(tuple(alphas))
        self.on(lambda: self.go(tuple(self.triangle.alphas)), self.triangle, trait="alphas")
        for i, number in enumerate(self.numbers):
            self.on(lambda i=i: self._typed(i), number)
        self.on(lambda: self._typed(0), self.sum_to_one)
        self._muted = False

    def summary(self) -> str:
        """The α in one sentence; whether it was trained."""
        (length, cosine), (true, _) = self.gradients.whole(self.alphas), self.gradients.whole((0, 0, 1))
        known = "nothing was trained at this α, and nothing is interpolated"
        for p in self.points.itertuples():
            if np.allclose(p.alphas, self.alphas, atol=0.005):
                known = f"trained so: {p.mean:.2f} dB on {p.images:.0f} pictures, mean of seeds with a spread of "
                known += f"{p.spread:.2f} (Table 4's protocol; the paper's, on CUFED5: {p.paper:.2f} dB)"
        return (
            f"{AS_TEXT.format(*self.alphas)}: the encoder's gradient through F is {length / true:.2f} times as long as "
            f"the true one's, cosine to it {cosine:.2f}; beside Res1 and the SISR branch "
            f"{length / self.gradients.direct:.2f} times theirs; {known}"
        )

    def figure(self) -> Figure:
        """Error maps, triangle, gradient by layer."""
        points = [(*place(p.alphas), f"{p.mean:.2f} dB") for p in self.points.itertuples()]
        facts = {"points": points, "alpha": place(self.alphas)}
        triangle, chart = diagrams.Drawing("triangle", {}, {}, "", facts).svg, self.layers.value
        drawings = {"α; measured points of Table 4": triangle, "gradients by layer": chart}
        rasters = {title: as_rgb(io.BytesIO(diagrams.render(svg, "png", dpi=80))) for title, svg in drawings.items()}
        return face(list(self.maps.values()), rasters, self.summary(), 3)

    def go(self, alphas: Alphas) -> None:
        """Show an α; all controls follow. Raises ValueError for what is no α."""
        place(alphas)
        self.alphas = tuple(round(float(a), 3) for a in alphas)
        self.triangle.alphas = list(self.alphas)
        for number, a, (way, picture) in zip(self.numbers, self.alphas, self.maps.items()):
            number.value, strength = a, self.gradients.errors[way] * a
            # one scale for all three, so that they can be compared; the root, for most of the error is in few places
            picture.data = plots.png(plots.heat(np.sqrt(strength), float(np.sqrt(self._high))))
            picture.description = f"{WAYS[way]}: lengths of the error add up to {strength.sum():.3g}"
        lengths, title = self.gradients.layers(self.alphas), "length of each layer's gradient"
        self.layers.value = bars(lengths, title, "this α", self._paper, "the paper's α")
        self.say("")
        self.tell()

    def _typed(self, changed: int) -> None:
        """A number was typed; where they sum to 1 the other two make room, in their proportion."""
        alphas = [number.value for number in self.numbers]
        if self.sum_to_one.value and abs(sum(alphas) - 1) > 0.002:
            others = [i for i in range(3) if i != changed]
            rest, room = sum(alphas[i] for i in others), 1 - alphas[changed]
            for i in others:
                alphas[i] = alphas[i] / rest * room if rest else room / 2
        self.go(tuple(alphas))


class StaircaseExplorer(Explorer):
    """Sliders for α and for a step of the three maps, in % of their length; of a trained network on one example.

    J is the MSE of I_sr. Res1 keeps the φ(I_in) that it had, so J changes through F alone.
    """

    def __init__(self, alphas: Alphas = (1.0, 0.0, 0.0), step: float = 3.0):
        self._model, self._example = plots.example_model("compact", ("e2ent2-mse", "e2ent2")), plots.engine()
        self._errors = figures.error_maps(self._model, self._example)[1:4]
        looks = {"continuous_update": False, "layout": w.Layout(width="240px")}
        self.sliders = [
            w.FloatSlider(a, max=1, step=0.05, description=f"α{i}", **looks) for i, a in enumerate(alphas, 1)
        ]
        self.step = w.FloatLogSlider(step, min=-2, max=1, step=0.1, description="step / %", **looks)
        self.chart = w.HTML(layout=w.Layout(width="100%", max_width="640px"))
        super().__init__(
            "Staircase explorer",
            "One step downhill under an α: what becomes of the loss J if every place keeps its patch, and if all are "
            "matched again? F is made of φ(I_ref), so α3 moves J smoothly; α1 and α2 work through flips alone.",
            [row(*self.sliders, self.step), self.chart],
        )
        self._draw()
        self.on(self._draw, *self.sliders, self.step)
        self._muted = False

    def summary(self) -> str:
        """What the whole step does to J, in one sentence."""
        held, rematched = (line[-1] for line in self.changes.values())
        return (
            f"{AS_TEXT.format(*self.alphas)}, a step of {self.step.value:.3g} % of the maps' length: J changes by "
            f"{held:+.2f} % with the matches held, {rematched:+.2f} % rematched; {self.flipped:.1%} of them flipped"
        )

    def figure(self) -> Figure:
        """The chart."""
        chart = as_rgb(io.BytesIO(diagrams.render(self.chart.value, "png", dpi=60)))
        return face([], {"": chart}, self.summary(), 1)

    @torch.no_grad()
    def _draw(self) -> None:
        alphas, step = tuple(slider.value for slider in self.sliders), self.step.value
        place(alphas)  # refuses (0, 0, 0)
        self.alphas = alphas
        lr, ref, down = self._example.tensors()
        start = [self._model.encoder(images) for images in (lr, down, ref)]
        slopes = [a * error for a, error in zip(alphas, self._errors)]
        whole, slope = (torch.cat([x.flatten() for x in maps]).norm() for maps in (start, slopes))
        first, losses = match(*start[:2]), []
        for length in torch.linspace(0, step / 100, SAMPLES + 1):
            maps = [m - length * whole / slope * s for m, s in zip(start, slopes)]
            again = match(*maps[:2])
            made = [self._model.synthesis(swap(maps[2], m), start[0], lr) for m in (first, again)]
            losses.append([reconstruction_loss(image, to_tensor(self._example.hr), "mse").item() for image in made])
        changes = ([100 * (j / losses[0][0] - 1) for j in line] for line in zip(*losses))
        self.changes = dict(zip(("matches held", "rematched"), changes))
        """J less J at the start, in % of that, at each length."""
        self.flipped = (again.index != first.index).double().mean().item()
        self.chart.value = curves(self.changes, "change of J / %", SAMPLES, f"length of the step, 0 to {step:.3g} %")
        self.tell()
