"""Files in, files out (upscale.py, report/upscaled.py): nothing of the user's is lost, and what happened is told."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image
from tiny import network, picture

from e2ent2lib.photos import confidence, tiles, upscale
from e2ent2lib.photos import report as upscaled
from e2ent2lib.photos.images import read_image, upscale_bicubic
from e2ent2lib.photos.upscale import Upscaled, photographs_in, upscale_file

QUIET = {"progress": False}


@pytest.fixture(scope="module")
def model():
    return network("e2ent2-mse")


@pytest.fixture
def photos(tmp_path):
    """low.png with transparency, and two references."""
    rgba = np.dstack([picture(14, 18), np.full((14, 18), 255, np.uint8)])
    rgba[:6, :6, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "low.png")
    Image.fromarray(picture(48, 66, 1)).save(tmp_path / "a.jpg")
    Image.fromarray(picture(29, 40, 2)).save(tmp_path / "b.tif")
    return tmp_path


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_and_its_references_become_a_file(photos, model):
    before = {name: (photos / name).read_bytes() for name in files(photos)}
    done = upscale_file(photos / "low.png", [photos / "a.jpg", photos / "b.tif"], photos / "out.png", model, **QUIET)
    refs = [read_image(photos / "a.jpg")[:48, :64], read_image(photos / "b.tif")[:28, :40]]
    expected = tiles.enlarge(model, picture(14, 18), refs)
    with Image.open(photos / "out.png") as written:
        assert written.size == (72, 56) and written.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(written)[..., :3], expected.image)
        assert np.asarray(written)[:12, :12, 3].max() == 0 and np.asarray(written)[32:, 32:, 3].min() == 255
    assert [ref.shape for ref in done.references] == [(48, 64, 3), (28, 40, 3)]
    assert files(photos) == sorted([*before, "out.png"])
    assert all((photos / name).read_bytes() == content for name, content in before.items())


def test_nothing_is_shrunk_behind_the_users_back(photos, model):
    """The input is taken as the low-resolution picture it is, whatever its size."""
    done = upscale_file(photos / "a.jpg", [], photos / "out.png", model, **QUIET)
    assert done.made.image.shape == (4 * 48, 4 * 66, 3)
    np.testing.assert_array_equal(done.photo.pixels, read_image(photos / "a.jpg"))


def test_without_a_reference_it_is_the_single_image_branch_and_no_verdict(photos, model):
    done = upscale_file(photos / "low.png", [], photos / "out.png", model, **QUIET)
    np.testing.assert_array_equal(done.made.image, tiles.enlarge(model, picture(14, 18)).image)
    assert done.verdict is None and done.said == []


def test_a_system_without_use_for_a_reference_says_so(photos):
    done = upscale_file(photos / "low.png", [photos / "a.jpg"], photos / "out.png", "bicubic")
    assert done.said == ["this system makes no use of a reference"]
    np.testing.assert_array_equal(done.made.image, upscale_bicubic(picture(14, 18)))


@pytest.mark.parametrize("name", ["low.png", "./low.png", "sub/../low.png", "a.jpg", "link.png", "hard.png"])
def test_an_input_is_never_overwritten_by_whatever_name(photos, model, name):
    (photos / "sub").mkdir()
    (photos / "link.png").symlink_to(photos / "low.png")
    (photos / "hard.png").hardlink_to(photos / "low.png")
    before = (photos / "low.png").read_bytes()
    with pytest.raises(ValueError, match="is one of the inputs and would be overwritten"):
        upscale_file(photos / "low.png", [photos / "a.jpg"], photos / name, model, **QUIET)
    assert (photos / "low.png").read_bytes() == before


def test_when_only_writing_fails_the_finished_picture_is_elsewhere(photos, model, monkeypatch):
    original = upscale.write_photograph

    def full(path, photo):
        if Path(path).parent == photos:
            raise OSError(28, "No space left on device")
        return original(path, photo)

    monkeypatch.setattr(upscale, "write_photograph", full)
    with pytest.raises(OSError, match=r"cannot be written.*the finished picture is in") as caught:
        upscale_file(photos / "low.png", [photos / "a.jpg"], photos / "out.jpg", model, **QUIET)
    kept = Path(str(caught.value).rsplit(" ", 1)[1])
    assert "No space left" in str(caught.value) and not (photos / "out.jpg").exists()
    assert read_image(kept).shape == (56, 72, 3)
    kept.unlink()
    kept.parent.rmdir()


def interrupted(monkeypatch, model, photos, output):
    """An upscaling that is interrupted in its third band of matches; what it said."""
    original, calls = tiles.match, []

    def stops(*args, **options):
        calls.append(options["rows"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tiles, "match", stops)
        with pytest.raises(KeyboardInterrupt) as caught:
            upscale_file(photos / "low.png", [photos / "a.jpg"], output, model, **QUIET)
    return str(caught.value)


def test_an_interrupted_one_says_so_keeps_its_matches_and_goes_on(photos, model, monkeypatch):
    monkeypatch.setattr(tiles, "BAND", 10_000)
    whole = upscale_file(photos / "low.png", [photos / "a.jpg"], photos / "whole.png", model, **QUIET)
    said = interrupted(monkeypatch, model, photos, photos / "out.png")
    assert "out.png was not written; what was matched is kept, the same command goes on from there" in said
    assert not (photos / "out.png").exists() and (photos / ".out.png.matches").is_file()
    rows, original = [], tiles.match
    monkeypatch.setattr(tiles, "match", lambda *a, **o: rows.append(o["rows"]) or original(*a, **o))
    again = upscale_file(photos / "low.png", [photos / "a.jpg"], photos / "out.png", model, **QUIET)
    assert rows[0].start > 0
    np.testing.assert_array_equal(again.made.image, whole.made.image)
    assert not (photos / ".out.png.matches").exists()


def test_matches_of_another_picture_are_not_gone_on_with(photos, model, monkeypatch):
    monkeypatch.setattr(tiles, "BAND", 10_000)
    interrupted(monkeypatch, model, photos, photos / "out.png")
    Image.fromarray(picture(14, 18, 7)).save(photos / "low.png")
    again = upscale_file(photos / "low.png", [photos / "a.jpg"], photos / "out.png", model, **QUIET)
    fresh = upscale_file(photos / "low.png", [photos / "a.jpg"], photos / "fresh.png", model, **QUIET)
    np.testing.assert_array_equal(again.made.image, fresh.made.image)


@pytest.fixture
def folder(tmp_path):
    """Two photographs, a damaged one, one in a format that is not written, and what is none."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    for seed, name in enumerate(("1.png", "2.JPG", "3.gif")):
        Image.fromarray(picture(8, 9, seed)).save(inputs / name)
    (inputs / "broken.png").write_bytes((inputs / "1.png").read_bytes()[:60])
    (inputs / "notes.txt").write_text("no photograph")
    (inputs / ".hidden.png").write_bytes(b"")
    return inputs


def test_a_folder_is_done_file_by_file_and_one_that_fails_does_not_hold_up_the_rest(folder, tmp_path, model, capsys):
    out = tmp_path / "out"
    done = list(upscale_folder(folder, [], out, model, **QUIET))
    assert [type(x).__name__ for x in done] == ["Upscaled", "Upscaled", "Upscaled", "ValueError"]
    assert files(out) == ["1.png", "2.JPG", "3.gif.png"]
    assert "broken.png" in str(done[3])
    assert "4 of 4: broken.png" in capsys.readouterr().err
    assert read_image(out / "3.gif.png").shape == (32, 36, 3)


def test_a_second_call_leaves_what_is_there_unless_told_again(folder, tmp_path, model):
    out = tmp_path / "out"
    list(upscale_folder(folder, [], out, model, **QUIET))
    (out / "1.png").write_bytes(b"the user's own")
    done = list(upscale_folder(folder, [], out, model, **QUIET))
    assert "1.png is there already and was left; --again makes it anew" in str(done[0])
    assert (out / "1.png").read_bytes() == b"the user's own"
    list(upscale_folder(folder, [], out, model, again=True, **QUIET))
    assert read_image(out / "1.png").shape == (32, 36, 3)


@pytest.mark.parametrize("kind", ["same", "file", "no parent", "empty", "small reference"])
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_made(folder, tmp_path, model, kind):
    out, refs, given = tmp_path / "out", [], folder
    if kind == "same":
        out = folder
    if kind == "file":
        out.write_text("a file")
    if kind == "no parent":
        out = tmp_path / "no" / "such"
    if kind == "empty":
        given = tmp_path / "empty"
        given.mkdir()
    if kind == "small reference":
        Image.fromarray(picture(11, 40)).save(tmp_path / "ref.png")
        refs = [tmp_path / "ref.png"]
    before = files(tmp_path)
    says = {
        "same": "folder of the inputs",
        "file": "is a file",
        "no parent": "no such folder",
        "empty": "no photographs",
    }
    with pytest.raises((ValueError, OSError), match=says.get(kind, r"ref\.png of 40×11 pixels is too small")):
        list(upscale_folder(given, refs, out, model, **QUIET))
    assert files(tmp_path) == before


def test_formats_that_are_programs_are_no_photographs(tmp_path):
    for name in ("a.eps", "a.wmf", "a.png", "A.TIFF", "a.heic.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in photographs_in(tmp_path)] == ["A.TIFF", "a.png"]


def test_a_report_tells_what_was_matched_how_surely_and_where_it_mattered(photos, model):
    done = upscale_file(photos / "low.png", [photos / "a.jpg", photos / "b.tif"], photos / "out.png", model, **QUIET)
    before = plt.get_fignums()
    paths = upscaled.save_report(photos / "report", done, model, {"precision": "float32"})
    assert [p.name for p in paths] == ["report.json", "side_by_side.png", "maps.png"]
    assert plt.get_fignums() == before
    told = json.loads(paths[0].read_text(encoding="utf-8"))
    assert told["model"] == "e2ent2-mse" and told["checkpoint_sha256"] == "e2ent2-mse 0"
    assert told["input"]["width"] == 18 and [r["file"] for r in told["references"]] == ["a.jpg", "b.tif"]
    source, index = done.made.matches.source, done.made.matches.index
    for n, row in enumerate(told["matches"]):
        assert row["share of positions"] == pytest.approx((source == n).float().mean().item(), abs=1e-4)
        assert row["patches used"] == len(index[source == n].unique()) <= row["patches"]
    assert sum(row["share of positions"] for row in told["matches"]) == pytest.approx(1, abs=1e-3)
    assert told["confidence"]["mean"] == pytest.approx(done.made.confidence.mean(), abs=1e-4)
    assert told["changed"]["mean, 8-bit steps"] == pytest.approx(done.made.changed.mean(), abs=1e-3)
    assert told["verdict"]["agreement"] == pytest.approx(done.verdict.agreement, abs=1e-4)
    assert {"commit", "machine", "seconds", "options"} <= told.keys()
    for path in paths[1:]:
        assert min(read_image(path).shape[:2]) > 300


def test_a_report_of_files_whose_names_look_like_formulas(photos, model):
    low, ref = (photos / name for name in ("cost $x^{ of it$.png", "_$\\frac$" + 60 * "a" + ".jpg"))
    (photos / "low.png").rename(low)
    (photos / "a.jpg").rename(ref)
    done = upscale_file(low, [ref], photos / "$out_$.png", model, **QUIET)
    assert len(upscaled.save_report(photos / "report", done, model, {})) == 3


@pytest.mark.parametrize("name", ["bicubic", "no reference"])
def test_a_report_without_matches_has_no_maps(photos, model, name):
    system, refs = ("bicubic", [photos / "a.jpg"]) if name == "bicubic" else (model, [])
    done = upscale_file(photos / "low.png", refs, photos / "out.png", system)
    paths = upscaled.save_report(photos / "report", done, system, {})
    assert [p.name for p in paths] == ["report.json", "side_by_side.png"]
    assert "matches" not in json.loads(paths[0].read_text(encoding="utf-8"))


def test_the_detail_shown_is_where_the_reference_changed_most(photos, model):
    done = upscale_file(photos / "low.png", [photos / "a.jpg"], photos / "out.png", model, **QUIET)
    changed = np.zeros((120, 90), np.float32)
    changed[70:75, 50:53] = 9
    made = done.made._replace(image=np.zeros((480, 360, 3), np.uint8), changed=changed)
    y, x, side = upscaled.detail(done._replace(made=made))
    assert side == 90 // 4 * 4
    assert y <= 280 and y + side >= 300 and x <= 200 and x + side >= 212


def test_one_who_upscales_gets_the_verdict(photos, model, monkeypatch):
    known = {
        "chosen on": {"agreement, related": [0.3, 0.4, 0.5], "agreement, unrelated": [0, 0.1, 0.2]},
        "tested on": {"related": 9, "related, right": 8, "unrelated": 9, "unrelated, right": 7},
    }
    call = (photos / "low.png", [photos / "a.jpg"], photos / "out.png", model)
    done = upscale_file(*call, **QUIET)
    assert (
        isinstance(done, Upscaled)
        and done.verdict.helps is None
        and "was not measured for this network" in done.said[-1]
    )
    for threshold, helps in ((-1.0, True), (done.verdict.agreement - 0.05, None), (1.0, False)):
        monkeypatch.setattr(
            confidence, "thresholds", lambda t=threshold: {"e2ent2-mse 0": {"exact": known | {"threshold": t}}}
        )
        done = upscale_file(*call, **QUIET)
        assert done.verdict.helps is helps and done.said[-1] == done.verdict.text
        assert "right on 8 of 9 related test pairs and on 7 of 9 unrelated" in done.said[-1]
        says = {True: "shows the same things", None: "hard to tell", False: "does not seem to help"}
        assert says[helps] in done.said[-1]
