"""Measuring everything, and `make reproduce`: what is stale, what moved, and that the checkout stays as it was."""

import ast
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2ent2lib.config import SMOKE
from e2ent2lib.data.pairs import DATASETS
from e2ent2lib.measure import evaluate, everything
from e2ent2lib.measure.evaluate import SCORING, code_fingerprint, code_of
from e2ent2lib.measure.results import read_rows, result_file, write_rows
from e2ent2lib.report import reproduce as module
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import build_model, save_model
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A smoke-size model and one tiny stereo pair."""
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "nowhere")
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path / "data"))
    save_model(build_model("e2ent2-mse", SMOKE), {}, tmp_path / "weights" / "smoke", "e2ent2-mse")
    (tmp_path / "data" / "Middlebury").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (33, 50, 3), dtype=np.uint8)
    for side in "LR":
        Image.fromarray(pixels).save(tmp_path / "data" / "Middlebury" / f"Toy_{side}.png")
    return tmp_path


def measured(small: Path, **options) -> dict[str, Path]:
    """The files of both systems on the tiny pair after measuring what is stale."""
    everything.measure_all(small / "results", "smoke", ["middlebury"], **options)
    return {m: result_file(small / "results", "smoke", "middlebury", m) for m in ("bicubic", "e2ent2-mse")}


def test_data_sets_with_a_pair_here_are_found_but_not_those_that_settings_are_chosen_on(small):
    for name in ("a", "b"):
        picture = small / "data" / "train" / "scenes" / "kermit" / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(picture)
    assert DATASETS["views"].lister()
    assert everything.available_data() == ["motorcycle", "middlebury"]


def test_what_is_measured_already_is_kept_and_what_changed_is_measured_again(small):
    before = {m: f.read_bytes() for m, f in measured(small).items()}
    assert {m: f.read_bytes() for m, f in measured(small).items()} == before  # they carry seconds and date
    save_model(build_model("e2ent2-mse", SMOKE), {}, small / "weights" / "smoke", "e2ent2-mse")
    after = {m: f.read_bytes() for m, f in measured(small).items()}
    assert after["bicubic"] == before["bicubic"] and after["e2ent2-mse"] != before["e2ent2-mse"]


def test_an_interrupted_measurement_goes_on_with_the_next_picture(small, monkeypatch):
    for name in ("Second", "Third"):
        for side in "LR":
            folder = small / "data" / "Middlebury"
            shutil.copyfile(folder / f"Toy_{side}.png", folder / f"{name}_{side}.png")
    measure, asked = everything.measure, []

    def stop_at(count, error):
        def stopping(model, pair, *rest):
            if len(asked) == count:
                raise error
            asked.append((model.card.get("model"), pair.name))
            return measure(model, pair, *rest)

        monkeypatch.setattr(everything, "measure", stopping)

    stop_at(2, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt, match="the same command goes on"):
        measured(small)
    file = result_file(small / "results", "smoke", "middlebury", "bicubic")
    assert not file.exists() and len(read_rows(file.with_suffix(".part"))) == 2
    stop_at(5, OSError("no room"))
    with pytest.raises(OSError, match="no room"):
        measured(small)
    assert [row["image"] for row in read_rows(file)] == ["Second_L", "Third_L", "Toy_L"]
    stop_at(99, None)
    rows = read_rows(measured(small)["e2ent2-mse"])
    assert len(rows) == 3 and not list(small.rglob("*.part"))
    assert [name for name, _ in asked].count("bicubic") == 3


def test_a_picture_that_cannot_be_measured_is_named_and_the_others_are_kept(small, monkeypatch):
    for side, height in (("L", 33), ("R", 9)):
        Image.fromarray(np.zeros((height, 50, 3), np.uint8)).save(small / "data" / "Middlebury" / f"Small_{side}.png")
    for side in "LR":
        shutil.copyfile(small / "data/Middlebury" / f"Toy_{side}.png", small / "data/Middlebury" / f"Other_{side}.png")
    measure = everything.measure

    def failing(model, pair, *rest):
        if model.card.get("model") != "bicubic" and pair.name == "Other_L":
            raise ValueError("no such luck")
        return measure(model, pair, *rest)

    monkeypatch.setattr(everything, "measure", failing)
    with pytest.raises(ValueError, match="e2ent2-mse on middlebury, Other_L: no such luck"):
        measured(small)
    rows = read_rows(result_file(small / "results", "smoke", "middlebury", "bicubic"))
    assert [row["image"] for row in rows] == ["Other_L", "Toy_L"]
    assert "Small_R.png: 50×9 pixels" in rows[0]["left_out"][0] and "of" in rows[0]["label"]
    kept = result_file(small / "results", "smoke", "middlebury", "e2ent2-mse").with_suffix(".part")
    assert [row["image"] for row in read_rows(kept)] == ["Toy_L"]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_killed_measurement_keeps_what_is_done_and_leaves_no_process(small, sign):
    source = small / "data" / "Middlebury"
    for i in range(24):
        for side in "LR":
            shutil.copyfile(source / f"Toy_{side}.png", source / f"{i:02}_{side}.png")
    script = (
        "from pathlib import Path; from e2ent2lib.measure import everything\n"
        "if __name__ == '__main__': "
        f"everything.measure_all(Path({str(small / 'results')!r}), 'smoke', ['middlebury'], processes=2)\n"
    )
    (small / "run.py").write_text(script, encoding="utf-8")
    process = subprocess.Popen([sys.executable, small / "run.py"], stderr=subprocess.PIPE, start_new_session=True)
    while not list(small.rglob("[!.]*.part")):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(sign)
    assert process.wait() != 0
    process.stderr.read()  # its workers hold it open until they have ended

    def kept():
        files = [f for f in (small / "results").rglob("[!.]*") if f.suffix in (".part", ".jsonl")]
        return {(f.parent.name, f.stem, row["image"]): row["psnr"] for f in files for row in read_rows(f)}

    done = kept()
    measured(small)
    assert 0 < len(done) < len(kept()) and done.items() <= kept().items()
    assert not list(small.rglob("[!.]*.part"))


@pytest.mark.slow
def test_two_processes_measure_what_one_does(small):
    alone = {m: read_rows(f)[0] for m, f in measured(small).items()}
    shutil.rmtree(small / "results")
    for model, file in measured(small, processes=2).items():
        (row,) = read_rows(file)
        assert row["psnr"] == pytest.approx(alone[model]["psnr"], abs=1e-4)
        assert row["checkpoint_sha256"] == alone[model]["checkpoint_sha256"]


def imported_by(module: str, seen: set[Path]) -> set[Path]:
    """The files of the library that a module imports, and what they import, on loading or later."""
    stem = ROOT.joinpath(*module.split("."))
    file = next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)
    if file and file not in seen:
        seen.add(file)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                    imported_by(name, seen)
    return seen


def test_all_that_measuring_imports_counts_as_scoring_but_what_no_score_depends_on():
    # what a checkpoint fixes; what the pictures' fingerprint guards; what counts for its own system; files; facts
    known = ["config.py", "data/pairs.py", "losses.py", "measure/results.py"]
    known += ["photos/confidence.py", "photos/photograph.py", "photos/refined.py"]
    known += ["runs/files.py", "runs/provenance.py", "systems/parts.py"]
    files = {f.relative_to(ROOT / "e2ent2lib") for f in imported_by("e2ent2lib.measure.evaluate", set())}
    other = [f for f in files if f.name != "__init__.py" and not any(f.is_relative_to(part) for part in SCORING)]
    assert sorted(f.as_posix() for f in other) == known


def test_a_score_is_stale_when_the_code_that_computes_it_changed(tmp_path, monkeypatch):
    assert all((ROOT / "e2ent2lib" / part).exists() for part in SCORING)
    shared = "matching.py exact/kernel.py models/blocks.py systems/bicubic.py photos/images.py measure/metrics.py"
    own = {"landmark": "systems/landmark.py", "passrnet": "systems/passrnet.py systems/stereosr.py systems/parts.py"}
    own["e2ent2-photo"] = "systems/photo.py systems/landmark.py systems/parts.py photos/registered.py"
    other = "measure/verdicts.py report/tables.py explore/explorer.py train.py cli.py systems/drcn.py"
    before = {name: code_fingerprint(name) for name in (*own, "sisr")}
    shutil.copytree(ROOT / "e2ent2lib", tmp_path / "e2ent2lib")
    monkeypatch.setattr(provenance, "LIBRARY", tmp_path / "e2ent2lib")
    monkeypatch.setattr(evaluate, "code_of", lru_cache(code_of))  # each file is read a hundred times
    for file in " ".join([shared, *own.values(), other]).split():
        source = tmp_path / "e2ent2lib" / file
        original = source.read_bytes()
        for change, counts in ((b"\n# a comment\n", False), (b"changed = 1\n", True)):
            source.write_bytes(original + change)
            stale = {name for name, fingerprint in before.items() if code_fingerprint(name) != fingerprint}
            assert stale == {n for n in before if counts and file in f"{shared} {own.get(n)}".split()}, file
        source.write_bytes(original)
    monkeypatch.setitem(SYSTEMS, "sisr", replace(SYSTEMS["sisr"], options={"blocks": 2}))
    assert code_fingerprint("sisr") != before["sisr"]


def test_comments_and_docstrings_are_no_code_and_other_strings_are():
    code = 'A = """a\nb"""\n\ndef f(x):\n    return x + 1\n'
    told = '"""Ä module."""\n# why\nA = """a\nb"""\n"""What A\nis."""\n'
    told += 'def f(x):\n    """f."""\n    # so\n\n    return x + 1\n'
    assert code_of(told) == code_of(code) == code.replace("\n\n", "\n").rstrip()
    for changed in (code.replace("+", "-"), code.replace("b", "c"), code.replace("    return", "    A\n    return")):
        assert code_of(changed) != code_of(code)


def test_a_cell_that_moved_is_named_and_a_data_set_that_is_not_stored_is_not_compared(small):
    files, stored = measured(small), small / "stored"
    assert module.moved_cells(small / "results", stored, "smoke") == []
    for model, file in files.items():
        write_rows(result_file(stored, "smoke", "middlebury", model), read_rows(file))
    assert module.moved_cells(small / "results", stored, "smoke") == []
    path = result_file(stored, "smoke", "middlebury", "bicubic")
    write_rows(path, [row | {"psnr": row["psnr"] + 0.03} for row in read_rows(path)])
    (message,) = module.moved_cells(small / "results", stored, "smoke")
    assert "psnr of bicubic on Toy_L" in message and "smoke/middlebury/bicubic.jsonl" in message


@pytest.fixture
def checkout():
    """Checks that git sees no change after the test, nor the folder of the figures."""

    def state() -> tuple[str, dict[Path, bytes]]:
        status = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout
        return status, {p: p.read_bytes() for p in (ROOT / "figures").iterdir()}

    before = state()
    yield
    assert state() == before


def test_the_quick_tables_say_that_nothing_was_measured(tmp_path, monkeypatch, checkout):
    monkeypatch.setattr(module.figures, "FIGURES", {})
    summary, wrong = module.reproduce(tmp_path, quick=True)
    assert wrong == [] and module.QUICK in summary
    assert not (tmp_path / "results").exists()
    drawn = {p.name for p in (tmp_path / "figures").glob("*.png")}
    assert drawn - {"overlap.png"} == {"reference_effect.png", "claims.png"}  # overlap: once ViewPairs were measured
    for table in (tmp_path / "tables").glob("table[1-4].*"):
        assert module.QUICK in table.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_whole_reproduction_agrees_with_the_committed_results(tmp_path, checkout):
    summary, wrong = module.reproduce(tmp_path)
    assert wrong == []
    assert "the other view, stereo (1)" in summary
    for made, count in (
        ("tables/table[1-4].csv", 4),
        ("notebooks/*.ipynb", len(list((ROOT / "notebooks").glob("*.ipynb")))),
        ("figures/fig*.png", len(module.figures.FIGURES)),
    ):
        assert len(list(tmp_path.glob(made))) == count, made
