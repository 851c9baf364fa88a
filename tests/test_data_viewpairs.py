"""ViewPairs: its list, pairs built from mirrors of which one may lie, and damaged sets (data/pairs.py, fetch.py)."""

from dataclasses import replace

import numpy as np
import PIL
import pytest
from data_files import encoded, left, noise, save
from PIL import Image

from e2ent2lib.config import SMOKE
from e2ent2lib.data import DATASETS, dataset, pairs, training_images
from e2ent2lib.data import fetch as fetching
from e2ent2lib.data.check import check
from e2ent2lib.data.fetch import fetch, reduced
from e2ent2lib.data.pairs import View, fingerprint
from e2ent2lib.data.training import mark
from e2ent2lib.measure.evaluate import Pictures, evaluate
from e2ent2lib.measure.everything import can_measure, current
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.verdicts import EVERY

PICTURES = {"honest": [noise(48, 64, 0), noise(48, 64, 1)], "lying": [noise(64, 48, 2), noise(40, 64, 3)]}
PATHS = {r: [f"/{r}/{r}/raw/abc/photos/a%20{i}.png" for i in (0, 1)] for r in PICTURES}


def names(level="1", repositories=PICTURES):
    return [f"{r}{level}_{i}.webp" for r in repositories for i in (0, 1)]


def listed(level):
    """Two pairs a level, of two repositories."""
    return tuple(
        tuple(
            View(f"{r}{level}_{i}.webp", f"{r}/{r}", "abc", f"photos/a {i}.png", fingerprint([p]), mark(p).look)
            for i, p in enumerate(pictures)
        )
        for r, pictures in PICTURES.items()
    )


@pytest.fixture
def short_list(monkeypatch):
    monkeypatch.setattr(pairs, "view_pairs", listed)


@pytest.fixture
def home(data, monkeypatch, server, short_list):
    """An empty data folder, and GitHub played by the server, which has the photographs of the short list."""
    monkeypatch.setattr(fetching, "GITHUB", server.url)
    server.body = None
    server.files = {
        path: encoded(Image.fromarray(picture), "PNG") for r in PICTURES for path, picture in zip(PATHS[r], PICTURES[r])
    }
    return data


def fetched(name="viewpairs-1"):
    return "\n".join(fetch(name, progress=False, retries=0, timeout=2))


# ---- the list ----


def test_the_list_has_122_pairs_of_three_levels_each_picture_once():
    listing = [pair for level in "123" for pair in pairs.view_pairs(level)]
    assert [len(pairs.view_pairs(level)) for level in "123"] == [DATASETS[f"viewpairs-{n}"].total for n in "123"]
    views = [view for pair in listing for view in pair]
    assert len({v.name for v in views}) == len({v.pixels for v in views}) == 244
    assert all(len(v.pixels) == 64 and len(v.commit) == 40 for v in views)
    assert all(a.name[:-6] == b.name[:-6] and a.name.endswith("_0.webp") for a, b in listing)


def test_it_is_for_evaluation_only_and_not_stereo():
    for name in ("viewpairs-1", "viewpairs-2", "viewpairs-3"):
        known = DATASETS[name]
        assert known.for_evaluation and not known.stereo and name in EVERY
        assert can_measure("e2ent2", known) and not can_measure("passrnet", known)


# ---- how a pair is made ----


@pytest.mark.parametrize(
    ("sizes", "made"),
    [
        ([(1536, 1024), (1536, 1024)], [(512, 340), (512, 340)]),
        ([(1024, 2048), (900, 3000)], [(256, 512), (224, 748)]),
        ([(500, 375), (500, 371)], [(500, 372), (500, 368)]),
        ([(500, 375), (2048, 512)], [(500, 372), (1024, 256)]),
    ],
)
def test_one_factor_brings_the_input_to_512_and_nothing_is_enlarged(sizes, made):
    photographs = [Image.fromarray(noise(*size[::-1])) for size in sizes]
    pictures = next(reduced(photographs))
    assert [picture.shape[1::-1] for picture in pictures] == made
    whole = photographs[0].resize((made[0][0], round(sizes[0][1] * made[0][0] / sizes[0][0])), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pictures[0], np.asarray(whole)[: made[0][1]])  # cut at the right and bottom


# ---- fetching ----


def test_pairs_are_built_from_the_mirrors_files_and_not_asked_for_again(home, server):
    said = fetched()
    assert left(home) == sorted(f"ViewPairs/1/{name}" for name in names())
    assert sorted(server.asked) == sorted(path for paths in PATHS.values() for path in paths)
    assert "2 of 2 pairs" in said and "not the owners' own" in said
    one, two = dataset("viewpairs-1").pairs()
    assert (one.name, two.name) == ("honest1_0", "lying1_0")
    np.testing.assert_array_equal([one.hr(), *one.refs()], PICTURES["honest"])
    fetched()
    assert len(server.asked) == 4


def test_the_name_of_all_levels_fetches_and_checks_each(home):
    said = fetched("viewpairs")
    assert len(left(home)) == 12 and all(f"ViewPairs {n}: " in said for n in "123")
    assert check("viewpairs", progress=False).errors == []


def test_the_cameras_rotation_is_applied(home, server):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to the right
    turned = Image.fromarray(np.rot90(PICTURES["honest"][0]))
    server.files[PATHS["honest"][0]] = encoded(turned, "PNG", exif=exif)
    fetched()
    np.testing.assert_array_equal(dataset("viewpairs-1").pairs()[0].hr(), PICTURES["honest"][0])


def other(content):
    return encoded(Image.fromarray(noise(40, 64, 9)), "PNG")


@pytest.mark.parametrize("lie", [other, lambda b: b[: len(b) // 2], lambda b: b"<html>sign in</html>", lambda b: None])
def test_one_lying_mirror_is_named_and_the_others_pairs_are_in_place(home, server, lie):
    path = PATHS["lying"][1]
    server.files[path] = lie(server.files[path])
    with pytest.raises(ValueError, match=r"ViewPairs/1/lying1_[01]\.webp") as error:
        fetched()
    honest = [f"ViewPairs/1/{name}" for name in names(repositories=["honest"])]
    assert left(home) == honest
    if lie is other:
        assert all(part in str(error.value) for part in (PIL.__version__, "lying1_1.webp", "lying/lying"))
    assert dataset("viewpairs-1").label(len(dataset("viewpairs-1").pairs())) == "ViewPairs 1 (1 of 42)"


def test_a_server_that_falls_silent_for_one_repository_is_asked_for_the_others(home, server):
    server.plan = ["503"]  # the honest one is asked first
    with pytest.raises(ValueError, match=r"honest/honest.*503"):
        fetched("viewpairs-2")
    assert left(home) == sorted(f"ViewPairs/2/{name}" for name in names("2", ["lying"]))
    fetched("viewpairs-2")
    assert len(left(home)) == 4


def test_nothing_of_the_users_is_overwritten(home):
    (home / "ViewPairs/1").mkdir(parents=True)
    mine = home / "ViewPairs/1/honest1_0.webp"
    mine.write_bytes(b"mine")
    fetched()
    assert mine.read_bytes() == b"mine" and len(left(home)) == 4
    assert any(str(mine) in line for line in check("viewpairs-1", progress=False).errors)


# ---- checking ----


def errors(level="1"):
    return check(f"viewpairs-{level}", progress=False).errors


@pytest.fixture
def whole(home):
    fetched("viewpairs")
    return home / "ViewPairs"


def test_a_missing_view_and_a_truncated_one_are_named(whole):
    (whole / "1/honest1_1.webp").unlink()
    path = whole / "1/lying1_0.webp"
    path.write_bytes(path.read_bytes()[:-300])
    found = errors()
    assert len(found) == 2 and "lying1_0.webp" in found[0] and "honest1_1.webp: is missing" in found[1]


def test_swapped_levels_are_named_file_by_file_and_count_for_nothing(whole):
    (whole / "1").rename(whole / "away")
    (whole / "2").rename(whole / "1")
    (whole / "away").rename(whole / "2")
    found = errors()
    assert all(any(f"1/{name}: is not of ViewPairs 1" in line for line in found) for name in names("2"))
    with pytest.raises(FileNotFoundError):
        dataset("viewpairs-1").pairs()


def test_exchanged_and_changed_views_are_named(whole):
    one, two = (whole / "1" / name for name in names(repositories=["honest"]))
    one.rename(whole / "away")
    two.rename(one)
    (whole / "away").rename(two)
    found = errors()
    assert len(found) == 2 and str(one) in found[0] and str(two) in found[1]


# ---- scores ----


def are_current(rows):
    facts = Pictures(dataset("viewpairs-1"), Protocol()).facts("bicubic", "smoke", {"sha256": None}, False)
    return len(current(rows, facts)) == len(rows)


def scored():
    """The rows of bicubic: their pictures, label, and what was left out."""
    rows = evaluate("bicubic", "viewpairs-1", profile="smoke", progress=False)
    assert are_current(rows)
    (facts,) = {(row["label"], *row["left_out"]) for row in rows}
    return [row["image"] for row in rows], *facts


def test_a_score_says_which_pictures_it_leaves_out_and_why(whole):
    rows = evaluate("bicubic", "viewpairs-1", profile="smoke", progress=False)
    assert scored() == (["honest1_0", "lying1_0"], "ViewPairs 1 (2 of 42)")
    damaged = whole / "1/honest1_1.webp"
    damaged.write_bytes(damaged.read_bytes()[:-300])
    assert not are_current(rows)
    assert scored() == (["lying1_0"], "ViewPairs 1 (1 of 42)", "honest1_1.webp: damaged, it cannot be decoded")
    Image.fromarray(noise(48, 64, 9)).save(damaged, lossless=True)
    pillow = f"other pixels than listed, with Pillow {PIL.__version__}"
    assert scored() == (["lying1_0"], "ViewPairs 1 (1 of 42)", f"honest1_1.webp: {pillow}")
    damaged.unlink()
    (whole / "1/lying1_0.webp").unlink()
    with pytest.raises(FileNotFoundError, match="ViewPairs 1 is not here"):
        scored()


# ---- leaks ----


def test_a_photograph_of_the_list_is_never_trained_on_though_the_set_is_not_here(data, tmp_path, short_list):
    save(tmp_path / "mine" / "holiday.png", PICTURES["lying"][1])
    with pytest.raises(ValueError, match=r"holiday\.png has the pixels of ViewPairs \d: lying\d_1"):
        training_images(tmp_path / "mine", replace(SMOKE, crop=16), progress=False)
