"""Two processes under ``torchrun``, each with half of a batch, train as one process does with the whole."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import two_process_run as work
from PIL import Image
from tiny_run import visible_files

from e2ent2lib.runs.run import RunOptions, train

STEPS, WEIGHTS = 1e-7, 1e-3
"""Relative distances: two steps in float64, whole runs in float32, whose sums two processes add in another order."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs, and a SISR model to start from."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "photographs").mkdir()
    for i, image in enumerate(work.images()):
        Image.fromarray(image).save(folder / f"photographs/{i}.png")
    profile = replace(work.PROFILE, steps_sisr=1, steps_pretraining=1)
    alone = {"accelerator": "cpu", "devices": 1, "progress": False}
    train("sisr", profile, RunOptions(data=folder / "photographs", out=folder / "first", **alone))
    return folder


@pytest.fixture(scope="module")
def launched(folder):
    """two_process_run.py after it ran in two processes; what they wrote is in ``folder``."""
    command = [sys.executable, work.__file__, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def of_both(folder, launched, name):
    """What each of the two processes wrote."""
    files = [folder / f"{name}-{rank}.pt" for rank in (0, 1)]
    assert all(file.is_file() for file in files), launched.stderr[-6000:]  # else they waited for each other
    return [torch.load(file, weights_only=True) for file in files]


@pytest.fixture(scope="module")
def two(folder, launched):
    return of_both(folder, launched, "compared")


@pytest.fixture(scope="module")
def one(folder):
    return {"gathered": work.steps(), "run": work.whole_run(folder)}


def distance(found, right):
    return ((found - right).norm() / right.norm()).item()


def test_after_two_steps_generator_and_both_critics_are_those_of_one_process(one, two):
    for rank in (0, 1):
        for found, right in zip(two[rank]["gathered"], one["gathered"], strict=True):
            assert distance(found, right) < STEPS


def test_without_gathering_the_means_of_equation_9_and_10_they_are_not(one, two):
    for found, right in zip(two[0]["local"], one["gathered"], strict=True):
        assert distance(found, right) > 1e-5


def test_a_whole_run_records_and_validates_the_whole_batch_and_ends_as_one_process_does(folder, one, two):
    history, weights = one["run"]
    for rank in (0, 1):
        found_history, found = two[rank]["run"]
        assert distance(found, weights) < WEIGHTS
        for ours, right in zip(found_history, history, strict=True):
            assert ours == pytest.approx(right, rel=1e-3)
            assert ours["val_ref"] == pytest.approx(right["val_ref"], abs=0.01)
    assert visible_files(folder / "whole-2") == ["e2ent2.json", "e2ent2.safetensors", "state.pt"]


def test_when_one_process_is_told_to_stop_both_stop_after_the_same_step(folder, launched):
    assert of_both(folder, launched, "stopped") == [3, 3]
    assert torch.load(folder / "stopped-2/state.pt", weights_only=True)["step"] == 3
