"""Training that is killed without warning loses no more than the steps since its last validation."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "e2ent2lib.cli", "train", "sisr", "--profile", "smoke", "--steps", "60"]


def run(folder: Path, *more: str) -> subprocess.Popen:
    command = [*COMMAND, "--accelerator", "cpu", "--out", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_state(process: subprocess.Popen, folder: Path) -> None:
    while not (folder / "state.pt").exists():
        assert process.poll() is None, process.stderr.read()


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_resumes_to_the_weights_of_an_unbroken_one(tmp_path, sign):
    whole = run(tmp_path / "whole")
    assert whole.wait() == 0, whole.stderr.read()
    broken = run(tmp_path / "broken")
    wait_for_state(broken, tmp_path / "broken")
    os.kill(broken.pid, sign)
    code = broken.wait()
    assert code == (-9 if sign == signal.SIGKILL else 130)
    assert not (tmp_path / "broken" / "sisr.safetensors").exists()
    torch.load(tmp_path / "broken" / "state.pt", weights_only=True)  # whole, whenever the kill came
    again = run(tmp_path / "broken", "--resume")
    assert again.wait() == 0, again.stderr.read()
    first, second = (load_file(tmp_path / name / "sisr.safetensors") for name in ("whole", "broken"))
    assert all(torch.allclose(first[k], second[k], atol=1e-6) for k in first)
