"""What the reference is worth, image by image, and how that falls with its similarity. Notebook 06."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from e2ent2lib.data.pairs import DATASETS, UNRELATED
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import write_text
from e2ent2lib.report import figures
from e2ent2lib.report.plots import COLOURS
from e2ent2lib.systems import SYSTEMS

USUAL = Protocol().reference
EFFECT = "What the reference is worth: the same network with a related and with an unrelated one"
METHODS = {"bicubic": "#999999", "sisr": "#222222", UNRELATED: COLOURS[1], "related": COLOURS[0]}


def networks() -> dict[str, str]:
    """The RefSR networks that are trained for PSNR, by what they are called among each other."""
    recipes = {name: system.recipe for name, system in SYSTEMS.items() if system.recipe}
    return {name: SYSTEMS[name].short for name, recipe in recipes.items() if recipe.rec == "mse"}


def effect(results: pd.DataFrame, model: str = "e2ent2-mse", metric: str = "psnr") -> pd.DataFrame:
    """A line an image: bicubic, SISR, and ``model`` with an unrelated and with the related reference.

    Images of which one of the four has not been measured are left out.
    """
    parts = {
        "bicubic": ("bicubic", USUAL),
        "sisr": ("sisr", USUAL),
        UNRELATED: (model, UNRELATED),
        "related": (model, USUAL),
    }
    keys = ["dataset", "image"]
    columns = {
        name: results[(results["model"] == m) & (results["reference"] == r)].set_index(keys)[metric]
        for name, (m, r) in parts.items()
    }
    return pd.DataFrame(columns).dropna()


def levels(results: pd.DataFrame, metric: str = "psnr") -> pd.DataFrame:
    """A line a RefSR system, a column a reference level of CUFED5 and the unrelated reference; means over images."""
    group = results[results["dataset"] == "cufed5"]
    several = group.loc[group["reference"] != USUAL, "model"].unique()
    group = group[group["model"].isin(several)]
    return group.pivot_table(index="model", columns="reference", values=metric, aggfunc="mean").reindex(several)


def effect_figure(tables: Mapping[str, pd.DataFrame], title: str, unit: str = "dB") -> Figure:
    """``effect`` as a picture: what each of the four gains over SISR; a line an image, a panel a RefSR network.

    ``tables`` holds them by the network's name; the images stand in the order of the first one's gain.
    """
    gains = {name: table.sub(table["sisr"], axis=0) for name, table in tables.items()}
    order = next(iter(gains.values()))["related"].sort_values().index
    rows = np.arange(len(order))
    size = (3.6 + 2.7 * len(gains), 0.27 * len(order) + 2.3)
    figure, axes = plt.subplots(1, len(gains), figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis, (network, gain) in zip(axes[0], gains.items()):
        gain = gain.reindex(order)
        axis.hlines(rows, gain[UNRELATED], gain["related"], color="#CCCCCC", lw=3, zorder=1)
        for name, colour in METHODS.items():
            label = {"related": "related reference", UNRELATED: "unrelated reference", "sisr": "SISR"}.get(name, name)
            mean = "" if name == "sisr" else f": mean {gain[name].mean():+.2f} {unit}"
            axis.scatter(gain[name], rows, color=colour, s=30, zorder=2, label=label + mean)
        axis.axvline(0, color="#222222", lw=0.8, zorder=0)
        axis.set(xlabel=f"gain over SISR / {unit}")
        axis.set_title(network, fontsize=10)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -1.0 / size[1]), fontsize=8)
    axes[0, 0].set_yticks(rows, [f"{image} ({data})" for data, image in order], fontsize=8)
    figure.suptitle(title)
    return figure


def summary(results: pd.DataFrame) -> pd.DataFrame:
    """``effect`` of each of ``networks`` as means over the images of a data set, and over all: PSNR and gains in dB."""
    lines = []
    for model, title in networks().items():
        table = effect(results, model)
        for data, part in [*table.groupby("dataset"), ("all", table)] if len(table) else []:
            mean = part.mean()
            gains = {f"{name} − SISR": mean[name] - mean["sisr"] for name in ("related", UNRELATED)}
            lines.append({"network": title, "data set": data, "images": len(part), **mean, **gains})
    return pd.DataFrame(lines)


def markdown(results: pd.DataFrame) -> str:
    """``summary`` as three Markdown tables, a column a data set; "" if nothing was measured with both references."""
    table = summary(results)
    if table.empty:
        return ""
    titles = {name: data.title for name, data in DATASETS.items()}
    table["data set"] = table["data set"].replace(titles) + table["images"].map(" ({})".format)
    columns, networks = table["data set"].unique(), table["network"].unique()

    def gains(kind: str, title: str) -> str:
        wide = table.pivot(index="network", columns="data set", values=f"{kind} − SISR").loc[networks, columns]
        return wide.rename_axis(f"{title}, gain over SISR / dB").to_markdown(floatfmt="+.2f")

    first = table[table["network"] == networks[0]].set_index("data set")
    names = {"bicubic": "bicubic", "sisr": "SISR"}
    names |= {kind: f"{networks[0]}, {kind} reference" for kind in (UNRELATED, "related")}
    psnr = first[list(names)].rename(columns=names).T.rename_axis("PSNR / dB")
    tables = gains("related", "related reference"), gains(UNRELATED, "unrelated reference")
    return "\n\n".join([*tables, psnr.to_markdown(floatfmt=".2f")])


def save_summary(results: pd.DataFrame, folder: Path) -> Path:
    """Write ``reference_effect.md``, whole or not at all; returns its path."""
    write_text(folder / "reference_effect.md", markdown(results) + "\n")
    return folder / "reference_effect.md"


def draw_effect(results: pd.DataFrame, folder: Path) -> list[Path]:
    """Write ``reference_effect.png`` and ``.pdf``: ``effect_figure`` of the networks that were measured with both."""
    tables = {title: effect(results, model) for model, title in networks().items()}
    tables = {title: table for title, table in tables.items() if len(table)}
    return figures.draw(partial(effect_figure, tables, EFFECT), "reference_effect", folder) if tables else []
