"""Training that is killed without warning, at any moment, loses no more than the steps since its last checkpoint."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "e2ent2lib.cli", "train", "sisr", "--profile", "smoke", "--steps", "60"]
KILLS = 12
# The kernel ends the process when it has used so much of the processor's time, wherever it is: nothing of Python's is
# run, as after kill -9, and how busy the machine is does not matter.
TIMED = """
import signal, sys, time
from e2ent2lib import cli
import e2ent2lib.runs.run
after, *arguments = sys.argv[1:]
sys.argv = ["e2ent2", "train", "sisr", "--profile", "smoke", "--steps", "60", "--checkpoint-every", "2", *arguments]
start = time.process_time()
signal.setitimer(signal.ITIMER_PROF, float(after))
cli.main()
print(time.process_time() - start)
"""


def run(folder: Path, *more: str) -> subprocess.Popen:
    command = [*COMMAND, "--accelerator", "cpu", "--out", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_state(process: subprocess.Popen, folder: Path) -> None:
    while not (folder / "state.pt").exists():
        assert process.poll() is None, process.stderr.read()


def equal(first: Path, second: Path) -> bool:
    first, second = (load_file(folder / "sisr.safetensors") for folder in (first, second))
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


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
    assert equal(tmp_path / "whole", tmp_path / "broken")


def timed(folder: Path, seconds: float, *more: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", TIMED, str(seconds), "--accelerator", "cpu", "--out", str(folder), *more]
    return subprocess.run(command, capture_output=True, text=True)


def test_killed_again_and_again_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    whole = timed(tmp_path / "whole", 1000)
    assert whole.returncode == 0, whole.stderr
    used = float(whole.stdout.splitlines()[-1])
    moments, reached, killed = random.Random(0), [0], 0
    broken = tmp_path / "broken"
    for _ in range(KILLS):
        ran = timed(broken, moments.uniform(0.2, 0.9) * used, "--resume")
        if ran.returncode == 0:
            break
        assert ran.returncode == -signal.SIGPROF, ran.stderr
        killed += 1
        for path in broken.rglob("*.safetensors"):
            if not path.name.startswith("."):
                load_file(path)  # whole, whenever the kill came
        if (broken / "state.pt").exists():
            reached.append(torch.load(broken / "state.pt", weights_only=True)["step"])
    assert killed > 2 and reached == sorted(reached) and max(reached) > 0
    last = timed(broken, 1000, "--resume")
    assert last.returncode == 0, last.stderr
    assert equal(tmp_path / "whole", broken)
    assert not [path for path in broken.rglob(".*") if path.name != ".lock"]
