"""The models of Tables 3 and 4 over three seeds, and what each did while it trained. Notebooks 08, 09 and 11."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import cards
from e2ent2lib.report.plots import COLOURS
from e2ent2lib.runs.checkpoints import available_models, shipped_card
from e2ent2lib.systems import SYSTEMS, system_of


def ablations() -> list[str]:
    """The models of Tables 3 and 4, and those beside them."""
    return [name for name, system in SYSTEMS.items() if system.ablation]


def over_seeds(results: pd.DataFrame, models: Iterable[str] | None = None, metric: str = "psnr") -> pd.DataFrame:
    """A line a model, all ``ablations`` by default: its mean score by seed, their mean, and their spread.

    The spread is the largest less the smallest.
    ``results`` as ``read_seeds`` gives them. Means are over the images that every model's first training was measured
    on, with the usual reference; ``images`` counts them. A training that was not measured on all of them is left out.
    """
    models = ablations() if models is None else list(models)
    usual = results[results["model"].isin(models) & (results["reference"] == Protocol().reference)]
    wide = usual.pivot_table(index=["dataset", "image"], columns=["model", "training"], values=metric)
    first = [columns[0] for _, columns in wide.columns.groupby(wide.columns.get_level_values(0)).items()]
    wide = wide.dropna(subset=first).dropna(axis=1)
    lines = []
    for model in (m for m in models if m in wide.columns.get_level_values(0)):
        means = wide[model].mean()
        line = {"model": model, "called": system_of(model).short, "images": len(wide)}
        line |= {f"seed {seed}": value for seed, value in means.items()}
        lines.append(line | {"mean": means.mean(), "spread": means.max() - means.min()})
    return pd.DataFrame(lines)


def histories(models: Iterable[str], profile: str, results: Path) -> pd.DataFrame:
    """What ``probes.probe`` and the validation saw while they trained: a line a model, seed and step."""
    rows = [
        {"model": model, "training": seed} | row
        for model in models
        for seed, card in cards(model, profile, results).items()
        for row in card["history"]
    ]
    return pd.DataFrame(rows)


def training_figure(history: pd.DataFrame, columns: dict[str, str], title: str, *, log: bool = False) -> Figure:
    """Columns of ``histories`` against steps: a panel a column ({column: label}), a colour a model.

    A band is the range over seeds, the line in it their mean. ``log``: one logarithmic axis for all, without zeros.
    """
    size = (3.2 * len(columns), 3.3)
    figure, axes = plt.subplots(1, len(columns), figsize=size, squeeze=False, sharey=log)
    history = history.replace({column: 0.0 for column in columns}, float("nan")) if log else history
    for axis, (column, label) in zip(axes[0], columns.items()):
        _panel(axis, history, column)
        axis.set(xlabel="training step", title=label, yscale="log" if log else "linear")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(title)
    return figure


def _panel(axis: Axes, history: pd.DataFrame, column: str) -> None:
    for (model, part), colour in zip(history.groupby("model", sort=False), COLOURS):
        curve = part.dropna(subset=[column]).groupby("step")[column]
        if len(curve):
            axis.plot(curve.mean(), color=colour, label=system_of(model).short)
            axis.fill_between(curve.min().index, curve.min(), curve.max(), color=colour, alpha=0.2, lw=0)


def budget(profile: str) -> str:
    """One sentence: what every model of Tables 3 and 4 was trained with, from the cards that ship."""
    shipped = [shipped_card(m, profile) for m in available_models(profile) if m in ablations()]
    if not shipped:
        return "No model of Tables 3 and 4 has been trained yet."
    steps = ", ".join(map(str, sorted({card["steps"] for card in shipped})))
    minutes = [card["seconds"] / 60 for card in shipped]
    return (
        f"Models of Tables 3 and 4: {steps} steps of joint training each, {min(minutes):.0f} to {max(minutes):.0f} "
        "minutes on one core beside other work, from one pre-trained SISR branch; a short budget, equal for all, not "
        "that of Tables 1 and 2."
    )


def minutes_of_training(model: str, profile: str) -> str:
    """How long a shipped model was trained, and before it those that it started from: "36 after srgan's 11"."""
    card = shipped_card(model, profile)
    cores = f" on {card['threads']} cores" if card["threads"] > 1 else ""
    start = (card["started_from"] or {}).get("model")
    before = f" after {start}'s {minutes_of_training(start, profile)}" if start else ""
    return f"{card['seconds'] / 60:.0f}{cores}{before}"
