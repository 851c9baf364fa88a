"""The staircase explorer (Eq. 5): the loss J along the step of an α, with the matches held, and matched again.

In φ(I_in) and φ(I_ref↓) J is flat until a match flips, and then it jumps; only φ(I_ref) moves it smoothly. Notebooks
09 and 12.
"""

import ipywidgets as w
import torch
from matplotlib.figure import Figure

from e2ent2lib.explore.alpha import Alphas, place, said
from e2ent2lib.explore.explorer import Explorer, row
from e2ent2lib.explore.view import curves, face, raster
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import match, swap
from e2ent2lib.photos.images import to_tensor
from e2ent2lib.report import diagrams, figures, plots

SAMPLES = 25
"""J is computed at so many lengths, evenly up to that of the step."""


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
            f"α = {said(self.alphas)}, a step of {self.step.value:.3g} % of the maps' length: J changes by "
            f"{held:+.2f} % with the matches held, {rematched:+.2f} % rematched; {self.flipped:.1%} of them flipped"
        )

    def figure(self) -> Figure:
        """The chart."""
        return face([], {"": raster(diagrams.render(self.chart.value, "png", dpi=60))}, self.summary(), 1)

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
        across = f"length of the step, 0 to {step:.3g} %"
        self.chart.value = curves(self.changes, "change of J / %", "%", SAMPLES, across)
        self.tell()
