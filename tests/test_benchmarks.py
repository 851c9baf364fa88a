"""The benchmark compares like with like, and what it stored is what README says."""

import json
from pathlib import Path

import pytest
import torch

from e2ent2lib.matching import match

ROOT = Path(__file__).parents[1]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import match_and_swap

    return match_and_swap


def test_the_fields_forms_find_the_matches_that_match_finds(benchmark):
    query, key = torch.randn(2, 1, 6, 9, 11, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for form in benchmark.FORMS.values():
        torch.testing.assert_close(form(query, key), match(query, key).index)


def test_the_comparison_of_swaps_is_of_equal_gradients(benchmark):
    assert (benchmark.compare_swaps(rounds=1)["largest difference"] < 1e-5).all()


def test_the_share_of_a_training_step_puts_the_library_back(benchmark, monkeypatch):
    smoke = benchmark.config.get_profile("smoke")
    monkeypatch.setattr(benchmark.config, "get_profile", lambda _: smoke)
    share = benchmark.share_of_training_step(steps=1)
    assert 0 < share["share"] < 1
    assert benchmark.matching.match is match


def test_the_stored_figures_are_whole_and_meet_the_aim():
    stored = json.loads((ROOT / "benchmarks/match_and_swap.json").read_text(encoding="utf-8"))
    assert {"commit", "machine", "versions", "date", "threads"} <= stored.keys()
    rows = {(row["size"], row["form"]): row for row in stored["matches"]}
    assert rows["80×125", "convolution"]["times slower"] >= 4
    assert max(row["MiB"] for row in rows.values() if row["form"] == "ours") <= 128
    assert all(row["seconds"] or row["note"] for row in rows.values())  # an empty cell has its reason
    assert next(r for r in stored["swaps"] if r["task"] == "swap, forward + backward")["ratio"] >= 6
    assert stored["training step"]["share"] < 0.15


def test_explorers_answered_within_150_ms():
    times = json.loads((ROOT / "benchmarks" / "explorers.json").read_text())["gestures"].values()
    assert all(len(gesture) == 10 for gesture in times) and max(map(max, times)) <= 150
