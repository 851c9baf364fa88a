"""The explorers' widgets without a browser: what a control does, what is said, what is refused."""

import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

from e2ent2lib.explore.alpha_explorer import AlphaExplorer
from e2ent2lib.explore.comparer import Comparer
from e2ent2lib.explore.distance_explorer import DistanceExplorer
from e2ent2lib.explore.distances import FORMS
from e2ent2lib.explore.drawing import bars, curves, strip
from e2ent2lib.explore.explorer import OWN, Explorer
from e2ent2lib.explore.job import Job, ticks
from e2ent2lib.explore.match_explorer import MatchExplorer
from e2ent2lib.explore.study import read_answers
from e2ent2lib.explore.study_page import StudyPage
from e2ent2lib.report.plots import heat, png

EXPLORERS = {
    "match": lambda: MatchExplorer("motorcycle, a part", place=(20, 30)),
    "alpha": AlphaExplorer,
    "distance": DistanceExplorer,
    "comparer": lambda: Comparer("motorcycle, a part", "bicubic", "sisr"),
}


@pytest.fixture(scope="module")
def made() -> dict[str, Explorer]:
    found = {name: make() for name, make in EXPLORERS.items()}
    found["comparer"].job.thread.join()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("name", EXPLORERS)
def test_each_has_a_face_without_a_kernel_and_says_the_same_in_words(made, name):
    bundle = made[name]._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert picture(base64.b64decode(bundle["image/jpeg"])).shape[1] > 500
    assert bundle["text/plain"] == made[name].summary() and len(bundle["text/plain"]) > 40
    assert "application/vnd.jupyter.widget-view+json" in bundle


@pytest.mark.parametrize("name", ["match", "alpha", "distance"])
def test_the_state_makes_a_twin(made, name):
    twin = type(made[name])(**made[name].state())
    assert twin.summary() == made[name].summary() and twin.state() == made[name].state()


def test_pointing_and_typing_are_the_same_and_print_nothing(made, capsys):
    match = made["match"]
    match.input.place = [12, 17]
    by_pointing = match.summary(), match.similarity.data
    match.row.value, match.column.value = 20, 30
    assert match.summary() != by_pointing[0]
    match.row.value, match.column.value = 12, 17
    assert (match.summary(), match.similarity.data) == by_pointing
    assert match.readout.value.count("row 12, column 17") == 1
    assert capsys.readouterr() == ("", "")


def test_marks_lie_where_the_state_says(made):
    match = made["match"]
    match.input.place = [20, 30]
    here = match.place
    (best,) = (m for m in match.reference.marks if m["kind"] == "best")
    assert (best["y"] + 1, best["x"] + 1) == here.best and best["w"] == best["h"] == 3
    assert [m["text"] for m in match.reference.marks if m["kind"] == "rival"] == ["2", "3", "4", "5"]
    match.reference.place = list(here.best)
    assert f"chosen {len(here.choosers)} times" in match.readout.value and "who chose" not in match.readout.value
    assert [m["kind"] for m in match.reference.marks] == ["here"]
    match.input._handle_custom_msg({"again": True}, [])  # the same place again takes the readout back
    assert "patch around row 20, column 30" in match.readout.value


def test_own_photographs_that_are_missing_or_too_narrow_are_refused_and_nothing_is_lost():
    match = MatchExplorer("motorcycle, a part", place=(20, 30))
    before = match.summary()
    match.guarded(match._take, "input", np.zeros((150, 760, 3), np.uint8))
    assert "too narrow" in match.status.value and not match._own and match.pair.value == "motorcycle, a part"
    match.pair.value = OWN
    assert "choose your input" in match.status.value and match.summary() == before


def test_an_own_input_is_matched_and_said_to_be_reduced():
    match = MatchExplorer("motorcycle, a part")
    file = match.uploads[0]
    file._handle_custom_msg({"name": "<img src=x>", "part": 0, "last": True}, [b"no picture"])
    assert "&lt;img src=x&gt;" in match.status.value and "<img src=x>" not in match.status.value  # markup stays text
    upload = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 400, 3), dtype=np.uint8)).save(upload, "png")
    assert file.label == "your input"
    parts = [upload.getvalue()[:1000], upload.getvalue()[1000:]]
    for number, content in enumerate(parts):
        message = {"name": "mine.png", "part": number, "last": number == 1}
        file._handle_custom_msg(message, [content])
    assert match.pair.value == OWN and file.said == "mine.png: 400×500"
    assert match.matched.lr.shape == (188, 152, 3) and "reduced from 400×500" in match.status.value
    match._reset()
    assert match.pair.value == "motorcycle, a part" and match.matched.lr.shape == (60, 80, 3)


def test_alphas_from_triangle_numbers_and_presets_agree(made):
    alpha = made["alpha"]
    alpha.triangle.alphas = [0.2, 0.3, 0.5]
    assert [box.value for box in alpha.numbers] == [0.2, 0.3, 0.5]
    alpha.numbers[2].value = 0.0  # the other two make room in their proportion
    assert alpha.alphas == pytest.approx((0.4, 0.6, 0.0)) and sum(alpha.triangle.alphas) == pytest.approx(1)
    alpha.preset.value = (0.0, 0.0, 1.0)
    assert alpha.alphas == (0, 0, 1) and "trained so" in alpha.summary()
    alpha.triangle.alphas = [0.2, 0.3, 0.5]
    assert alpha.preset.value is None  # the list says no more than what is shown
    alpha.preset.value = (1.0, 1.0, 1.0)
    assert alpha.alphas == (1, 1, 1) and not alpha.sum_to_one.value
    alpha.numbers[0].value = 0.5
    assert alpha.alphas == (0.5, 1, 1)
    alpha.sum_to_one.value = True
    assert sum(alpha.alphas) == pytest.approx(1, abs=2e-3)
    alpha._set((0.25, 0.25, 0.5))


def test_an_error_map_is_as_bright_as_its_alpha_and_an_alpha_of_nothing_is_refused(made):
    alpha = made["alpha"]
    before = alpha.alphas
    alpha.guarded(alpha._set, (0.0, 0.0, 0.0))
    assert "not all may be 0" in alpha.status.value and alpha.alphas == before
    alpha._set((0.0, 0.5, 0.5))
    dark = picture(alpha.maps["in"].data)
    assert (dark == dark[0, 0]).all()
    one = picture(alpha.maps["ref"].data).astype(int).sum()
    alpha._set((0.0, 0.0, 1.0))
    assert picture(alpha.maps["ref"].data).astype(int).sum() > one
    alpha._set((0.25, 0.25, 0.5))


def test_first_steps_of_the_papers_alpha_are_trained_once():
    alpha = AlphaExplorer((1.0, 0.0, 0.0))
    alpha._train()
    alpha.job.thread.join()
    steps = {a: list(line) for a, line in alpha._curves.items()}
    assert set(steps) == {(0.25, 0.25, 0.5), (1.0, 0.0, 0.0)} and all(len(s) == 21 for s in steps.values())
    one, other = steps.values()
    assert one[:2] == other[:2] != one[2:4]  # α weighs nothing before F is made use of, in the second step
    alpha._train()
    alpha.job.thread.join()
    assert alpha._curves == steps and alpha.steps.value.count("polyline") == 2


def test_distances_by_encoder_form_and_place(made):
    distance = made["distance"]
    distance.features.value = "VGG19 relu1_2"
    raw = distance.summary()
    distance.form.value = FORMS[1]
    assert distance.summary() != raw and FORMS[1] in distance.summary()
    distance.layer.value = "conv1_1"
    distance.features.value = "end-to-end"  # has no such layer
    assert distance.layer.value == "φ"
    distance.form.value = FORMS[0]
    places = distance.now.largest()
    distance._next()
    first = places.index((distance.row.value, distance.column.value))
    distance._next()
    assert (distance.row.value, distance.column.value) == places[(first + 1) % len(places)]


def test_the_comparer_scores_what_is_seen(made):
    comparer = made["comparer"]
    comparer.wipe.box = [40, 20, 100, 80]
    decibels, _ = comparer.comparison.score("sisr", (40, 20, 100, 80))
    assert f"SISR {decibels:.2f} dB" in comparer.readout.value
    comparer.mode.value = "difference"
    assert np.array_equal(picture(comparer.wipe.difference), comparer.comparison.difference("bicubic", "sisr"))
    comparer.mode.value = "wipe"


def test_a_system_that_fails_is_told_and_the_last_ones_stay(made, monkeypatch):
    comparer = made["comparer"]

    def fail(name: str) -> np.ndarray:
        raise ValueError("no weights of it here")

    monkeypatch.setattr(comparer.comparison, "image", fail)
    comparer.right.value = "e2ent2"
    comparer.job.thread.join()
    monkeypatch.undo()
    assert "no weights of it here" in comparer.status.value and comparer._shown == ("bicubic", "sisr")
    comparer.job.stop.click()
    assert comparer.right.value == "sisr"


def test_an_unexpected_error_of_a_callback_is_told_too(made, capsys):
    made["match"].guarded(lambda: 1 / 0)
    assert "ZeroDivisionError" in made["match"].status.value
    assert "ZeroDivisionError" in capsys.readouterr().err
    made["match"].say("")


def test_a_job_shows_each_item_and_can_be_stopped():
    job, seen, gate = Job(lambda call, *a: call(*a)), [], threading.Event()

    def items():
        yield 1
        yield 2
        gate.wait(30)
        yield 3

    second = threading.Event()
    job.run(items(), 3, lambda item: (seen.append(item), item == 2 and second.set()), "counting")
    assert second.wait(30) and job.layout.display == "flex"
    job.stop.click()
    gate.set()
    job.thread.join()
    assert seen == [1, 2] and job.layout.display == "none"


def test_ticks_end_with_the_result_or_the_error():
    *waiting, last = ticks(lambda: 7, 1.0, every=0.01)
    assert last == 7 and set(waiting) <= {None}
    with pytest.raises(ZeroDivisionError):
        list(ticks(lambda: 1 / 0, 1.0, every=0.01))


def test_the_study_page_asks_stores_goes_on_and_overwrites_nothing(folder):
    page = StudyPage(folder, ("bicubic",))
    page.participant.value = "p7"
    page.guarded(page._begin)
    assert "tick" in page.status.value and not (folder / "p7.csv").exists()
    page.agree.value = True
    page.begin.click()
    total = page.question.total
    assert page.question.number == 0 and total == 5  # four crops, one catch question
    answer = {"choice": "left", "number": 0, "milliseconds": 700}
    page.question._handle_custom_msg(answer, [])
    page.question._handle_custom_msg(answer, [])  # a second answer to the same question is not heard
    assert page.question.number == 1
    again = StudyPage(folder, ("bicubic",))
    again.participant.value, again.agree.value = "p7", True
    again.begin.click()
    assert "continue at question 2" in again.status.value
    for number in range(1, total):
        again.question._handle_custom_msg(answer | {"number": number, "choice": "right"}, [])
    assert "Thank you" in again.end.value and again.question.number == -1
    page.question._handle_custom_msg(answer | {"number": 1}, [])  # the first page is still open
    assert "another page" in page.status.value
    answers = read_answers(folder / "p7.csv")
    assert [a.choice for a in answers] == ["left", *["right"] * (total - 1)] and answers[0].milliseconds == 700


def test_the_pictures_of_a_question_are_those_of_the_plan(folder):
    page = StudyPage(folder)
    page.participant.value, page.agree.value = "p8", True
    page.begin.click()
    trial = page.session.trial
    assert np.array_equal(picture(page.question.left), page._picture(trial.left, trial.image))
    assert np.array_equal(picture(page.question.right), page._picture(trial.right, trial.image))
    assert page.question.get_state()["_anywidget_id"] == "question"  # the library's name would name our system


def test_drawing_by_hand():
    image = heat(np.array([[0.0, 1.0, 2.0]]), 1.0)
    assert image.shape == (1, 3, 3) and (image[0, 1] == image[0, 2]).all() and image[0, 0].sum() < image[0, 1].sum()
    assert np.array_equal(picture(png(image)), image)
    chart = bars({"a": 2.0, "<b>": 1.0}, {"a": 1.0}, "title", "here", "there")
    assert 'width="220.0"' in chart and 'width="110.0"' in chart and "&lt;b&gt;" in chart and "there" in chart
    line = curves({"x": [1.0, 3.0]}, "title", "dB", 2)
    assert "50.0,180.0 225.0,35.0" in line
    assert strip({'"quoted"': image}).count("<img") == 1


@pytest.mark.parametrize("name", ["distance", "comparer"])
def test_a_photograph_that_is_refused_does_not_take_the_place_of_a_good_one(name):
    explorer = EXPLORERS[name]()
    good, tiny = np.full((120, 160, 3), 90, np.uint8), np.zeros((20, 20, 3), np.uint8)
    explorer.guarded(explorer._take, "photograph", good)
    explorer.guarded(explorer._take, "photograph", tiny)
    assert "too small" in explorer.status.value and explorer._own["photograph"] is good


def test_a_black_picture_has_no_nan():
    distance = DistanceExplorer()
    black = np.zeros((120, 160, 3), np.uint8)
    distance._own = {"photograph": black, "reference": black}
    distance.pair.value = OWN
    for distance.form.value in FORMS:
        for distance.features.value in ("RGB", "end-to-end"):
            assert "nan" not in distance.summary() + distance.by_layer.value + distance.map.title
