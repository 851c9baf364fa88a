"""Training that meets a fault: a full disk, NaN, a second run, a damaged state. What was saved stays whole."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_files import call
from PIL import Image
from safetensors.torch import load_file

from e2ent2lib import train as trainer
from e2ent2lib.config import SMOKE
from e2ent2lib.matching import NotFiniteError
from e2ent2lib.runs.checkpoints import load_model

TINY = replace(
    SMOKE,
    crop=32,
    max_offset=16,
    steps_pretraining=4,
    steps_sisr=6,
    steps_joint=6,
    steps_ablation=6,
    checkpoint_every=2,
    probe_every=2,
)
QUIET = {"accelerator": "cpu", "devices": 1, "progress": False}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for name in "abc":
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def first(photographs, tmp_path_factory):
    """A SISR model, and the same training unbroken."""
    folder = tmp_path_factory.mktemp("first")
    trainer.train("sisr", TINY, data=photographs, out=folder, **QUIET)
    return folder


def equal(first, second):
    first, second = load_file(first), load_file(second)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def full_after(monkeypatch, count):
    """A disk that is full from the ``count``-th file on: half of it is written, then there is no space."""
    original, seen = Path.write_bytes, iter(range(1, 10**6))

    def write(path, content):
        if next(seen) < count:
            return original(path, content)
        original(path, bytes(content)[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)


@pytest.mark.parametrize("count", range(1, 9))
def test_a_full_disk_at_any_file_stops_with_advice_and_the_run_goes_on_to_the_same_weights(
    count, monkeypatch, photographs, first, tmp_path
):
    with monkeypatch.context() as patch:
        full_after(patch, count)
        with pytest.raises(OSError, match=r"No space left.*|make room"):
            trainer.train("sisr", TINY, data=photographs, out=tmp_path, **QUIET)
    for path in tmp_path.rglob("*.safetensors"):
        load_file(path)  # whole, each of them
    if count > 1:
        assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] >= 2
    trainer.train("sisr", TINY, data=photographs, out=tmp_path, resume=True, **QUIET)
    assert equal(tmp_path / "sisr.safetensors", first / "sisr.safetensors")
    assert not [p for p in tmp_path.rglob(".*") if p.name != ".lock"]


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))  # bytes a file may have: as if the disk had no more room
from e2ent2lib import cli
sys.argv = ["e2ent2", "train", "sisr", "--profile", "smoke", "--out", sys.argv[1], "--accelerator", "cpu"]
cli.main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are Unix's")
def test_without_room_the_command_line_says_so_in_one_message_and_leaves_no_part_of_a_file(tmp_path):
    ran = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path / "run")], capture_output=True, text=True)
    assert ran.returncode == 2 and "Traceback" not in ran.stderr
    assert "make room, then go on with --resume" in ran.stderr.splitlines()[-1]
    assert [p.name for p in (tmp_path / "run").rglob("*") if p.is_file()] == [".lock"]


def test_best_and_last_weights_are_checkpoints_that_load_while_training_goes_on(photographs, tmp_path, monkeypatch):
    seen, original = [], trainer._keep

    def watched(*args):
        original(*args)
        run = args[-2]
        for which in ("last", "best"):
            model = load_model("sisr", TINY, tmp_path / which)
            seen.append((which, run["step"], model.card["selected_step"], run["best_step"]))

    monkeypatch.setattr(trainer, "_keep", watched)
    trainer.train("sisr", TINY, data=photographs, out=tmp_path, **QUIET)
    assert [step for which, step, _, _ in seen if which == "last"] == [2, 4, 6]
    for which, step, selected, best in seen:
        assert selected == (step if which == "last" else best)
    assert equal(tmp_path / "best/sisr.safetensors", tmp_path / "sisr.safetensors")


def poisoned(monkeypatch, step):
    """From this step on the generator's loss is NaN, as after an overflow."""
    original = trainer.training_step

    def bad(fabric, players, batch, recipe, profile, at):
        if at + 1 >= step:
            batch = batch._replace(hr=batch.hr * float("nan"))
        return original(fabric, players, batch, recipe, profile, at)

    monkeypatch.setattr(trainer, "training_step", bad)


@pytest.mark.parametrize("name", ["sisr", "e2ent2"])
def test_a_loss_that_is_nan_stops_before_it_reaches_a_weight_and_says_what_was_seen(
    name, monkeypatch, photographs, first, tmp_path
):
    start = {"start_from": first} if name != "sisr" else {}
    trainer.train(name, TINY, data=photographs, out=tmp_path / "whole", **QUIET, **start)
    with monkeypatch.context() as patch:
        poisoned(patch, 4)
        with pytest.raises(NotFiniteError) as caught:
            trainer.train(name, TINY, data=photographs, out=tmp_path / "bad", **QUIET, **start)
    said = str(caught.value)
    assert "stopped at step 4" in said and "nan" in said and "step size 0.001" in said and "--lr" in said
    assert str(tmp_path / "bad" / "last") in said and "losses before it: " in said and "none yet" not in said
    state = torch.load(tmp_path / "bad/state.pt", weights_only=True)
    assert state["step"] == 2
    for folder in ("last", "best"):
        weights = load_file(tmp_path / "bad" / folder / f"{name}.safetensors")
        assert all(x.isfinite().all() for x in weights.values())
    assert not (tmp_path / f"bad/{name}.safetensors").exists()
    trainer.train(name, TINY, data=photographs, out=tmp_path / "bad", resume=True, **QUIET, **start)
    assert equal(tmp_path / f"bad/{name}.safetensors", tmp_path / f"whole/{name}.safetensors")


@pytest.mark.parametrize("lr", [1e4, 1e30])
def test_a_step_size_that_blows_the_weights_up_is_diagnosed(lr, photographs, first, tmp_path):
    profile = replace(TINY, lr=lr, schedule="constant", steps_joint=60)
    with pytest.raises(NotFiniteError, match=r"training stopped at step \d+: .*largest weight now: .*--lr"):
        trainer.train("e2ent2", profile, data=photographs, out=tmp_path, start_from=first, **QUIET)
    for path in tmp_path.rglob("*.safetensors"):
        assert all(x.isfinite().all() for x in load_file(path).values())


def test_nan_before_anything_was_saved_says_that_nothing_was(monkeypatch, photographs, tmp_path):
    poisoned(monkeypatch, 1)
    with pytest.raises(NotFiniteError, match="Nothing was saved yet"):
        trainer.train("sisr", TINY, data=photographs, out=tmp_path, **QUIET)


def test_a_second_run_in_the_same_folder_is_kept_out(photographs, tmp_path):
    with (
        trainer.alone_in(tmp_path / "run", True),
        pytest.raises(FileExistsError, match="another run is at work there"),
    ):
        trainer.train("sisr", TINY, data=photographs, out=tmp_path / "run", **QUIET)
    trainer.train("sisr", TINY, data=photographs, out=tmp_path / "run", **QUIET)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\0" + b[1:]])
def test_a_damaged_state_is_one_clear_error(damage, photographs, first, tmp_path):
    state = tmp_path / "state.pt"
    state.write_bytes(damage((first / "state.pt").read_bytes()))
    with pytest.raises(ValueError, match=r"state\.pt: damaged .*another --out"):
        trainer.train("sisr", TINY, data=photographs, out=tmp_path, resume=True, **QUIET)


class Wicked:
    def __reduce__(self):
        return os.mkdir, ("code-has-run",)


def test_a_state_that_holds_code_is_refused_and_runs_none(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Wicked()}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="damaged"):
        trainer.train("sisr", TINY, data=photographs, out=tmp_path, resume=True, **QUIET)
    assert not (tmp_path / "code-has-run").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"profile": replace(TINY, batch=4)}])
def test_another_training_is_not_gone_on_with(change, photographs, first):
    options = {"profile": TINY, "data": photographs, "out": first, "resume": True} | QUIET | change
    with pytest.raises(ValueError, match="another training"):
        trainer.train("sisr", **options)


def test_step_size_and_interval_may_change_on_the_command_line(monkeypatch, photographs, tmp_path):
    common = ("train", "sisr", "--profile", "smoke", "--data", photographs, "--accelerator", "cpu", "--out", tmp_path)
    assert call(monkeypatch, *common, "--steps", "4", "--checkpoint-every", "3", "--lr", "0.01") == 0
    card = json.loads((tmp_path / "sisr.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in card["history"]] == [3, 4] and card["profile"]["lr"] == 0.01
    assert call(monkeypatch, *common, "--steps", "6", "--checkpoint-every", "1", "--resume") == 0
    card = json.loads((tmp_path / "sisr.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in card["history"]] == [3, 4, 5, 6]
