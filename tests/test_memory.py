"""The command line under a limit of memory, and interrupted: each a process of its own, with a network that ships."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tiny import picture

from e2ent2lib.photos.images import as_rgb
from e2ent2lib.runs.provenance import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and peaks of memory are Linux's here")
LIMIT = 4 << 30
LIMITED = f"""
import resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would have it ignored
resource.setrlimit(resource.RLIMIT_DATA, ({LIMIT}, {LIMIT}))
from e2ent2lib import cli
from e2ent2lib.photos import tiles
tiles.BAND = 10**8
sys.argv = ["e2ent2", *sys.argv[1:]]
try:
    cli.main()
finally:
    # not ru_maxrss, which a process inherits from the one that starts it
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    print(int(status["VmHWM"].split()[0]) // 1024)
"""


@pytest.fixture
def command(tmp_path):
    """A 32nd of the area of a megapixel with a reference of twelve: all scores at once would take 2.9 GB."""
    Image.fromarray(picture(250, 125)).save(tmp_path / "low.png")
    Image.fromarray(picture(750, 500, 1)).save(tmp_path / "ref.png")
    named = ["--ref", str(tmp_path / "ref.png"), "-o", str(tmp_path / "out.png"), "--model", "e2ent2-mse"]
    return [sys.executable, "-c", LIMITED, "upscale", str(tmp_path / "low.png"), *named, "--profile", "compact"]


def run(command):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("E2ENT2_")}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdout=-1, stderr=-1)


def finished(process):
    """Standard output and error of a process that succeeds."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out, err


@pytest.mark.slow
def test_a_part_of_the_large_case_needs_little_memory(command, tmp_path):
    out, err = finished(run(command))
    assert int(out.splitlines()[-1]) < 2048  # MiB, of which Python and PyTorch are over 400
    assert as_rgb(tmp_path / "out.png").shape == (1000, 500, 3)
    assert "matching" in err and "row/s" in err.replace("s/row", "row/s")  # progress, with an estimate


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(command, tmp_path, sign):
    process, kept = run(command), tmp_path / ".out.png.matches"
    while not kept.exists():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(sign)
    _, err = process.communicate()
    assert process.returncode == (130 if sign == signal.SIGINT else -sign)
    assert "Traceback" not in err and not (tmp_path / "out.png").exists()
    if sign == signal.SIGINT:
        assert "what was matched is kept" in err.splitlines()[-1]
        assert sorted(p.name for p in tmp_path.iterdir()) == [".out.png.matches", "low.png", "ref.png"]
    finished(run(command))
    assert not kept.exists()
    resumed = as_rgb(tmp_path / "out.png")
    (tmp_path / "out.png").unlink()
    finished(run(command))
    np.testing.assert_array_equal(as_rgb(tmp_path / "out.png"), resumed)
