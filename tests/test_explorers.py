"""The explorers' widgets without a browser: what a control does, what is said, what is refused."""

import base64
import io
import threading

import numpy as np
import pytest
from PIL import Image

from e2ent2lib.explore.alpha import AlphaExplorer, StaircaseExplorer
from e2ent2lib.explore.comparer import Comparer
from e2ent2lib.explore.distance import APART, FORMS, DistanceExplorer
from e2ent2lib.explore.explorer import OWN, Explorer, Job
from e2ent2lib.explore.match import MatchExplorer
from e2ent2lib.explore.study import StudyPage, read_answers
from e2ent2lib.explore.view import bars, curves, strip
from e2ent2lib.report.plots import heat, png

EXPLORERS = {
    "match": lambda: MatchExplorer("motorcycle, a part", place=(20, 30)),
    "alpha": AlphaExplorer,
    "staircase": StaircaseExplorer,
    "distance": DistanceExplorer,
    "comparer": lambda: Comparer("motorcycle, a part", "bicubic", "sisr"),
}


@pytest.fixture(scope="module")
def explorers() -> dict[str, Explorer]:
    made = {name: make() for name, make in EXPLORERS.items()}
    made["comparer"].job.thread.join()
    return made


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "study"


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def upload(control, *shape: int, name: str = "mine.png") -> None:
    """Send a picture of noise in two parts, as the page does."""
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    content = png(noise)
    for number, part in enumerate((content[:1000], content[1000:])):
        control._handle_custom_msg({"name": name, "part": number, "last": number == 1}, [part])


@pytest.mark.parametrize("name", EXPLORERS)
def test_each_has_a_face_without_a_kernel_and_says_the_same_in_words(explorers, name):
    explorer = explorers[name]
    bundle = explorer._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert picture(base64.b64decode(bundle["image/jpeg"])).shape[1] > 500
    assert bundle["text/plain"] == explorer.summary() and len(bundle["text/plain"]) > 40
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_pointing_and_typing_are_the_same_and_print_nothing(explorers, capsys):
    match = explorers["match"]
    match.input.place = [12, 17]
    by_pointing = match.summary(), match.similarity.data
    match.row.value, match.column.value = 20, 30
    assert match.summary() != by_pointing[0]
    match.row.value, match.column.value = 12, 17
    assert (match.summary(), match.similarity.data) == by_pointing
    assert match.readout.value.count("row 12, column 17") == 1
    assert capsys.readouterr() == ("", "")


def test_marks_lie_where_the_state_says(explorers):
    match = explorers["match"]
    match.input.place = [20, 30]
    here = match.place
    (best,) = (m for m in match.reference.marks if m["kind"] == "best")
    assert (best["y"] + 1, best["x"] + 1) == here.best and best["w"] == best["h"] == 3
    assert [m["text"] for m in match.reference.marks if m["kind"] == "rival"] == ["2", "3", "4", "5"]
    match.reference.place = list(here.best)
    assert f"chosen {len(here.choosers)} times" in match.readout.value
    assert [m["kind"] for m in match.reference.marks] == ["here"]
    match.input._handle_custom_msg({"again": True}, [])  # the same place again takes the readout back
    assert "patch around row 20, column 30" in match.readout.value


def test_an_own_input_is_matched_and_what_is_refused_changes_nothing():
    match = MatchExplorer("motorcycle, a part", place=(50, 70))
    before, file = match.summary(), match.uploads[0]
    file._handle_custom_msg({"name": "<img src=x>", "part": 0, "last": True}, [b"no picture"])
    assert "&lt;img src=x&gt;" in match.status.value and "<img src=x>" not in match.status.value  # markup stays text
    upload(file, 40, 760)
    assert "too narrow" in match.status.value and match.pair.value == "motorcycle, a part"
    match.pair.value = OWN
    assert "choose your photograph and your reference" in match.status.value and match.summary() == before
    upload(match.uploads[1], 60, 60)
    upload(file, 950, 760)
    assert match.pair.value == OWN and file.said == "mine.png: 760×950" and file.label == "your photograph"
    assert match.matched.lr.shape == (190, 152, 3) and "reduced from 760×950" in match.status.value
    match.pair.value = "motorcycle, a part"
    assert match.matched.lr.shape == (60, 80, 3)


@pytest.mark.parametrize("name", ["distance", "comparer"])
def test_a_photograph_that_is_refused_does_not_take_the_place_of_a_good_one(name):
    explorer = EXPLORERS[name]()
    upload(explorer.uploads[0], 120, 160)
    assert "choose your reference" in explorer.status.value
    good = explorer._own["photograph"]
    upload(explorer.uploads[0], 20, 20)
    assert "too small" in explorer.status.value and explorer._own["photograph"] is good


def test_alphas_from_triangle_and_numbers_agree(explorers):
    alpha = explorers["alpha"]
    alpha.triangle.alphas = [0.2, 0.3, 0.5]
    assert [box.value for box in alpha.numbers] == [0.2, 0.3, 0.5]
    alpha.numbers[2].value = 0.0  # the other two make room in their proportion
    assert alpha.alphas == pytest.approx((0.4, 0.6, 0.0)) and sum(alpha.triangle.alphas) == pytest.approx(1)
    alpha.triangle.alphas = [0.0, 0.0, 1.0]
    assert alpha.alphas == (0, 0, 1) and "trained so" in alpha.summary()
    alpha.sum_to_one.value = False
    for i, a in enumerate((0.5, 1.0, 1.0)):
        alpha.numbers[i].value = a
    assert alpha.alphas == (0.5, 1, 1)
    alpha.sum_to_one.value = True
    assert sum(alpha.alphas) == pytest.approx(1, abs=2e-3)


def test_an_error_map_is_as_bright_as_its_alpha_and_an_alpha_of_nothing_is_refused(explorers):
    alpha = explorers["alpha"]
    alpha.triangle.alphas = [0.0, 0.5, 0.5]
    alpha.guarded(alpha.go, (0.0, 0.0, 0.0))
    assert "not all may be 0" in alpha.status.value and alpha.alphas == (0.0, 0.5, 0.5)
    dark = picture(alpha.maps["in"].data)
    assert (dark == dark[0, 0]).all()
    half = picture(alpha.maps["ref"].data).astype(int).sum()
    alpha.triangle.alphas = [0.0, 0.0, 1.0]
    assert picture(alpha.maps["ref"].data).astype(int).sum() > half


def test_with_held_matches_only_alpha3_moves_the_loss_and_rematched_the_others_do_by_flips():
    stairs = StaircaseExplorer(step=1.0)
    held, rematched = stairs.changes.values()
    assert not any(held) and rematched[-1] != 0 and stairs.flipped > 0
    assert len(set(rematched)) < len(rematched), "flat between flips"
    stairs.sliders[2].value, stairs.sliders[0].value = 1.0, 0.0
    held, rematched = stairs.changes.values()
    assert held == rematched and stairs.flipped == 0 and (np.diff(held) < 0).all()
    before = stairs.summary()
    stairs.sliders[2].value = 0.0
    assert "not all may be 0" in stairs.status.value and stairs.changes["rematched"] == rematched and before


def test_distances_by_encoder_form_and_place(explorers):
    distance = explorers["distance"]
    distance.features.value = "VGG19 relu1_2"
    raw = distance.summary()
    distance.form.value = FORMS[1]
    assert distance.summary() != raw and FORMS[1] in distance.summary()
    distance.layer.value = "conv1_1"
    distance.features.value = "end-to-end"  # has no such layer
    assert distance.layer.value == "φ"
    places = distance.largest()
    values = [distance.values[place] for place in places]
    assert values == sorted(values, reverse=True) and values[0] == distance.values.max()
    assert all(max(abs(a - c), abs(b - d)) >= APART for i, (a, b) in enumerate(places) for c, d in places[:i])


def test_a_black_picture_has_no_nan():
    distance = DistanceExplorer()
    black = np.zeros((120, 160, 3), np.uint8)
    distance._own = {"photograph": black, "reference": black}
    distance.pair.value = OWN
    for distance.form.value in FORMS:
        for distance.features.value in ("RGB", "end-to-end"):
            assert "nan" not in distance.summary() + distance.by_layer.value + distance.map.title


def test_the_comparer_scores_what_is_seen(explorers):
    comparer = explorers["comparer"]
    comparer.wipe.box = [40, 20, 100, 80]
    decibels, _ = comparer.comparison.score("sisr", (40, 20, 100, 80))
    assert f"SISR {decibels:.2f} dB" in comparer.readout.value
    comparer.mode.value = "difference"
    assert np.array_equal(picture(comparer.wipe.difference), comparer.comparison.difference("bicubic", "sisr"))
    comparer.mode.value = "wipe"


def test_a_system_that_fails_is_told_and_the_last_ones_stay(explorers, monkeypatch):
    comparer = explorers["comparer"]

    def fail(name: str) -> np.ndarray:
        raise ValueError("no weights of it here")

    monkeypatch.setattr(comparer.comparison, "image", fail)
    comparer.right.value = "e2ent2"
    comparer.job.thread.join()
    monkeypatch.undo()
    assert "no weights of it here" in comparer.status.value and comparer.ready == ("bicubic", "sisr")
    comparer.job.stop.click()
    assert comparer.right.value == "sisr"


def test_an_unexpected_error_of_a_callback_is_told_too(explorers, capsys):
    explorers["match"].guarded(lambda: 1 / 0)
    assert "ZeroDivisionError" in explorers["match"].status.value
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_job_shows_each_item_and_can_be_stopped(explorers):
    job, seen, gate, second = Job(explorers["match"]), [], threading.Event(), threading.Event()

    def items():
        yield 1
        yield 2
        gate.wait(30)
        yield 3

    job.run(items(), 3, lambda item: (seen.append(item), item == 2 and second.set()), "counting")
    assert second.wait(30) and job.layout.display == "flex"
    job.stop.click()
    gate.set()
    job.thread.join()
    assert seen == [1, 2] and job.layout.display == "none"


def begun(folder, participant: str, *others: str) -> StudyPage:
    page = StudyPage(folder, others) if others else StudyPage(folder)
    page.participant.value, page.agree.value = participant, True
    page.begin.click()
    return page


def test_the_study_page_asks_stores_goes_on_and_overwrites_nothing(folder):
    page = StudyPage(folder, ("bicubic",))
    assert page.begin.disabled and not folder.exists()
    page = begun(folder, "p7", "bicubic")
    total = page.question.total
    assert page.question.number == 0 and total == 5  # four crops, one catch question
    answer = {"choice": "left", "number": 0, "milliseconds": 700}
    page.question._handle_custom_msg(answer, [])
    page.question._handle_custom_msg(answer, [])  # a second answer to the same question is not heard
    assert page.question.number == 1
    again = begun(folder, "p7", "bicubic")
    assert "continue at question 2" in again.status.value
    for number in range(1, total):
        again.question._handle_custom_msg(answer | {"number": number, "choice": "right"}, [])
    assert "Thank you" in again.end.value and again.question.number == -1
    page.question._handle_custom_msg(answer | {"number": 1}, [])  # the first page is still open
    assert "another page" in page.status.value
    answers = read_answers(folder / "p7.csv")
    assert list(answers["choice"]) == ["left", *["right"] * (total - 1)] and set(answers["milliseconds"]) == {700}


def test_the_pictures_of_a_question_are_those_of_the_plan(folder):
    page = begun(folder, "p8")
    left, right = page.pictures(page.session.trial)
    assert np.array_equal(picture(page.question.left), left) and np.array_equal(picture(page.question.right), right)
    assert page.question.get_state()["_anywidget_id"] == "question"  # the library's name would name our system


def test_charts_by_hand():
    image = heat(np.array([[0.0, 1.0, 2.0]]), 1.0)
    assert image.shape == (1, 3, 3) and (image[0, 1] == image[0, 2]).all() and image[0, 0].sum() < image[0, 1].sum()
    chart = bars({"a": 2.0, "<b>": 1.0}, "title", "here", {"a": 1.0}, "there")
    assert 'width="220.0"' in chart and 'width="110.0"' in chart and "&lt;b&gt;" in chart and "there" in chart
    assert "50.0,180.0 225.0,35.0" in curves({"x": [1.0, 3.0]}, "title", 2, "steps")
    assert strip({'"quoted"': image}).count("<img") == 1
