"""What stands beside Tables 1 to 4 in notebooks 06 to 11: the systems, the worth of the reference, the ablations."""

import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from e2ent2lib.config import PAPER, get_profile
from e2ent2lib.data.pairs import DATASETS, UNRELATED
from e2ent2lib.data.scenes import graded_pairs
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.measure.results import cards
from e2ent2lib.measure.verdicts import USUAL, own_hours, own_steps
from e2ent2lib.photos.images import downscale
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.report.plots import COLOURS, Pixels, Window, cut, show
from e2ent2lib.runs.checkpoints import available_models, build_model, shipped_card
from e2ent2lib.systems import SYSTEMS, recipe_of, system_of
from e2ent2lib.systems.vgg import VGG19

KINDS = tomllib.loads(Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8"))
"""What a reference shows, by ``kind``, with an unrelated one last."""
TO_RIGHT = {"disable_numparse": True, "stralign": "right", "colalign": ("left",)}
"""How a table of texts is set in Markdown: all but its first column flush right."""
SETS = {name: data.title for name, data in DATASETS.items()}
EFFECT = "What the reference is worth: the same network with a related and with an unrelated one"
OVERLAP = "Gain over SISR against the overlap of the pair: how much of the picture its reference shows"
OVERLAP_SYSTEMS = ("e2ent2-mse", "e2ent2", "srntt", "landmark")

# ---- the systems, from their own files: the one idea, sizes, losses; and a crop by each ----


def ideas(names: Iterable[str]) -> str:
    """A Markdown list: each system with the sentence "The idea: …" of its file, and a link to it."""
    lines = []
    for name in names:
        module = sys.modules[system_of(name).network_class().__module__]
        idea = re.search(r"The idea: (.+?)(?:\n\n|\Z)", module.__doc__, re.DOTALL)[1]
        file = module.__name__.replace(".", "/") + ".py"
        lines.append(f"- **{system_of(name).title}** ([`{file.split('/')[-1]}`](../{file})): {' '.join(idea.split())}")
    return "\n".join(lines)


def sizes(names: Iterable[str], profile: str) -> pd.DataFrame:
    """A line a trained system: parameters here and at the paper's size, its losses with their weights, its training."""
    lines = {}
    for name in names:
        models = {size.name: build_model(name, size) for size in (get_profile(profile), PAPER)}
        recipe, model = recipe_of(name), models[profile]
        card = shipped_card(name, profile) if name in available_models(profile) else None
        weights = card["recipe"]["weights"] if card else recipe.make_loss(model.profile, model.branches).weights
        shown = {term: w for term, w in weights.items() if w and (recipe.adversarial or not term.startswith("adv_"))}
        line = {f"parameters, {size}": f"{own_parameters(m):,}" for size, m in models.items()}
        line["loss"] = " + ".join(f"{weight:g}·{term}" for term, weight in shown.items())
        line |= {"adversary": recipe.adversarial or "none", "VGG in the loss, down to": "–"}
        line["trained"] = f"not yet: e2ent2 train {name}"
        if card:
            steps, first = own_steps(card)
            line["VGG in the loss, down to"] = ((card.get("vgg") or {}).get("layers_of_the_loss") or ["–"])[-1]
            crops = f"{steps * card['profile']['batch']:,} crops" + f" after {first}" * bool(first)
            line["trained"] = f"{crops}, {own_hours(card):.2f} core-hours"
        lines[system_of(name).title] = line
    return pd.DataFrame(lines).T.rename_axis("system")


def own_parameters(model: nn.Module) -> int:
    """The network's parameters, stored layers of VGG19 aside."""
    vgg = {id(p) for part in model.modules() if isinstance(part, VGG19) for p in part.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in vgg)


def gallery(names: Iterable[str], hr: Pixels, ref: Pixels, box: Window, profile: str) -> Figure:
    """A crop by each available system, with the crop's PSNR, and of the truth; the whole of ``hr`` is enlarged."""
    lr, truth, available = downscale(hr), cut(hr, box), available_models(profile)
    crops = {n: cut(super_resolve(lr, ref, model=n, profile=profile), box) for n in names if n in available}
    images = {f"{system_of(n).title}\n{psnr(crop, truth):.2f} dB": crop for n, crop in crops.items()}
    return show(images | {"HR\n(truth)": truth}, columns=4, width=10)


# ---- what the reference is worth, image by image, and how that falls with its similarity ----


def kind(name: str) -> str:
    """Which of ``KINDS`` the references of a data set are of."""
    data = DATASETS.get(name)
    return "stereo" if data and data.stereo else "views" if data and data.views else "moment"


def in_order(names: pd.Index) -> pd.Index:
    """The key that sorts data sets by ``kind``, and as sets.toml lists them."""
    order = sorted(DATASETS, key=lambda name: list(KINDS).index(kind(name)))
    return names.map(lambda name: order.index(name) if name in order else len(order))


def effect(results: pd.DataFrame, model: str = "e2ent2-mse") -> pd.DataFrame:
    """A line an image that has all four: bicubic, SISR, ``model`` with an unrelated and with the related reference."""
    parts = {"bicubic": ("bicubic", USUAL), "sisr": ("sisr", USUAL)}
    parts |= {UNRELATED: (model, UNRELATED), "related": (model, USUAL)}
    rows = results.set_index(["model", "reference", "dataset", "image"])["psnr"].sort_index()
    columns = {name: rows[key] if key in rows.index else rows[:0].droplevel([0, 1]) for name, key in parts.items()}
    return pd.DataFrame(columns).dropna().sort_index(level="dataset", key=in_order, sort_remaining=False)


def effects(results: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """``effect`` of E2ENT²-MSE's kind and of the departures, if measured with both references, by their short names."""
    networks = {s.short: name for name, s in SYSTEMS.items() if s.departure or (s.recipe and s.recipe.rec == "mse")}
    tables = {title: effect(results, model) for title, model in networks.items()}
    return {title: table for title, table in tables.items() if len(table)}


def gains(results: pd.DataFrame) -> dict[str, pd.Series]:
    """What E2ENT²-MSE gains over SISR in dB, image by image, by what the reference shows, in words."""
    worth = effect(results)
    gain = worth.sub(worth["sisr"], axis=0)
    cases = gain.index.get_level_values("dataset").map(lambda d: KINDS[kind(d)]["gain"].format(SETS.get(d, d)))
    return dict(list(gain["related"].groupby(cases, sort=False))) | {KINDS[UNRELATED]["gain"]: gain[UNRELATED]}


def effect_figure(tables: Mapping[str, pd.DataFrame], title: str) -> Figure | None:
    """``effect`` as a picture: what each of the four gains over SISR; a line an image, a panel a RefSR network.

    ``tables`` holds them by the network's name; the images of each data set stand in the order of the first one's gain.
    """
    if not tables:
        return None
    gains = {name: table.sub(table["sisr"], axis=0) for name, table in tables.items()}
    order = next(iter(gains.values()))["related"].sort_values(ascending=False)
    order = order.sort_index(level="dataset", key=in_order, sort_remaining=False)
    data = order.index.get_level_values("dataset")
    rows = np.arange(len(order)) + 4 * pd.factorize(data)[0]  # room between two data sets
    blocks = pd.Series(rows).groupby(data, sort=False).agg(["mean", "size"])
    size = (3.6 + 2.7 * len(gains), 0.05 * (rows[-1] + 8) + 2.3)
    figure, axes = plt.subplots(1, len(gains), figsize=size, sharex=True, sharey=True, squeeze=False)
    looks = {"bicubic": ("bicubic", "#999999"), "sisr": ("SISR", "#222222")}
    looks |= {UNRELATED: ("unrelated reference", COLOURS[1]), "related": ("related reference", COLOURS[0])}
    for axis, (network, gain) in zip(axes[0], gains.items()):
        gain = gain.reindex(order.index)
        axis.hlines(rows, gain[UNRELATED], gain["related"], color="#DDDDDD", lw=1.5, zorder=1)
        for name, (label, colour) in looks.items():
            mean = "" if name == "sisr" else f": mean {gain[name].mean():+.2f} dB"
            axis.scatter(gain[name], rows, color=colour, s=9, lw=0, zorder=2, label=label + mean)
        axis.axvline(0, color="#222222", lw=0.8, zorder=0)
        axis.set(xlabel="gain over SISR / dB")
        axis.set_title(f"{network}, {gain['sisr'].count()} pictures", fontsize=10)
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=6, fontsize=8)
    names = [f"{SETS.get(name, name)} ({count})" for name, count in blocks["size"].items()]
    axes[0, 0].set_yticks(blocks["mean"], names, fontsize=9)
    axes[0, 0].invert_yaxis()
    figure.suptitle(title)
    return figure


def effect_tables(results: pd.DataFrame) -> str:
    """``effects`` as means over the images of a data set, and over all, in Markdown.

    Gains in dB with related and unrelated references, a column a network, and the first one's PSNR; a line a data set.
    "" if nothing was measured with both references.
    """
    means = {
        (network, f"{SETS.get(data, data)} ({len(part)})"): part.mean()
        for network, table in effects(results).items()
        for data, part in [*table.groupby("dataset", sort=False), ("all", table)]
    }
    if not means:
        return ""
    psnr, first = pd.DataFrame(means).T, next(iter(means))[0]
    gain = psnr[["related", UNRELATED]].sub(psnr["sisr"], axis=0).map("{:+.2f}".format)
    frames = {f"Gain over SISR in dB, {which} reference": gain[which].unstack(0, "–", sort=False) for which in gain}
    names = {"sisr": "SISR", UNRELATED: "unrelated reference", "related": "related reference"}
    frames[f"PSNR in dB, references to {first}"] = psnr.loc[first].rename(columns=names).map("{:.2f}".format)
    shown = {what: part.rename_axis("pictures of").to_markdown(**TO_RIGHT) for what, part in frames.items()}
    return "\n\n".join(f"**{what}**\n\n{part}" for what, part in shown.items())


def by_overlap(results: pd.DataFrame, model: str) -> pd.DataFrame:
    """A line a pair of ViewPairs, least overlap first: ``coverage`` (0 to 1), ``effect`` as gains over SISR in dB."""
    worth = effect(results, model)
    return graded_pairs()[["coverage"]].join(worth.sub(worth["sisr"], axis=0), how="inner").sort_values("coverage")


def overlap_figure(results: pd.DataFrame) -> Figure | None:
    """Gain over SISR against the overlap of the pair: a panel a system of ``OVERLAP_SYSTEMS``, every picture a point.

    The line is a running mean over the 25 pictures nearest in rank, fewer towards the ends; dashes are the mean gain
    with an unrelated reference. Systems that were not measured are left out; None if none was.
    """
    tables = {model: table for model in OVERLAP_SYSTEMS if len(table := by_overlap(results, model))}
    if not tables:
        return None
    figure, axes = plt.subplots(1, len(tables), figsize=(3.1 * len(tables) + 0.6, 4.9), sharey=True, squeeze=False)
    shares, decibels = (0.03, 0.1, 0.3, 0.6), (-10, -3, -1, 0, 1, 3, 10)
    for axis, (model, table) in zip(axes[0], tables.items()):
        for level, part in table.groupby(level=0):
            label = f"{DATASETS[level].title}, {len(part)} pictures: {part['related'].mean():+.2f} dB"
            colour = COLOURS[int(level[-1]) - 1]
            axis.scatter(part["coverage"], part["related"], color=colour, s=22, alpha=0.65, lw=0, label=label)
        smooth = table.assign(coverage=np.log(table["coverage"])).rolling(25, center=True, min_periods=8).mean()
        axis.plot(np.exp(smooth["coverage"]), smooth["related"], color="#222222", lw=2.2)
        mean = table[UNRELATED].mean()
        axis.axhline(mean, color="#222222", lw=1.2, ls=(0, (4, 3)), label=f"unrelated reference: {mean:+.2f} dB")
        axis.axhline(0, color="#888888", lw=0.8, zorder=0)
        axis.set(xscale="log", xlabel="overlap: share of the picture matched")
        axis.set_title(system_of(model).title, fontsize=12, fontweight="bold")
        axis.set_yscale("symlog", linthresh=1)  # tenths of a decibel and ten on one axis
        axis.set_xticks(shares, [f"{share:.0%}" for share in shares])
        axis.set_yticks(decibels, [f"{gain:+d}" if gain else "0" for gain in decibels])
        axis.minorticks_off()
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=9, frameon=False)
    gains = pd.concat(tables)["related"]
    limits = (1.3 * min(gains.min(), -1), 1.2 * max(gains.max(), 1))
    axes[0, 0].set(ylabel="gain over SISR / dB, linear up to ±1", ylim=limits)
    figure.suptitle(OVERLAP, fontsize=13)
    return figure


# ---- Tables 3 and 4: three seeds of each model, and what each did while it trained ----


def ablations() -> list[str]:
    """The models of Tables 3 and 4, and those beside them."""
    return [name for name, system in SYSTEMS.items() if system.ablation]


def over_seeds(results: pd.DataFrame, models: Iterable[str] | None = None, metric: str = "psnr") -> pd.DataFrame:
    """A line a model, all ``ablations`` by default: its mean score by seed, their mean, and their spread.

    ``results`` as ``read_seeds`` gives them; a spread is the largest less the smallest. Means are over the images that
    every model's first training was measured on, with the usual reference; ``images`` counts them. A training that was
    not measured on all of them is left out.
    """
    models = ablations() if models is None else list(models)
    usual = results[results["model"].isin(models) & (results["reference"] == USUAL)]
    wide = usual.pivot_table(index=["dataset", "image"], columns=["model", "training"], values=metric)
    first = [columns[0] for _, columns in wide.columns.groupby(wide.columns.get_level_values(0)).items()]
    wide = wide.dropna(subset=first).dropna(axis=1)
    seeds = wide.mean().unstack().reindex([m for m in models if m in wide.columns.get_level_values(0)])
    lines = pd.DataFrame({"called": [system_of(m).short for m in seeds.index], "images": len(wide)}, seeds.index)
    both = {"mean": seeds.mean(axis=1), "spread": seeds.max(axis=1) - seeds.min(axis=1)}
    return lines.join(seeds.add_prefix("seed ")).assign(**both).rename_axis(index="model").reset_index()


def histories(models: Iterable[str], profile: str, results: Path) -> pd.DataFrame:
    """What ``probes.probe`` and the validation saw while they trained: a line a model, seed and step."""
    trained = ((model, seed, card) for model in models for seed, card in cards(model, profile, results).items())
    return pd.DataFrame({"model": m, "training": seed} | row for m, seed, card in trained for row in card["history"])


def training_figure(history: pd.DataFrame, columns: dict[str, str], title: str, *, log: bool = False) -> Figure:
    """Columns of ``histories`` against steps: a panel a column ({column: label}), a colour a model.

    A band is the range over seeds, the line in it their mean. ``log``: one logarithmic axis for all, without zeros.
    """
    figure, axes = plt.subplots(1, len(columns), figsize=(3.2 * len(columns), 3.3), squeeze=False, sharey=log)
    history = history.replace({column: 0.0 for column in columns}, float("nan")) if log else history
    for axis, (column, label) in zip(axes[0], columns.items()):
        for (model, part), colour in zip(history.groupby("model", sort=False), COLOURS):
            curve = part.dropna(subset=[column]).groupby("step")[column]
            if len(curve):
                axis.plot(curve.mean(), color=colour, label=system_of(model).short)
                axis.fill_between(curve.min().index, curve.min(), curve.max(), color=colour, alpha=0.2, lw=0)
        axis.set(xlabel="training step", title=label, yscale="log" if log else "linear")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(title)
    return figure


def budget(profile: str) -> str:
    """One sentence: what every model of Tables 3 and 4 was trained with, from the cards that ship."""
    if not (shipped := [shipped_card(m, profile) for m in available_models(profile) if m in ablations()]):
        return "No model of Tables 3 and 4 has been trained yet."
    steps = ", ".join(map(str, sorted({card["steps"] for card in shipped})))
    minutes = [card["seconds"] / 60 for card in shipped]
    return (
        f"Models of Tables 3 and 4: {steps} steps of joint training each, {min(minutes):.0f} to {max(minutes):.0f} "
        "minutes on one core while other work ran, from one pre-trained SISR branch (Feature-VGG from random weights). "
        "Recipe and photographs differ from those of Tables 1 and 2, and joint training is shorter."
    )
