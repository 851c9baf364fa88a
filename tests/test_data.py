"""The data sets' pairs, folders of photographs, and crop-twice pairs (data/)."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
import torch
from data_files import noise, put, save
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from e2ent2lib.config import SMOKE
from e2ent2lib.crops import crop_beside, crop_near, crop_twice, overlap
from e2ent2lib.data import DATASETS, CropTwice, dataset, embedded_photographs, fingerprint, photographs, training_images
from e2ent2lib.data.degraded import Degraded
from e2ent2lib.data.training import registered_views
from e2ent2lib.photos.images import as_rgb, downscale, to_image, to_tensor, write_image

few = settings(deadline=None, max_examples=30)


# ---- data sets in their owners' layout ----


def named(pairs):
    return {p.name: [r.name for r in p.ref_sources] for p in pairs}


def test_a_cufed5_group_is_an_input_and_five_references_best_first(data):
    put(data, *(f"CUFED5/001_{level}.png" for level in range(6)), size=(8, 8))
    (pair,) = dataset("cufed5").pairs()
    assert pair.name == "001_0"
    np.testing.assert_array_equal([pair.hr(), *pair.refs()], [noise(8, 8, level) for level in range(6)])


def test_cufed5_groups_come_by_name_with_the_levels_that_are_here_and_never_without_level_1(data):
    groups = {"010": (0, 1), "002": (0, 1, 2, 4, 5), "001": (0, 2, 3), "003": (1, 2), "004": (0,)}
    put(data, *(f"CUFED5/{group}_{level}.png" for group, levels in groups.items() for level in levels))
    expected = [("002_0", [f"002_{n}.png" for n in (1, 2, 4, 5)]), ("010_0", ["010_1.png"])]
    assert list(named(dataset("cufed5").pairs()).items()) == expected  # a score is said to be of level 1


@pytest.mark.parametrize(
    ("name", "folder", "files", "pairs"),
    [
        ("flickr1024", "Flickr1024/Test", "2_L 1_L 1_R 3_R sub/4_L sub/4_R", {"1_L": ["1_R.png"]}),
        ("flickr1024", "Flickr1024", "Train/1_L Train/1_R 2_L 2_R Test/3_L Test/3_R", {"3_L": ["3_R.png"]}),
        ("kitti2012", "KITTI2012", "1_10R 1_10L 2_10L 000020_10L 000020_10R 3_L 3_R", {"1_10L": ["1_10R.png"]}),
        ("middlebury", "Middlebury", "Piano_R Piano_L Bike_L", {"Piano_L": ["Piano_R.png"]}),
        ("middlebury", "Middlebury", "A_R A_L Motorcycle_L Motorcycle_R", {"A_L": ["A_R.png"]}),
        ("middlebury", "Middlebury", "A_R A_L MotorcycleE_L MotorcycleE_R", {"A_L": ["A_R.png"]}),
        ("cufed", "CUFED", "input/a ref/a input/b ref/c", {"a": ["a.png"]}),
    ],
)
def test_a_pair_is_an_input_and_the_reference_of_its_name(data, name, folder, files, pairs):
    put(data / folder, *(f"{file}.png" for file in files.split()), size=(8, 8))
    assert named(dataset(name).pairs()) == pairs
    (pair,) = dataset(name).pairs()
    assert pair.hr_source.stem == pair.name
    np.testing.assert_array_equal(pair.refs(), [as_rgb(r) for r in pair.ref_sources])


def test_the_projects_own_data_folder_comes_before_the_variables(data, tmp_path, monkeypatch):
    put(data, "CUFED5/001_0.png", "CUFED5/001_1.png")
    assert dataset("cufed5").pairs()[0].hr_source == data / "CUFED5" / "001_0.png"
    put(tmp_path / "checkout" / "data", "CUFED5/001_0.png", "CUFED5/001_1.png")
    assert dataset("cufed5").pairs()[0].hr_source == tmp_path / "checkout" / "data" / "CUFED5" / "001_0.png"
    monkeypatch.delenv("E2ENT2_DATA")
    put(data, "Middlebury/a_L.png", "Middlebury/a_R.png")
    with pytest.raises(FileNotFoundError):
        dataset("middlebury").pairs()


@pytest.mark.parametrize("name", [n for n in DATASETS if n != "motorcycle"])
def test_an_absent_data_set_says_where_to_put_it(data, name):
    assert dataset(name).lister() == []
    with pytest.raises(FileNotFoundError, match=rf"{DATASETS[name].title} is not here: .*data/.*E2ENT2_DATA"):
        dataset(name).pairs()


# ---- what comes with scikit-image ----


def test_the_motorcycle_pair_is_what_scikit_image_ships():
    left, right, _ = skimage.data.stereo_motorcycle()
    (pair,) = dataset("motorcycle").pairs()
    np.testing.assert_array_equal(pair.hr(), left)
    np.testing.assert_array_equal(pair.refs(), [right])
    assert pair.hr().shape == (500, 741, 3)


def test_the_motorcycle_pair_is_never_among_the_embedded_training_photographs():
    left, right, _ = skimage.data.stereo_motorcycle()
    marks = {fingerprint([x]) for x in embedded_photographs().values()}
    assert not marks & {fingerprint([left]), fingerprint([right])}
    assert len(marks) == len(embedded_photographs()) >= 5


# ---- folders ----


def test_photographs_are_found_in_sub_folders_sorted_and_whatever_the_case_of_their_ending(tmp_path):
    put(tmp_path, "b.png", "a/c.JPG", "a/b/d.webp")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    assert [p.relative_to(tmp_path).as_posix() for p in photographs(tmp_path)] == ["a/b/d.webp", "a/c.JPG", "b.png"]


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_a_folder_without_images_is_refused_by_name(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    with pytest.raises(FileNotFoundError, match=folder):
        photographs(tmp_path / folder)


# ---- crop-twice ----


@few
@given(st.data())
def test_boxes_lie_inside_the_image_and_within_the_largest_offset(draw):
    height, width = draw.draw(st.integers(4, 60)), draw.draw(st.integers(4, 60))
    crop = draw.draw(st.integers(1, min(height, width)))
    offset = draw.draw(st.none() | st.integers(0, 20))
    first, second = crop_twice((height, width), crop, np.random.default_rng(draw.draw(st.integers(0, 999))), offset)
    for y, x in (first, second):
        assert 0 <= y <= height - crop and 0 <= x <= width - crop
    if offset is not None:
        assert all(abs(a - b) <= offset for a, b in zip(first, second))


def test_every_box_of_the_image_can_be_drawn_both_times():
    rng = np.random.default_rng(0)
    drawn = [crop_twice((4, 5), 3, rng) for _ in range(400)]
    boxes = {(y, x) for y in range(2) for x in range(3)}
    assert {first for first, _ in drawn} == {second for _, second in drawn} == boxes
    assert len(set(drawn)) == 36


@pytest.mark.parametrize("draw", [crop_twice, crop_beside])
def test_a_crop_needs_an_image_of_its_size(draw):
    rng = np.random.default_rng(0)
    assert draw((6, 6), 6, rng, 5) == ((0, 0), (0, 0))
    for size in ((5, 9), (9, 5)):
        with pytest.raises(ValueError, match=rf"{size[1]}×{size[0]}.* 6×6"):
            draw(size, 6, rng, 5)


@few
@given(st.tuples(*[st.integers(0, 12)] * 4), st.integers(1, 8))
def test_the_overlap_equals_counting_pixels(corners, crop):
    masks = np.zeros((2, 20, 20), bool)
    for mask, (y, x) in zip(masks, (corners[:2], corners[2:])):
        mask[y : y + crop, x : x + crop] = True
    expected = pytest.approx(masks.all(0).sum() / crop**2)
    assert overlap(corners[:2], corners[2:], crop) == overlap(corners[2:], corners[:2], crop) == expected


SMALL = replace(SMOKE, crop=16, max_offset=8)
PICTURES = [noise(40, 48, seed) for seed in range(5)]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other))


def test_an_item_is_the_two_crops_and_their_downscaled_twins():
    crops = CropTwice(PICTURES, SMALL, length=10)
    i, (y, x), j, (v, u) = crops.boxes(3)
    hr, ref = PICTURES[i][y : y + 16, x : x + 16], PICTURES[j][v : v + 16, u : u + 16]
    for found, expected in zip(crops[3], (hr, downscale(hr), ref, downscale(ref))):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, torch.from_numpy(expected.copy()).permute(2, 0, 1) / 255)


def test_an_item_depends_on_its_number_and_seed_alone():
    one, again = CropTwice(PICTURES, SMALL, length=10), CropTwice(PICTURES, SMALL, length=99)
    forward = [one[i] for i in range(10)]
    assert all(same(again[i], forward[i]) for i in reversed(range(10)))
    assert any(not same(a, b) for a, b in pairwise(forward))
    other = CropTwice(PICTURES, SMALL, length=10, seed=1)
    assert sum(same(other[i], forward[i]) for i in range(10)) < 3
    later = CropTwice(PICTURES, SMALL, length=10, start=3)
    assert len(later) == 7 and all(same(later[i], forward[i + 3]) for i in range(7))


def test_items_do_not_depend_on_the_number_of_loader_processes():
    crops = CropTwice(PICTURES, replace(SMALL, unrelated=0.5), length=6)
    alone, shared = (list(DataLoader(crops, batch_size=2, num_workers=n)) for n in (0, 2))
    assert len(alone) == len(shared) == 3
    assert all(same(a, b) for a, b in zip(alone, shared))


def test_crops_are_the_same_from_paths_as_from_arrays(tmp_path):
    put(tmp_path, *(f"{i}.png" for i in range(5)), size=(40, 48))
    from_arrays, from_paths = (CropTwice(x, SMALL, length=4) for x in (PICTURES, sorted(tmp_path.iterdir())))
    assert all(same(from_arrays[i], from_paths[i]) for i in range(4))


@pytest.mark.parametrize(("fraction", "least", "most"), [(0.0, 0, 0), (0.3, 0.25, 0.35), (1.0, 1, 1)])
def test_the_unrelated_fraction_of_references_is_of_another_photograph_the_rest_near_by(fraction, least, most):
    boxes = [CropTwice(PICTURES, replace(SMALL, unrelated=fraction), length=1000).boxes(n) for n in range(1000)]
    related = [(a, b) for i, a, j, b in boxes if i == j]
    assert least <= 1 - len(related) / 1000 <= most
    assert all(max(abs(p - q) for p, q in zip(a, b)) <= SMALL.max_offset for a, b in related)


def test_views_are_references_where_they_show_the_same_as_they_are_or_laid_over():
    scene = skimage.data.astronaut()[:400, 100:500]
    images = [scene[:320, 80:], scene[80:, 80:], np.rot90(scene).copy(), noise(100, 100)]
    found = registered_views(images, ["castle", "castle", "castle", "b"])
    assert {(i, j) for i, j, _ in found} == {(i, j) for i in range(3) for j in range(3) if i != j}
    for i, j, to in found:
        if {i, j} == {0, 1}:  # one is 80 pixels below the other
            np.testing.assert_allclose(to, [[1, 0, 0], [0, 1, 80 * (i - j)], [0, 0, 1]], atol=0.5)
    profile = replace(SMOKE, crop=64, unrelated=0.2, views=0.5)
    crops = CropTwice(images, profile, length=400, scenes=["castle", "castle", "castle", "b"])
    drawn = [crops.boxes(n) for n in range(400)]
    views = [n for n, (i, _, j, place) in enumerate(drawn) if (i != j and {i, j} <= {0, 1}) or len(place) == 3]
    laid = [n for n in views if len(drawn[n][3]) == 3]
    assert 0.3 < len(laid) / 400 < 0.37 and len(views) > len(laid)  # two thirds of the half
    for n in laid:  # as far as it covers the input, it is the input, up to 8 pixels away
        hr, ref = crops[n].hr, crops[n].ref
        shifts = [(y, x) for y in range(-9, 10) for x in range(-9, 10)]
        inner = hr[:, 16:-16, 16:-16]
        errors = [(ref.roll((y, x), (1, 2))[:, 16:-16, 16:-16] - inner).abs().median() for y, x in shifts]
        assert min(errors) < 0.05


def test_the_aligned_fraction_of_references_is_shifted_by_whole_cells():
    boxes = [CropTwice(PICTURES, replace(SMALL, unrelated=0.0, aligned=0.5), length=1000).boxes(n) for n in range(1000)]
    whole = [all((p - q) % SMALL.scale == 0 for p, q in zip(a, b)) for _, a, _, b in boxes]
    assert 0.5 < np.mean(whole) < 0.62  # half of them, and a sixteenth of the others by chance
    free = [CropTwice(PICTURES, replace(SMALL, unrelated=0.0, aligned=0.0), length=1000).boxes(n) for n in range(1000)]
    for (i, a, _, b), (j, c, _, d) in zip(boxes, free):
        assert (i, a) == (j, c) and all(
            0 <= (q - p) * (s - r) and abs(q - p) <= abs(s - r) for p, q, r, s in zip(a, b, c, d)
        )


@few
@given(st.integers(16, 40), st.integers(16, 40), st.integers(0, 60), st.integers(0, 60), st.integers(0, 9))
def test_a_box_near_a_place_lies_inside_an_image_of_any_size(height, width, y, x, reach):
    box = crop_near((height, width), 16, (y, x), np.random.default_rng(0), reach)
    for found, wanted, n in zip(box, (y, x), (height, width)):
        assert 0 <= found <= n - 16
        assert abs(found - min(wanted, n - 16)) <= reach


def test_without_views_the_series_is_the_same_whether_scenes_are_known_or_not():
    profile = replace(SMALL, unrelated=0.3)
    known = CropTwice(PICTURES, profile, length=100, scenes=["castle"] * len(PICTURES))
    unknown = CropTwice(PICTURES, profile, length=100)
    assert [known.boxes(n) for n in range(100)] == [unknown.boxes(n) for n in range(100)]


def test_the_scene_of_a_training_photograph_is_its_folder_in_scenes(tmp_path):
    names = ("scenes/castle/0.png", "scenes/castle/1.png", "scenes/lund/0.png", "other/0.png", "other/1.png")
    put(tmp_path, *names, size=(40, 44))
    found = training_images(tmp_path, SMALL, progress=False)
    assert len(found.scenes) == len(found.train) == 5
    assert sorted(scene.split("/")[-1] for scene in found.scenes) == ["0.png", "1.png", "castle", "castle", "lund"]


def test_a_single_photograph_is_its_own_reference_and_of_several_every_one_is_used():
    crops = CropTwice(PICTURES[:1], replace(SMALL, unrelated=1.0), length=5)
    assert all((i, j) == (0, 0) for i, _, j, _ in map(crops.boxes, range(5)))
    crops = CropTwice(PICTURES, SMALL, length=200)
    assert {crops.boxes(n)[0] for n in range(200)} == set(range(5))


# ---- training photographs ----


def ready(source, **changes):
    return training_images(source, replace(SMOKE, **{"crop": 16, **changes}), progress=False)


def test_small_images_are_left_out_and_counted(tmp_path):
    put(tmp_path, "a.png", "b/c.png", size=(20, 30))
    put(tmp_path, "low.png", size=(15, 40))
    put(tmp_path, "narrow.png", size=(40, 15))
    put(tmp_path, "just.png", size=(16, 16))
    found = ready(tmp_path)
    assert len(found.train) == 3 and all(min(x.shape[:2]) >= 16 for x in found.train)
    expected = {"images": 5, "used": 3, "left_out_smaller_than_a_crop": 2, "source": tmp_path.name, "validation": []}
    assert found.facts.items() >= expected.items()


def test_a_source_without_a_usable_image_or_with_a_corrupt_one_is_named(data, tmp_path):
    with pytest.raises(FileNotFoundError, match="holiday"):
        ready("holiday")
    put(tmp_path / "small", "a.png", "b.png", size=(15, 15))
    with pytest.raises(ValueError, match=r"small: .* 16 pixels"):
        ready(tmp_path / "small")
    put(tmp_path / "mine", "a.png", "sub/broken.png", size=(20, 20))
    (tmp_path / "mine" / "sub" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n of a kind")
    with pytest.raises(ValueError, match=r"sub.broken\.png"):
        ready(tmp_path / "mine")


def test_the_fingerprint_is_of_the_pixels_that_are_used_whatever_the_format(tmp_path):
    for suffix in ("png", "bmp", "tif"):
        put(tmp_path / suffix, f"a.{suffix}", f"b.{suffix}", size=(20, 20))
    put(tmp_path / "bmp", "small.bmp", size=(10, 10))
    marks = {ready(tmp_path / s, cache=s != "tif").facts["fingerprint"] for s in ("png", "bmp", "tif")}
    assert len(marks) == 1
    write_image(tmp_path / "png" / "b.png", noise(20, 20, seed=9))
    assert ready(tmp_path / "png").facts["fingerprint"] not in marks


def test_the_fingerprint_of_pictures_tells_shapes_and_order_apart():
    a, b = noise(2, 6), noise(2, 6, seed=1)
    marks = [fingerprint(x) for x in ([a, b], [b, a], [a], [a.reshape(6, 2, 3)], [a.reshape(4, 3, 3)])]
    assert len(set(marks)) == 5
    assert fingerprint([a]) == fingerprint([a.copy(order="F")])


def test_a_small_folder_trains_on_everything_kept_as_paths_unless_cached_and_validates_on_the_same(tmp_path):
    put(tmp_path, *(f"{i:02}.png" for i in range(49)), size=(16, 16))
    found = ready(tmp_path, cache=False)
    assert found.train == found.validation == sorted(tmp_path.iterdir()) and found.facts["validation"] == []
    np.testing.assert_array_equal(ready(tmp_path, cache=True).train[0], noise(16, 16))


def test_beyond_the_caches_limit_photographs_are_kept_as_paths(tmp_path, monkeypatch, capsys):
    for name, side in (("a", 64), ("b", 64), ("c", 20)):
        save(tmp_path / f"{name}.png", noise(side, side))
    monkeypatch.setattr("e2ent2lib.data.training.CACHE", 64 * 64 * 3 + 1)
    found = training_images(tmp_path, replace(SMOKE, cache=True))
    assert [type(image).__name__ for image in found.train] == ["ndarray", "PosixPath"]
    assert f"under {SMOKE.crop} pixels: 1 photographs (c.png)" in capsys.readouterr().err


def test_of_a_large_folder_about_one_in_twenty_is_held_out_by_its_name_and_never_trained_on(tmp_path):
    put(tmp_path, *(f"{i:03}.png" for i in range(120)), size=(16, 16))
    found = ready(tmp_path, cache=False)
    assert 1 <= len(found.validation) <= 15
    assert len(found.train) + len(found.validation) == 120
    assert not set(found.train) & set(found.validation)
    before = found.facts["validation"]
    assert before == [p.name for p in found.validation]
    (tmp_path / "000.png").unlink()
    put(tmp_path, "more.png", size=(16, 16))
    assert set(ready(tmp_path).facts["validation"]) - {"more.png"} == set(before) - {"000.png"}


def test_views_of_the_validation_scenes_are_held_out_as_a_whole(tmp_path):
    names = [f"scenes/{scene}/{i}.png" for scene in ("kermit", "ET", "Herz-Jesus-P25") for i in range(3)]
    put(tmp_path, *names, "kermit.png", size=(16, 16))
    found = ready(tmp_path)
    assert found.facts["validation"] == sorted(n for n in names if "/ET/" not in n)
    assert len(found.train) == 4 and len(found.validation) == 6


def test_embedded_photographs_hold_out_chelsea():
    found = training_images("embedded", SMOKE, progress=False)
    assert found.facts["validation"] == ["chelsea"] and found.facts["source"] == "embedded"
    (cat,) = found.validation
    np.testing.assert_array_equal(cat, skimage.data.chelsea())
    assert len(found.train) == len(embedded_photographs()) - 1
    assert not any(np.array_equal(cat, x) for x in found.train)


@pytest.mark.parametrize(
    "name", ["CUFED5", "Flickr1024", "Middlebury", "KITTI", "kitti2012", "ViewPairs", "Sun80", "urban100"]
)
def test_a_set_that_is_for_evaluation_is_never_trained_on(data, name):
    put(data, f"{name}/Test/a.png", size=(40, 40))
    for source in (name, data, data / name / "Test"):
        with pytest.raises(ValueError, match=f"(?i){name} is for evaluation"):
            ready(source)


# ---- crops that look like a rectified stereo pair ----


@few
@given(st.integers(6, 20), st.integers(6, 30), st.integers(0, 12), st.integers(0, 99))
def test_the_second_box_of_a_stereo_pair_is_in_the_same_rows_and_to_the_right(height, width, most, seed):
    (y, x), (v, u) = crop_beside((height, width), 6, np.random.default_rng(seed), most)
    assert v == y and 0 <= u - x <= most
    assert 0 <= y <= height - 6 and 0 <= x and u <= width - 6


def test_what_is_at_column_x_of_the_first_crop_is_at_x_minus_d_of_the_second():
    profile = replace(SMOKE, crop=12, stereo=True, max_offset=8, unrelated=0.0)
    crops = CropTwice([noise(20, 40, 3)], profile, length=20, seed=0)
    for i in range(20):
        _, (_, x), _, (_, u) = crops.boxes(i)
        d, sample = u - x, crops[i]
        assert torch.equal(sample.hr[:, :, d:], sample.ref[:, :, : 12 - d])


def test_half_of_the_degraded_crops_are_clean_and_each_depends_on_its_number_alone():
    crops = Degraded(PICTURES, replace(SMALL, unrelated=0.0), length=200)
    clean = 0
    for n in range(200):
        hr, lr, ref, down = crops[n]
        assert lr.shape == down.shape and hr.shape == ref.shape and lr.min() >= 0 and lr.max() <= 1
        reduced = to_tensor(downscale(to_image(hr[None]), SMALL.scale))[0]
        assert down.equal(to_tensor(downscale(to_image(ref[None]), SMALL.scale))[0])
        clean += lr.equal(reduced)
    assert 70 < clean < 130
    later = Degraded(PICTURES, replace(SMALL, unrelated=0.0), length=200, start=150)
    assert all(one.equal(other) for one, other in zip(later[7], crops[157]))
