"""A blind user study to be run with people (4.2, Fig. 8): the order of trials, the answers as a file, their analysis.

The paper says who was compared and that respondents preferred its images; how it asked, how many, and how often is not
said. Ours: two pictures of one scene side by side, one by E2ENT² and one by another system, no names, "which looks
better?". No system is named anywhere on the page. Notebook 13.
"""

import csv
import hashlib
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from html import escape
from itertools import product
from pathlib import Path
from typing import NamedTuple

import ipywidgets as w
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import binomtest

from e2ent2lib.explore.comparer import SHIPPED, Comparison
from e2ent2lib.explore.explorer import Explorer, available_pairs, row
from e2ent2lib.explore.view import Question, face
from e2ent2lib.report.plots import COLOURS, Pixels, Window, cut, png
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS

OURS = "e2ent2"
CATCH = ("hr", "bicubic")
"""A trial whose answer is plain: the photograph itself beside its bicubic enlargement."""
FEWEST_RIGHT = 2 / 3
"""A participant who answers fewer of the catch trials rightly is left out; fixed before any answer was given."""
OTHERS = ("bicubic", "enhancenet", "srgan", "sisr-gan", "landmark", "srntt")
"""With E2ENT² seven algorithms, as many as the paper asked about; which ones it does not say."""
CROPS: dict[str, Window] = {
    "engine": (320, 236, 176, 132),
    "handlebar": (440, 60, 176, 132),
    "shelf": (344, 20, 176, 132),
    "wheel": (112, 228, 176, 132),
}
"""Of the motorcycle, x, y, width and height."""
QUESTION = "Which of the two pictures looks better to you?"
SECONDS = 9
"""About how long an answer takes."""
CONSENT = """You will see pairs of pictures of the same scene and choose the one that looks better to you. It takes
about {minutes} minutes. Taking part is voluntary; you may stop at any moment, and what you answered until then is kept.
Stored are your choices, how long each took, and a number that stands for you; nothing else about you. By continuing you
agree."""


class Trial(NamedTuple):
    """One question: an image, the two systems, and which of them is at the left."""

    number: int
    image: str
    left: str
    right: str
    catch: bool


COLUMNS = {"participant": str, "seed": int, **Trial.__annotations__, "choice": str, "milliseconds": int}
"""Of a participant's file, with their types; a choice is one of ``SIDES``."""
SIDES = ("left", "right")


def trials(images: Sequence[str], others: Sequence[str], seed: int) -> list[Trial]:
    """Every image with every other system once, in an order of the seed, our system at the left in half of them.

    About one trial in ten is a catch trial, at least one. Raises ValueError without images or systems.
    """
    if not images or not others:
        raise ValueError("a study needs at least one image and one system beside ours")
    rng = np.random.default_rng(seed)
    pairs = [(image, OURS, other) for image, other in product(images, others)]
    catches = [(images[i % len(images)], *CATCH) for i in range(max(1, round(len(pairs) / 10)))]
    left_first = rng.permutation(np.arange(len(pairs)) % 2 == 0).tolist() + rng.integers(0, 2, len(catches)).tolist()
    plan = []
    for number, i in enumerate(rng.permutation(len(pairs) + len(catches))):
        image, *systems = (pairs + catches)[i]
        left, right = systems if left_first[i] else reversed(systems)
        plan.append(Trial(number, image, left, right, catch=bool(i >= len(pairs))))
    return plan


def seed_of(participant: str) -> int:
    """The order of questions that belongs to a participant, so that one who comes back finds the same."""
    return int.from_bytes(hashlib.sha256(participant.encode()).digest()[:4], "big")


def study_folder() -> Path:
    """Where answers are kept: ``E2ENT2_STUDY`` if set, else ``data/study``, which git ignores."""
    return Path(os.environ.get("E2ENT2_STUDY") or ROOT / "data" / "study")


class Session:
    """One participant's way through the trials; each answer is on disk before the next question is asked.

    A file of the same participant and seed is continued. One of another seed is refused with FileExistsError, so that
    no answers are overwritten; a participant whose name could leave the folder with ValueError.
    """

    def __init__(self, folder: Path, participant: str, plan: Sequence[Trial], seed: int):
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", participant):
            raise ValueError(f"participant {participant!r}: use up to 40 letters, digits, - and _")
        self.path, self.participant, self.plan = folder / f"{participant}.csv", participant, plan
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), self.path.open("x", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(COLUMNS)
        self.answers = read_answers(self.path)
        """A line each, as ``COLUMNS``."""
        self._due = [[participant, seed, *trial] for trial in plan]
        given = self.answers[list(COLUMNS)[:-2]].to_numpy(object).tolist()
        if given != self._due[: len(given)]:
            raise FileExistsError(f"{self.path}: holds answers to another order of questions; choose another number")

    @property
    def trial(self) -> Trial | None:
        """The question that is next; None after the last one."""
        return self.plan[len(self.answers)] if len(self.answers) < len(self.plan) else None

    def answer(self, choice: str, milliseconds: int) -> None:
        """Store an answer. Raises ValueError for no choice or after the end, FileExistsError if given elsewhere."""
        if self.trial is None:
            raise ValueError("the study is over")
        if len(read_answers(self.path)) != len(self.answers):
            raise FileExistsError(f"{self.participant} answered on another page; continue there or reload this page")
        if choice not in SIDES:
            raise ValueError(f"choice {choice!r}: 'left' or 'right'")
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([*self._due[len(self.answers)], choice, milliseconds])
            file.flush()
            os.fsync(file.fileno())
        self.answers = read_answers(self.path)


def read_answers(path: Path) -> pd.DataFrame:
    """The answers of one file, a line each. Raises ValueError that names a file with anything else in it."""
    try:
        answers = pd.read_csv(path, dtype=COLUMNS, keep_default_na=False)
        if list(answers) != list(COLUMNS) or not answers["choice"].isin(SIDES).all():
            raise ValueError("another column or choice")
    except ValueError as error:
        raise ValueError(f"{path}: not answers of this study ({error}); move the file elsewhere") from None
    return answers


def read_study(folder: Path) -> pd.DataFrame:
    """All answers of a folder, a line each; empty if there are none."""
    files = [read_answers(path) for path in sorted(folder.glob("*.csv"))]
    return pd.concat(files, ignore_index=True) if files else pd.DataFrame(columns=list(COLUMNS))


def attentive(answers: pd.DataFrame) -> pd.DataFrame:
    """The answers of participants who passed their catch trials, ``FEWEST_RIGHT``."""
    chosen = answers["left"].where(answers["choice"] == "left", answers["right"])
    right = (chosen == CATCH[0])[answers["catch"].astype(bool)].groupby(answers["participant"]).mean()
    return answers[answers["participant"].isin(right.index[right >= FEWEST_RIGHT])]


def preferences(answers: pd.DataFrame) -> pd.DataFrame:
    """A line a system: how many comparisons with ours, how often ours was preferred, share, 95 % Wilson interval, p.

    p is the two-sided binomial test against a coin. Catch trials do not count; answers are taken as independent.
    """
    asked = answers[~answers["catch"].astype(bool)]
    other = asked["left"].where(asked["left"] != OURS, asked["right"])
    chosen = asked["left"].where(asked["choice"] == "left", asked["right"])
    lines = []
    for system, won in (chosen == OURS).groupby(other):
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


@lru_cache
def _pictures() -> Comparison:
    return Comparison(available_pairs()["motorcycle"](), SHIPPED)


class StudyPage(Explorer):
    """Asks one participant after another; answers go to ``folder``, a file each, as ``Session`` keeps them."""

    def __init__(self, folder: Path | None = None, others: tuple[str, ...] = OTHERS):
        self.folder, self.others = folder or study_folder(), others
        self.session: Session | None = None
        count = len(trials(list(CROPS), others, 0))
        consent = CONSENT.format(minutes=max(1, round(count * SECONDS / 60)))
        layout, style = w.Layout(width="320px", max_width="100%"), {"description_width": "auto"}
        self.participant = w.Text(f"p{secrets.token_hex(3)}", description="your number", layout=layout, style=style)
        self.agree = w.Checkbox(False, description="I agree", indent=False)
        self.begin = w.Button(description="begin", disabled=True, button_style="primary")
        hint = "Note the number: with it you can continue later where you stopped."
        text = w.HTML(f"<p>{escape(consent)}</p><p>{hint}</p>")
        self.start = w.VBox([text, self.participant, row(self.agree, self.begin)])
        self.question, self.end = Question(text=QUESTION), w.HTML()
        super().__init__("Which looks better?", f"{count} questions.", [self.start, self.question, self.end])
        w.dlink((self.agree, "value"), (self.begin, "disabled"), lambda agreed: not agreed)
        self.on(self._begin, self.begin)
        self.question.on_msg(lambda _, answer, buffers: self.guarded(self._answered, answer))
        self._muted = False

    def summary(self) -> str:
        """How far it is."""
        if self.session is None:
            return "nobody has begun on this page yet"
        return f"{len(self.session.answers)} of {len(self.session.plan)} questions answered"

    def figure(self) -> Figure:
        """A question as participants see it, without their buttons."""
        trial = trials(list(CROPS), self.others, 1)[0]
        pictures = dict(zip(SIDES, self.pictures(trial)))
        return face([], pictures, f"{QUESTION}   (← or →; static picture of one question, {self.summary()})", 2)

    def pictures(self, trial: Trial) -> tuple[Pixels, Pixels]:
        """What a question shows at the left and at the right."""
        return tuple(cut(_pictures().image(system), CROPS[trial.image]) for system in (trial.left, trial.right))

    def _begin(self) -> None:
        participant = self.participant.value.strip()
        seed = seed_of(participant)
        self.session = Session(self.folder, participant, trials(list(CROPS), self.others, seed), seed)
        self.start.layout.display = "none"
        continued = len(self.session.answers) and self.session.trial
        self.say(f"Welcome back: you continue at question {len(self.session.answers) + 1}." if continued else "")
        self._ask()

    def _ask(self) -> None:
        """Show the next question, or the thanks."""
        trial, total = self.session.trial, len(self.session.plan)
        if trial is None:
            self.question.number, self.begin.disabled = -1, True
            self.end.value = (
                f"<p role='status'><b>Thank you!</b> All {total} questions are answered, under the number "
                f"{escape(self.session.participant)}. The page can be closed.</p>"
            )
            return
        with self.question.hold_sync():  # pictures and number arrive together
            self.question.left, self.question.right = map(png, self.pictures(trial))
            self.question.total, self.question.number = total, trial.number

    def _answered(self, answer: dict) -> None:
        if answer.get("number") == self.question.number:
            self.session.answer(str(answer.get("choice")), int(answer.get("milliseconds", 0)))
            self.say("")
            self._ask()
