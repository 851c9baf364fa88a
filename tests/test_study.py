"""The user study without its page: order, blindness, answers that cannot be lost or overwritten, analysis.

All participants here are simulated.
"""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from e2ent2lib.explore.study import Session, attentive, figure8, preferences, read_answers, read_study, trials

IMAGES, OTHERS = ["a", "b", "c"], ["bicubic", "srgan", "srntt"]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_every_pair_is_asked_once_and_ours_stands_left_half_of_the_time(images, others, seed):
    plan = trials([f"i{n}" for n in range(images)], [f"s{n}" for n in range(others)], seed)
    asked = [t for t in plan if not t.catch]
    assert len({(t.image, frozenset((t.left, t.right))) for t in asked}) == len(asked) == images * others
    lefts = sum(t.left == "e2ent2" for t in asked)
    assert abs(2 * lefts - len(asked)) <= 1
    assert [t.number for t in plan] == list(range(len(plan))) and any(t.catch for t in plan)
    assert all({t.left, t.right} == {"hr", "bicubic"} for t in plan if t.catch)
    assert plan == trials([f"i{n}" for n in range(images)], [f"s{n}" for n in range(others)], seed)


def test_another_seed_is_another_order_and_nothing_to_ask_is_refused():
    assert trials(IMAGES, OTHERS, 1) != trials(IMAGES, OTHERS, 2)
    with pytest.raises(ValueError, match="at least one image"):
        trials([], OTHERS, 0)


def run(folder, participant, seed, choose, stop=None):
    session = Session(folder, participant, trials(IMAGES, OTHERS, seed), seed)
    while session.trial is not None and (stop is None or len(session.answers) < stop):
        session.answer(choose(session.trial), 900)
    return session


def prefers(system):
    return lambda t: "left" if t.left == system else "right"


def sensible(t):
    return prefers("hr" if t.catch else "e2ent2")(t)


def test_each_answer_is_on_disk_at_once_an_interrupted_study_goes_on_and_nothing_is_overwritten(tmp_path):
    first = run(tmp_path, "p1", 5, sensible, stop=4)
    assert len(read_answers(first.path)) == 4
    second = run(tmp_path, "p1", 5, sensible)
    assert len(second.answers) == len(second.plan) and second.trial is None
    pd.testing.assert_frame_equal(read_answers(second.path)[:4], first.answers)
    assert read_answers(second.path)["number"].tolist() == [trial.number for trial in second.plan]
    with pytest.raises(ValueError, match="over"):
        second.answer("left", 1)
    before = second.path.read_bytes()
    with pytest.raises(FileExistsError, match="another number"):
        Session(tmp_path, "p1", trials(IMAGES, OTHERS, 6), 6)
    assert second.path.read_bytes() == before


@pytest.mark.parametrize("name", ["../p", "", "a/b", "x" * 41, "p.1", "p 1"])
def test_a_participants_name_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(ValueError, match="letters, digits"):
        run(tmp_path, name, 1, sensible)
    assert not list(tmp_path.rglob("*.csv"))


def test_a_choice_that_is_none_and_a_damaged_file_are_refused(tmp_path):
    session = run(tmp_path, "p1", 5, sensible, stop=1)
    with pytest.raises(ValueError, match="'left' or 'right'"):
        session.answer("both", 1)
    with session.path.open("a") as file:
        file.write("p1,5,1,a\n")
    with pytest.raises(ValueError, match=r"p1\.csv: not answers"):
        read_answers(session.path)


def test_shares_intervals_and_p_by_hand(tmp_path):
    for n in range(4):
        run(tmp_path, f"likes-{n}", n, sensible)

    def likes_srgan(t):
        return prefers("hr" if t.catch else "srgan" if "srgan" in (t.left, t.right) else "e2ent2")(t)

    run(tmp_path, "likes-srgan", 9, likes_srgan)
    found = preferences(read_study(tmp_path)).set_index("system")
    assert found.loc["srgan", ["comparisons", "preferred"]].tolist() == [15, 12]
    assert found.loc["bicubic", "share"] == 1.0 and found.index[0] == "srgan"
    p, n, z = 0.8, 15, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    assert found.loc["srgan", ["low", "high"]].tolist() == pytest.approx([middle - half, middle + half], rel=1e-4)
    assert found.loc["srgan", "p"] == pytest.approx(2 * binom.sf(11, 15, 0.5))


def test_who_fails_the_catch_trials_is_left_out(tmp_path):
    run(tmp_path, "good", 1, sensible)
    run(tmp_path, "asleep", 2, lambda t: prefers("bicubic" if t.catch else "e2ent2")(t))
    answers = read_study(tmp_path)
    assert set(answers["participant"]) == {"good", "asleep"} and set(attentive(answers)["participant"]) == {"good"}


def test_the_figure_has_a_bar_a_system_and_says_that_there_are_no_answers(tmp_path):
    answers = read_study(tmp_path)
    assert answers.empty and preferences(answers).empty
    texts = [t.get_text() for t in figure8(preferences(answers), 0).axes[0].texts]
    assert [t.split(";")[0] for t in texts] == ["no responses collected yet"]
    run(tmp_path, "p1", 1, sensible)
    axis = figure8(preferences(read_study(tmp_path)), 1).axes[0]
    assert [b.get_width() for b in axis.patches] == [100.0] * 3
