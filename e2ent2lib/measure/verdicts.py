"""The paper's claims as statements that can fail, and the verdict on each. Notebook 11.

claims.toml holds what the paper says, where, and what must be compared to test it; a positive effect is what the paper
says. A verdict comes of an effect, its interval over images, and its spread over seeds.
"""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from e2ent2lib.data.pairs import DATASETS
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.perceptual import NEEDS, SCORES
from e2ent2lib.measure.results import cards, read_seeds
from e2ent2lib.runs.provenance import ROOT

USUAL = Protocol().reference
STEREO = ("motorcycle", "middlebury", "flickr1024")
"""Data sets whose references are another view of the same scene: as relevant as can be."""
EVERY = tuple(name for name, data in DATASETS.items() if data.in_tables)
REPRODUCED, NOT_REPRODUCED = "reproduced", "not reproduced at this scale"
NOT_SEPARABLE, NOT_TESTABLE = "not separable", "not testable here"
WORST_FIRST = (NOT_REPRODUCED, NOT_TESTABLE, NOT_SEPARABLE, REPRODUCED)
FEWEST = 5
"""Images that an interval needs."""
LENDER = "e2ent2-ablation"
"""Whose spread over seeds stands in where a network was trained once."""
UNITS = {"psnr": "dB"}
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
    margin: float = 0.0

    @property
    def sides(self) -> tuple[tuple[str, str], ...]:
        """(network, its reference), the better one first."""
        return tuple(zip((self.better, self.worse), self.references))

    def __str__(self) -> str:
        named = [model + ("" if reference == USUAL else f" ({reference})") for model, reference in self.sides]
        return f"{named[0]} {'no worse than' if self.margin else 'over'} {named[1]}, {self.metric}"

    def compare(self, results: pd.DataFrame, *_: object) -> dict:
        """The facts of a ``Finding``, from ``read_seeds``'s frame."""
        effects, unit = paired(self, results), UNITS.get(self.metric, "")
        if len(effects) < FEWEST:
            why = self._too_few(results, effects)
            return {"verdict": NOT_TESTABLE, "why": why, "images": len(effects), "unit": unit}
        by_image, by_seed = effects.mean(axis=1).to_numpy(), effects.mean(axis=0)
        effect, (low, high) = float(by_image.mean()), interval(by_image)
        borrowed = len(by_seed) < 2
        spread = self._spread_of_lender(results, effects.index) if borrowed else float(by_seed.max() - by_seed.min())
        outcome, why = verdict(effect + self.margin, low + self.margin, high + self.margin, spread)
        numbers = {"effect": effect, "low": low, "high": high, "spread": spread, "unit": unit, "images": len(effects)}
        return {"verdict": outcome, "why": why, "trainings": len(by_seed), "borrowed": borrowed} | numbers

    def _too_few(self, results: pd.DataFrame, effects: pd.DataFrame) -> str:
        for model, reference in self.sides:
            if scores(results, model, reference, self.metric, self.data).empty:
                more = f" --perceptual, with {NEEDS[self.metric]}" if self.metric in SCORES else ""
                return f"{model} has no {self.metric} yet: e2ent2 evaluate --models {model}{more}"
        known = f": {effects.stack().mean():+.2f} {UNITS.get(self.metric, '')}" if len(effects) else ""
        return f"{len(effects)} image(s) of {', '.join(self.data)}{known}; an interval needs {FEWEST}"

    def _spread_of_lender(self, results: pd.DataFrame, images: pd.Index) -> float | None:
        """Range over seeds of ``LENDER``'s mean score on the same images: how far one training lies from the next."""
        lent = scores(results, LENDER, USUAL, self.metric, self.data)
        lent = lent.reindex(images).dropna(axis=1) if len(lent) else lent
        means = lent.mean(axis=0)
        return float(means.max() - means.min()) if len(means) > 1 else None


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
        facts = {"images": len(seeds), "unit": "dB"}
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
        effect, (low, high) = float(logs.mean()), interval(logs)
        least = np.log(1 - self.margin)
        outcome, why = verdict(effect - least, low - least, high - least, None)
        numbers = {name: float(np.exp(x)) for name, x in (("effect", effect), ("low", low), ("high", high))}
        return {"verdict": outcome, "why": why, "unit": "×", "images": len(logs)} | numbers


@dataclass(frozen=True)
class Claim:
    """What the paper says, where, and the comparisons that it must pass; ``caveat`` is what must be read with it."""

    name: str
    where: str
    says: str
    parts: tuple[Comparison | InTraining | Timing, ...]
    caveat: str = ""
    budgets: bool = False
    """Whether the networks' minutes of training differ so much that they must be read with it too."""


def _read(claim: dict) -> Claim:
    """A claim of claims.toml; the data sets "stereo" are ``STEREO``."""
    parts = []
    for part in claim["parts"]:
        fields = {k: tuple(v) if isinstance(v, list) else STEREO if v == "stereo" else v for k, v in part.items()}
        parts.append((Timing if "key" in part else InTraining if "measure" in part else Comparison)(**fields))
    return Claim(**claim | {"parts": tuple(parts)})


CLAIMS = tuple(map(_read, tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))["claim"]))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one comparison gave; ``why`` says what kept it from a verdict."""

    claim: str
    part: str
    verdict: str
    why: str = ""
    unit: str = ""
    images: int = 0
    """Images, seeds or rounds that were paired."""
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    """Bounds of the 95 % interval."""
    spread: float | None = None
    """Largest less smallest effect over the seeds, in the effect's unit."""
    trainings: int = 1
    borrowed: bool = False
    """Whether the spread is ``LENDER``'s."""


def scores_for_claims(folder: Path, profile: str) -> tuple[pd.DataFrame, Path]:
    """``read_seeds`` of a folder of results, and the folder; of the committed one where it holds too few images."""
    results = read_seeds(folder, profile)
    if results[["dataset", "image"]].drop_duplicates().shape[0] >= FEWEST:
        return results, folder
    return read_seeds(ROOT / "data" / "results", profile), ROOT / "data" / "results"


def verdict(effect: float, low: float | None, high: float | None, spread: float | None) -> tuple[str, str]:
    """The verdict on one effect, and why if it is none.

    Not separable if the interval [low, high] holds 0, or if the spread over seeds is at least as large as the effect;
    else the sign decides.
    """
    if low is not None and low <= 0 <= high:
        return NOT_SEPARABLE, "its interval includes zero"
    if spread is not None and spread >= abs(effect):
        return NOT_SEPARABLE, "the spread over seeds covers the effect"
    return (REPRODUCED if effect > 0 else NOT_REPRODUCED), ""


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean; 9,999 resamples, seed 0."""
    bounds = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0)).confidence_interval
    return float(bounds.low), float(bounds.high)


def scores(results: pd.DataFrame, model: str, reference: str, metric: str, data: Iterable[str]) -> pd.DataFrame:
    """A line an image, a column a training, of a model's scores; empty if there are none."""
    if metric not in results:
        return pd.DataFrame()
    mine = (results["model"] == model) & (results["reference"] == reference) & results["dataset"].isin(list(data))
    keys = ["dataset", "image", "training"]
    return results[mine & results[metric].notna()].set_index(keys)[metric].astype(float).unstack()


def paired(comparison: Comparison, results: pd.DataFrame) -> pd.DataFrame:
    """The effect by image and training; positive is what the paper says. Empty if a side has not been measured.

    Trainings are paired by their seed. The images are those of the first pair, the shipped one; another seed counts if
    it was measured on all of them.
    """
    one, other = (scores(results, m, r, comparison.metric, comparison.data) for m, r in comparison.sides)
    if one.empty or other.empty:
        return pd.DataFrame()
    sign = -1.0 if comparison.metric in LESS_IS_BETTER else 1.0
    both = (sign * (one - other)).dropna(axis=1, how="all")
    return both[both.iloc[:, 0].notna()].dropna(axis=1) if both.shape[1] else both


def judge(claim: Claim, results: pd.DataFrame, profile: str, folder: Path) -> list[Finding]:
    """A finding a part. ``results`` are ``read_seeds``'s, of ``folder``, where the cards of other seeds are too."""
    return [Finding(claim=claim.name, part=str(part), **part.compare(results, profile, folder)) for part in claim.parts]


def mean_psnr(history: list[dict]) -> float:
    """Mean validation PSNR of I_sr, in dB, over a training: the sooner it rises, the higher."""
    return float(np.mean([row["val_ref"] for row in history if row["step"]]))


def setback(history: list[dict]) -> float:
    """How far the validation PSNR lies below the best one before it, in dB, on average over a training."""
    curve = np.array([row["val_ref"] for row in history if row["step"]])
    return float(np.mean(np.maximum.accumulate(curve) - curve))


def overall(findings: Iterable[Finding]) -> str:
    """A claim's verdict: that of its worst part."""
    return min((f.verdict for f in findings), key=WORST_FIRST.index)


def judge_all(
    results: pd.DataFrame, profile: str, folder: Path, names: Iterable[str] = ()
) -> dict[Claim, list[Finding]]:
    """The findings of the named claims, or of all. Raises ValueError for a name that does not exist."""
    known = {claim.name: claim for claim in CLAIMS}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise ValueError(f"no claim is called {wrong[0]!r}; choose one of {', '.join(known)}")
    chosen = [known[name] for name in names] or CLAIMS
    return {claim: judge(claim, results, profile, folder) for claim in chosen}
