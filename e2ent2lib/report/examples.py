"""What Fig. 2 to 6 are drawn on, a crop of the held-out motorcycle pair, and the title and caption of every figure."""

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from e2ent2lib.config import get_profile
from e2ent2lib.data.pairs import dataset
from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import downscale, to_tensor
from e2ent2lib.runs.checkpoints import available_models, build_model, load_model

Pixels = UInt8[np.ndarray, "h w 3"]
Window = tuple[int, int, int, int]
"""x, y, width and height in pixels."""
CROP = (336, 252, 144, 108)
"""The engine in the left picture: the input of Fig. 2 to 6, and the crop of Fig. 1."""
REFERENCE_CROP = (276, 240, 192, 132)
"""A larger box of the right picture that holds the engine too; I_ref need not have the size of the input (3.1)."""


class Example(NamedTuple):
    """The four images of 3.1, uint8."""

    hr: Pixels
    lr: Pixels
    ref: Pixels
    ref_down: Pixels

    def tensors(self) -> list[Float[Tensor, "1 3 h w"]]:
        """I_in, I_ref and I_ref↓ as E2ENT2's forward takes them."""
        return [to_tensor(image) for image in (self.lr, self.ref, self.ref_down)]


def cut(image: Pixels, box: Window) -> Pixels:
    """The part of an image in a window."""
    x, y, width, height = box
    return image[y : y + height, x : x + width]


@lru_cache
def engine() -> Example:
    """The motorcycle's engine from the left as input, from the right as reference."""
    pair = dataset("motorcycle").pairs()[0]
    hr, ref = cut(pair.hr(), CROP), cut(pair.refs()[0], REFERENCE_CROP)
    return Example(hr, downscale(hr), ref, downscale(ref))


def example_model(profile: str, names: Sequence[str] = ("e2ent2", "e2ent2-mse")) -> E2ENT2:
    """The first of ``names`` that has a checkpoint of the profile, else the network with untrained weights."""
    for name in names:
        if name in available_models(profile):
            return load_model(name, profile)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(names[0], get_profile(profile)).eval().requires_grad_(False)


def provenance_of(model: E2ENT2) -> str:
    """Which weights a figure was drawn with, in words."""
    card = model.card
    if card is None:
        return f"Profile {model.profile.name}, untrained weights, since there is no checkpoint of this profile"
    return f"Profile {model.profile.name}, model {card['model']}, checkpoint {card['sha256'][:8]}"


def principal_colours(maps: Sequence[Float[Tensor, "1 c h w"]]) -> list[Pixels]:
    """Feature maps as colours: their three strongest principal components, one basis and one scale for all of them."""
    cells = [m[0].flatten(1).T.double() for m in maps]  # (positions, channels) each
    every = torch.cat(cells)
    axes = torch.linalg.eigh(torch.cov(every.T)).eigenvectors[:, -3:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # an eigenvector's sign is arbitrary
    low, high = torch.quantile(every @ axes, torch.tensor([0.01, 0.99], dtype=torch.float64), dim=0)
    pictures = []
    for m, rows in zip(maps, cells):
        colours = ((rows @ axes - low) / (high - low)).clamp(0, 1).mul(255).round()
        pictures.append(colours.to(torch.uint8).view(*m.shape[2:], 3).numpy())
    return pictures


def finish(figure: Figure, number: int, title: str, caption: str) -> Figure:
    """Put the title "Fig. N" above and the caption below; returns the figure."""
    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.get_layout_engine().set(w_pad=0.07, h_pad=0.07)
    figure.suptitle(f"Fig. {number}. {title}", x=0.012, ha="left", weight="bold", fontsize=12)
    lines = textwrap.fill(caption, int(figure.get_figwidth() * 15.5))
    figure.supxlabel(lines, x=0.012, ha="left", fontsize=8, color="0.25")
    return figure
