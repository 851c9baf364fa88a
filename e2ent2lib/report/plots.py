"""The look that notebooks and figures share: rows of pictures, training curves."""

import base64
import io
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float, UInt8
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image as Pillow

Image = UInt8[np.ndarray, "h w 3"]
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito: safe for colour-blind


def use_style() -> None:
    """Fonts, colours and resolution for all plots; in a notebook photographs are stored as JPEG, to stay small."""
    plt.rcParams.update(
        {
            "figure.dpi": 100,
            "savefig.dpi": 150,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": plt.cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "font.size": 10,
            "image.interpolation": "nearest",
        }
    )
    try:
        from IPython import get_ipython
        from matplotlib_inline.backend_inline import set_matplotlib_formats
    except ImportError:  # a script without IPython
        return
    if get_ipython() is not None:
        set_matplotlib_formats("jpeg", pil_kwargs={"quality": 88})


def png(image: Image) -> bytes:
    """The picture as PNG, quickly rather than small."""
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def data_uri(image: Image) -> str:
    """The picture as the address of itself, for HTML and SVG."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def heat(values: Float[np.ndarray, "h w"], high: float, low: float = 0.0) -> Image:
    """Values as colours, dark for ``low`` and bright for ``high``; what lies outside is clipped."""
    span = (high - low) or 1.0
    steps = (np.nan_to_num((values - low) / span).clip(0, 1) * 255).astype(np.uint8)
    return _MAGMA[steps]


_MAGMA = (colormaps["magma"](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)


def show(images: Mapping[str, Image] | Sequence[tuple[str, Image]], *, columns: int = 4, width: float = 10) -> Figure:
    """Pictures side by side, each under its title, ``columns`` a row; ``width`` in inches."""
    items = list(images.items()) if isinstance(images, Mapping) else list(images)
    columns = min(columns, len(items))
    rows = -(-len(items) // columns)
    shape = max(image.shape[0] / image.shape[1] for _, image in items)
    height = rows * (width / columns * shape + 0.35)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, (title, image) in zip(axes.flat, items):
        axis.imshow(image)
        axis.set_title(title)
    return figure


def curves(history: Sequence[dict], *, title: str) -> Figure:
    """Losses (left, log scale) and validation PSNR (right, dB) against training steps, from ``train``'s history.

    Of the paper's models L_rec, of a baseline every term of its own.
    """
    frame = pd.DataFrame(history).set_index("step")
    scores = [c for c in frame if c.startswith("val_")]
    paper = [c for c in frame if c.startswith("rec_")]
    losses = paper or [c for c in frame if not c.startswith(("val_", "critic_", "adv_"))]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    for axis, columns, label in (
        (left, losses, "L_rec (Eq. 8)" if paper else "loss, unweighted"),
        (right, scores, "validation PSNR / dB"),
    ):
        for column in columns:
            axis.plot(frame.index, frame[column], marker=".", label=column)
        axis.set(xlabel="training step", ylabel=label, title=title)
        axis.legend()
    left.set_yscale("log")
    return figure


def beside(long: pd.DataFrame, metric: str = "psnr") -> Figure:
    """A panel a data set: the paper's number and the measured one of each method, as bars; an empty cell says so."""
    unit = {"psnr": "PSNR / dB", "ssim": "SSIM", "feature_distance": "feature distance (own scale)"}[metric]
    panels = list(long.groupby("data set", sort=False))
    names = [name.replace(" (not", "\n(not").replace(" (a", "\n(a") for name in long["method"].unique()]
    size = (min(14, 2.5 + 2.8 * len(panels)), 0.42 * len(names) + 1.4)
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, (title, part) in zip(axes[0], panels):
        both = part[[f"paper {metric}", f"measured {metric}"]].to_numpy(float)
        low, high = (f(both) for f in (np.nanmin, np.nanmax)) if not np.isnan(both).all() else (0, 1)
        room = (high - low) or 1
        start = 0 if metric == "feature_distance" else low - 0.4 * room  # decibels need no zero
        looks = ((-0.2, "paper", "#BBBBBB", ""), (0.2, "measured", COLOURS[0], "not measured"))
        for values, (shift, who, colour, missing) in zip(both.T, looks):
            ends = np.nan_to_num(values - start)
            bars = axis.barh(np.arange(len(values)) + shift, ends, height=0.38, left=start, color=colour, label=who)
            words = [missing if np.isnan(value) else f"{value:.{3 if metric == 'ssim' else 2}f}" for value in values]
            for label in axis.bar_label(bars, words, padding=2, fontsize=8):
                if label.get_text() == missing:
                    label.set(fontsize=7, color="#777777")
        axis.set(title=title.replace(" (", "\n("), xlabel=unit, xlim=(start, high + 0.5 * room))
    axes[0, 0].set_yticks(range(len(names)), names)
    axes[0, 0].invert_yaxis()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
