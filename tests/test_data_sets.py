"""The data sets' choices of references, one's own folders, crops over a long run, and leaks (data/)."""

import os
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import skimage.data
from data_files import noise, put, save
from PIL import Image

from e2ent2lib.config import SMOKE
from e2ent2lib.data import DATASETS, CropTwice, dataset, training_images
from e2ent2lib.data.pairs import TRAINING_SETS, embedded_photographs, overview
from e2ent2lib.data.training import NEAR, evaluation_marks, leaks, mark
from e2ent2lib.measure.evaluate import evaluate
from e2ent2lib.measure.everything import can_measure, reference_choices
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.photos.images import crop_to_multiple, downscale

# ---- CUFED5 by level ----


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5, "all"])
def test_a_level_gives_that_reference_alone_and_says_so(data, level):
    put(data, *(f"CUFED5/001_{n}.png" for n in range(6)), *(f"CUFED5/002_{n}.png" for n in (0, 1, 2, 4)))
    reference = "all levels" if level == "all" else f"level {level}"
    chosen = dataset("cufed5", reference=reference)
    refs = {p.name: [int(r.stem[-1]) for r in p.ref_sources] for p in chosen.pairs()}
    if level in (1, "all"):
        assert refs == {"001_0": [1, 2, 3, 4, 5]} | ({"002_0": [1, 2, 4]} if level == 1 else {})
    else:  # a group without the level is never served by another
        assert refs == {"001_0": [level]} | ({"002_0": [level]} if level in (2, 4) else {})
    assert chosen.reference == reference and reference in get_args(get_type_hints(Protocol)["reference"])
    title = "CUFED5" if level == 1 else f"CUFED5, {chosen.reference}"
    assert chosen.label(126) == title and chosen.label(1) == f"{title} (1 of 126)"


# ---- Sun Hays 80 ----


def official_sunhays(data, photographs, refs=("3.jpg", "1.jpg", "2.jpg")):
    put(data / "SunHays80", *(f"Sun_Hays_SR_groundtruth/{p}" for p in photographs))
    put(data / "SunHays80", *(f"Sun_Hays_SR_scenematches/{p}/{r}" for p in photographs for r in refs))


def test_sun_hays_takes_the_first_reference_by_file_name(data):
    official_sunhays(data, [f"{i}.jpg" for i in range(30)])
    usual = dataset("sunhays")
    one = usual.pairs()[0]
    assert one.name == "0" and [r.name for r in one.ref_sources] == ["1.jpg", "2.jpg", "3.jpg"]
    assert one.ref_sources[0].parent.name == "0.jpg"
    assert usual.label(80) == "Sun Hays 80" and usual.reference == "first by file name"


@pytest.mark.parametrize("folder", ["SunHays80/image_SRF_8", "Sun-Hays80", "Sun_Hays80", "Sun80/image_SRF_8"])
def test_sun_hays_without_references_still_has_its_photographs_whatever_the_folder_is_called(data, folder):
    put(data / folder, "img_002_SRF_8_HR.png", "img_001_SRF_8_HR.png", "img_001_SRF_8_LR.png")
    one, two = dataset("sunhays").pairs()
    assert [one.name, two.name] == ["img_001_SRF_8_HR", "img_002_SRF_8_HR"]
    np.testing.assert_array_equal(two.hr(), noise(16, 16, 0))
    assert one.ref_sources == ()
    with pytest.raises(ValueError, match="img_001_SRF_8_HR"):
        one.refs()
    assert not can_measure("e2ent2", dataset("sunhays"))
    assert not can_measure("landmark", dataset("sunhays"))
    assert can_measure("sisr", dataset("sunhays"))


# ---- validation views, unrelated references ----


def test_validation_views_are_pairs_of_one_scene_reduced(data):
    put(data, *(f"train/scenes/kermit/{i}.png" for i in range(5)), size=(384, 1024))
    put(data, *(f"train/scenes/ET/{i}.png" for i in range(5)))
    first, second = dataset("views").pairs()
    assert (first.name, second.name) == ("kermit_0", "kermit_3")
    assert first.hr().shape == (192, 512, 3)
    small = np.asarray(Image.fromarray(noise(384, 1024, 1)).resize((512, 192), Image.Resampling.BICUBIC), int)
    assert abs(small - first.refs()[0]).mean() < 1  # Pillow rounds between the two directions
    assert not dataset("views").for_evaluation  # its photographs lie in the training folder


@pytest.mark.parametrize("name", ["motorcycle", "middlebury", "cufed5"])
def test_unrelated_references_are_other_photographs_and_named_so(data, name):
    put(data, *(f"Middlebury/{n}_{s}.png" for n in "ABCDE" for s in "LR"), "CUFED5/001_0.png", "CUFED5/001_1.png")
    chosen, usual = dataset(name, reference="unrelated"), dataset(name)
    assert [p.name for p in chosen.pairs()] == [p.name for p in usual.pairs()]
    for i, (pair, before) in enumerate(zip(chosen.pairs(), usual.pairs())):
        np.testing.assert_array_equal(pair.hr(), before.hr())
        other = ("astronaut", "coffee", "chelsea", "rocket")[i % 4]
        np.testing.assert_array_equal(pair.refs(), [embedded_photographs()[other]])
    assert "unrelated" in chosen.label(1)


def test_refsr_systems_are_measured_with_an_unrelated_reference_and_with_all_levels(data):
    assert reference_choices("sisr", dataset("cufed5")) == ["level 1"]
    assert reference_choices("stereosr", dataset("motorcycle")) == ["level 1"]
    assert reference_choices("e2ent2", dataset("motorcycle")) == ["level 1", "unrelated"]
    assert reference_choices("landmark", dataset("cufed5")) == [*(f"level {n}" for n in range(1, 6)), "unrelated"]


# ---- Urban100 ----


def test_urban100_has_its_own_input_as_reference_or_the_mirrored_truth(data):
    put(data, "Urban100/img_001.png", "Urban100/image_SRF_4/img_002_SRF_4_HR.png", size=(50, 63))
    put(data, "Urban100/image_SRF_4/img_002_SRF_4_LR.png", "Urban100/image_SRF_8/img_002_SRF_8_HR.png")
    usual, mirrored = dataset("urban100"), dataset("urban100", reference="mirrored")
    one, two = usual.pairs()
    assert (one.name, two.name) == ("img_001", "img_002_SRF_4_HR")  # of several ratios the lowest
    np.testing.assert_array_equal(one.refs(), [downscale(crop_to_multiple(noise(50, 63)))])
    np.testing.assert_array_equal(mirrored.pairs()[0].refs(), [noise(50, 63)[:, ::-1]])
    assert usual.label(100) == "Urban100" and usual.reference == "own LR input"
    assert mirrored.label(100) == "Urban100, mirrored ground truth"


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("sunhays", "best"),
        ("urban100", "first"),
        ("cufed", "random"),
        ("cufed5", "level 0"),
        ("cufed5", "level 6"),
        ("flickr1024", "level 2"),
        ("motorcycle", "all levels"),
    ],
)
def test_a_choice_of_references_that_does_not_exist_is_refused(name, reference):
    with pytest.raises(ValueError, match=f"{name} .*{reference!r}.* cufed5: level 1.* urban100: input"):
        dataset(name, reference=reference)


# ---- a folder of one's own ----


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        ("input/b.jpg input/a.PNG ref/a.webp ref/b.png input/alone.png", [("a", "a.webp"), ("b", "b.png")]),
        ("x_L.png x_R.jpg y_L.png z_R.png other.png", [("x_L", "x_R.jpg")]),
    ],
)
def test_a_folder_of_pairs_takes_any_extension_and_is_never_called_like_a_set(tmp_path, names, pairs):
    put(tmp_path / "CUFED5", *names.split())
    own = dataset(tmp_path / "CUFED5")
    assert [(p.name, p.ref_sources[0].name) for p in own.pairs()] == pairs
    assert own.label(len(pairs)) == "folder CUFED5" and own.name == "folder-CUFED5"


@pytest.mark.parametrize(
    ("names", "found"),
    [((), "nothing"), (("a.png", "b.png"), r"a\.png, b\.png"), (("input/a.png", "ref/b.png"), "input/, ref/")],
)
def test_a_folder_without_pairs_says_what_was_found_and_expected(tmp_path, names, found):
    put(tmp_path, *names)
    with pytest.raises(FileNotFoundError, match=rf"input/NAME\.png.*NAME_L.* {found}"):
        dataset(tmp_path)


# ---- what is here ----


def test_the_overview_names_every_set_with_its_terms_and_whether_it_is_here(data):
    put(data, *(f"CUFED5/001_{n}.png" for n in range(6)), "train/T91/t1.bmp")
    text = overview()
    for known in (*DATASETS.values(), *TRAINING_SETS.values()):
        (line,) = [x for x in text.splitlines() if x.split()[1:2] == [known.name]]
        assert f"{known.total:,}" in line and known.terms.split()[0] in line and known.citation.split()[0] in line
    assert all(words in text for words in ("partial, 1 of 126", "partial, 1 of 91", "absent", "whole"))
    assert max(map(len, text.splitlines())) < 170


# ---- training photographs that are in an evaluation set ----


def photograph(name="chelsea"):
    return getattr(skimage.data, name)()


def refused(folder, **changes):
    with pytest.raises(ValueError, match="could not be measured; move them elsewhere") as error:
        training_images(folder, replace(SMOKE, **{"crop": 16, **changes}), progress=False)
    return str(error.value)


def test_the_pixels_of_an_evaluation_picture_are_refused_whatever_the_file_is_called(data, tmp_path):
    save(data / "CUFED5/001_0.png", photograph())
    save(data / "CUFED5/001_1.png", photograph("coffee"))
    save(data / "KITTI2015/image_2/0.png", photograph("rocket"))  # it has no loader
    put(tmp_path / "mine", "fine.png", size=(40, 40))
    for name, picture in (("holiday.bmp", "chelsea"), ("cup.tif", "coffee"), ("up.png", "rocket")):
        save(tmp_path / "mine" / name, photograph(picture))
    text = refused(tmp_path / "mine")
    assert "holiday.bmp has the pixels of CUFED5: 001_0" in text
    assert "cup.tif has the pixels of CUFED5: reference of 001_0" in text and "fine.png" not in text
    assert "up.png has the pixels of KITTI: image_2/0.png" in text
    assert refused(tmp_path / "mine", cache=False)


@pytest.mark.parametrize("change", ["none", "jpeg", "half", "cropped"])
def test_the_embedded_motorcycle_is_refused_even_if_it_only_looks_the_same(data, tmp_path, change):
    left = Image.fromarray(skimage.data.stereo_motorcycle()[0])
    changed = {"half": left.resize((370, 250)), "cropped": left.crop((0, 0, 740, 500))}.get(change, left)
    changed.save(tmp_path / ("bike.jpg" if change == "jpeg" else "bike.png"), quality=75)
    how = "has the pixels of" if change == "none" else "looks like"
    assert f"{how} motorcycle: motorcycle_left" in refused(tmp_path)


def test_other_photographs_do_not_look_like_evaluation_pictures(data):
    names = ("astronaut", "chelsea", "coffee", "rocket", "retina")
    marks = [mark(photograph(n)) for n in names]
    apart = [(a.look ^ b.look).bit_count() for a in marks for b in marks if a is not b]
    assert min(apart) > 2 * NEAR
    assert leaks(zip(names, marks), evaluation_marks()) == []


def test_a_damaged_evaluation_picture_does_not_stop_training(data, tmp_path):
    put(data, *(f"CUFED5/001_{n}.png" for n in range(2)))
    (data / "CUFED5" / "001_1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    put(tmp_path / "mine", "fine.png", size=(40, 40))
    assert len(training_images(tmp_path / "mine", replace(SMOKE, crop=16), progress=False).train) == 1


def test_an_evaluation_file_is_hashed_once_and_again_only_if_it_changes(data, monkeypatch):
    put(data, *(f"CUFED5/001_{n}.png" for n in range(2)))
    before = evaluation_marks()
    decoded = []
    monkeypatch.setattr("e2ent2lib.data.training.as_rgb", lambda p: decoded.append(Path(p).name) or noise(seed=5))
    assert evaluation_marks() == before and decoded == []
    put(data, "CUFED5/001_0.png", size=(20, 20))
    assert evaluation_marks() != before and decoded == ["001_0.png"]


# ---- crops over a long run ----

SMALL = replace(SMOKE, crop=16, max_offset=8)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory in use from /proc")
def test_ten_thousand_crops_leak_no_memory(tmp_path):
    put(tmp_path, *(f"{i}.bmp" for i in range(4)), size=(64, 80))
    paths = sorted(tmp_path.iterdir())
    crops = CropTwice(paths, replace(SMALL, unrelated=0.3), length=10_000)
    after = []
    for i in range(10_000):
        crops[i]
        if i in (1_000, 9_999):
            after.append(resident())
    assert after[1] - after[0] < 4_000_000  # an item kept would be 13 kB, so 9,000 of them 120 MB


def test_stereo_methods_are_measured_on_stereo_pairs_alone():
    assert can_measure("passrnet", dataset("motorcycle")) and not can_measure("passrnet", dataset("cufed5"))
    with pytest.raises(ValueError, match="stereosr takes rectified stereo pairs only"):
        evaluate("stereosr", "cufed5")
