"""Trainings of a second or less, for the tests of what a run does."""

import signal
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import torch

import e2ent2lib.train
from e2ent2lib.config import SMOKE
from e2ent2lib.data import training
from e2ent2lib.runs.run import RunOptions, train

TINY = replace(
    SMOKE,
    crop=32,
    max_offset=16,
    steps_pretraining=4,
    steps_sisr=6,
    steps_gan=2,
    steps_joint=2,
    steps_ablation=2,
    steps_single=6,
    steps_srgan=4,
    steps_reference=2,
    checkpoint_every=2,
    probe_every=2,
)


def texture(seed, side=64):
    """A picture with detail of several sizes, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    layers = [np.kron(rng.integers(0, 256, (side // n, side // n, 3)), np.ones((n, n, 1))) for n in (2, 8, 16)]
    return np.mean(layers, axis=0).astype(np.uint8)


def run(name, out, data, profile=TINY, *, start_from=None, seed=0, resume=False):
    """``runs.run.train`` on one processor, without progress bars and leaks to look for: the model and its history."""
    options = RunOptions(
        data=data, out=out, start_from=start_from, seed=seed, resume=resume,
        accelerator="cpu", devices=1, progress=False,
    )  # fmt: skip
    with patch.object(training, "evaluation_marks", lambda **_: {}):
        return train(name, profile, options)


def at_step(monkeypatch, step, do):
    """In each training step from this one on, counted from 1, do something with its batch first."""
    original, count = e2ent2lib.train.training_step, iter(range(1, 10**6))

    def changed(fabric, players, batch, *rest):
        if (now := next(count)) >= step:
            batch = do(batch, now)
        return original(fabric, players, batch, *rest)

    monkeypatch.setattr(e2ent2lib.train, "training_step", changed)


def interrupt_at(monkeypatch, step, sent=signal.SIGINT):
    """Ctrl-C in the middle of a step."""

    def interrupt(batch, now):
        if now == step:
            signal.raise_signal(sent)
        return batch

    at_step(monkeypatch, step, interrupt)


def weights(module):
    return {k: v.clone() for k, v in module.state_dict().items()}


def differ(a, b):
    """Whether two dictionaries of tensors differ in any bit."""
    return a.keys() != b.keys() or any(not torch.equal(a[k], b[k]) for k in a)


def visible_files(folder):
    """Names of a run's files, without ``best``, ``last`` and its lock."""
    return sorted(p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
