"""What the α explorer shows, computed: three error maps, and the encoder's gradient by layer, for any α at once.

The gradient is linear in α (Eq. 6), so the three gradients at unit α and their dot products say all: of a layer with
Gram matrix G it is √(αᵀGα) long. So nothing is computed again when α moves. No widgets here. Notebook 12.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import default_collate

from e2ent2lib.config import get_profile
from e2ent2lib.crops import Crops
from e2ent2lib.data.pairs import embedded_photographs
from e2ent2lib.data.training import CropTwice
from e2ent2lib.explore.distances import layer_name
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import to_image, to_tensor
from e2ent2lib.report.figures import error_maps
from e2ent2lib.report.plots import Example
from e2ent2lib.runs.checkpoints import load_model
from e2ent2lib.runs.probes import gradients
from e2ent2lib.runs.run import make_fabric, players_for
from e2ent2lib.systems import recipe_of
from e2ent2lib.train import training_step

Alphas = tuple[float, float, float]
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
"""Of the triangle: where α1, α2 and α3 are 1; its sides are 1 long."""
WAYS = ("in", "ref_down", "ref")
PAPER: Alphas = (0.25, 0.25, 0.5)
FIRST_STEPS = 20
"""Steps that are trained live; six seconds on two cores."""


class Gradient(NamedTuple):
    """The encoder's gradient through F under one α."""

    layers: dict[str, float]
    """Its length in each convolution."""
    length: float
    cosine: float
    """To the true gradient, α = (0, 0, 1)."""


class AlphaGradients:
    """A network on one example: everything that α scales, at unit α. Leaves the network's weights as they are."""

    def __init__(self, model: E2ENT2, example: Example, rec: str = "l1"):
        images = (to_tensor(x) for x in (example.hr, example.lr, example.ref, example.ref_down))
        frozen = [p.requires_grad for p in model.encoder.parameters()]
        model.encoder.requires_grad_(True)
        by_way = gradients(model, Crops(*images), rec)
        for weight, before in zip(model.encoder.parameters(), frozen):
            weight.requires_grad_(before)
        self._unit = torch.stack([by_way[way] for way in WAYS]).double()
        self._direct = (by_way["res1"] + by_way["sisr"]).double().norm().item()
        """How long what reaches the encoder through Res1 and the SISR branch is, which no α weighs."""
        sizes = [(name.rsplit(".", 1)[0], weight.numel()) for name, weight in model.encoder.named_parameters()]
        parts = self._unit.split([size for _, size in sizes], dim=1)
        self.grams: dict[str, Float[np.ndarray, "3 3"]] = {}
        for (layer, _), part in zip(sizes, parts):  # a convolution's weight and bias count as one
            layer = layer_name(layer)
            self.grams[layer] = self.grams.get(layer, 0) + (part @ part.T).numpy()
        errors = error_maps(model, example)._asdict()
        self.errors = {way: errors[f"at_{way}"][0].norm(dim=0).numpy() for way in WAYS}
        """Length over channels of the three error maps of Eq. 5, each α at 1."""

    @property
    def gram(self) -> Float[np.ndarray, "3 3"]:
        """Of the whole encoder."""
        return sum(self.grams.values())

    def at(self, alphas: Alphas) -> Gradient:
        """The gradient under an α; lengths are those of the loss that was given."""
        a = np.array(alphas, dtype=float)
        layers = {name: float(np.sqrt(max(0.0, a @ g @ a))) for name, g in self.grams.items()}
        whole = torch.from_numpy(a) @ self._unit
        return Gradient(layers, float(whole.norm()), torch.cosine_similarity(whole, self._unit[2], dim=0).item())

    def summary(self, alphas: Alphas) -> str:
        """An α in one sentence."""
        this, true = self.at(alphas), self.at((0, 0, 1))
        shown = ", ".join(f"{a:g}" for a in alphas)
        return (
            f"α = ({shown}): the encoder's gradient through F is {this.length / true.length:.2f} times as long as the "
            f"true one's, cosine to it {this.cosine:.2f}; beside Res1 and the SISR branch "
            f"{this.length / self._direct:.2f} times theirs"
        )


def place(alphas: Alphas) -> tuple[float, float]:
    """Where an α lies in the triangle; it is scaled to a sum of 1. Raises ValueError for (0, 0, 0) or below 0."""
    a = np.array(alphas, dtype=float)
    if a.min() < 0 or a.sum() <= 0:
        raise ValueError(f"α = {alphas}: none may be below 0, and not all may be 0")
    x, y = a / a.sum() @ CORNERS
    return float(x), float(y)


def first_steps(
    alphas: Alphas, example: Example, steps: int = FIRST_STEPS, profile: str = "compact"
) -> Iterator[float]:
    """PSNR in dB of I_sr on an example before and after each of the first steps of stage 2 under an α.

    From the shipped ``sisr-pretrained``, as all models of stage 2, with the recipe of ``e2ent2-mse`` at the profile's
    full learning rate; four crops of 64 pixels of the photographs in scikit-image's wheel a step, the same for every α.
    """
    small = replace(get_profile(profile), crop=64, batch=4, workers=0, precision="32-true")
    recipe, fabric = recipe_of("e2ent2-mse"), make_fabric(small, "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = E2ENT2(small, alphas=alphas)
    model.sisr.load_state_dict(load_model("sisr-pretrained", profile).state_dict())
    model.synthesis.start_from(model.sisr)
    players = players_for(fabric, model, recipe, small)
    for step in range(steps + 1):
        with torch.no_grad():
            yield psnr(to_image(model(*example.tensors()).sr), example.hr)
        if step < steps:
            training_step(fabric, players, _batch(step, profile), step, small.steps_joint)


@lru_cache(maxsize=2 * FIRST_STEPS)
def _batch(step: int, profile: str) -> Crops:
    small = replace(get_profile(profile), crop=64, batch=4)
    crops = CropTwice(list(embedded_photographs().values()), small, length=4 * FIRST_STEPS)
    return Crops(*default_collate([crops[4 * step + i] for i in range(4)]))
