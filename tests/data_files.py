"""Pictures on disk and calls of the command line, as the tests of the data sets share them."""

import sys

import numpy as np

from e2ent2lib import cli
from e2ent2lib.images import write_image


def noise(height=64, width=72, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def put(folder, *names, size=(16, 16), first=0):
    """Write a different picture under each name."""
    for seed, name in enumerate(names, first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, noise(*size, seed))


def call(monkeypatch, *arguments):
    """The exit code of ``e2ent2`` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["e2ent2", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as end:
        return end.code or 0
    return 0
