"""ViewPairs: two photographs of one thing in three levels, built from single files of public repositories.

``viewpairs.csv`` has a line for each pair: where its photographs come from, and what their decoded pixels are known by.
Level 1 shares most: "coverage" is the share of a 16×16 grid over the input that holds geometrically verified matches
(SIFT and MAGSAC at 800 pixels), at least 0.25 at level 1, at least 0.08 with 25 matches at level 2, less at level 3.
"""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from e2ent2lib.photos.images import as_rgb, read_image

LONGEST, LONGEST_REFERENCE = 512, 1024
"""Pixels of the longest side of an input, and of a reference."""


class View(NamedTuple):
    """One photograph of a pair, as ``viewpairs.csv`` says."""

    level: str
    name: str
    """Of its file below ViewPairs/LEVEL: NAME_0.webp is the input, NAME_1.webp the reference."""
    repository: str
    commit: str
    path: str
    """In the repository."""
    pixels: str
    look: int
    """The perceptual hash, as ``leaks.Mark`` has it."""


@lru_cache
def pairs_of(level: str) -> tuple[tuple[View, View], ...]:
    """(input, reference) of each pair of a level, "1" to "3"."""
    with open(Path(__file__).with_name("viewpairs.csv"), encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["level"] == level]
    return tuple(
        tuple(
            View(
                *(level, f"{row['name']}_{place}.webp", row["repository"], row["commit"], row[which]),
                *(row[f"{which}_pixels"], int(row[f"{which}_look"], 16)),
            )
            for place, which in enumerate(("input", "reference"))
        )
        for row in rows
    )


def pixel_hash(image: UInt8[np.ndarray, "h w 3"]) -> str:
    """The first 16 hex digits of the decoded pixels' SHA-256."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16]


def reduced(photographs: list[Image.Image]) -> Iterator[list[UInt8[np.ndarray, "h w 3"]]]:
    """The pictures of a pair made from its upright photographs, input first; nothing is enlarged.

    One factor brings the input's longest side to 512; a reference that is still over 1024 is reduced to that. Both are
    cut at the right and bottom to multiples of 4. Sizes are rounded, then, should that not be it, rounded down.
    """
    whole = min(1.0, LONGEST / max(photographs[0].size))
    factors = whole, min(whole, LONGEST_REFERENCE / max(photographs[1].size))
    for rounding in (round, int):
        pictures = []
        for photograph, factor in zip(photographs, factors):
            size = tuple(max(1, rounding(n * factor)) for n in photograph.size)
            same = size == photograph.size
            small = np.array(photograph if same else photograph.resize(size, Image.Resampling.LANCZOS))
            pictures.append(small[: len(small) // 4 * 4, : small.shape[1] // 4 * 4])
        yield pictures


def build(pair: tuple[View, View], sources: list[Path], folder: Path) -> list[View]:
    """Make the two files of a pair in ``folder`` from the mirror's; returns which have other pixels than listed.

    Raises ValueError for a source that is no photograph.
    """
    photographs = [Image.fromarray(as_rgb(source)) for source in sources]
    known = [view.pixels for view in pair]
    made = list(reduced(photographs))
    pictures = next((p for p in made if [pixel_hash(x) for x in p] == known), made[0])
    folder.mkdir(parents=True, exist_ok=True)
    for view, picture in zip(pair, pictures):
        Image.fromarray(picture).save(folder / view.name, lossless=True)
    return different(pair, folder)


def different(views: Iterable[View], folder: Path) -> list[View]:
    """The views whose file in ``folder`` has other pixels than listed. Raises as ``read_image`` does."""
    return [view for view in views if pixel_hash(read_image(folder / view.name)) != view.pixels]
