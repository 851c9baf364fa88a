"""Crop-twice pairs (4.1): two random boxes of one photograph, one the input, one the reference. Notebook 01.

Only the boxes are drawn here; ``data.training`` reads the photographs, cuts the boxes out and makes I_in and I_ref↓.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

Box = tuple[int, int]
"""Top-left corner (y, x) of a square of known side, in pixels."""


class Crops(NamedTuple):
    """The four images of 3.1, float32 in [0, 1]: of one training sample (3, height, width), or of a batch."""

    hr: Float[Tensor, "*b 3 H W"]
    """The truth, of which I_in is the small copy."""
    lr: Float[Tensor, "*b 3 h w"]
    """I_in."""
    ref: Float[Tensor, "*b 3 H W"]
    """I_ref."""
    ref_down: Float[Tensor, "*b 3 h w"]
    """I_ref↓."""


def crop_twice(
    size: tuple[int, int], crop: int, rng: np.random.Generator, max_offset: int | None = None
) -> tuple[Box, Box]:
    """Two random boxes of side ``crop`` in an image of ``size`` (height, width): of the input, of the reference.

    Uniform over the image as in 4.1; with ``max_offset`` the second is at most so many pixels from the first in each
    direction. Raises ValueError if the image is smaller than the crop.
    """
    _refuse_smaller(size, crop)
    first = tuple(int(rng.integers(n - crop + 1)) for n in size)
    return first, crop_near(size, crop, first, rng, max_offset)


def crop_near(
    size: tuple[int, int], crop: int, place: Box, rng: np.random.Generator, max_offset: int | None = None
) -> Box:
    """A random box of an image of ``size``, at most ``max_offset`` pixels from ``place`` in each direction."""
    reach = max(size) if max_offset is None else max_offset
    place = tuple(min(a, n - crop) for a, n in zip(place, size))
    low = [max(0, a - reach) for a in place]
    high = [min(n - crop, a + reach) for a, n in zip(place, size)]
    return tuple(int(rng.integers(a, b + 1)) for a, b in zip(low, high))


def crop_beside(size: tuple[int, int], crop: int, rng: np.random.Generator, max_offset: int) -> tuple[Box, Box]:
    """Boxes as in a rectified stereo pair: the second in the same rows, 0 to ``max_offset`` pixels to the right.

    What is at column x of the first crop is at x − d of the second, as in the right view of a scene at disparity d.
    Not the paper's: for the stereo baselines. Raises ValueError if the image is smaller than the crop.
    """
    _refuse_smaller(size, crop)
    shift = int(rng.integers(min(max_offset, size[1] - crop) + 1))
    y, x = int(rng.integers(size[0] - crop + 1)), int(rng.integers(size[1] - crop - shift + 1))
    return (y, x), (y, x + shift)


def overlap(first: Box, second: Box, crop: int) -> float:
    """The share of the input box that the reference box also covers, 0 to 1."""
    height, width = (max(0, crop - abs(a - b)) for a, b in zip(first, second))
    return height * width / crop**2


def _refuse_smaller(size: tuple[int, int], crop: int) -> None:
    if min(size) < crop:
        raise ValueError(f"an image of {size[1]}×{size[0]} is smaller than a crop of {crop}×{crop}")
