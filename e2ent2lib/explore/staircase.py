"""The staircase explorer (Eq. 5): the loss J along the step of an α, with the matches held, and matched again.

In φ(I_in) and φ(I_ref↓) J is flat until a match flips, and then it jumps; only φ(I_ref) moves it smoothly. Notebooks
09 and 12.
"""

import ipywidgets as w
import torch
from matplotlib.figure import Figure

from e2ent2lib.explore.alpha import Alphas, place
from e2ent2lib.explore.explorer import Explorer, row
from e2ent2lib.explore.view import curves, face, raster
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import match, swap
from e2ent2lib.photos.images import to_tensor
from e2ent2lib.report import diagrams, figures, plots

SAMPLES = 25
"""J is computed at so many lengths, evenly up to that of the step."""


class StaircaseExplorer(Explorer):
    """Sliders for α and for a step of the three maps, in % of their length. Of a trained network on one example.

    J is the MSE of I_sr. Res1 keeps the φ(I_in) it had, so that J changes through F alone.
    """

    def __init__(self, alphas: Alphas = (1.0, 0.0, 0.0), step: float = 3.0):
        self._model, example = plots.example_model("compact", ("e2ent2-mse", "e2ent2")), plots.engine()
        self._lr, ref, down = example.tensors()
        self._hr, errors = to_tensor(example.hr), figures.error_maps(self._model, example)
        with torch.no_grad():
            self._maps = [self._model.encoder(images) for images in (self._lr, down, ref)]
        self._errors = errors.at_in, errors.at_ref_down, errors.at_ref
        looks = {"continuous_update": False, "layout": w.Layout(width="240px")}
        names = enumerate(alphas, 1)
        self.alphas = [w.FloatSlider(a, min=0, max=1, step=0.05, description=f"α{i}", **looks) for i, a in names]
        self.step = w.FloatLogSlider(step, base=10, min=-2, max=1, step=0.1, description="step / %", **looks)
        self.chart = w.HTML(layout=w.Layout(width="100%", max_width="640px"))
        super().__init__(
            "Staircase explorer",
            "One step downhill under an α: what becomes of the loss J if every place keeps its patch, and if all are "
            "matched again? F is made of φ(I_ref), so α3 moves J smoothly; α1 and α2 work through flips alone.",
            [row(*self.alphas, self.step), self.chart],
        )
        self._draw()
        self.on(self._draw, *self.alphas, self.step)
        self._muted = False

    def state(self) -> dict:
        """What it takes to make this one again: ``StaircaseExplorer(**explorer.state())`` is its twin."""
        return {"alphas": tuple(slider.value for slider in self.alphas), "step": self.step.value}

    def summary(self) -> str:
        """What the whole step does to J, in one sentence."""
        alphas = ", ".join(f"{slider.value:g}" for slider in self.alphas)
        return (
            f"α = ({alphas}), a step of {self.step.value:.3g} % of the maps' length: J changes by {self.held[-1]:+.2f} "
            f"% with the matches held and by {self.rematched[-1]:+.2f} % rematched; {self.flipped:.1%} of them flipped"
        )

    def figure(self) -> Figure:
        """The chart."""
        return face([], {"": raster(diagrams.render(self.chart.value, "png", dpi=60))}, self.summary(), 1)

    @torch.no_grad()
    def _draw(self) -> None:
        alphas, step = self.state().values()
        place(alphas)  # refuses (0, 0, 0)
        slopes = [a * error for a, error in zip(alphas, self._errors)]
        whole, slope = (torch.cat([x.flatten() for x in maps]).norm() for maps in (self._maps, slopes))
        first, lines = match(*self._maps[:2]), []
        for length in torch.linspace(0, step / 100, SAMPLES + 1):
            maps = [m - length * whole / slope * s for m, s in zip(self._maps, slopes)]
            again = match(*maps[:2])
            made = [self._model.synthesis(swap(maps[2], m), self._maps[0], self._lr) for m in (first, again)]
            lines.append([reconstruction_loss(image, self._hr, "mse").item() for image in made])
        self.held, self.rematched = ([100 * (j / lines[0][0] - 1) for j in line] for line in zip(*lines))
        self.flipped = (again.index != first.index).double().mean().item()
        series = {"matches held": self.held, "rematched": self.rematched}
        across = f"length of the step, 0 to {step:.3g} %"
        self.chart.value = curves(series, "change of J / %", "%", SAMPLES, across)
        self.tell()
