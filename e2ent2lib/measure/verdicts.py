"""The paper's claims as statements that can fail, and the verdict on each. Notebook 11.

claims.toml holds what the paper says, where, and what must be compared to test it; a positive effect is what the paper
says. A verdict comes of an effect, its interval over scenes, and its spread over seeds. Networks are compared picture
by picture under one protocol; of a picture that was measured under several the differences are averaged.
"""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from e2ent2lib.data.pairs import DATASETS
from e2ent2lib.data.scenes import scene
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.perceptual import NEEDS, SCORES
from e2ent2lib.measure.results import cards, read_seeds
from e2ent2lib.runs.checkpoints import shipped_folder
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import system_of

USUAL = Protocol().reference
EVERY = tuple(name for name, data in DATASETS.items() if data.in_tables)
STEREO = tuple(name for name in EVERY if DATASETS[name].stereo)
"""Data sets whose references are another view of the same scene: as relevant as can be."""
REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced at this scale"
NOT_SEPARABLE, NOT_TESTABLE = "not separable", "not testable here"
NOT_COMPARABLE, DEPENDS = "not comparable", "depends on the pictures"
WORST_FIRST = (NOT_REPRODUCED, NOT_TESTABLE, NOT_COMPARABLE, DEPENDS, NOT_SEPARABLE, REPRODUCED)
FEWEST = 5
"""Scenes that an interval needs."""
AS_LONG = 0.8
"""The share of ours that another network must have been trained for: ``trained_less``."""
LENDER = "e2ent2-ablation"
"""Whose spread over seeds stands in where a network was trained once."""
LESS_IS_BETTER = ("feature_distance", "feature_distance_relative", *SCORES)
TIMINGS = ROOT / "benchmarks" / "claims.json"


@dataclass(frozen=True)
class Comparison:
    """One network against another, image by image; "no worse" is a ``margin`` above 0, in the metric's unit."""

    better: str
    worse: str
    _: KW_ONLY
    metric: str = "psnr"
    references: tuple[str, str] = (USUAL, USUAL)
    """Of the better one and of the worse one, as the protocol names them."""
    data: tuple[str, ...] = EVERY
    than: tuple[str, ...] = ()
    """Data sets on which the effect should be smaller than on ``data``; their pictures are others, so unpaired."""
    margin: float = 0.0

    @property
    def sides(self) -> tuple[tuple[str, str], ...]:
        """(network, its reference), the better one first."""
        return tuple(zip((self.better, self.worse), self.references))

    def __str__(self) -> str:
        named = [model + ("" if reference == USUAL else f" ({reference})") for model, reference in self.sides]
        return f"{named[0]} {'no worse than' if self.margin else 'over'} {named[1]}, {self.metric}{self._where}"

    @property
    def _where(self) -> str:
        named = {EVERY: "", STEREO: " on stereo pairs"}.get(self.data, f" on {titles(self.data)}")
        return named + (f" against {titles(self.than)}" if self.than else "")

    def compare(self, results: pd.DataFrame, *_: object) -> dict:
        """The facts of a ``Finding``, from ``read_seeds``'s frame."""
        effects = paired(self, results)
        if effects.empty:
            return {"verdict": NOT_TESTABLE, "why": self._missing(results)}
        data = effects.index.get_level_values("dataset")
        facts = self._facts(results, *(effects[data.isin(part)] for part in (self.data, self.than) if part))
        if self.than or data.nunique() < 2:
            return facts
        by_set = {name: self._facts(results, part) for name, part in effects.groupby(level="dataset")}
        holds, fails = ([n for n, part in by_set.items() if part["verdict"] == v] for v in (REPRODUCED, NOT_REPRODUCED))
        if holds and fails:
            facts |= {"verdict": DEPENDS, "why": f"reproduced on {titles(holds)}, not on {titles(fails)}"}
        return facts | {"by_set": by_set}

    def _facts(self, results: pd.DataFrame, *samples: pd.DataFrame) -> dict:
        """Verdict and numbers of effects as ``paired`` gives them, of a second sample's subtracted from the first's."""
        unit, whole = "dB" if self.metric == "psnr" else "", pd.concat(samples)
        counts = whole.groupby(level="dataset").size()
        scenes = [[scene(*image) for image in sample.index] for sample in samples]
        facts = {"images": len(whole), "scenes": sum(len(set(names)) for names in scenes), "unit": unit}
        facts["sets"] = ", ".join(f"{count} of {titles([name])}" for name, count in counts.items())
        if (least := min(len(set(names)) for names in scenes)) < FEWEST:
            known = f": {difference(sample.mean(axis=None) for sample in samples):+.2f} {unit}" if least else ""
            count = f"{least} scene{'s' * (least != 1)}"
            return facts | {"verdict": NOT_TESTABLE, "why": f"{count}{known}; an interval needs {FEWEST}"}
        by_image = [sample.mean(axis=1).set_axis(names) for sample, names in zip(samples, scenes)]
        by_seed = difference(sample.mean() for sample in samples)
        effect, (low, high) = float(difference(sample.mean() for sample in by_image)), interval(*by_image)
        if borrowed := len(by_seed) < 2 and not self.than:
            by_seed = self._lent(results, whole.index)
        spread = float(by_seed.max() - by_seed.min()) if len(by_seed) > 1 else None
        outcome, why = verdict(effect, low, high, spread, -self.margin)
        if outcome == NOT_SEPARABLE:
            least = f"{max((high - low) / 2, spread or 0) - self.margin:.2g} {unit}".rstrip()
            why += f"; an effect above {least} would have been separable"
        facts |= {"effect": effect, "low": low, "high": high, "spread": spread, "borrowed": borrowed}
        return facts | {"verdict": outcome, "why": why, "trainings": 1 if borrowed else len(by_seed)}

    def _missing(self, results: pd.DataFrame) -> str:
        for model, reference in self.sides:
            if scores(results, model, reference, self.metric, (*self.data, *self.than)).empty:
                more = f" --perceptual, with {NEEDS[self.metric]}" if self.metric in SCORES else ""
                shown = f" with the {reference} reference" * (reference != USUAL) + self._where
                return f"{model} has no {self.metric}{shown} yet: e2ent2 evaluate --models {model}{more}"
        return f"{self.better} and {self.worse} have no picture in common that was measured under one protocol"

    def _lent(self, results: pd.DataFrame, images: pd.Index) -> pd.Series:
        """``LENDER``'s mean score by seed, on those of these images that it was measured on, or else on all its own."""
        lent = scores(results, LENDER, USUAL, self.metric, {*EVERY, *self.data})
        lent = lent.groupby(level=images.names).mean().dropna()
        common = images.intersection(lent.index)
        return (lent.loc[common] if len(common) else lent).mean()


@dataclass(frozen=True)
class InTraining:
    """One network's training against another's, seed by seed, from the cards' histories."""

    better: str
    worse: str
    measure: str
    """"mean PSNR" over the validations of a training, or "setback": how far a validation is below the best before."""

    def __str__(self) -> str:
        return f"{self.better} over {self.worse}, {self.measure} in training"

    def compare(self, _: pd.DataFrame, profile: str, folder: Path) -> dict:
        """The facts of a ``Finding``, from the cards of a folder of results."""
        one, other = (cards(model, profile, folder) for model in (self.better, self.worse))
        seeds = sorted(one.keys() & other.keys())
        facts = {"images": len(seeds), "sets": f"{len(seeds)} seeds", "unit": "dB"}
        if len(seeds) < 2:
            return facts | {"verdict": NOT_TESTABLE, "why": "needs two seeds of both: e2ent2 train --seed"}
        measure = {"mean PSNR": mean_psnr, "setback": lambda history: -setback(history)}[self.measure]
        effects = np.array([measure(one[s]["history"]) - measure(other[s]["history"]) for s in seeds])
        effect, spread = float(effects.mean()), float(effects.max() - effects.min())
        outcome, why = verdict(effect, None, None, spread)
        return facts | {"verdict": outcome, "why": why, "effect": effect, "spread": spread, "trainings": len(seeds)}


@dataclass(frozen=True)
class Timing:
    """A ratio of times or sizes that ``benchmarks/claims.py`` measured in one run; ``key`` is its name there.

    It should be above 1, or with a ``margin`` of 0.05 above 0.95: "no worse" by more than 5 %.
    """

    key: str
    margin: float = 0.0

    def __str__(self) -> str:
        return self.key

    def compare(self, *_: object) -> dict:
        """The facts of a ``Finding``, from ``TIMINGS``."""
        ratios = json.loads(TIMINGS.read_text(encoding="utf-8"))["ratios"] if TIMINGS.is_file() else {}
        if self.key not in ratios:
            return {"verdict": NOT_TESTABLE, "why": "not measured: python benchmarks/claims.py", "unit": "×"}
        logs = np.log(ratios[self.key])
        numbers = dict(zip(("effect", "low", "high"), np.exp([logs.mean(), *interval(logs)]).tolist()))
        outcome, why = verdict(*numbers.values(), None, 1 - self.margin)
        rounds = {"images": len(logs), "sets": f"{len(logs)} rounds"}
        return {"verdict": outcome, "why": why, "unit": "×"} | rounds | numbers


@dataclass(frozen=True)
class Claim:
    """What the paper says, where, and the comparisons that it must pass; ``caveat`` is what must be read with it."""

    name: str
    where: str
    says: str
    parts: tuple[Comparison | InTraining | Timing, ...]
    caveat: str = ""
    budgets: bool = False
    """Whether it holds only against networks that were trained as long: ``trained_less``."""


def _read(claim: dict) -> Claim:
    """A claim of claims.toml; the data sets "stereo" are ``STEREO``."""
    parts = []
    for part in claim["parts"]:
        fields = {k: tuple(v) if isinstance(v, list) else STEREO if v == "stereo" else v for k, v in part.items()}
        parts.append((Timing if "key" in part else InTraining if "measure" in part else Comparison)(**fields))
    return Claim(**claim | {"parts": tuple(parts)})


FILE = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))
CLAIMS = tuple(map(_read, FILE["claim"]))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one comparison gave; ``why`` says what kept it from a verdict."""

    claim: str
    part: str
    verdict: str
    why: str = ""
    unit: str = ""
    on: str = "all"
    """The data set that it is of, or all that were measured."""
    images: int = 0
    """Images, seeds or rounds that were paired."""
    scenes: int = 0
    sets: str = ""
    """How many images of which data sets, how many seeds or rounds."""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    """Bounds of the 95 % interval."""
    spread: float | None = None
    """Largest less smallest effect over the seeds, in the effect's unit."""
    trainings: int = 1
    borrowed: bool = False
    """Whether the spread is ``LENDER``'s."""
    by_set: tuple["Finding", ...] = ()
    """The same of each data set, where there are several."""


def scores_for_claims(folder: Path, profile: str) -> tuple[pd.DataFrame, Path]:
    """``read_seeds`` of a folder of results, and the folder; of the committed one where it holds too few images."""
    results = read_seeds(folder, profile)
    if results[["dataset", "image"]].drop_duplicates().shape[0] >= FEWEST:
        return results, folder
    return read_seeds(ROOT / "data" / "results", profile), ROOT / "data" / "results"


def verdict(
    effect: float, low: float | None, high: float | None, spread: float | None, limit: float = 0.0
) -> tuple[str, str]:
    """The verdict on one effect, which has to be above the limit, and why if it is none.

    Not separable if the interval [low, high] holds the limit, or if the spread over seeds is at least as large as the
    effect's distance from it; else the side decides.
    """
    if low is not None and low <= limit <= high:
        return NOT_SEPARABLE, f"its interval includes {f'{limit:g}' if limit else 'zero'}"
    if spread is not None and spread >= abs(effect - limit):
        return NOT_SEPARABLE, "the spread over seeds covers the effect"
    return (REPRODUCED if effect > limit else NOT_REPRODUCED), ""


def titles(names: Iterable[str]) -> str:
    """What data sets are called in tables; others by their names."""
    return ", ".join(DATASETS[name].title if name in DATASETS else name for name in names)


def paired(comparison: Comparison, results: pd.DataFrame) -> pd.DataFrame:
    """The effect by image and training; positive is what the paper says. Empty if a side has not been measured.

    Both scores of a difference are of one protocol; a picture's effect is the mean over those it was measured under.
    Trainings are paired by their seed; another seed than the shipped one's counts if it was measured on all its images.
    """
    data = (*comparison.data, *comparison.than)
    one, other = (scores(results, m, r, comparison.metric, data) for m, r in comparison.sides)
    if one.empty or other.empty:
        return pd.DataFrame()
    sign = -1.0 if comparison.metric in LESS_IS_BETTER else 1.0
    both = (sign * (one - other)).groupby(level=["dataset", "image"]).mean().dropna(axis=1, how="all")
    return both[both.iloc[:, 0].notna()].dropna(axis=1) if both.shape[1] else both


def judge(claim: Claim, results: pd.DataFrame, profile: str, folder: Path) -> list[Finding]:
    """A finding a part. ``results`` are ``read_seeds``'s, of ``folder``, where the cards of other seeds are too.

    Of a claim with ``budgets`` nothing is reproduced against a network of less training: that is not comparable.
    """
    findings = []
    for part in claim.parts:
        facts = part.compare(results, profile, folder)
        by_set = facts.pop("by_set", {})
        less = trained_less(part, profile) if claim.budgets else ""
        for one in (facts, *by_set.values()):
            if less and one["verdict"] in (REPRODUCED, DEPENDS):
                one |= {"verdict": NOT_COMPARABLE, "why": less}
        named = {"claim": claim.name, "part": str(part)}
        parts = tuple(Finding(**named, on=titles([name]), **one) for name, one in by_set.items())
        findings.append(Finding(**named, **facts, by_set=parts))
    return findings


def trained_less(part: Comparison, profile: str) -> str:
    """Why a comparison is unfair: the worse network had under ``AS_LONG`` of the better one's core-hours; else ""."""
    ours, theirs = (core_hours(model, profile) for model in (part.better, part.worse))
    if ours is None or theirs is None:
        return f"no card says how long {part.better if ours is None else part.worse} was trained"
    if theirs >= AS_LONG * ours:
        return ""
    return f"{part.worse} was trained for {theirs:.2f} core-hours, {part.better} for {ours:.2f}"


def overall(findings: Iterable[Finding]) -> str:
    """A claim's verdict: that of its worst part."""
    return min((f.verdict for f in findings), key=WORST_FIRST.index)


def judge_all(
    results: pd.DataFrame, profile: str, folder: Path, names: Iterable[str] = ()
) -> dict[Claim, list[Finding]]:
    """The findings of the named claims, or of all. Raises ValueError for a name that does not exist."""
    known = {claim.name: claim for claim in CLAIMS}
    if wrong := [name for name in names if name not in known]:
        raise ValueError(f"no claim is called {wrong[0]!r}; choose one of {', '.join(known)}")
    chosen = [known[name] for name in names] or CLAIMS
    return {claim: judge(claim, results, profile, folder) for claim in chosen}


# ---- what a verdict rests on: scores side by side, how sure a mean is, how a network was trained ----


def scores(results: pd.DataFrame, model: str, reference: str, metric: str, data: Iterable[str]) -> pd.DataFrame:
    """A line an image and protocol, a column a training, of a model's scores; empty if there are none."""
    mine = (results["model"] == model) & (results["reference"] == reference) & results["dataset"].isin(list(data))
    rows = results[mine & results[metric].notna()] if metric in results else results[:0]
    keys = ["dataset", "image", "measured how"]
    if rows.empty:
        return pd.DataFrame(index=pd.MultiIndex.from_tuples([], names=keys))
    stored = rows["protocol"].map(json.dumps)
    how = {p: str(replace(Protocol(**json.loads(p)), reference=USUAL)) for p in stored.unique()}
    rows = rows.assign(**{"measured how": stored.map(how)})
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
    tail = ndtr(-np.sqrt(n / (n - 1)) * stdtrit(n - 1, 0.975))
    return tuple(np.quantile(means, (tail, 1 - tail)).tolist())


def difference(values: Iterable) -> float | pd.Series | np.ndarray:
    """The first value, or the first less the second."""
    first, *others = values
    return first - others[0] if others else first


def core_hours(model: str, profile: str) -> float | None:
    """``own_hours`` of a shipped network and what it started from; None without a card, infinite if it needs none."""
    if system_of(model).card:
        return float("inf")
    if not (path := shipped_folder() / profile / f"{model}.json").is_file():
        return None
    card = json.loads(path.read_text(encoding="utf-8"))
    if "budget" in card:
        return card["budget"]["with_what_it_starts_from"]
    _, first = own_steps(card)
    before = core_hours(first, profile) if first else 0.0
    return None if before is None else before + own_hours(card)


def own_hours(card: dict) -> float:
    """Core-hours of a training: steps × what a step costs on an idle core, where its card has that ``budget``, else
    seconds × threads, which is wall time while other work ran; with those of the same network that it went on from."""
    if "budget" in card:
        return card["budget"]["core_hours"]
    earlier = card.get("started_from") or {}
    return card["seconds"] * card["threads"] / 3600 + (own_hours(earlier) if "seconds" in earlier else 0.0)


def own_steps(card: dict) -> tuple[int, str]:
    """Steps of a training with those of the same network that it went on from, and what came first, "" if nothing."""
    start = card["started_from"] or {}
    earlier, first = own_steps(start) if "steps" in start else (0, start.get("model", ""))
    return card["steps"] + earlier, first


def mean_psnr(history: list[dict]) -> float:
    """Mean validation PSNR of I_sr, in dB, over a training: the sooner it rises, the higher."""
    return float(np.mean([row["val_ref"] for row in history if row["step"]]))


def setback(history: list[dict]) -> float:
    """How far the validation PSNR lies below the best one before it, in dB, on average over a training."""
    curve = np.array([row["val_ref"] for row in history if row["step"]])
    return float(np.mean(np.maximum.accumulate(curve) - curve))
