"""Reading, writing, degrading and enlarging photographs: uint8 (H, W, 3) arrays, RGB.

The degradation is 4.1's: bicubic ×1/r with Pillow's antialiased kernel, rounded to 8 bits (notebook 01). Other
programs' kernels are here too, for numbers that were measured with them (notebook 05).
"""

import math
import os
from pathlib import Path
from typing import IO, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from torch import Tensor

from e2ent2lib.runs.files import whole_file

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
NEVER_OPENED = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG")
"""Pillow's formats that are programs for another program (EPS for Ghostscript), or that it cannot decode itself."""
Picture = str | os.PathLike | Image.Image | np.ndarray
Kernel = Literal["pillow-bicubic", "matlab-bicubic", "opencv-bicubic", "pillow-bicubic-bilinear"]
"""How a picture is shrunk and enlarged: ``resize``."""


def as_rgb(picture: Picture, name: str = "image") -> UInt8[np.ndarray, "h w 3"]:
    """A photograph as uint8 (H, W, 3) RGB, whatever it was.

    Grey and palette images are repeated to RGB, 16-bit grey is divided by 257, CMYK is converted, transparency is
    laid on white, the camera's EXIF rotation is applied, and of an animation the first frame is taken.
    Raises FileNotFoundError or ValueError, which name the file and what to do.
    """
    if isinstance(picture, (str, os.PathLike)):
        return read_image(picture)
    if isinstance(picture, Image.Image):
        return _pil_to_rgb(picture, name)
    array = np.asarray(picture)
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(f"{name}: expected a uint8 array (H, W, 3), got {array.dtype} {array.shape}")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4):
        raise ValueError(f"{name}: expected 1, 3 or 4 channels in the last axis, got shape {array.shape}")
    return _pil_to_rgb(Image.fromarray(array.squeeze(2) if array.shape[2:] == (1,) else array), name)


def read_image(path: str | os.PathLike) -> UInt8[np.ndarray, "h w 3"]:
    """The photograph in a file as uint8 (H, W, 3) RGB; conversions and errors as in ``as_rgb``."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the name")
    with opened(path, str(path)) as image:
        return _pil_to_rgb(image, str(path))


def opened(source: Path | IO[bytes], name: str) -> Image.Image:
    """Pillow's image of a file or a stream of bytes, not decoded yet. Raises ValueError that gives its ``name``."""
    Image.init()
    try:
        return Image.open(source, formats=[kind for kind in Image.ID if kind not in NEVER_OPENED])
    except UnidentifiedImageError as error:
        known = ", ".join(e[1:] for e in EXTENSIONS)
        raise ValueError(f"{name}: not an image this project can read; expected one of {known}") from error
    except Exception as error:  # on a damaged file Pillow raises ValueError, struct.error and more
        raise _damaged(name, error) from error


def upright(image: Image.Image, name: str) -> Image.Image:
    """The decoded image, turned as its EXIF says. Raises ValueError that gives its ``name`` if that cannot be done."""
    if 0 in image.size:
        raise ValueError(f"{name}: a picture of {image.width}×{image.height} has no pixels")
    try:
        return ImageOps.exif_transpose(image)  # decodes first
    except Exception as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> ValueError:
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * Image.MAX_IMAGE_PIXELS // 1_000_000
        return ValueError(f"{name}: more than {most} megapixels, which may be a trap; save it smaller first")
    return ValueError(f"{name}: cannot be decoded ({error}); it may be damaged, fetch it again")


def _pil_to_rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
    image = eight_bits(upright(image, name), name)
    if has_alpha(image):
        image = with_alpha(image)
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(as_mode(image, "RGB", name))


def eight_bits(image: Image.Image, name: str) -> Image.Image:
    """An image of 16 bits as mode "L", divided by 257; others as they are. Raises ValueError for other deep formats."""
    if image.mode == "F":
        raise ValueError(f"{name}: a float image has no agreed range; save it as 8 or 16 bit first")
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"{name}: values {grey.min()} to {grey.max()} do not fit 16 bit; save it as 8 or 16 bit")
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))


def has_alpha(image: Image.Image) -> bool:
    """Whether some of the image may be transparent."""
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def with_alpha(image: Image.Image) -> Image.Image:
    """An image that ``has_alpha`` in mode "RGBA"."""
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")


def as_mode(image: Image.Image, mode: str, name: str) -> Image.Image:
    """``Image.convert``. Raises ValueError that gives the ``name`` if Pillow cannot."""
    if image.mode == "LAB":  # Pillow converts it by colour profile only
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    try:
        return image.convert(mode)
    except ValueError as error:
        raise ValueError(f"{name}: cannot be converted from {image.mode} ({error}); save it as RGB first") from error


def write_image(path: str | os.PathLike, image: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write a uint8 (H, W, 3) image; the file appears whole or not at all.

    Raises ValueError for an ending Pillow cannot write, FileNotFoundError if the folder does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in EXTENSIONS:
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; use one of {', '.join(EXTENSIONS)}")
    with whole_file(path) as temporary:
        Image.fromarray(image).save(temporary)


def crop_to_multiple(image: UInt8[np.ndarray, "h w 3"], r: int = 4) -> UInt8[np.ndarray, "H W 3"]:
    """The image without the last rows and columns that do not fill an r × r cell."""
    height, width = (n - n % r for n in image.shape[:2])
    return image[:height, :width]


def downscale(
    image: UInt8[np.ndarray, "h w 3"], r: int = 4, kernel: Kernel = "pillow-bicubic"
) -> UInt8[np.ndarray, "H W 3"]:
    """I↓ of 3.1: ×1/r, rounded to 8 bits; by default bicubic with Pillow's antialiased kernel.

    Raises ValueError if a side is not a multiple of r, or for an unknown kernel.
    """
    height, width = image.shape[:2]
    if height % r or width % r:
        raise ValueError(f"size {width}×{height} is not a multiple of {r}; use crop_to_multiple first")
    return _resize_8_bits(image, height // r, width // r, kernel)


def upscale_bicubic(
    image: UInt8[np.ndarray, "h w 3"], r: int = 4, kernel: Kernel = "pillow-bicubic"
) -> UInt8[np.ndarray, "H W 3"]:
    """The row "Bicubic" of Table 1: ×r, rounded to 8 bits; by default with Pillow's kernel.

    Raises ValueError for an unknown kernel.
    """
    return _resize_8_bits(image, image.shape[0] * r, image.shape[1] * r, kernel)


def resize(
    image: UInt8[np.ndarray, "h w 3"], height: int, width: int, kernel: Kernel = "pillow-bicubic"
) -> Float[np.ndarray, "{height} {width} 3"]:
    """The picture in a new size, values clipped to [0, 255] and not rounded.

    - "pillow-bicubic": Keys' cubic with a = −0.5; shrinking widens it by the scale (antialiasing), at the border the
      weights that remain are scaled to sum to 1.
    - "matlab-bicubic": the same kernel, but the border is mirrored, as ``imresize`` does.
    - "opencv-bicubic": INTER_CUBIC, a = −0.75, no antialiasing, the border repeated. OpenCV itself calculates 8-bit
      pictures with integers, which may differ by 1.
    - "pillow-bicubic-bilinear": Pillow's bicubic to shrink, its bilinear to enlarge.

    Raises ValueError for an unknown kernel.
    """
    _check_kernel(kernel)
    if kernel.startswith("pillow"):
        method = _pillow_method(image, width, kernel)
        bands = [Image.fromarray(band.astype(np.float32)) for band in np.moveaxis(image, 2, 0)]
        values = np.stack([np.asarray(band.resize((width, height), method), np.float64) for band in bands], axis=2)
    else:
        matrix = {"matlab-bicubic": _matlab, "opencv-bicubic": _opencv}[kernel]
        values = _rows(matrix(image.shape[1], width), _columns(matrix(image.shape[0], height), image))
    return values.clip(0, 255)


def _resize_8_bits(image: np.ndarray, height: int, width: int, kernel: Kernel) -> np.ndarray:
    """Pillow and MATLAB round 8-bit pictures between their two passes as well (MATLAB's first is along columns)."""
    _check_kernel(kernel)
    if kernel.startswith("pillow"):
        return np.asarray(Image.fromarray(image).resize((width, height), _pillow_method(image, width, kernel)))
    if kernel == "matlab-bicubic":
        return _round(_rows(_matlab(image.shape[1], width), _round(_columns(_matlab(image.shape[0], height), image))))
    return _round(resize(image, height, width, kernel))


def _check_kernel(kernel: str) -> None:
    if kernel not in get_args(Kernel):
        raise ValueError(f"unknown kernel {kernel!r}; choose one of {', '.join(get_args(Kernel))}")


def _pillow_method(image: np.ndarray, width: int, kernel: Kernel) -> Image.Resampling:
    bilinear = kernel.endswith("bilinear") and width > image.shape[1]
    return Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC


def _columns(matrix: np.ndarray, image: np.ndarray) -> np.ndarray:
    return np.tensordot(matrix, image.astype(np.float64), axes=1)


def _rows(matrix: np.ndarray, image: np.ndarray) -> np.ndarray:
    return np.matmul(matrix, image.astype(np.float64))


def _round(values: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    return np.floor(values.clip(0, 255) + 0.5).astype(np.uint8)  # halves go up, as in MATLAB


def _matlab(length: int, new: int) -> Float[np.ndarray, "{new} {length}"]:
    return _cubic(length, new, a=-0.5, antialias=True, mirrored=True)


def _opencv(length: int, new: int) -> Float[np.ndarray, "{new} {length}"]:
    return _cubic(length, new, a=-0.75, antialias=False, mirrored=False)


def _cubic(length: int, new: int, *, a: float, antialias: bool, mirrored: bool) -> Float[np.ndarray, "{new} {length}"]:
    """The matrix that resizes a line with the cubic kernel of Keys (1981); a new pixel is a weighted sum of old ones.

    Antialiasing widens the kernel by the scale; beyond its ends a line is mirrored, or its last pixel repeated.
    """
    narrow = min(new / length, 1) if antialias else 1
    centre = (np.arange(new)[:, None] + 0.5) * length / new - 0.5
    reach = math.ceil(2 / narrow)
    taps = np.floor(centre).astype(int) + np.arange(-reach, reach + 2)
    x = np.abs(taps - centre) * narrow
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    weights = np.where(x <= 1, near, np.where(x < 2, far, 0))
    folded = np.minimum(taps % (2 * length), (-1 - taps) % (2 * length)) if mirrored else taps.clip(0, length - 1)
    matrix = np.zeros((new, length))
    np.add.at(matrix, (np.arange(new)[:, None], folded), weights / weights.sum(1, keepdims=True))
    return matrix


def to_tensor(image: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 h w"]:
    """The image as a float32 batch of one, in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def to_image(tensor: Float[Tensor, "1 3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """A batch of one in [0, 1] as 8-bit image: clipped, then rounded to the nearest."""
    return to_pixels(tensor).round().astype(np.uint8)


def to_pixels(tensor: Float[Tensor, "1 3 h w"]) -> Float[np.ndarray, "h w 3"]:
    """A batch of one in [0, 1] as image from 0 to 255: clipped, not rounded."""
    return tensor.detach()[0].float().clamp(0, 1).mul(255).permute(1, 2, 0).cpu().numpy()
