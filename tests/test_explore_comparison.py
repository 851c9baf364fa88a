"""The comparer's state: pictures by any system, scores of crops, the shipped pictures; and photographs of one's own."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from e2ent2lib.explore import comparison
from e2ent2lib.explore.comparison import (
    TRUTH,
    Comparison,
    called,
    expected_seconds,
    read_shipped,
    save_shipped,
    shipped_results,
    shown,
)
from e2ent2lib.explore.photos import LONGEST, Photos, available_pairs, fitted, part, photos, read_upload
from e2ent2lib.measure.metrics import psnr, ssim
from e2ent2lib.measure.results import read_rows, result_file, results_folder
from e2ent2lib.photos.images import downscale
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.runs.checkpoints import shipped_card


@pytest.fixture(scope="module")
def small() -> Comparison:
    whole = part()
    return Comparison(Photos(whole.hr[:64, :80], whole.ref[:96, :96]))


def test_a_system_enlarges_the_picture_made_small(small):
    expected = super_resolve(downscale(small.hr), small.ref, model="e2ent2-mse", profile="compact")
    assert np.array_equal(small.image("e2ent2-mse"), expected)


def test_scores_are_of_the_crop_alone(small):
    crop = (8, 4, 40, 30)
    one, truth = small.image("bicubic")[4:34, 8:48], small.hr[4:34, 8:48]
    assert small.score("bicubic", crop) == (psnr(one, truth), ssim(one, truth))
    assert np.isnan(small.score("bicubic", (0, 0, 10, 30))[1])
    assert small.score(TRUTH, crop)[0] == float("inf")
    assert "Bicubic" in small.summary("bicubic", TRUTH, crop) and "inf" not in small.summary("bicubic", TRUTH, crop)


def test_a_difference_is_four_times_the_absolute_one_and_clipped(small):
    found = small.difference("bicubic", TRUTH)
    plain = np.abs(small.image("bicubic").astype(int) - small.hr.astype(int))
    assert np.array_equal(found, np.minimum(4 * plain, 255)) and found.dtype == np.uint8


def test_stereo_systems_are_offered_for_rectified_pairs_alone(small):
    assert not {"stereosr", "passrnet"} & set(small.systems)
    stereo = Comparison(available_pairs()["motorcycle"]())
    assert {"stereosr", "passrnet"} <= set(stereo.systems)
    assert len({called(name) for name in stereo.systems}) == len(stereo.systems)


@pytest.mark.parametrize("name", shown())
def test_a_shipped_picture_has_the_score_of_the_tables_and_the_checkpoint_that_ships(name):
    facts = json.loads((shipped_results() / "provenance.json").read_text())
    stored = read_rows(result_file(results_folder(), "compact", "motorcycle", name))[0]
    shipped = read_shipped(shipped_results(), "compact")[name]
    truth = available_pairs()["motorcycle"]().hr
    assert psnr(shipped, truth) == pytest.approx(stored["psnr"], abs=0.02)
    assert facts["systems"][name]["psnr"] == psnr(shipped, truth)
    assert facts["systems"][name]["checkpoint_sha256"] == shipped_card(name, "compact")["sha256"]
    assert (shipped_results() / f"{name}.webp").stat().st_size <= 2_000_000


def test_shipped_pictures_of_another_checkpoint_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "available_pairs", lambda: {"motorcycle": part})
    save_shipped(tmp_path, ("bicubic", "sisr"))
    assert set(read_shipped(tmp_path, "compact")) == {"bicubic", "sisr"}
    facts = json.loads((tmp_path / "provenance.json").read_text())
    facts["systems"]["sisr"]["checkpoint_sha256"] = "0" * 64
    (tmp_path / "provenance.json").write_text(json.dumps(facts))
    assert set(read_shipped(tmp_path, "compact")) == {"bicubic"}
    assert read_shipped(tmp_path / "nowhere", "compact") == {}


def test_the_expected_time_grows_with_the_picture_and_is_unknown_without_a_measurement():
    assert expected_seconds("landmark", 20_000) == pytest.approx(2 * expected_seconds("landmark", 10_000))
    assert np.isnan(expected_seconds("nothing", 10_000))


def test_the_motorcycle_comes_first_and_needs_no_data(data):
    assert list(available_pairs()) == ["motorcycle", "motorcycle, a part"]
    assert available_pairs()["motorcycle"]().stereo


@given(st.integers(1, 900), st.integers(1, 900))
@settings(max_examples=60, deadline=None)
def test_any_size_fits_or_is_refused(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    try:
        found, note = fitted(image, "it")
    except ValueError as error:
        assert str(error).startswith(f"it of {width}×{height}")
        return
    assert found.shape[0] % 4 == found.shape[1] % 4 == 0 and max(found.shape) <= LONGEST
    assert bool(note) == (max(height, width) > LONGEST)


def test_pictures_of_two_sizes_are_no_stereo_pair():
    one, other = np.zeros((80, 80, 3), np.uint8), np.zeros((80, 88, 3), np.uint8)
    assert photos(one, one, stereo=True).stereo and not photos(one, other, stereo=True).stereo


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "RGBA", "I;16"])
def test_an_upload_is_read_whatever_its_format(mode):
    grey = np.linspace(0, 255, 60 * 90).reshape(60, 90)
    wide = Image.fromarray((grey * 257).astype(np.uint16))
    image = wide if mode == "I;16" else Image.fromarray(grey.astype(np.uint8)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "tiff")
    found = read_upload("x.tif", buffer.getvalue())
    assert found.shape == (60, 90, 3) and found.dtype == np.uint8
    assert np.abs(found.mean(2) - grey).mean() < 2


def test_an_upload_that_is_no_picture_or_is_damaged_is_named():
    with pytest.raises(ValueError, match=r"x\.txt: not an image this project can read; expected one of png"):
        read_upload("x.txt", b"hello")
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((200, 200, 3), np.uint8)).save(buffer, "png")
    with pytest.raises(ValueError, match=r"x\.png: cannot be decoded"):
        read_upload("x.png", buffer.getvalue()[:100])
