"""What the explorers show: available pairs, a reader's own photographs, in a size that answers at once."""

import io
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from e2ent2lib.data.pairs import DATASETS, Pair, dataset
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.photos.images import as_rgb, crop_to_multiple
from e2ent2lib.report.plots import Pixels, cut

LONGEST = 760
"""Pixels of the longer side of what is shown; larger photographs are reduced."""
SMALLEST = 48
"""Pixels of the shorter side: twelve cells, with room for a few patches."""
PART = (208, 172, 320, 240)
"""Of the motorcycle's left view, x, y, width, height; small enough that all four encoders answer at once."""
PART_OF_REFERENCE = (160, 160, 384, 272)


class Photos(NamedTuple):
    """A truth and its reference, sides multiples of 4."""

    hr: Pixels
    ref: Pixels
    stereo: bool = False
    """Whether the two are a rectified pair of one size."""
    note: str = ""
    """What was done to them, to be shown."""


def available_pairs() -> dict[str, partial]:
    """{title: function that gives the ``Photos``}: the motorcycle, a part of it, the pairs of available data sets."""
    available = {}
    for data in DATASETS.values():
        for pair in data.lister():
            if pair.ref_sources and data.in_tables:
                title = data.title if data.total == 1 else f"{data.title} {pair.name}"
                available[title] = partial(_pair, pair, data.stereo)
    return {"motorcycle": available.pop("motorcycle"), "motorcycle, a part": part} | available


def part() -> Photos:
    """The engine and what is around it, with a larger box of the right view as reference."""
    pair = dataset("motorcycle").pairs()[0]
    return Photos(cut(pair.hr(), PART), cut(pair.refs()[0], PART_OF_REFERENCE))


def _pair(pair: Pair, stereo: bool) -> Photos:
    return photos(*prepared(pair), stereo=stereo)


def photos(hr: Pixels, ref: Pixels, *, stereo: bool = False) -> Photos:
    """Two pictures ready to be shown. Raises ValueError for one with a side under ``SMALLEST``."""
    (hr, note), (ref, note_ref) = fitted(hr, "the photograph"), fitted(ref, "the reference")
    notes = [n for n in (note, note_ref) if n]
    said = " ".join([*notes, "Scores of it differ from the tables'."] if notes else [])
    return Photos(hr, ref, stereo and hr.shape == ref.shape, said)


def fitted(image: UInt8[np.ndarray, "h w 3"], name: str, longest: int = LONGEST) -> tuple[Pixels, str]:
    """The picture with its longer side reduced to ``longest``, sides cropped to multiples of 4; and what was done."""
    height, width = image.shape[:2]
    note = ""
    if max(height, width) > longest:
        size = [max(1, round(n * longest / max(height, width))) for n in (width, height)]
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        note = f"{name} was reduced from {width}×{height} to {size[0]}×{size[1]}."
    if min(image.shape[:2]) < SMALLEST:
        raise ValueError(
            f"{name} of {width}×{height} is too small or too narrow here: with a longer side of at most {longest} "
            f"pixels the other needs {SMALLEST}; e2ent2 upscale takes it"
        )
    return crop_to_multiple(image), note


def read_upload(name: str, content: bytes) -> Pixels:
    """The photograph in an uploaded file's bytes, as ``as_rgb`` has it. Raises ValueError that names the file."""
    return as_rgb(io.BytesIO(content), name)
