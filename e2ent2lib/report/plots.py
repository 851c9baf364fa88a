"""What notebooks and figures share: the look, pictures in rows, the crops of Fig. 2 to 6, bars and training curves."""

import base64
import io
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
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
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, safe for colour-blind readers; the cycle of house.mplstyle."""
JPEG = {"quality": 90, "optimize": True, "progressive": True}
"""How pictures are stored in notebooks."""
_MAGMA = (colormaps["magma"](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


def use_style() -> None:
    """Fonts, colours and resolution for all plots; a notebook stores them as JPEG whose losses nobody sees."""
    from IPython import get_ipython
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    plt.style.use(Path(__file__).with_name("house.mplstyle"))
    if get_ipython() is not None:
        set_matplotlib_formats("jpeg", pil_kwargs=JPEG)


# ---- pictures ----


def cut(image: Pixels, box: Window) -> Pixels:
    """The part of an image in a window."""
    x, y, width, height = box
    return image[y : y + height, x : x + width]


def png(image: Pixels) -> bytes:
    """The picture as PNG, quickly rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def data_uri(image: Pixels) -> str:
    """The picture as the address of itself, for HTML and SVG."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def heat(values: Float[np.ndarray, "h w"], high: float, low: float = 0.0) -> Pixels:
    """Values as colours, dark for ``low`` and bright for ``high``; what lies outside is clipped."""
    span = (high - low) or 1.0
    return _MAGMA[(np.nan_to_num((values - low) / span).clip(0, 1) * 255).astype(np.uint8)]


def principal_colours(maps: Sequence[Float[Tensor, "1 c h w"]]) -> list[Pixels]:
    """Feature maps as colours: their three strongest principal components, one basis and one scale for all of them."""
    cells = [m[0].flatten(1).T.double() for m in maps]  # (positions, channels) each
    every = torch.cat(cells)
    axes = torch.linalg.eigh(torch.cov(every.T)).eigenvectors[:, -3:].flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()  # an eigenvector's sign is arbitrary
    low, high = torch.quantile(every @ axes, torch.tensor([0.01, 0.99], dtype=torch.float64), dim=0)
    colours = [((rows @ axes - low) / (high - low)).clamp(0, 1).mul(255).round().to(torch.uint8) for rows in cells]
    return [picture.view(*m.shape[2:], 3).numpy() for m, picture in zip(maps, colours)]


def panel(axis: Axes, image: Pixels, title: str, fontsize: float = 9.5) -> None:
    """A picture with its title, without ticks and frame; labels beside it stay possible."""
    axis.imshow(image)
    axis.set_title(title, fontsize=fontsize)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def show(images: Mapping[str, Pixels] | Sequence[tuple[str, Pixels]], *, columns: int = 4, width: float = 10) -> Figure:
    """Pictures side by side, each under its title, ``columns`` a row; ``width`` in inches."""
    items = list(images.items()) if isinstance(images, Mapping) else list(images)
    columns = min(columns, len(items))
    each = [np.clip(image.shape[0] / image.shape[1], 0.2, 1.6) for _, image in items]  # a panorama gets a normal figure
    shapes = [max(each[i : i + columns]) for i in range(0, len(items), columns)]
    size = width, sum(width / columns * shape + 0.35 for shape in shapes)
    figure, axes = plt.subplots(len(shapes), columns, figsize=size, height_ratios=shapes, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, items):
        axis.imshow(image)
        axis.set_title(title)
    return figure


# ---- what Fig. 2 to 6 are drawn on ----


class Example(NamedTuple):
    """The four images of 3.1, uint8."""

    hr: Pixels
    lr: Pixels
    ref: Pixels
    ref_down: Pixels

    def tensors(self) -> list[Float[Tensor, "1 3 h w"]]:
        """I_in, I_ref and I_ref↓ as E2ENT2's forward takes them."""
        return [to_tensor(image) for image in (self.lr, self.ref, self.ref_down)]


@lru_cache
def engine() -> Example:
    """The engine of the held-out motorcycle pair, from the left as input, from the right as reference."""
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
    if (card := model.card) is None:
        return f"Profile {model.profile.name}, untrained weights, since there is no checkpoint of this profile"
    return f"Profile {model.profile.name}, model {card['model']}, checkpoint {card['sha256'][:8]}"


def finish(figure: Figure, number: int, title: str, caption: str) -> Figure:
    """Put the title "Fig. N" above a constrained figure and the caption below; returns the figure."""
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.07)
    figure.suptitle(f"Fig. {number}. {title}", x=0.012, ha="left", weight="bold", fontsize=12)
    lines = textwrap.fill(caption, int(figure.get_figwidth() * 15.5))
    figure.supxlabel(lines, x=0.012, ha="left", fontsize=8, color="0.25")
    return figure


# ---- curves ----


def curves(history: Sequence[dict], *, title: str) -> Figure:
    """Losses (left; L_rec, or a baseline's own) and validation PSNR (right, dB) by step, from ``train``'s history."""
    frame = pd.DataFrame(history).set_index("step")
    paper = [c for c in frame if c.startswith("rec_")]
    losses = paper or [c for c in frame if not c.startswith(("val_", "critic_", "adv_"))]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    looks = {"marker": ".", "title": title, "xlabel": "training step"}
    frame[losses].plot(ax=left, ylabel="L_rec (Eq. 8)" if paper else "loss, unweighted", logy=True, **looks)
    frame.filter(like="val_").plot(ax=right, ylabel="validation PSNR / dB", **looks)
    for axis in (left, right):
        axis.locator_params("x", nbins=6)
    return figure
