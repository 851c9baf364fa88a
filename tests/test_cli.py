"""The command line as a user meets it: what it writes, and what it says when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_files import call
from PIL import Image

from e2ent2lib.config import SMOKE
from e2ent2lib.photos.images import read_image
from e2ent2lib.runs.checkpoints import build_model, save_model


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A smoke-size e2ent2 that counts as trained."""
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    card = {"model": "e2ent2"}
    save_model(build_model("e2ent2", SMOKE), card, tmp_path / "weights" / "smoke", "e2ent2")
    return tmp_path


def picture(path: Path, width: int, height: int, mode: str = "RGB", seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


def test_upscale_writes_four_times_the_size_with_references_of_other_sizes(shipped, monkeypatch, capsys):
    low = picture(shipped / "low.png", 13, 9)
    refs = [picture(shipped / "a.jpg", 31, 17, "CMYK"), picture(shipped / "b.png", 12, 12, "L")]
    out = shipped / "out.png"
    assert call(monkeypatch, "upscale", low, "--ref", refs[0], "--ref", refs[1], "-o", out) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert read_image(out).shape == (36, 52, 3)


def test_upscale_tells_paths_on_stdout_and_all_else_on_stderr(shipped, monkeypatch, capsys):
    low, ref = picture(shipped / "low.png", 13, 9, "RGBA"), picture(shipped / "ref.jpg", 24, 20)
    out, report = shipped / "out.jpg", shipped / "report"
    assert call(monkeypatch, "upscale", low, "--ref", ref, "-o", out, "--report", report) == 0
    told = capsys.readouterr()
    assert told.out.split() == [
        str(p) for p in (out, *(report / n for n in ("report.json", "side_by_side.png", "maps.png")))
    ]
    assert "note: " in told.err and "neighbouring matches" in told.err
    half = ("--precision", "bfloat16")
    assert call(monkeypatch, "upscale", low, "--ref", ref, "-o", shipped / "half.png", *half) == 0
    assert read_image(shipped / "half.png").shape == (36, 52, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text exist on Linux")
def test_a_file_whose_name_is_no_text_is_enlarged_and_told_as_it_is(shipped):
    low, ref = (os.fsencode(shipped) + b"/" + name for name in (b"l\xffow.png", b"r\xfe.png"))
    Image.new("RGB", (9, 9), "teal").save(os.fsdecode(low))
    Image.new("RGB", (16, 16), "teal").save(os.fsdecode(ref))
    out = os.fsencode(shipped) + b"/\xfa.png"
    command = [
        sys.executable,
        "-m",
        "e2ent2lib.cli",
        "upscale",
        low,
        "--ref",
        ref,
        "-o",
        out,
        "--report",
        shipped / "r",
    ]
    ran = subprocess.run(command, capture_output=True)
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
    told = capsys.readouterr().err
    assert "a.png is there already and was left" in told and "c.png: not an image" in told
    assert told.splitlines()[-1].startswith("e2ent2: 1 of the photographs in")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("upscale", "low.png", "-o", "low.png"), "would be overwritten"),
        (("upscale", "low.png", "-o", "no/such/out.png"), "no such folder"),
        (("upscale", "low.png", "-o", "out.xyz"), "unknown ending"),
        (("upscale", "low.png", "--ref", "tiny.png", "-o", "out.png"), "too small"),
        (("upscale", "low.png", "--ref", "gone.png", "-o", "out.png"), "gone.png: no such file"),
        (("upscale", "low.png", "--ref", "broken.png", "-o", "out.png"), "broken.png"),
        (("upscale", "low.png", "-o", "out.png", "--model", "sisr"), "no such checkpoint"),
        (("upscale", "low.png", "-o", "out.png", "--model", "srcnn"), "unknown model 'srcnn'"),
        (("upscale", "low.png", "-o", "out.png", "--profile", "huge"), "unknown profile 'huge'"),
        (("train", "e2ent2", "--out", "run"), "e2ent2 train sisr --profile smoke"),
        (("train", "sisr", "--data", "empty", "--out", "run"), "holds no images"),
        (("evaluate", "--models", "e2ent2", "--data", "nowhere"), "unknown data set"),
        (("data", "check"), "which data set"),
        (("claims", "nonsense"), "no claim is called 'nonsense'; choose one of relevant"),
    ],
)
def test_an_error_is_one_message_that_names_it_and_nothing_is_left(shipped, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(shipped)
    picture(shipped / "low.png", 8, 8)
    picture(shipped / "tiny.png", 11, 40)
    (shipped / "broken.png").write_bytes((shipped / "low.png").read_bytes()[:50])
    (shipped / "empty").mkdir()
    before = sorted(shipped.rglob("*"))
    assert call(monkeypatch, *arguments) == 2
    message = capsys.readouterr().err
    assert says in message
    assert message.startswith("e2ent2: ")
    assert sorted(shipped.rglob("*")) == before


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


def test_train_takes_the_fraction_of_views(monkeypatch, tmp_path):
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    call(monkeypatch, "train", "sisr", "--steps", "2", "--views", "0.4", "--out", tmp_path, "--accelerator", "cpu")
    assert json.loads((tmp_path / "sisr.json").read_text(encoding="utf-8"))["profile"]["views"] == 0.4


def test_train_writes_a_checkpoint_that_upscale_then_uses(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    assert call(monkeypatch, "train", "sisr", "--steps", "3", "--out", tmp_path / "smoke", "--accelerator", "cpu") == 0
    low, out = picture(tmp_path / "low.png", 8, 8), tmp_path / "out.png"
    assert call(monkeypatch, "upscale", low, "-o", out, "--model", "sisr") == 0
    assert read_image(out).shape == (32, 32, 3)
    monkeypatch.delenv("E2ENT2_WEIGHTS")
    own = ("--model", "sisr", "--weights", tmp_path / "smoke")
    again = tmp_path / "again.png"
    assert call(monkeypatch, "upscale", low, "-o", again, *own) == 0
    assert again.read_bytes() == out.read_bytes()
    assert call(monkeypatch, "train", "sisr", "--steps", "3", "--out", tmp_path / "smoke") == 2
    assert "--resume" in capsys.readouterr().err


def test_claims_prints_and_writes_those_named_or_all(monkeypatch, capsys, tmp_path):
    assert call(monkeypatch, "claims", "mse", "levels", "--profile", "compact", "--out", tmp_path) == 0
    said = capsys.readouterr().out
    assert "-> REPRODUCED" in said and "-> NOT TESTABLE HERE" in said and "n = 19" in said
    assert "odd in the numbers" not in said and (tmp_path / "claims.csv").is_file()
    assert call(monkeypatch, "claims", "--profile", "compact", "--out", tmp_path) == 0
    said = capsys.readouterr().out
    assert "odd in the numbers" in said and said.count("  -> ") > 15
