"""The page of the user study (Fig. 8): consent, questions, thanks. No system is named anywhere on it. Notebook 13."""

import secrets
from functools import lru_cache
from html import escape
from pathlib import Path

import ipywidgets as w
from matplotlib.figure import Figure

from e2ent2lib.explore.comparison import Comparison, shipped_results
from e2ent2lib.explore.drawing import Panel, face
from e2ent2lib.explore.explorer import Explorer, row
from e2ent2lib.explore.inputs import Question
from e2ent2lib.explore.photos import available_pairs
from e2ent2lib.explore.study import CONSENT, Session, seed_of, study_folder, trials
from e2ent2lib.report.plots import Pixels, Window, cut, png

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


class StudyPage(Explorer):
    """Asks one participant after another; answers go to ``folder``, a file each, and are never overwritten.

    A participant who comes back with the same number goes on where they stopped.
    """

    def __init__(self, folder: Path | None = None, others: tuple[str, ...] = OTHERS):
        self.folder, self.others = folder or study_folder(), others
        self.session: Session | None = None
        count = len(trials(list(CROPS), others, 0))
        consent = CONSENT.format(minutes=max(1, round(count * SECONDS / 60)))
        layout = w.Layout(width="320px", max_width="100%")
        self.participant = w.Text(_new_number(), description="your number", layout=layout, style=_AUTO)
        self.agree = w.Checkbox(False, description="I agree", indent=False)
        self.begin = w.Button(description="begin", disabled=True, button_style="primary")
        hint = "Note the number: with it you can continue later where you stopped."
        self.start = w.VBox(
            [w.HTML(f"<p>{escape(consent)}</p><p>{hint}</p>"), self.participant, row(self.agree, self.begin)]
        )
        self.question, self.end = Question(text=QUESTION), w.HTML()
        super().__init__("Which looks better?", f"{count} questions.", [self.start, self.question, self.end])
        self.agree.observe(lambda _: setattr(self.begin, "disabled", not self.agree.value), "value")
        self.begin.on_click(lambda _: self.guarded(self._begin))
        self.question.on_answer(lambda *answer: self.guarded(self._answered, *answer))

    def summary(self) -> str:
        """How far it is."""
        if self.session is None:
            return "nobody has begun on this page yet"
        return f"{len(self.session.answers)} of {len(self.session.plan)} questions answered"

    def figure(self) -> Figure:
        """A question as participants see it, without their buttons."""
        trial = trials(list(CROPS), self.others, 1)[0]
        pictures = [Panel(side, self._picture(getattr(trial, side), trial.image)) for side in ("left", "right")]
        return face(pictures, f"{QUESTION}   (← or →; static picture of one question, {self.summary()})", 2, 8)

    def _begin(self) -> None:
        if not self.agree.value:
            raise ValueError("please tick “I agree” first; without it nothing is asked or stored")
        participant = self.participant.value.strip()
        seed = seed_of(participant)
        self.session = Session(self.folder, participant, trials(list(CROPS), self.others, seed), seed)
        self.start.layout.display = "none"
        continued = self.session.answers and self.session.trial
        self.say(f"Welcome back: you continue at question {len(self.session.answers) + 1}." if continued else "")
        self._ask()

    def _ask(self) -> None:
        """Show the next question, or the thanks."""
        trial = self.session.trial
        if trial is None:
            self.question.number = -1
            self.end.value = (
                f"<p role='status'><b>Thank you!</b> All {len(self.session.plan)} questions are answered, under the "
                f"number {escape(self.session.participant)}. The page can be closed.</p>"
            )
            self.begin.disabled = True
            return
        with self.question.hold_sync():  # pictures and number arrive together
            self.question.left = png(self._picture(trial.left, trial.image))
            self.question.right = png(self._picture(trial.right, trial.image))
            self.question.total, self.question.number = len(self.session.plan), trial.number

    def _answered(self, choice: str, milliseconds: int) -> None:
        self.session.answer(choice, milliseconds)
        self.say("")
        self._ask()

    @staticmethod
    def _picture(system: str, image: str) -> Pixels:
        return cut(_comparison().image(system), CROPS[image])


_AUTO = {"description_width": "auto"}


@lru_cache
def _comparison() -> Comparison:
    return Comparison(available_pairs()["motorcycle"](), shipped_results())


def _new_number() -> str:
    return f"p{secrets.token_hex(3)}"
