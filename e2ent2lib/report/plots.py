"""The look that notebooks and figures share: rows of pictures, training curves."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import UInt8
from matplotlib.figure import Figure

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
    """Losses (left, log scale) and validation PSNR (right, dB) against training steps, from ``train``'s history."""
    frame = pd.DataFrame(history).set_index("step")
    scores = [c for c in frame if c.startswith("val_")]
    losses = [c for c in frame if c.startswith("rec_")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    for axis, columns, label in (
        (left, losses, "L_rec (Eq. 8)"),
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
    sets = list(dict.fromkeys(long["data set"]))
    figure, axes = plt.subplots(
        1, len(sets), figsize=(min(14, 2 + 3 * len(sets)), 0.4 * long["method"].nunique() + 1.3)
    )
    for axis, title in zip(np.atleast_1d(axes), sets):
        part = long[long["data set"] == title].iloc[::-1].reset_index()
        for shift, who, colour in ((0.2, "paper", "#BBBBBB"), (-0.2, "measured", COLOURS[0])):
            values = part[f"{who} {metric}"].astype(float)
            axis.barh(part.index + shift, values.fillna(0), height=0.38, color=colour, label=who)
            for y, value in values.items():
                text = f"{value:.3f}" if metric == "ssim" else f"{value:.2f}"
                missing = "not measured" if who == "measured" else ""
                axis.text(0 if np.isnan(value) else value, y + shift, f" {missing if np.isnan(value) else text}",
                          va="center", fontsize=7)  # fmt: skip
        axis.set(title=title, xlabel=unit)
        axis.set_yticks(part.index, part["method"] if axis is np.atleast_1d(axes)[0] else [""] * len(part))
        both = part[[f"paper {metric}", f"measured {metric}"]].astype(float)
        low, high = np.nanmin(both.to_numpy(), initial=np.inf), np.nanmax(both.to_numpy(), initial=-np.inf)
        if metric != "feature_distance" and high > low:  # bars of decibels need no zero; the axis says where it starts
            axis.set_xlim(low - 0.3 * (high - low) - 0.01, high + 0.35 * (high - low))
    np.atleast_1d(axes)[0].legend(loc="lower right", fontsize=7)
    return figure
