"""A blind user study to be run with people (4.2, Fig. 8): the order of trials, the answers as a file, their analysis.

The paper says who was compared and that respondents preferred its images; how it asked, how many, and how often is not
said. Ours: two pictures of one scene side by side, one by E2ENT² and one by another system, no names, "which looks
better?". No widgets here. Notebook 13.
"""

import csv
import hashlib
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest

from e2ent2lib.report.plots import COLOURS
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS

OURS = "e2ent2"
CATCH = ("hr", "bicubic")
"""A trial whose answer is plain: the photograph itself beside its bicubic enlargement."""
FEWEST_RIGHT = 2 / 3
"""A participant who answers fewer of the catch trials rightly is left out; fixed before any answer was given."""
CONSENT = """You will see pairs of pictures of the same scene and choose the one that looks better to you. It takes
about {minutes} minutes. Taking part is voluntary; you may stop at any moment, and what you answered until then is kept.
Stored are your choices, how long each took, and a number that stands for you; nothing else about you. By continuing you
agree."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One question: an image, the two systems, and which of them is at the left."""

    number: int
    image: str
    left: str
    right: str
    catch: bool


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A line of a participant's file."""

    participant: str
    seed: int
    number: int
    image: str
    left: str
    right: str
    catch: bool
    choice: str
    """"left" or "right"."""
    milliseconds: int


COLUMNS = [field.name for field in fields(Answer)]
SIDES = ("left", "right")


def trials(images: Sequence[str], others: Sequence[str], seed: int, ours: str = OURS) -> list[Trial]:
    """Every image with every other system once, in an order of the seed, our system at the left in half of them.

    About one trial in ten is a catch trial, at least one. Raises ValueError without images or systems.
    """
    if not images or not others:
        raise ValueError("a study needs at least one image and one system beside ours")
    rng = np.random.default_rng(seed)
    pairs = [(image, ours, other) for image, other in product(images, others)]
    catches = [(images[i % len(images)], *CATCH) for i in range(max(1, round(len(pairs) / 10)))]
    left_first = rng.permutation(np.arange(len(pairs)) % 2 == 0).tolist() + rng.integers(0, 2, len(catches)).tolist()
    plan = []
    for number, i in enumerate(rng.permutation(len(pairs) + len(catches))):
        image, *systems = (pairs + catches)[i]
        left, right = systems if left_first[i] else reversed(systems)
        plan.append(Trial(number=number, image=image, left=left, right=right, catch=bool(i >= len(pairs))))
    return plan


def seed_of(participant: str) -> int:
    """The order of questions that belongs to a participant, so that one who comes back finds the same."""
    return int.from_bytes(hashlib.sha256(participant.encode()).digest()[:4], "big")


def study_folder() -> Path:
    """Where answers are kept: ``E2ENT2_STUDY`` if set, else ``data/study``, which git ignores."""
    return Path(os.environ.get("E2ENT2_STUDY") or ROOT / "data" / "study")


def answer_file(folder: Path, participant: str) -> Path:
    """Where a participant's answers go. Raises ValueError for a name that could leave the folder."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", participant):
        raise ValueError(f"participant {participant!r}: use up to 40 letters, digits, - and _")
    return folder / f"{participant}.csv"


class Session:
    """One participant's way through the trials; each answer is on disk before the next question is asked.

    A file of the same participant and seed is continued. One of another seed is refused with FileExistsError, so that
    no answers are overwritten.
    """

    def __init__(self, folder: Path, participant: str, plan: Sequence[Trial], seed: int):
        self.path, self.participant, self.plan, self.seed = answer_file(folder, participant), participant, plan, seed
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), self.path.open("x", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(COLUMNS)
        self.answers = read_answers(self.path)
        due = [self._answer_to(trial) for trial in plan[: len(self.answers)]]
        if [replace(answer, choice="", milliseconds=0) for answer in self.answers] != due:
            raise FileExistsError(
                f"{self.path}: holds answers to another order of questions; choose another participant number"
            )

    @property
    def trial(self) -> Trial | None:
        """The question that is next; None after the last one."""
        return self.plan[len(self.answers)] if len(self.answers) < len(self.plan) else None

    def answer(self, choice: str, milliseconds: int) -> None:
        """Store the answer to ``trial``.

        Raises ValueError for any other choice, or after the last question, and FileExistsError if the same participant
        has answered elsewhere meanwhile.
        """
        if self.trial is None:
            raise ValueError("the study is over")
        if len(read_answers(self.path)) != len(self.answers):
            raise FileExistsError(
                f"{self.participant} has answered on another page meanwhile; continue there, or reload this page"
            )
        if choice not in SIDES:
            raise ValueError(f"choice {choice!r}: 'left' or 'right'")
        given = self._answer_to(self.trial, choice, milliseconds)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow(asdict(given))
            file.flush()
            os.fsync(file.fileno())
        self.answers.append(given)

    def _answer_to(self, trial: Trial, choice: str = "", milliseconds: int = 0) -> Answer:
        mine = {"participant": self.participant, "seed": self.seed, "choice": choice, "milliseconds": milliseconds}
        return Answer(**asdict(trial), **mine)


def read_answers(path: Path) -> list[Answer]:
    """The answers of one file. Raises ValueError that names a file and line that is no answer."""
    answers = []
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            try:
                numbers = {name: int(row[name]) for name in ("seed", "number", "milliseconds")}
                catch = {"True": True, "False": False}[row["catch"]]
                answers.append(Answer(**row | numbers | {"catch": catch}))
                if None in row.values() or row["choice"] not in SIDES:
                    raise ValueError
            except (KeyError, TypeError, ValueError):
                raise ValueError(f"{path}, line {line}: not an answer of this study; move the file elsewhere") from None
    return answers


def read_study(folder: Path) -> pd.DataFrame:
    """All answers of a folder, a line each; empty if there are none."""
    answers = [asdict(a) for path in sorted(folder.glob("*.csv")) for a in read_answers(path)]
    return pd.DataFrame(answers, columns=[f.name for f in fields(Answer)])


def attentive(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers of participants who passed their catch trials, ``FEWEST_RIGHT``."""
    chosen = answers["left"].where(answers["choice"] == "left", answers["right"])
    right = (chosen == CATCH[0])[answers["catch"].astype(bool)].groupby(answers["participant"]).mean()
    return answers[answers["participant"].isin(right.index[right >= FEWEST_RIGHT])]


def preferences(answers: pd.DataFrame, ours: str = OURS) -> pd.DataFrame:
    """A line a system: how many comparisons with ours, how often ours was preferred, share, 95 % Wilson interval, p.

    p is the two-sided binomial test against a coin. Catch trials do not count; answers are taken as independent.
    """
    asked = answers[~answers["catch"].astype(bool)]
    other = asked["left"].where(asked["left"] != ours, asked["right"])
    chosen = asked["left"].where(asked["choice"] == "left", asked["right"])
    lines = []
    for system, won in (chosen == ours).groupby(other):
        test = binomtest(int(won.sum()), len(won), 0.5)
        lines.append((system, len(won), test.k, won.mean(), *test.proportion_ci(method="wilson"), test.pvalue))
    columns = ["system", "comparisons", "preferred", "share", "low", "high", "p"]
    return pd.DataFrame(lines, columns=columns).sort_values("share", ignore_index=True)


def figure8(shares: pd.DataFrame, participants: int) -> Figure:
    """Fig. 8 from ``preferences``: how often ours was preferred to each system; without answers it says so."""
    figure, axis = plt.subplots(figsize=(7, 1.2 + 0.45 * max(1, len(shares))))
    if len(shares):
        share, low, high = (100 * shares[name] for name in ("share", "low", "high"))
        names = [SYSTEMS[name].title if name in SYSTEMS else name for name in shares["system"]]
        look = {"color": COLOURS[0], "ecolor": "#555555", "height": 0.6}
        axis.barh(names, share, xerr=np.stack([share - low, high - share]), **look)
        axis.axvline(50, color="#222222", lw=0.8, ls="--")
    else:
        words = "no responses collected yet; of the paper's bars its text gives no numbers, so none are drawn"
        axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", color="#777777", fontsize=9)
        axis.set(yticks=[])
    title = f"User study: ours against each system, {participants} participants"
    axis.set(xlim=(0, 100), xlabel="ours preferred / % of comparisons; bars are 95 % intervals", title=title)
    return figure
