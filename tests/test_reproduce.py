"""`make reproduce`: measures what is missing, names a cell that moved, and says when nothing was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2ent2lib.config import SMOKE
from e2ent2lib.measure.results import read_rows, result_file, write_rows
from e2ent2lib.report import reproduce as module
from e2ent2lib.runs.checkpoints import build_model, save_model
from e2ent2lib.runs.provenance import ROOT


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A smoke-size model and one tiny stereo pair."""
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path / "data"))
    save_model(build_model("e2ent2-mse", SMOKE), {"provisional": True}, tmp_path / "weights" / "smoke", "e2ent2-mse")
    (tmp_path / "data" / "Middlebury").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (33, 50, 3), dtype=np.uint8)
    for side in "LR":
        Image.fromarray(pixels).save(tmp_path / "data" / "Middlebury" / f"Toy_{side}.png")
    return tmp_path


def test_data_sets_with_a_pair_here_are_found(small):
    assert module.data_here() == ["motorcycle", "middlebury"]


def test_what_settings_are_chosen_on_is_not_measured_for_the_tables(small):
    for name in ("a", "b"):
        picture = small / "data" / "train" / "scenes" / "kermit" / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(picture)
    assert module.DATASETS["views"].lister()
    assert "views" not in module.data_here()


def test_what_is_measured_already_is_kept_and_what_changed_is_measured_again(small):
    module.measure_all(small / "results", "smoke", ["middlebury"], progress=False)
    files = {m: result_file(small / "results", "smoke", "middlebury", m) for m in ("bicubic", "e2ent2-mse")}
    before = {m: f.read_bytes() for m, f in files.items()}
    module.measure_all(small / "results", "smoke", ["middlebury"], progress=False)
    assert {m: f.read_bytes() for m, f in files.items()} == before  # rows carry seconds and date: not measured twice
    model = build_model("e2ent2-mse", SMOKE)
    save_model(model, {"provisional": True}, small / "weights" / "smoke", "e2ent2-mse")
    module.measure_all(small / "results", "smoke", ["middlebury"], progress=False)
    assert files["bicubic"].read_bytes() == before["bicubic"]
    assert files["e2ent2-mse"].read_bytes() != before["e2ent2-mse"]


def test_a_cell_that_moved_is_named_and_a_data_set_that_is_not_stored_is_not_compared(small):
    measured, stored = small / "results", small / "stored"
    module.measure_all(measured, "smoke", ["middlebury"], progress=False)
    assert module.compare(measured, stored, "smoke") == []
    for model in ("bicubic", "e2ent2-mse"):
        rows = read_rows(result_file(measured, "smoke", "middlebury", model))
        write_rows(result_file(stored, "smoke", "middlebury", model), rows)
    assert module.compare(measured, stored, "smoke") == []
    path = result_file(stored, "smoke", "middlebury", "bicubic")
    write_rows(path, [row | {"psnr": row["psnr"] + 0.03} for row in read_rows(path)])
    (message,) = module.compare(measured, stored, "smoke")
    assert "psnr of bicubic on Toy_L" in message
    assert "smoke/middlebury/bicubic.jsonl" in message


def test_every_committed_score_was_measured_under_the_default_protocol_by_a_model_that_ships():
    files = sorted((ROOT / "data" / "results" / "compact").glob("*/*.jsonl"))
    assert {f.parent.name for f in files} >= {"motorcycle"}
    assert {f.stem for f in files if f.parent.name == "motorcycle"} >= {"bicubic", "sisr", "e2ent2-mse", "e2ent2"}
    for row in (json.loads(line) for f in files for line in f.read_text().splitlines()):
        assert row["protocol"]["channel"] == "rgb"
        assert "+changes" not in row["commit"]


def test_the_quick_tables_say_that_nothing_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(module.figures, "draw_all", lambda *_, **__: [])
    monkeypatch.setattr(module, "draw_effect", lambda *_: [])
    summary, wrong = module.reproduce(tmp_path, quick=True, progress=False)
    assert wrong == []
    assert module.QUICK in summary
    assert not (tmp_path / "results").exists()
    for number in range(1, 5):
        for suffix in (".csv", ".md", ".tex"):
            assert module.QUICK in (tmp_path / "tables" / f"table{number}{suffix}").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_whole_reproduction_agrees_with_the_committed_results(tmp_path):
    summary, wrong = module.reproduce(tmp_path, progress=False)
    assert wrong == []
    for number in range(1, 5):
        assert f"Table {number}" in summary
        assert (tmp_path / "tables" / f"table{number}.csv").is_file()
    assert len(list((tmp_path / "notebooks").glob("*.ipynb"))) == len(list((ROOT / "notebooks").glob("*.ipynb")))
