"""Files in, files out, report (upscale.py, report.py): nothing of the user's is lost, and what happened is told."""

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from data_files import call, encoded, left
from PIL import Image
from tiny import interrupt_third_band, network, picture

from e2ent2lib.photos import FileOptions, confidence, photograph, report, tiles, upscale
from e2ent2lib.photos.images import as_rgb, upscale_bicubic
from e2ent2lib.photos.options import Options
from e2ent2lib.photos.upscale import Upscaled, references_of, upscale_all, upscale_file
from e2ent2lib.runs.checkpoints import load_model
from e2ent2lib.systems import photo


@pytest.fixture(scope="module")
def model():
    return network("e2ent2-mse")


@pytest.fixture
def photos(tmp_path):
    """low.png with transparency, and two references."""
    rgba = np.dstack([picture(14, 18), np.full((14, 18), 255, np.uint8)])
    rgba[:6, :6, 3] = 0
    Image.fromarray(rgba).save(tmp_path / "low.png")
    Image.fromarray(picture(48, 66, 1)).save(tmp_path / "a.jpg", quality=95)
    Image.fromarray(picture(29, 40, 2)).save(tmp_path / "b.tif")
    return tmp_path


def upscaled(folder, model, refs=("a.jpg",), low="low.png", output="out.png"):
    files = FileOptions(again=True)
    return upscale_file(folder / low, [folder / ref for ref in refs], folder / output, model, Options(), files)


def test_a_file_and_its_references_become_a_file(photos, model):
    before = {name: (photos / name).read_bytes() for name in left(photos)}
    done = upscaled(photos, model, ["a.jpg", "b.tif"])
    refs = [as_rgb(photos / "a.jpg")[:48, :64], as_rgb(photos / "b.tif")[:28, :40]]
    expected = tiles.enlarge(model, photograph.read_photograph(photos / "low.png").pixels, refs)
    with Image.open(photos / "out.png") as written:
        assert written.size == (72, 56) and written.mode == "RGBA"
        np.testing.assert_array_equal(np.asarray(written)[..., :3], expected.image)
        assert np.asarray(written)[:12, :12, 3].max() == 0 and np.asarray(written)[32:, 32:, 3].min() == 255
    assert [ref.pixels.shape for ref in done.references] == [(48, 64, 3), (28, 40, 3)]
    assert left(photos) == sorted([*before, "out.png"])
    assert all((photos / name).read_bytes() == content for name, content in before.items())


@pytest.mark.parametrize("low", ["low.png", "a.jpg"])
def test_without_a_reference_it_is_the_single_image_branch_of_the_whole_input_and_no_verdict(photos, model, low):
    done = upscaled(photos, model, [], low)
    pixels = photograph.read_photograph(photos / low).pixels  # not shrunk first
    np.testing.assert_array_equal(done.result.image, tiles.enlarge(model, pixels).image)
    assert done.verdict is None and not any("reference" in note for note in done.notes)


def test_a_reference_that_is_the_input_enlarged_is_left_out_and_named(photos):
    Image.open(photos / "low.png").convert("RGB").resize((72, 56), Image.Resampling.BICUBIC).save(photos / "own.png")
    photo = network("e2ent2-photo")
    done = upscaled(photos, photo, ["own.png"])
    np.testing.assert_array_equal(done.result.image, upscaled(photos, photo, []).result.image)
    assert any(note.startswith("own.png holds no finer detail") for note in done.notes) and done.verdict is None
    done = upscaled(photos, photo, ["own.png", "a.jpg"])
    assert [ref.path.name for ref in done.references] == ["a.jpg"] and done.verdict


def test_a_system_without_use_for_a_reference_says_so(photos):
    done = upscaled(photos, load_model("bicubic", "smoke"))
    assert len(done.notes) == 1 and "no use of a reference" in done.notes[0]
    np.testing.assert_array_equal(
        done.result.image, upscale_bicubic(photograph.read_photograph(photos / "low.png").pixels)
    )


@pytest.mark.parametrize("name", ["low.png", "../{}/low.png", "a.jpg", "link.png", "hard.png"])
def test_an_input_is_never_overwritten_by_whatever_name(photos, model, name):
    (photos / "link.png").symlink_to(photos / "low.png")
    (photos / "hard.png").hardlink_to(photos / "low.png")
    before = (photos / "low.png").read_bytes()
    with pytest.raises(ValueError, match=f"{Path(name).name}: is one of the inputs"):
        upscaled(photos, model, output=name.format(photos.name))
    assert (photos / "low.png").read_bytes() == before


def test_when_only_writing_fails_the_finished_picture_is_elsewhere(photos, model, monkeypatch):
    original = photograph.write_photograph

    def full(path, photo):
        if Path(path).parent == photos:
            raise OSError(28, "No space left on device")
        return original(path, photo)

    monkeypatch.setattr(photograph, "write_photograph", full)
    with pytest.raises(OSError, match=r"out\.jpg.*No space left") as caught:
        upscaled(photos, model, output="out.jpg")
    kept = Path(str(caught.value).rsplit(" ", 1)[1])
    assert not (photos / "out.jpg").exists() and as_rgb(kept).shape == (56, 72, 3)
    kept.unlink()
    kept.parent.rmdir()


@pytest.mark.parametrize("other", [False, True])
def test_an_interrupted_one_says_so_keeps_its_matches_and_resumes_but_not_for_another_picture(
    photos, model, monkeypatch, other
):
    monkeypatch.setattr(tiles, "BAND", 10_000)
    bands, kept = interrupt_third_band(monkeypatch), photos / ".out.png.matches"
    with pytest.raises(KeyboardInterrupt, match=r"out\.png was not written.*the same command resumes"):
        upscaled(photos, model)
    assert not (photos / "out.png").exists() and kept.is_file()
    if other:
        Image.fromarray(picture(14, 18, 7)).save(photos / "low.png")
    again = upscaled(photos, model)
    assert bands[3].start == (0 if other else bands[2].start) and bands[2].start > 0 and not kept.exists()
    np.testing.assert_array_equal(again.result.image, upscaled(photos, model, output="whole.png").result.image)


@pytest.fixture
def folder(tmp_path):
    """Two photographs, a damaged one, one in a format that is not written, and what is none: programs too."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    for seed, name in enumerate(("1.png", "2.JPG", "3.gif")):
        Image.fromarray(picture(8, 9, seed)).save(inputs / name)
    (inputs / "trip").mkdir()
    (inputs / "broken.png").write_bytes((inputs / "1.png").read_bytes()[:60])
    for name in ("notes.txt", ".hidden.png", "program.eps", "drawing.wmf"):
        (inputs / name).touch()
    return inputs


def test_a_folder_is_done_file_by_file_and_one_that_fails_does_not_hold_up_the_rest(folder, tmp_path, model, capsys):
    out = tmp_path / "out"
    done = list(upscale_all(folder, [], out, model))
    assert [type(x).__name__ for x in done] == ["Upscaled", "Upscaled", "Upscaled", "ValueError", "str"]
    assert left(out) == ["1.png", "2.JPG", "3.gif.png"]
    others = "1 .eps (program.eps); 1 .txt (notes.txt); 1 .wmf (drawing.wmf)"
    assert done[4] == f"skipped: {others}; 1 sub-folder(s), which --recursive takes"
    assert "broken.png" in str(done[3]) and "4 of 4: broken.png" in capsys.readouterr().err
    assert as_rgb(out / "3.gif.png").shape == (32, 36, 3)
    (out / "1.png").write_bytes(b"the user's own")
    done = list(upscale_all(folder, [], out, model))
    assert str(out / "1.png") in done[0] and "--again" in done[0]
    assert (out / "1.png").read_bytes() == b"the user's own"
    list(upscale_all(folder, [], out, model, files=FileOptions(again=True)))
    assert as_rgb(out / "1.png").shape == (32, 36, 3)


@pytest.mark.parametrize(
    ("low", "ref", "out", "names"),
    [
        ("in", None, "in", "in"),
        ("in", None, "in/1.png", "in/1.png"),
        ("in", None, "no/such", "no"),
        ("empty", None, "out", "empty"),
        ("in", "small.png", "out", "small.png of 40×11"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_before_anything_is_made(folder, model, low, ref, out, names):
    root = folder.parent
    (root / "empty").mkdir()
    Image.fromarray(picture(11, 40)).save(root / "small.png")
    before = sorted(root.rglob("*"))
    with pytest.raises((ValueError, OSError), match=str(root / names)):
        list(upscale_all(root / low, [root / ref] if ref else [], root / out, model))
    assert sorted(root.rglob("*")) == before


def test_a_report_tells_what_was_matched_how_surely_and_where_it_mattered(photos, model):
    low, ref, before = "cost $x^{ of it$.png", "_$\\frac$" + 60 * "a" + ".jpg", plt.get_fignums()
    (photos / "low.png").rename(photos / low)
    (photos / "a.jpg").rename(photos / ref)  # a file's name is no formula
    done = upscaled(photos, model, [ref, "b.tif"], low, "$out_$.png")
    paths = report.save_report(photos / "report", done)
    assert [p.name for p in paths] == ["report.json", "side_by_side.png", "maps.png"]
    assert plt.get_fignums() == before
    facts = json.loads(paths[0].read_text(encoding="utf-8"))
    assert facts["model"] == "e2ent2-mse" and facts["checkpoint_sha256"] == "e2ent2-mse 0"
    assert facts["input"]["width"] == 18 and [r["file"] for r in facts["references"]] == [ref, "b.tif"]
    source, index = done.result.matches.source, done.result.matches.index
    for n, row in enumerate(facts["matches"]):
        assert row["share of positions"] == pytest.approx((source == n).float().mean().item(), abs=1e-4)
        assert row["patches used"] == len(index[source == n].unique()) <= row["patches"]
    assert sum(row["share of positions"] for row in facts["matches"]) == pytest.approx(1, abs=1e-3)
    assert facts["confidence"]["mean"] == pytest.approx(done.result.confidence.mean(), abs=1e-4)
    assert facts["changed"]["mean, 8-bit steps"] == pytest.approx(done.result.changed.mean(), abs=1e-3)
    assert facts["verdict"]["agreement"] == pytest.approx(done.verdict.agreement, abs=1e-4)
    assert {"options", "commit", "machine", "seconds"} <= facts.keys()
    for path in paths[1:]:
        assert min(as_rgb(path).shape[:2]) > 300


def test_a_report_without_matches_has_no_maps(photos, model):
    for done in (upscaled(photos, load_model("bicubic", "smoke")), upscaled(photos, model, [])):
        paths = report.save_report(photos / "report", done)
        assert [p.name for p in paths] == ["report.json", "side_by_side.png"]
        assert "matches" not in json.loads(paths[0].read_text(encoding="utf-8"))


def test_the_detail_shown_is_where_the_reference_changed_most(photos, model):
    done, changed = upscaled(photos, model), np.zeros((120, 90), np.float32)
    changed[70:75, 50:53] = 9
    result = done.result._replace(image=np.zeros((480, 360, 3), np.uint8), changed=changed)
    y, x, side = report.detail(replace(done, result=result))
    assert side == 90 // 4 * 4
    assert y <= 280 and y + side >= 300 and x <= 200 and x + side >= 212


def test_one_who_upscales_gets_the_verdict(photos, model, monkeypatch):
    tested = {"related": 9, "related, right": 8, "unrelated": 9, "unrelated, right": 7}
    done = upscaled(photos, model)
    assert isinstance(done, Upscaled) and done.verdict.agreement >= 0
    monkeypatch.setattr(upscale, "mean", lambda _: 0.3)
    for limit, chance, costs, helps in (
        (0.1, 0.05, False, True),
        (0.1, 0.05, True, None),
        (0.2, 0.1, False, None),  # that far above the limit is no clear case
        (0.4, 0.35, False, False),
    ):
        known = {"threshold": limit, "chosen on": {"agreement, unrelated": [0, 0.01, chance]}, "tested on": tested}
        monkeypatch.setattr(upscale, "remarks", lambda *_, c=costs, **__: (["too few pixels"], c))
        monkeypatch.setattr(confidence, "thresholds", lambda k=known: {"e2ent2-mse 0": {"exact": k}})
        done = upscaled(photos, model)
        assert done.verdict.helps is helps and done.notes[-1] == "too few pixels"
        unhelpful = "; what it added may be wrong; leave out --ref" * (helps is False)
        assert done.notes[-2] == done.verdict.text + unhelpful
        assert "8 of 9" in done.notes[-2] and "7 of 9" in done.notes[-2]


def test_e2ent2_photo_does_without_a_reference_that_does_not_help(photos, monkeypatch):
    model, made = network("e2ent2-photo"), []
    monkeypatch.setattr(type(model), "tried", lambda *_: 1.0)
    for agreeing, refs in ((0.0, ["a.jpg"]), (1.0, ["a.jpg"]), (0.0, [])):
        for module in (photo, upscale):
            monkeypatch.setattr(module, "mean", lambda _, a=agreeing: a)
        files = FileOptions(report=photos / f"report {len(made)}")
        low, output = photos / "low.png", photos / f"{len(made)}.png"
        made.append(upscale_file(low, [photos / ref for ref in refs], output, model, Options(), files))
    unused, used, alone = made
    np.testing.assert_array_equal(unused.result.image, alone.result.image)
    assert np.abs(used.result.image.astype(int) - alone.result.image).mean() > 1
    shown = [axis.images[0].get_array().astype(int) for axis in report.side_by_side(unused).axes[1:3]]
    np.testing.assert_allclose(*shown, atol=1)  # without the reference, and the result, which was made without it
    assert "made without it" in " ".join(unused.notes) and not unused.result.changed.any() and used.result.changed.any()


# ---- nothing is overwritten ----


@pytest.mark.parametrize("name", ["report.json", "side_by_side.png", "maps.png"])
def test_a_report_replaces_no_input_no_result_and_no_file_that_was_there(photos, model, name):
    inside = photos / "report" / name
    inside.parent.mkdir()
    files = FileOptions(report=inside.parent)
    for low, output in ((photos / "low.png", inside), (inside, photos / "out.png")):
        if output == inside and name == "report.json":
            continue  # no picture
        (photos / "a.jpg").rename(inside) if low == inside else None
        with pytest.raises(ValueError, match=f"{name}: is one of the inputs or another output"):
            upscale_file(low, [], output, model, Options(), replace(files, again=True))
    inside.write_bytes(b"mine")
    with pytest.raises(ValueError, match=f"{name}: exists already; --again"):
        upscale_file(photos / "low.png", [], photos / "out.png", model, Options(), files)
    assert inside.read_bytes() == b"mine" and not (photos / "out.png").exists()


def test_a_result_that_exists_is_left_unless_again(photos, model):
    (photos / "out.png").write_bytes(b"mine")
    paths = photos / "low.png", [], photos / "out.png"
    with pytest.raises(ValueError, match="exists already"):
        upscale_file(*paths, model, Options())
    assert (photos / "out.png").read_bytes() == b"mine"
    upscale_file(*paths, model, Options(), FileOptions(again=True))
    assert as_rgb(photos / "out.png").shape == (56, 72, 3)


def test_the_longest_name_is_written_and_resumed(photos, model, monkeypatch):
    monkeypatch.setattr(tiles, "BAND", 10_000)
    interrupt_third_band(monkeypatch)
    name = f"{'n' * 251}.png"
    with pytest.raises(KeyboardInterrupt, match="resumes"):
        upscaled(photos, model, output=name)
    assert upscaled(photos, model, output=name).output.is_file() and not list(photos.glob(".*"))


# ---- what goes in comes out ----


def test_16_bits_and_their_range_go_in_and_come_out(photos, model):
    values = np.linspace(300, 4000, 14 * 18).reshape(14, 18).astype(np.uint16)
    Image.fromarray(values).save(photos / "low.tif")
    done = upscaled(photos, load_model("bicubic", "smoke"), [], "low.tif", "out.tif")
    with Image.open(photos / "out.tif") as written:
        found = np.asarray(written)
    expected = Image.fromarray(values.astype(np.float32)).resize((72, 56), Image.Resampling.BICUBIC)
    assert found.dtype == np.uint16 and np.abs(found - np.asarray(expected)).max() < 1
    assert len(np.unique(found)) > 1000 and "4095 is taken as white" in done.notes[0]
    upscaled(photos, model, ["a.jpg"], "low.tif", "sharp.png")
    with Image.open(photos / "sharp.png") as written:
        assert written.mode == "I;16" and len(np.unique(np.asarray(written))) > 300


def test_black_and_white_stays_so_in_rgb_too(photos, model):
    Image.fromarray(picture(14, 18)).convert("L").convert("RGB").save(photos / "low.png")
    upscaled(photos, model)
    found = as_rgb(photos / "out.png")
    assert np.ptp(found, axis=2).max() == 0 and found.std() > 5
    with Image.open(photos / "out.png") as written:
        assert written.mode == "RGB"


def test_what_is_hidden_gives_the_cut_out_no_outline(photos, model):
    rgba = np.zeros((14, 18, 4), np.uint8)
    rgba[3:11, 4:14] = (200, 150, 100, 255)
    Image.fromarray(rgba).save(photos / "low.png")
    upscaled(photos, load_model("bicubic", "smoke"), [])
    with Image.open(photos / "out.png") as written:
        found = np.asarray(written).astype(int)
    seen = found[..., 3] > 0
    assert (np.abs(found[seen][:, :3] - (200, 150, 100)).max() <= 1) and (found[..., 3] == 255).any()


def test_what_is_hidden_of_a_reference_is_not_used(photos, model):
    made = []
    for hidden in (0, 255):
        rgba = np.dstack([picture(48, 64, 1), np.full((48, 64), 255, np.uint8)])
        rgba[:16], rgba[20:24, 20:24] = (*[hidden] * 3, 0), (*[hidden] * 3, 0)
        Image.fromarray(rgba).save(photos / "ref.png")
        done = upscaled(photos, model, ["ref.png"])
        made.append(done.result.image)
        assert done.references[0].pixels.shape == (32, 64, 3)
    np.testing.assert_array_equal(*made)
    rgba[..., 3] = 0
    Image.fromarray(rgba).save(photos / "ref.png")
    with pytest.raises(ValueError, match=r"ref\.png: is transparent everywhere"):
        upscaled(photos, model, ["ref.png"])


# ---- folders as people have them ----


def test_a_folder_as_a_phone_and_a_camera_leave_it(tmp_path, monkeypatch, capsys):
    """Fifty files: what is a photograph is enlarged, once each; all else is named in what is told at the end."""
    folder, good = tmp_path / "phone", [f"DCIM/100/IMG_{n:04}.JPG" for n in range(15)]
    good += [f"a.{extension}" for extension in "jpg jpeg png PNG gif bmp tif webp avif".split()]
    good += ["a.gif.png", "a b.jpg", "-o.jpg", "é😀.png", "DCIM/100/a.jpg", "x.jpg/inside.png", "ref.jpg"]
    bad = {"cut.jpg": encoded(Image.new("RGB", (64, 64)), "JPEG")[:300], "empty.png": b"", "text.jpg": b"a list"}
    bad |= {"heic.jpg": b"\0\0\0\x18ftypheic" + bytes(99)}
    skipped = ["IMG_1.HEIC", "IMG_2.HEIC", "IMG_1.MOV", "IMG_1.AAE", "DSC_1.NEF", "DSC_1.xmp", "DSC_2.CR2", "notes.txt"]
    junk = ["._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._a.jpg", ".trash/a.jpg", "DCIM/.nomedia"]
    for n, name in enumerate(good + skipped + junk):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(picture(16, 20, n))
        image.save(folder / name, Image.registered_extensions().get(Path(name).suffix.lower(), "JPEG"))
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    out = folder / "sharp"
    for again in (False, True):  # what was made before is no input, and is left
        line = ("upscale", folder, "-o", out, "--model", "bicubic", "--recursive", "--ref", folder / "ref.jpg")
        assert call(monkeypatch, *line) == 2
        told = capsys.readouterr().err
        *_, left_out, summary = told.partition("\ne2ent2: 4 failed")[0].splitlines()
        made = [{"a.gif": "a.gif-2.png", "a.avif": "a.avif.png"}.get(name, name) for name in good if name != "ref.jpg"]
        assert left(out) == sorted(made)
        assert all(told.count(f"{folder / name}: ") == 2 for name in bad)  # as it happens, and at the end
        assert all(name in left_out for name in ("ref.jpg, which is a reference", "2 .heic (IMG_1.HEIC, IMG_2.HEIC)"))
        assert all(Path(name).suffix.lower() in left_out for name in skipped) and "a.jpg" not in left_out
        assert summary == f"{folder}: {0 if again else len(made)} enlarged, {len(bad)} failed"


def test_references_are_files_a_pattern_or_a_folder_each_once_and_ten_at_most(tmp_path):
    (tmp_path / "views").mkdir()
    names = [f"views/{n:02}.png" for n in range(10)]
    for name in names:
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    paths = [tmp_path / name for name in names]
    (tmp_path / "views/.hidden.png").touch()
    assert references_of([tmp_path / "views"], 10) == references_of([tmp_path / "views/0*.png"], 10) == paths
    assert references_of([paths[3], paths[1], tmp_path / "views/../views/03.png"], 10) == [paths[3], paths[1]]
    assert references_of([tmp_path / "gone.png"], 10) == [tmp_path / "gone.png"]  # told when it is read
    with pytest.raises(ValueError, match=r"10 references.*--max-refs 10"):
        references_of(paths, 9)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no photographs"):
        references_of([tmp_path / "empty"], 10)
