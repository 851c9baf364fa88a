"""Whatever is typed: a result or one message, and no traceback. Command lines drawn at random, and the wheel's."""

import json
import os
import random
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from data_files import call
from PIL import Image
from tiny import network, picture

from e2ent2lib.runs.checkpoints import save_model
from e2ent2lib.runs.provenance import ROOT

PATHS = [*"low.png ref.png deep.tif broken.png text.png gone.png in empty pairs r/\u00e9.png".split(), ""]
NUMBERS = ["0", "1", "-1", "2", "1e9", "nan", "two", "0.5", "99999999999999999999"]
MODELS = ["e2ent2", "bicubic", "sisr", "srcnn", "all", ""]
PROFILES = ["smoke", "compact", "huge"]
COMMANDS = {
    "upscale": {
        **{"": PATHS, "-o": [*PATHS, "out.png", "out.jpg", "out", "no/out.png"], "--ref": PATHS, "--model": MODELS},
        **{"--profile": PROFILES, "--precision": ["bfloat16", "half"], "--matching": ["exact", "coarse", "no"]},
        **{"--report": PATHS, "--again": [None], "--recursive": [None], "--range": NUMBERS, "--max-refs": NUMBERS},
        **{"--weights": PATHS, "--nonsense": PATHS},
    },
    "data": {"": ["list", "check", "fetch", "nonsense"], " ": [*PATHS, "motorcycle", "nowhere"]},
    "train": {
        **{"": [*MODELS, "nonsense"], "--steps": ["0", "-1", "nan", "two", "0.5"], "--data": PATHS, "--out": PATHS},
        **dict.fromkeys(["--views", "--lr", "--devices", "--seed", "--checkpoint-every"], NUMBERS),
        **{"--accelerator": ["cpu", "abacus"], "--resume": [None], "--start-from": PATHS},
    },
    "evaluate": {
        **{"--models": MODELS, "--data": ["pairs", "in", "gone", "nowhere"], "--results": PATHS, "--weights": PATHS},
        **{"--protocol.border": NUMBERS, "--protocol.channel": ["y", "x"], "--protocol.reference": ["unrelated", "no"]},
    },
    "report": {"--results": PATHS, "--out": PATHS, "--profile": PROFILES, "--again": [None]},
    "claims": {"": ["alpha", "nonsense"], "--results": PATHS, "--out": PATHS, "--profile": PROFILES},
    "reproduce": {"--build": PATHS},
    "nonsense": {"": PATHS},
}
WEIGHTS = dict(upscale=6, evaluate=2, train=2, data=1, report=1, claims=1, reproduce=0.2, nonsense=0.1)


def drawn(chance: random.Random) -> list[str]:
    """A command with some of its options, each with a value that fits or one that doesn't."""
    command = chance.choices(list(WEIGHTS), WEIGHTS.values())[0]
    options = COMMANDS[command]
    always = [n for n in options if n in ("", " ", "-o", "--models")]
    others = [n for n in options if n not in always]
    names = [n for n in always if chance.random() < 0.95] + chance.sample(others, min(len(others), chance.randrange(4)))
    line = [command]
    for name in names:
        value = chance.choice(options[name]) if chance.random() < 0.8 else options[name][0]
        line += [*([name] if name.strip() else []), *([value] if value is not None else [])]
    return line + ["--nonsense"] * (command == "reproduce")  # which would take an hour


@pytest.fixture
def place(shipped, monkeypatch):
    """A folder of files of all kinds to stand in; nothing of it is in any data set."""
    monkeypatch.chdir(shipped)
    card = json.loads((ROOT / "weights/compact/e2ent2.json").read_text(encoding="utf-8"))
    save_model(network("e2ent2"), card, shipped / "weights/smoke", "e2ent2")
    monkeypatch.setenv("E2ENT2_DATA", str(shipped / "data"))
    monkeypatch.setenv("E2ENT2_RESULTS", str(shipped / "results"))
    for name, size in {"low.png": (8, 9), "ref.png": (16, 20), "r/\u00e9.png": (12, 12)}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture(*size)).save(name)
    for name in ("in/a.png", "in/b.gif", "pairs/input/a.png", "pairs/ref/a.png"):
        Path(name).parent.mkdir(exist_ok=True, parents=True)
        Image.fromarray(picture(16, 20, len(name))).save(name)
    Image.fromarray(picture(9, 9)).convert("I;16").save("deep.tif")
    Path("broken.png").write_bytes(Path("low.png").read_bytes()[:60])
    Path("text.png").write_text("a shopping list")
    Path("empty").mkdir()
    return shipped


@pytest.mark.slow
def test_no_command_line_ends_in_a_traceback(place, monkeypatch, capsys):
    chance = random.Random(0)
    for number in range(1000):
        line = drawn(chance)
        code = call(monkeypatch, *line)
        told = capsys.readouterr()
        assert code in (0, 1, 2) and "Traceback" not in told.err, (number, line, told.err)
        assert code == 0 or told.err or told.out, line


@pytest.mark.slow
def test_nor_does_one_of_a_process_of_its_own_whatever_stdout_is(place):
    chance = random.Random(1)
    for number in range(30):
        encoding = ("utf-8", "cp1252", "ascii")[number % 3]
        environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
        line = [sys.executable, "-m", "e2ent2lib.cli", *drawn(chance)]
        ran = subprocess.run(line, capture_output=True, env=environment, timeout=300)
        assert ran.returncode in (0, 1, 2) and b"Traceback" not in ran.stderr, (line, ran.stderr)


@pytest.mark.skipif(os.name != "posix", reason="pipes close so on Unix")
def test_a_closed_pipe_and_an_encoding_that_lacks_signs_end_no_command(place):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "e2ent2lib.cli", "data", "list"]
    ran = subprocess.run(command, capture_output=True, env=environment)
    assert ran.returncode == 0 and "│".encode() in ran.stdout and not ran.stderr
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--steps", "0"), "--steps 0: expected 1 or more"),
        (("--steps", "-3"), "--steps -3"),
        (("--devices", "two"), "devices 'two'"),
        (("--accelerator", "abacus"), "'abacus'"),
        (("--views", "2"), "views"),
        (("--lr", "0"), "rate"),
        (("--checkpoint-every", "0"), "--checkpoint-every 0"),
    ],
)
def test_what_no_training_can_be_made_with_is_told(place, monkeypatch, capsys, arguments, told):
    assert call(monkeypatch, "train", "sisr", "--data", "in", "--out", "run", *arguments) == 2
    assert told in capsys.readouterr().err and not Path("run").exists()


@pytest.mark.slow
def test_a_wheel_works_where_the_user_stands_and_says_what_needs_the_repository(tmp_path):
    """Installed without its dependencies, which this environment's site-packages hold."""
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    venv.create(tmp_path / "env", with_pip=False)
    python = next((tmp_path / "env").glob("[bS]*/python*"))
    site = next((tmp_path / "env").rglob("site-packages"))
    (wheel,) = tmp_path.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, site], check=True)
    (site / "others.pth").write_text("\n".join(p for p in sys.path if p.endswith("site-packages")))
    here = tmp_path / "here"
    here.mkdir()
    Image.fromarray(picture(8, 9)).save(here / "low.png")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("E2ENT2", "PYTHONPATH"))}

    def ran(*arguments):
        command = [python, "-m", "e2ent2lib.cli", *arguments]
        return subprocess.run(command, cwd=here, env=kept, capture_output=True, text=True)

    before = sorted(site.rglob("*.p[!y]*")) + sorted((tmp_path / "env").glob("*"))
    for command in (("reproduce", "--quick"), ("claims",), ("report", "--renew")):
        told = ran(*command)
        assert told.returncode == 2 and "needs the repository" in told.stderr, told.stderr
    made = ran("upscale", "low.png", "-o", "out.png", "--model", "e2ent2-mse")
    assert made.returncode == 0, made.stderr
    assert ran("evaluate", "--models", "bicubic").returncode == 0 and ran("report").returncode == 0
    assert ran("data", "list").returncode == 0
    assert sorted(p.name for p in here.iterdir()) == ["build", "data", "low.png", "out.png"]
    assert sorted(site.rglob("*.p[!y]*")) + sorted((tmp_path / "env").glob("*")) == before
