"""Pictures as arrays, for networks and scores: uint8 (H, W, 3), RGB; degraded, enlarged, and as tensors.

The degradation is 4.1's: bicubic ×1/r with Pillow's antialiased kernel, rounded to 8 bits (notebook 01). Other
programs' kernels are here too, for numbers that were measured with them (notebook 05).
"""

import math
import os
from typing import get_args

import numpy as np
import torch
from jaxtyping import Float, Real, UInt8
from PIL import Image
from torch import Tensor

from e2ent2lib.photos.options import Kernel
from e2ent2lib.photos.photograph import Photograph, Picture, Pixels, read_photograph, write_photograph


def as_rgb(picture: Picture, name: str = "image") -> Pixels:
    """A photograph as uint8 (H, W, 3) RGB, whatever it was: converted as by ``read_photograph``, with white behind it.

    Raises FileNotFoundError or ValueError, which name the file (else ``name``) and what to do.
    """
    return read_photograph(picture, name).on_white()


def write_image(path: str | os.PathLike, image: Pixels) -> None:
    """Write a uint8 (H, W, 3) image, whole or not at all. Raises as ``write_photograph``."""
    write_photograph(path, Photograph(image))


def crop_to_multiple(image: Pixels, r: int = 4) -> UInt8[np.ndarray, "H W 3"]:
    """The image without the last rows and columns that do not fill an r × r cell."""
    height, width = (n - n % r for n in image.shape[:2])
    return image[:height, :width]


def downscale(image: Pixels, r: int = 4, kernel: Kernel = "pillow-bicubic") -> UInt8[np.ndarray, "H W 3"]:
    """I↓ of 3.1: ×1/r, rounded to 8 bits; by default bicubic with Pillow's antialiased kernel.

    Raises ValueError if a side is not a multiple of r, or for an unknown kernel.
    """
    height, width = image.shape[:2]
    if height % r or width % r:
        raise ValueError(f"size {width}×{height} is not a multiple of {r}; use crop_to_multiple first")
    return resize(image, height // r, width // r, kernel, rounded=True)


def upscale_bicubic(
    image: UInt8[np.ndarray, "h w *bands"], r: int = 4, kernel: Kernel = "pillow-bicubic"
) -> UInt8[np.ndarray, "H W *bands"]:
    """The row "Bicubic" of Table 1: ×r, rounded to 8 bits; by default with Pillow's kernel, for which (H, W) will do.

    Raises ValueError for an unknown kernel.
    """
    return resize(image, image.shape[0] * r, image.shape[1] * r, kernel, rounded=True)


def resize(
    image: Pixels, height: int, width: int, kernel: Kernel = "pillow-bicubic", *, rounded: bool = False
) -> Real[np.ndarray, "{height} {width} 3"]:
    """The picture in a new size: float64 clipped to [0, 255], or, ``rounded``, uint8.

    - "pillow-bicubic": Keys' cubic with a = −0.5; shrinking widens it by the scale (antialiasing), at the border the
      weights that remain are scaled to sum to 1.
    - "matlab-bicubic": the same kernel, but the border is mirrored, as ``imresize`` does.
    - "opencv-bicubic": INTER_CUBIC, a = −0.75, no antialiasing, the border repeated. OpenCV itself calculates 8-bit
      pictures with integers, which may differ by 1.
    - "pillow-bicubic-bilinear": Pillow's bicubic to shrink, its bilinear to enlarge.

    Pillow and MATLAB round 8-bit pictures between their two passes as well (MATLAB's first is along columns).
    Raises ValueError for an unknown kernel.
    """
    if kernel not in get_args(Kernel):
        raise ValueError(f"unknown kernel {kernel!r}; choose one of {', '.join(get_args(Kernel))}")
    if kernel.startswith("pillow"):
        bilinear = kernel.endswith("bilinear") and width > image.shape[1]
        method = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
        if rounded:
            return np.asarray(Image.fromarray(image).resize((width, height), method))
        bands = [Image.fromarray(band.astype(np.float32)) for band in np.moveaxis(image, 2, 0)]
        values = np.stack([np.asarray(band.resize((width, height), method), np.float64) for band in bands], axis=2)
        return values.clip(0, 255)
    # Own code, for no library that is installed mirrors the border as imresize does.
    values = np.tensordot(_cubic(image.shape[0], height, kernel), image.astype(np.float64), axes=1)
    if rounded and kernel == "matlab-bicubic":
        values = _round(values)
    values = np.matmul(_cubic(image.shape[1], width, kernel), values)
    return _round(values).astype(np.uint8) if rounded else values.clip(0, 255)


def _round(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    return np.floor(values.clip(0, 255) + 0.5)  # halves go up, as in MATLAB


def _cubic(length: int, new: int, kernel: Kernel) -> Float[np.ndarray, "{new} {length}"]:
    """The matrix that resizes a line with the cubic kernel of Keys (1981); a new pixel is a weighted sum of old ones.

    MATLAB's antialiasing widens the kernel by the scale, and beyond its ends a line is mirrored; OpenCV repeats the
    last pixel.
    """
    matlab = kernel == "matlab-bicubic"
    a = -0.5 if matlab else -0.75
    narrow = min(new / length, 1) if matlab else 1
    centre = (np.arange(new)[:, None] + 0.5) * length / new - 0.5
    reach = math.ceil(2 / narrow)
    taps = np.floor(centre).astype(int) + np.arange(-reach, reach + 2)
    x = np.abs(taps - centre) * narrow
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    weights = np.where(x <= 1, near, np.where(x < 2, far, 0))
    folded = np.minimum(taps % (2 * length), (-1 - taps) % (2 * length)) if matlab else taps.clip(0, length - 1)
    matrix = np.zeros((new, length))
    np.add.at(matrix, (np.arange(new)[:, None], folded), weights / weights.sum(1, keepdims=True))
    return matrix


def to_tensor(image: Real[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    """The image, 8 bits or floats from 0 to 255, as a float32 batch of one, in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def to_image(tensor: Float[Tensor, "1 3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A batch of one in [0, 1] as 8-bit image: clipped, then rounded to the nearest."""
    return to_pixels(tensor).round().astype(np.uint8)


def to_pixels(tensor: Float[Tensor, "1 3 h w"]) -> Float[np.ndarray, "h w 3"]:
    """A batch of one in [0, 1] as image from 0 to 255: clipped, not rounded."""
    return tensor.detach()[0].float().clamp(0, 1).mul(255).permute(1, 2, 0).cpu().numpy()
