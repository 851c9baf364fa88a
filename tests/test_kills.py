"""Training that is killed without warning, at any moment, loses no more than the steps since its last checkpoint."""

import os
import random
import signal
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import differ

pytestmark = pytest.mark.slow
KILLS = 12
# The kernel ends the process when it has used so much of the processor's time, wherever it is: nothing of Python's is
# run, as after kill -9, and how busy the machine is does not matter.
SCRIPT = """
import signal, sys, time
from e2ent2lib import cli
import e2ent2lib.runs.run
after, *arguments = sys.argv[1:]
sys.argv = ["e2ent2", "train", "sisr", "--profile", "smoke", "--steps", "60", "--accelerator", "cpu", *arguments]
start = time.process_time()
signal.setitimer(signal.ITIMER_PROF, float(after))
cli.main()
print(time.process_time() - start)
"""


def started(folder, *more, after=1000.0):
    """A training of 60 steps in a process of its own, which is killed after so many seconds of the processor's time."""
    command = [sys.executable, "-c", SCRIPT, str(after), "--out", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    """What it printed, if it came to its end."""
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    return printed


def equal(first, second):
    return not differ(*(load_file(folder / "sisr.safetensors") for folder in (first, second)))


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_resumes_to_the_weights_of_an_unbroken_one(tmp_path, sign):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finished(started(whole))
    process = started(broken)
    while not (broken / "state.pt").exists():
        assert process.poll() is None, process.stderr.read()
    os.kill(process.pid, sign)
    assert process.wait() == (-9 if sign == signal.SIGKILL else 130)
    assert not (broken / "sisr.safetensors").exists()
    torch.load(broken / "state.pt", weights_only=True)  # whole, whenever the kill came
    finished(started(broken, "--resume"))
    assert equal(whole, broken)


def test_killed_again_and_again_at_random_moments_it_ends_with_the_same_weights(tmp_path):
    whole, broken, often = tmp_path / "whole", tmp_path / "broken", ("--checkpoint-every", "2", "--resume")
    used = float(finished(started(whole, *often)).splitlines()[-1])
    moments, reached, killed, most = random.Random(0), [0], 0, 0
    for _ in range(KILLS):
        process = started(broken, *often, after=moments.uniform(0.2, 0.9) * used)
        _, errors = process.communicate()
        if process.returncode == 0:  # with few steps to go it can end before its moment comes; then from the start
            assert equal(whole, broken)
            broken, reached = tmp_path / f"after {killed} kills", [0]
            continue
        assert process.returncode == -signal.SIGPROF, errors
        killed += 1
        for path in broken.rglob("*.safetensors"):
            if not path.name.startswith("."):
                load_file(path)  # whole, whenever the kill came
        if (broken / "state.pt").exists():
            reached.append(torch.load(broken / "state.pt", weights_only=True)["step"])
            assert reached == sorted(reached)
            most = max(most, reached[-1])
    assert killed > 2 and most > 0
    finished(started(broken, *often))
    assert equal(whole, broken)
    assert not [path for path in broken.rglob(".*") if path.name != ".lock"]
