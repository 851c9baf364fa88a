"""The paper's claims as testable statements: what it says, where, and what must be compared to test it. Notebook 11.

They stand in claims.toml; ``verdicts`` compares. A positive effect is what the paper says.
"""

import tomllib
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from e2ent2lib.data.pairs import DATASETS
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.perceptual import SCORES

USUAL = Protocol().reference
STEREO = ("motorcycle", "middlebury", "flickr1024")
"""Data sets whose references are another view of the same scene: as relevant as can be."""
EVERY = tuple(name for name, data in DATASETS.items() if data.in_tables)


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

    def __str__(self) -> str:
        named = [m + ("" if r == USUAL else f" ({r})") for m, r in zip((self.better, self.worse), self.references)]
        return f"{named[0]} {'no worse than' if self.margin else 'over'} {named[1]}, {self.metric}"


@dataclass(frozen=True)
class InTraining:
    """One network's training against another's, seed by seed, from the cards' histories."""

    better: str
    worse: str
    measure: str
    """"mean PSNR" over the validations of a training, or "setback": how far a validation is below the best before."""

    def __str__(self) -> str:
        return f"{self.better} over {self.worse}, {self.measure} in training"


@dataclass(frozen=True)
class Timing:
    """A ratio of times or sizes that ``benchmarks/claims.py`` measured in one run; ``key`` is its name there.

    It should be above 1, or with a ``margin`` of 0.05 above 0.95: "no worse" by more than 5 %.
    """

    key: str
    margin: float = 0.0

    def __str__(self) -> str:
        return self.key


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


def _part(fields: dict) -> Comparison | InTraining | Timing:
    """A part of claims.toml; "stereo" is ``STEREO``."""
    kind = Timing if "key" in fields else InTraining if "measure" in fields else Comparison
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return kind(**fields | lists | ({"data": STEREO} if fields.get("data") == "stereo" else {}))


def _read() -> tuple[Claim, ...]:
    claims = tomllib.loads(Path(__file__).with_name("claims.toml").read_text(encoding="utf-8"))["claim"]
    return tuple(Claim(**claim | {"parts": tuple(map(_part, claim["parts"]))}) for claim in claims)


CLAIMS = _read()


def perceptual_models() -> set[str]:
    """The models that a claim compares by a perceptual score."""
    parts = [p for claim in CLAIMS for p in claim.parts if isinstance(p, Comparison) and p.metric in SCORES]
    return {model for p in parts for model in (p.better, p.worse)}
