"""What `e2ent2 data check` finds, whole and partial, sound and spoilt (data/check.py)."""

import json
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
from data_files import noise, put, save
from PIL import Image

from e2ent2lib.data.check import check, looks_swapped
from e2ent2lib.data.pairs import DATASETS, fingerprint

LEFT, RIGHT = (view[:, :600] for view in skimage.data.stereo_motorcycle()[:2])


def group(data, number=1, levels=range(6)):
    put(data, *(f"CUFED5/{number:03}_{n}.png" for n in levels), first=10 * number)


def errors(name):
    return check(str(name), progress=False).errors


def error(name, *named):
    """There is one error, and it names these."""
    (line,) = errors(name)
    assert all(str(one) in line for one in named), line


def sound(name):
    found = check(str(name), progress=False)
    assert found.errors == []
    return found


# ---- counts ----


def test_a_part_that_is_sound_is_named_as_a_part(data):
    group(data)
    found = sound("cufed5")
    assert found.notes[0] == "CUFED5 (1 of 126): 1 pairs, 6 images decoded" and found.warnings == []


def test_a_whole_set_has_its_plain_title_and_more_than_it_has_is_an_error(data):
    for number in range(1, 127):
        group(data, number)
    assert sound("cufed5").notes[0] == "CUFED5: 126 pairs, 756 images decoded"
    group(data, 127)
    error("cufed5", 127, 126)


@pytest.mark.parametrize("name", ["cufed5", "sunhays", "bsds500"])
def test_what_is_not_here_is_an_error_that_says_how_to_get_it(data, name):
    with pytest.raises(FileNotFoundError, match=r"data/README\.md"):
        check(name, progress=False)
    with pytest.raises(ValueError, match="cufed7"):
        check("cufed7", progress=False)


def test_a_folder_that_is_called_like_a_set_does_not_stand_for_it(data, tmp_path, monkeypatch):
    put(tmp_path / "motorcycle", "input/a.png")
    monkeypatch.chdir(tmp_path)
    found = sound("motorcycle")
    assert found.notes[0] == "motorcycle: 1 pairs, 2 images decoded" and found.warnings == []


# ---- files ----


@pytest.mark.parametrize("spoil", [lambda b: b[: len(b) // 2], lambda b: b[:-20], lambda b: b"", lambda b: b"no image"])
def test_a_file_that_does_not_decode_is_named(data, spoil):
    put(data, *(f"CUFED5/001_{n}.png" for n in range(6)), size=(40, 40))
    path = data / "CUFED5" / "001_4.png"
    path.write_bytes(spoil(path.read_bytes()))
    error("cufed5", path)


@pytest.mark.parametrize(
    ("name", "files", "lacking"),
    [
        ("cufed5", [f"002_{n}" for n in range(6) if n != 0], "CUFED5/002_0.png: is missing"),
        ("cufed5", [f"002_{n}" for n in range(6) if n != 3], "CUFED5/002_3.png: is missing"),
        ("cufed", ("input/a", "ref/a", "input/b"), "CUFED/ref/b.png: is missing"),
        ("cufed", ("input/a", "ref/a", "ref/b"), "CUFED/input/b.png: is missing"),
        ("flickr1024", ("1_L", "1_R", "2_L"), "Test/2_R.png: is missing"),
        ("flickr1024", ("1_L", "1_R", "2_R"), "Test/2_L.png: is missing"),
        ("kitti2012", ("000000_10L", "000000_10R", "000001_10R"), "KITTI2012/000001_10L.png: is missing"),
        ("own", ("input/a", "ref/a", "input/b"), "own/ref/b.png: is missing"),
    ],
)
def test_a_missing_partner_is_named(data, monkeypatch, name, files, lacking):
    folder = name if name == "own" else DATASETS[name].folder
    put(data / folder, *(f"{f}.png" for f in files), size=(160, 160))
    monkeypatch.chdir(data)
    error(name, lacking)


@pytest.mark.parametrize("size", [(160, 161), (80, 80), (159, 160)])
def test_a_cufed_input_of_another_size_is_named_with_both(data, size):
    put(data, "CUFED/input/a.png", size=(160, 160))
    put(data, "CUFED/ref/a.png", size=(160, 159), first=1)  # as some of the owners are
    sound("cufed")
    put(data, "CUFED/input/a.png", size=size)
    error("cufed", "input/a.png", f"{size[1]}×{size[0]}", "160×160")


def test_views_of_unlike_size_and_tiny_ones_are_named_with_their_sizes(data):
    put(data, "Middlebury/Piano_L.png", size=(30, 40))
    put(data, "Middlebury/Piano_R.png", size=(30, 44), first=1)
    error("middlebury", "Piano_L.png", "40×30", "44×30")
    put(data, "Middlebury/Piano_L.png", "Middlebury/Piano_R.png", size=(11, 40))
    found = errors("middlebury")
    assert len(found) == 2 and all("40×11" in line for line in found)


@pytest.mark.parametrize("copy", ["001_3.png", "002_0.png"])
def test_a_picture_that_is_there_twice_is_named_whatever_its_file(data, copy):
    group(data, 1)
    group(data, 2)
    save(data / "CUFED5" / copy, noise(16, 16, 10))
    error("cufed5", "001_0.png", copy, "of one pair" if copy.startswith("001") else "would count twice")


def test_photographs_are_counted_and_those_without_references_are_a_warning(data):
    put(data, "SunHays80/img_001_SRF_8_HR.png", "SunHays80/img_002_SRF_8_HR.png")
    (warning,) = sound("sunhays").warnings
    assert warning.startswith("2 of 2 have no reference")
    put(data, "Urban100/img_001.png", size=(60, 60))
    assert sound("urban100").notes[0].startswith("Urban100 (1 of 100): 1 pairs")


def test_training_photographs_are_counted_and_twins_are_a_warning(data):
    put(data, "train/T91/t1.bmp", "train/T91/t2.bmp")
    save(data / "train/T91/t3.bmp", noise(16, 16, 1))
    found = sound("t91")
    assert found.notes[0] == "T91: 3 of 91 photographs are here"
    evaluation = 2 + 244  # the motorcycle's, and those of ViewPairs' list
    assert found.notes[1] == f"none of 3 training photographs is one of {evaluation} evaluation images"
    assert len(found.warnings) == 1 and "t2.bmp and" in found.warnings[0] and "t3.bmp" in found.warnings[0]


def test_a_file_that_is_no_longer_what_was_fetched_is_named(data):
    group(data)
    noted = {f"CUFED5/001_{n}.png": fingerprint([noise(16, 16, 10 + n)]) for n in range(6)}
    (data / "fetched.json").write_text(json.dumps({"a/b@c": {"archive": "0", "pixels": noted}}))
    sound("cufed5")
    put(data, "CUFED5/001_2.png", first=99)
    error("cufed5", "001_2.png")


def test_a_whole_set_with_other_pictures_than_it_is_known_by_is_named(data, monkeypatch):
    put(data / "KITTI2012", *(f"{n:06}_10{side}.png" for n in range(20) for side in "LR"))
    error("kitti2012", data / "KITTI2012")
    pixels = fingerprint([noise(16, 16, seed) for seed in range(40)])
    monkeypatch.setitem(DATASETS, "kitti2012", replace(DATASETS["kitti2012"], pixels=pixels))
    assert sound("kitti2012").notes[0].startswith("KITTI 2012: 20 pairs")


# ---- left and right ----


@pytest.mark.parametrize("part", [slice(None), slice(0, 250), slice(250, 500)])
def test_a_true_pair_is_told_from_an_exchanged_one(part):
    assert not looks_swapped(LEFT[part], RIGHT[part])
    assert looks_swapped(RIGHT[part], LEFT[part])


@pytest.mark.parametrize("views", [(noise(40, 50), noise(40, 50, 1)), (LEFT, LEFT), (LEFT * 0, LEFT * 0)])
def test_views_that_say_nothing_do_not_look_exchanged(views):
    assert not looks_swapped(*views)


@pytest.mark.parametrize("exchanged", [False, True])
def test_exchanged_views_are_a_warning_that_names_the_pair(data, exchanged):
    for side, view in zip("RL" if exchanged else "LR", (LEFT, RIGHT)):
        save(data / "Middlebury" / f"Bike_{side}.png", view)
    warnings = sound("middlebury").warnings
    assert len(warnings) == exchanged and all("Bike_L.png" in w for w in warnings)


# ---- training photographs in evaluation sets ----


def test_a_training_photograph_in_an_evaluation_set_is_named_from_both_sides(data):
    put(data, "train/T91/fine.png", size=(50, 50))
    save(data / "train" / "T91" / "cat.png", skimage.data.coffee())
    put(data, "Urban100/img_002.png", size=(60, 60), first=5)
    save(data / "Urban100" / "img_001.png", skimage.data.coffee())
    error("t91", "cat.png", "Urban100: img_001")
    both = errors("urban100")
    assert any("cat.png has the pixels of Urban100: img_001" in line for line in both)
    assert any("embedded coffee has the pixels of Urban100: img_001" in line for line in both)


def test_a_training_photograph_that_looks_like_an_evaluation_picture_is_named(data):
    put(data, "CUFED/ref/a.png", size=(160, 160))
    save(data / "CUFED/input/a.png", np.asarray(Image.fromarray(LEFT).resize((160, 160))))
    save(data / "Urban100" / "img_001.png", LEFT)
    error("cufed", "a.png looks like", "Urban100: img_001")
