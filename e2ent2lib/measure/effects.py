"""What verdicts rest on: scores side by side, how sure a mean is, and how a network was trained. Notebook 11."""

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import norm, t

from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.runs.checkpoints import shipped_folder
from e2ent2lib.systems import system_of

USUAL = Protocol().reference


@lru_cache
def _without_reference(protocol: str) -> str:
    return str(replace(Protocol(**json.loads(protocol)), reference=USUAL))


def scores(results: pd.DataFrame, model: str, reference: str, metric: str, data: Iterable[str]) -> pd.DataFrame:
    """A line an image and protocol, a column a training, of a model's scores; empty if there are none."""
    mine = (results["model"] == model) & (results["reference"] == reference) & results["dataset"].isin(list(data))
    rows = results[mine & results[metric].notna()] if metric in results else results[:0]
    keys = ["dataset", "image", "measured how"]
    if rows.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_tuples([], names=keys))
    rows = rows.assign(**{"measured how": [_without_reference(json.dumps(p)) for p in rows["protocol"]]})
    return rows.set_index([*keys, "training"])[metric].astype(float).unstack()


def interval(*samples: pd.Series | np.ndarray) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of one sample, or of the difference of the means of two.

    A sample is a Series of values by scene, of which whole scenes are drawn, or an array of values of a scene each;
    9,999 draws, seed 0. Percentiles, widened for few scenes by Student's t (Hesterberg, The American Statistician 2015,
    "expanded percentiles"): those of 5 to 10 scenes hold the mean in 83 to 90 % of cases, these in 92 % and more.
    """
    rng = np.random.default_rng(0)
    sums = [pd.Series(sample).groupby(level=0).agg(["sum", "size"]).to_numpy().T for sample in samples]
    drawn = [rng.integers(values.shape[1], size=(9_999, values.shape[1])) for values in sums]
    means = difference(values[0][i].sum(axis=1) / values[1][i].sum(axis=1) for values, i in zip(sums, drawn))
    n = min(values.shape[1] for values in sums)
    tail = norm.cdf(-np.sqrt(n / (n - 1)) * t.ppf(0.975, n - 1))
    low, high = np.quantile(means, (tail, 1 - tail))
    return float(low), float(high)


def difference(values: Iterable) -> float | pd.Series | np.ndarray:
    """The first value, or the first less the second."""
    first, *others = values
    return first - others[0] if others else first


def core_hours(model: str, profile: str) -> float | None:
    """Hours on one core that a shipped network was trained for, those that it started from included; by their cards.

    A card's ``budget``, steps × what a step costs on an idle core, goes before its seconds × threads, which is wall
    time while other work ran. None without a card, infinite for a system that needs no training.
    """
    if system_of(model).card:
        return float("inf")
    path = shipped_folder() / profile / f"{model}.json"
    if not path.is_file():
        return None
    card = json.loads(path.read_text(encoding="utf-8"))
    if "budget" in card:
        return card["budget"]["with_what_it_starts_from"]
    before = core_hours(card["started_from"]["model"], profile) if card["started_from"] else 0.0
    return None if before is None else before + card["seconds"] * card["threads"] / 3600


def mean_psnr(history: list[dict]) -> float:
    """Mean validation PSNR of I_sr, in dB, over a training: the sooner it rises, the higher."""
    return float(np.mean([row["val_ref"] for row in history if row["step"]]))


def setback(history: list[dict]) -> float:
    """How far the validation PSNR lies below the best one before it, in dB, on average over a training."""
    curve = np.array([row["val_ref"] for row in history if row["step"]])
    return float(np.mean(np.maximum.accumulate(curve) - curve))
