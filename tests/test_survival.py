"""A run that is cut short or meets a fault: full disk, NaN, second run, damaged state. What was saved stays whole."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from data_files import call
from PIL import Image
from safetensors.torch import load_file
from tiny_run import TINY, at_step, differ, interrupt_at, run, texture, visible_files, weights

from e2ent2lib.matching import NotFiniteError
from e2ent2lib.runs.checkpoints import load_model
from e2ent2lib.runs.run import Run
from e2ent2lib.runs.state import alone_in

pytestmark = pytest.mark.usefixtures("small_probe")
LONGER = replace(TINY, steps_joint=4, steps_ablation=4)


def state_of(folder):
    return torch.load(folder / "state.pt", weights_only=True)  # raises for anything but data


def files_differ(first, second):
    return differ(load_file(first), load_file(second))


# cut short, and continued


@pytest.mark.parametrize(
    ("name", "step", "sent"),
    [
        ("sisr", 3, signal.SIGINT),  # between two validations
        ("sisr", 4, signal.SIGTERM),  # at one, where the weights that stage 2 starts from are kept
        ("sisr", 5, signal.SIGINT),
        ("e2ent2", 2, signal.SIGINT),
        ("e2ent2-alpha-010", 3, signal.SIGTERM),
    ],
)
def test_a_run_cut_short_and_resumed_ends_as_an_unbroken_one(
    name, step, sent, monkeypatch, photographs, first_stage, tmp_path
):
    model, history = run(name, tmp_path / "unbroken", photographs, LONGER, start_from=first_stage)
    before = signal.getsignal(sent)
    with monkeypatch.context() as patch:
        interrupt_at(patch, step, sent)
        with pytest.raises(KeyboardInterrupt, match=f"step {step} of .*--resume"):
            run(name, tmp_path / "broken", photographs, LONGER, start_from=first_stage)
    assert signal.getsignal(sent) is before
    assert visible_files(tmp_path / "broken") == ["state.pt"] and state_of(tmp_path / "broken")["step"] == step
    resumed, again = run(name, tmp_path / "broken", photographs, LONGER, start_from=first_stage, resume=True)
    assert not differ(weights(resumed), weights(model)) and again == history
    unbroken, broken = (state_of(tmp_path / which)["players"] for which in ("unbroken", "broken"))
    assert unbroken.keys() == broken.keys() == ({"0", "1", "2", "average"} if name != "sisr" else {"0", "average"})
    for player in unbroken:  # the generator and both critics, with Adam's memory, and the average
        torch.testing.assert_close(broken[player], unbroken[player], rtol=0, atol=0)
    if name == "sisr":
        assert not files_differ(*(tmp_path / w / "sisr-pretrained.safetensors" for w in ("unbroken", "broken")))


def test_sisr_saves_its_weights_on_the_way(photographs, tmp_path):
    ends_there = replace(TINY, steps_sisr=TINY.steps_pretraining, schedule="constant")
    for name, profile in (("ends there", ends_there), ("continues", replace(TINY, schedule="constant"))):
        run("sisr", tmp_path / name, photographs, profile)
    assert not files_differ(*(tmp_path / w / "sisr-pretrained.safetensors" for w in ("ends there", "continues")))
    card = json.loads((tmp_path / "continues/sisr-pretrained.json").read_text(encoding="utf-8"))
    assert card["model"] == "sisr-pretrained" and card["steps"] == TINY.steps_pretraining
    assert max(row["step"] for row in card["history"]) == TINY.steps_pretraining


def test_resume_without_a_run_starts_one_and_a_finished_run_gives_the_same_model_again(
    monkeypatch, photographs, first_stage, tmp_path
):
    interrupt_at(monkeypatch, 6)  # in its last step: then it is finished all the same
    model, history = run("sisr", tmp_path, photographs, resume=True)
    again, same = run("sisr", tmp_path, photographs, resume=True)
    assert [row["step"] for row in history] == [2, 4, 6] and same == history
    assert not differ(weights(again), weights(model))
    assert not differ(weights(again), load_file(first_stage / "sisr.safetensors"))


def test_a_run_is_not_overwritten_without_resume(photographs, first_stage):
    before = (first_stage / "state.pt").read_bytes()
    with pytest.raises(FileExistsError, match="--resume"):
        run("sisr", first_stage, photographs)
    assert (first_stage / "state.pt").read_bytes() == before


def test_resume_with_other_photographs_is_refused(first_stage, tmp_path):
    Image.fromarray(texture(10)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match="other photographs"):
        run("sisr", first_stage, tmp_path, resume=True)


def test_fewer_steps_than_are_done_are_refused(first_stage, photographs):
    done = state_of(first_stage)["step"]
    with pytest.raises(ValueError, match=rf"{done} steps are done; give --steps {done} or more"):
        run("sisr", first_stage, photographs, replace(TINY, steps_sisr=done - 1), resume=True)


@pytest.mark.parametrize("change", [{"seed": 1}, {"profile": replace(TINY, batch=4)}])
def test_another_training_is_not_continued(change, photographs, first_stage):
    with pytest.raises(ValueError, match="another training"):
        run("sisr", first_stage, photographs, resume=True, **change)


def test_learning_rate_and_interval_may_change_on_the_command_line(monkeypatch, photographs, tmp_path):
    common = ("train", "sisr", "--profile", "smoke", "--data", photographs, "--accelerator", "cpu", "--out", tmp_path)
    assert call(monkeypatch, *common, "--steps", "4", "--checkpoint-every", "3", "--lr", "0.01") == 0
    card = json.loads((tmp_path / "sisr.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in card["history"]] == [3, 4] and card["profile"]["lr"] == 0.01
    assert call(monkeypatch, *common, "--steps", "6", "--checkpoint-every", "1", "--resume") == 0
    card = json.loads((tmp_path / "sisr.json").read_text(encoding="utf-8"))
    assert [row["step"] for row in card["history"]] == [3, 4, 5, 6]


def test_the_weights_so_far_are_a_checkpoint_that_loads_while_training_goes_on(photographs, tmp_path, monkeypatch):
    seen, original = [], Run.save

    def watched(self):
        original(self)
        seen.append((self.state.step, load_model("sisr", TINY, tmp_path / "last").card["steps"]))

    monkeypatch.setattr(Run, "save", watched)
    run("sisr", tmp_path, photographs)
    assert seen == [(2, 2), (4, 4), (6, 6)]
    assert not files_differ(tmp_path / "last/sisr.safetensors", tmp_path / "sisr.safetensors")


THREADS = """
import torch
from e2ent2lib.matching import match
before = torch.get_num_threads()
match(torch.rand(1, 8, 24, 24), torch.rand(1, 8, 24, 24))
assert torch.get_num_threads() == before == 1
"""


def test_a_match_leaves_torchs_threads_on_which_the_bits_of_a_resumed_run_depend():
    subprocess.run([sys.executable, "-c", THREADS], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


# a full disk


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
    count, monkeypatch, photographs, first_stage, tmp_path
):
    with monkeypatch.context() as patch:
        full_after(patch, count)
        with pytest.raises(OSError, match=r"No space left.*|make room"):
            run("sisr", tmp_path, photographs)
    for path in tmp_path.rglob("*.safetensors"):
        load_file(path)  # whole, each of them
    if count > 1:
        assert state_of(tmp_path)["step"] >= 2
    run("sisr", tmp_path, photographs, resume=True)
    assert not files_differ(tmp_path / "sisr.safetensors", first_stage / "sisr.safetensors")
    assert not [p for p in tmp_path.rglob(".*") if p.name != ".lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are Unix's")
def test_without_room_the_command_line_says_so_in_one_message_and_leaves_no_part_of_a_file(
    monkeypatch, capsys, photographs, tmp_path
):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))  # bytes a file may have: as if the disk were full
    try:
        options = ("--data", photographs, "--profile", "smoke", "--out", tmp_path / "run", "--accelerator", "cpu")
        assert call(monkeypatch, "train", "sisr", *options) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "--resume" in capsys.readouterr().err.splitlines()[-1]
    assert [p.name for p in (tmp_path / "run").rglob("*") if p.is_file()] == [".lock"]


# numbers that are not finite


def poison_from(monkeypatch, step):
    """From this step on the losses are NaN, as after an overflow."""
    at_step(monkeypatch, step, lambda batch, _: batch._replace(hr=batch.hr * float("nan")))


@pytest.mark.parametrize("name", ["sisr", "e2ent2"])
def test_a_loss_that_is_nan_stops_before_it_reaches_a_weight_and_says_what_was_seen(
    name, monkeypatch, photographs, first_stage, tmp_path
):
    run(name, tmp_path / "whole", photographs, LONGER, start_from=first_stage)
    with monkeypatch.context() as patch:
        poison_from(patch, 4)
        with pytest.raises(NotFiniteError) as caught:
            run(name, tmp_path / "bad", photographs, LONGER, start_from=first_stage)
    for fact in ("step 4", "nan", "learning rate 0.001", "--lr", str(tmp_path / "bad/last"), "losses before it: "):
        assert fact in str(caught.value)
    assert "none yet" not in str(caught.value)
    assert "largest weight now: nan" not in str(caught.value)  # no weight of the model has moved
    assert state_of(tmp_path / "bad")["step"] == 2
    saved = load_file(tmp_path / f"bad/last/{name}.safetensors")
    assert all(x.isfinite().all() for x in saved.values())
    assert not (tmp_path / f"bad/{name}.safetensors").exists()
    run(name, tmp_path / "bad", photographs, LONGER, start_from=first_stage, resume=True)
    assert not files_differ(tmp_path / f"bad/{name}.safetensors", tmp_path / f"whole/{name}.safetensors")


@pytest.mark.parametrize("lr", [1e4, 1e30])
def test_a_learning_rate_that_blows_the_weights_up_is_diagnosed(lr, photographs, first_stage, tmp_path):
    profile = replace(TINY, lr=lr, schedule="constant", steps_joint=60)
    with pytest.raises(NotFiniteError, match=r"step \d+: .*largest weight now: .*--lr"):
        run("e2ent2", tmp_path, photographs, profile, start_from=first_stage)
    for path in tmp_path.rglob("*.safetensors"):
        assert all(x.isfinite().all() for x in load_file(path).values())


def test_nan_before_anything_was_saved_says_that_nothing_was(monkeypatch, photographs, tmp_path):
    poison_from(monkeypatch, 1)
    with pytest.raises(NotFiniteError, match="Nothing was saved yet"):
        run("sisr", tmp_path, photographs)


# other runs, other states


def test_a_second_run_in_the_same_folder_is_kept_out(photographs, tmp_path):
    with alone_in(tmp_path / "run"), pytest.raises(FileExistsError, match=str(tmp_path / "run")):
        run("sisr", tmp_path / "run", photographs)
    run("sisr", tmp_path / "run", photographs)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\0" + b[1:]])
def test_a_damaged_state_is_one_clear_error(damage, photographs, first_stage, tmp_path):
    (tmp_path / "state.pt").write_bytes(damage((first_stage / "state.pt").read_bytes()))
    with pytest.raises(ValueError, match=r"state\.pt: damaged .*--out"):
        run("sisr", tmp_path, photographs, resume=True)


class Wicked:
    def __reduce__(self):
        return os.mkdir, ("code-has-run",)


def test_a_state_that_holds_code_is_refused_and_runs_none(photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Wicked()}, tmp_path / "state.pt")
    with pytest.raises(ValueError, match="damaged"):
        run("sisr", tmp_path, photographs, resume=True)
    assert not (tmp_path / "code-has-run").exists()
