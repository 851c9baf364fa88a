"""The command line as a user meets it: what it writes, and what it says when something is wrong."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from data_files import call
from data_files import noise as pixels
from PIL import Image

from e2ent2lib.measure import evaluate as measuring
from e2ent2lib.measure.results import read_rows, result_file
from e2ent2lib.photos.images import as_rgb


def picture(path, width, height, mode="RGB", seed=0):
    Image.fromarray(pixels(height, width, seed)).convert(mode).save(path)
    return path


def test_the_help_of_every_command_imports_nothing_heavy():
    """So that it takes a second of processor time at most."""
    code = "import sys; from e2ent2lib import cli; cli.main()"
    for command in ((), ("upscale",), ("evaluate",)):
        ran = subprocess.run([sys.executable, "-X", "importtime", "-c", code, *command, "--help"], capture_output=True)
        imported = {line.rsplit(b"|", 1)[-1].strip().decode() for line in ran.stderr.splitlines()}
        assert ran.returncode == 0 and b"usage: e2ent2" in ran.stdout and "e2ent2lib.cli" in imported
        assert not imported & {"torch", "scipy", "skimage.metrics", "PIL.Image", "pandas", "matplotlib", "tqdm"}


def test_upscale_tells_paths_on_stdout_and_all_else_on_stderr(shipped, monkeypatch, capsys):
    low, out, report = picture(shipped / "low.png", 13, 9, "RGBA"), shipped / "out.jpg", shipped / "report"
    refs = "--ref", picture(shipped / "a.jpg", 31, 17, "CMYK"), "--ref", picture(shipped / "b.png", 12, 12, "L")
    options = "-o", out, "--report", report, "--precision", "bfloat16"
    assert call(monkeypatch, "upscale", low, *refs, *options) == 0
    printed = capsys.readouterr()
    paths = (out, *(report / name for name in ("report.json", "side_by_side.png", "maps.png")))
    assert printed.out.split() == [str(path) for path in paths]
    assert "note: " in printed.err and as_rgb(out).shape == (36, 52, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux")
def test_a_file_whose_name_is_no_text_is_enlarged_and_told_as_it_is(shipped):
    low, ref = (os.fsencode(shipped) + b"/" + name for name in (b"l\xffow.png", b"r\xfe.png"))
    Image.new("RGB", (9, 9), "teal").save(os.fsdecode(low))
    Image.new("RGB", (16, 16), "teal").save(os.fsdecode(ref))
    out = os.fsencode(shipped) + b"/\xfa.png"
    arguments = [low, "--ref", ref, "-o", out, "--report", shipped / "r"]
    ran = subprocess.run([sys.executable, "-m", "e2ent2lib.cli", "upscale", *arguments], capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == out and (shipped / "r/maps.png").is_file()


def test_a_folder_ends_with_2_if_one_of_it_failed(shipped, monkeypatch, capsys):
    (shipped / "in").mkdir()
    for name in ("a.png", "b.png"):
        picture(shipped / "in" / name, 8, 6)
    command = ("upscale", shipped / "in", "-o", shipped / "out")
    assert call(monkeypatch, *command) == 0
    assert capsys.readouterr().out.split() == [str(shipped / "out" / name) for name in ("a.png", "b.png")]
    (shipped / "in/c.png").write_bytes(b"no picture")
    assert call(monkeypatch, *command) == 2
    printed = capsys.readouterr().err
    assert "out/a.png" in printed and "in/c.png" in printed
    assert (
        printed.splitlines()[-2] == "e2ent2: 1 failed; the others are done:" and "in/c.png" in printed.splitlines()[-1]
    )


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("upscale", "low.png", "-o", "low.png"), "low.png"),
        (("upscale", "nowhere.png", "-o", "out.png"), "nowhere.png: no such file"),
        (("upscale", "low.png", "-o", "no/such/out.png"), "no/such"),
        (("upscale", "low.png", "-o", "out.xyz"), "out.xyz"),
        (("upscale", "low.png", "--ref", "tiny.png", "-o", "out.png"), "tiny.png"),
        (("upscale", "low.png", "--ref", "gone.png", "-o", "out.png"), "gone.png"),
        (("upscale", "low.png", "--ref", "broken.png", "-o", "out.png"), "broken.png"),
        (("upscale", "low.png", "-o", "out.png", "--model", "sisr"), "sisr.safetensors"),
        (("upscale", "low.png", "-o", "out.png", "--model", "srcnn"), "'srcnn'"),
        (("upscale", "low.png", "-o", "out.png", "--profile", "huge"), "'huge'"),
        (("train", "e2ent2", "--out", "run"), "e2ent2 train sisr --profile smoke"),
        (("train", "sisr", "--data", "empty", "--out", "run"), "empty"),
        (("evaluate", "--models", "e2ent2", "--data", "nowhere"), "nowhere"),
        (("data", "check"), "NAME"),
        (("claims", "nonsense"), "'nonsense'"),
    ],
)
def test_an_error_is_one_message_that_names_it_and_nothing_is_left(shipped, monkeypatch, capsys, arguments, names):
    monkeypatch.chdir(shipped)
    picture(shipped / "low.png", 8, 8)
    picture(shipped / "tiny.png", 11, 40)
    (shipped / "broken.png").write_bytes((shipped / "low.png").read_bytes()[:50])
    (shipped / "empty").mkdir()
    before = sorted(shipped.rglob("*"))
    assert call(monkeypatch, *arguments) == 2
    message = capsys.readouterr().err
    assert names in message and message.startswith("e2ent2: ")
    assert sorted(shipped.rglob("*")) == before


@pytest.fixture
def own_pairs(shipped):
    """A folder with two good pairs, one that is cut off and one that is too small; where its scores go."""
    folder = shipped / "mine" / "pairs"
    for name, side in zip("abcd", (24, 26, 24, 9)):
        for seed, part in enumerate(("input", "ref")):
            (folder / part).mkdir(parents=True, exist_ok=True)
            picture(folder / part / f"{name}.png", 24, side, seed=seed)
    cut = folder / "ref/c.png"
    cut.write_bytes(cut.read_bytes()[:200])
    return folder, shipped / "results"


def scored(results, model="bicubic", kind=".jsonl"):
    return read_rows(result_file(results, "smoke", "folder-pairs", model).with_suffix(kind))


def test_bad_pairs_among_good_ones_are_named_and_the_good_ones_measured(own_pairs, monkeypatch, capsys):
    folder, results = own_pairs
    command = ("evaluate", "--models", "bicubic", "e2ent2", "--data", folder, "--results", results)
    assert call(monkeypatch, *command) == 2
    told = capsys.readouterr()
    assert told.out.count("folder pairs (2 of 4): ") == 2 and "2 could not be measured" in told.err
    for model in ("bicubic", "e2ent2"):
        rows = scored(results, model)
        assert [row["image"] for row in rows] == ["a", "b"]
        (damaged, small) = rows[0]["left_out"]
        assert damaged.startswith("ref/c.png: cannot be decoded") and small.startswith("input/d.png: 24×9 pixels")
    assert not list(results.rglob("*.part"))


def test_an_interrupted_evaluation_keeps_its_scores_and_goes_on(own_pairs, monkeypatch):
    folder, results = own_pairs
    measure, asked = measuring.measure, []

    def interrupted(model, pair, *rest):
        asked.append(pair.name)
        if asked == ["a", "b"]:
            raise KeyboardInterrupt
        if len(asked) == 3 and model.card["model"] == "e2ent2":
            raise ValueError("no such luck")
        return measure(model, pair, *rest)

    monkeypatch.setattr(measuring, "measure", interrupted)
    command = ("evaluate", "--models", "e2ent2", "--data", folder, "--results", results)
    assert call(monkeypatch, *command) == 130
    kept = scored(results, "e2ent2", ".part")
    assert [row["image"] for row in kept] == ["a"] and not scored(results, "e2ent2")
    assert call(monkeypatch, *command) == 2
    (row,) = scored(results, "e2ent2")
    assert row["seconds"] == kept[0]["seconds"] and asked == ["a", "b", "b"]
    assert row["left_out"][-1] == "b: no such luck"


def test_two_folders_of_one_name_do_not_overwrite_each_others_scores(own_pairs, monkeypatch, capsys):
    folder, results = own_pairs
    options = ("--models", "bicubic", "--results", results)
    call(monkeypatch, "evaluate", "--data", folder, *options)
    before = scored(results)
    shutil.copytree(folder, folder.parents[1] / "other" / "pairs")
    monkeypatch.setattr(measuring, "measure", None)  # nothing is measured first
    assert call(monkeypatch, "evaluate", "--data", folder.parents[1] / "other" / "pairs", *options) == 2
    assert "scores of another folder pairs" in capsys.readouterr().err and scored(results) == before


def test_a_results_folder_that_cannot_be_written_to_is_told_before_anything_is_measured(own_pairs, monkeypatch, capsys):
    monkeypatch.setattr(measuring, "measure", None)
    results = own_pairs[0] / "input/a.png"
    assert call(monkeypatch, "evaluate", "--models", "bicubic", "--data", own_pairs[0], "--results", results) == 2
    assert "a.png/smoke/folder-pairs: cannot be written to (Not a directory)" in capsys.readouterr().err


def test_data_list_and_check_know_what_is_here(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path))
    (tmp_path / "CUFED5").mkdir()
    for level in range(6):
        picture(tmp_path / "CUFED5" / f"007_{level}.png", 20, 20, seed=level)
    assert call(monkeypatch, "data", "list") == 0
    listed = capsys.readouterr().out
    assert "partial, 1 of 126" in listed
    assert call(monkeypatch, "data", "check", "cufed5") == 0
    assert "CUFED5 (1 of 126)" in capsys.readouterr().out
    broken = tmp_path / "CUFED5" / "007_3.png"
    broken.write_bytes(broken.read_bytes()[:80])
    assert call(monkeypatch, "data", "check", "cufed5") == 2
    assert "007_3.png" in capsys.readouterr().err


def test_train_writes_a_checkpoint_that_upscale_then_uses(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    options = ("--steps", "3", "--views", "0.4", "--out", tmp_path / "smoke")
    assert call(monkeypatch, "train", "sisr", *options, "--accelerator", "cpu") == 0
    assert json.loads((tmp_path / "smoke/sisr.json").read_text(encoding="utf-8"))["profile"]["views"] == 0.4
    low, out = picture(tmp_path / "low.png", 8, 8), tmp_path / "out.png"
    assert call(monkeypatch, "upscale", low, "-o", out, "--model", "sisr") == 0
    assert as_rgb(out).shape == (32, 32, 3)
    monkeypatch.delenv("E2ENT2_WEIGHTS")
    again, own = tmp_path / "again.png", ("--model", "sisr", "--weights", tmp_path / "smoke")
    assert call(monkeypatch, "upscale", low, "-o", again, *own) == 0
    assert again.read_bytes() == out.read_bytes()
    assert call(monkeypatch, "train", "sisr", *options) == 2
    assert "--resume" in capsys.readouterr().err


def test_claims_prints_and_writes_those_named_or_all(monkeypatch, capsys, tmp_path):
    assert call(monkeypatch, "claims", "mse", "levels-cufed5", "--profile", "compact", "--out", tmp_path) == 0
    printed = capsys.readouterr().out
    assert "`mse`): " in printed and "`levels-cufed5`): not testable here" in printed and " 10 of CUFED" in printed
    assert "notebook 11" not in printed and (tmp_path / "claims.csv").is_file()
    assert call(monkeypatch, "claims", "--profile", "compact", "--out", tmp_path, "--again") == 0
    printed = capsys.readouterr().out
    assert "notebook 11" in printed and printed.count("`): ") > 15
