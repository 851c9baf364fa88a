"""Photographs in files and in memory: one way to read them, with all that a viewer needs, and one to write them.

Transparency, colour profile and grey are kept; what could not be kept is among a photograph's ``warnings``.
"""

import io
import os
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from e2ent2lib.runs.files import whole_file

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Of the files that are written; Pillow reads more."""
NEVER_OPENED = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG")
"""Pillow's formats that are programs for another program (EPS for Ghostscript), or that it cannot decode itself."""
LONGEST = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
"""Pixels of the longer side that a format can hold, where that may be too few."""
OPAQUE = (".jpg", ".jpeg", ".bmp")
"""Formats without transparency."""
QUALITY = {"quality": 95, "subsampling": 0}
"""What Pillow is told beside the picture, where a format knows it: no codec may blur what was made sharp."""
Pixels = UInt8[np.ndarray, "h w 3"]
Picture = str | os.PathLike | io.IOBase | Image.Image | np.ndarray
"""A path, an open file, a PIL image, or an array: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""


class Photograph(NamedTuple):
    """A photograph, upright, in 8 bits."""

    pixels: Pixels
    """RGB; a grey one three times the same."""
    alpha: UInt8[np.ndarray, "h w"] | None = None
    """255 is opaque; None if all of it is."""
    profile: bytes | None = None
    """Its ICC colour profile, of a grey picture one for grey; None means sRGB."""
    grey: bool = False
    path: Path | None = None
    """Where it was read from; None if not from a path."""
    warnings: tuple[str, ...] = ()
    """What of the file could not be kept, for the user."""

    def on_white(self) -> Pixels:
        """The pixels with white behind what is transparent."""
        if self.alpha is None:
            return self.pixels
        image = Image.fromarray(np.dstack([self.pixels, self.alpha]))
        return np.array(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def read_photograph(picture: Picture, name: str = "image") -> Photograph:
    """The photograph in a file of any format that Pillow reads, or in memory.

    The camera's EXIF rotation is applied, CMYK and Lab are converted to sRGB, 16 bits divided by 257; of an animation
    it is the first frame. Raises FileNotFoundError or ValueError, which give the path (else ``name``) and what to do.
    """
    path = Path(picture) if isinstance(picture, (str, os.PathLike)) else None
    if path and not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the name")
    if path or isinstance(picture, (io.IOBase, Image.Image)):
        return _photograph(path or picture, str(path or name))._replace(path=path)
    array = np.asarray(picture)
    channels = array.shape[2:]
    if array.dtype != np.uint8 or array.ndim < 2 or 0 in array.shape or channels not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"{name}: expected a uint8 array (H, W, 3), or of 1 or 4 channels, not {array.dtype} {array.shape}"
        )
    return _photograph(Image.fromarray(array.squeeze(2) if channels == (1,) else array), name)


def _decoded(source: Path | io.IOBase | Image.Image, name: str) -> tuple[Image.Image, bytes | None, int]:
    """The picture upright, its colour profile, and of how many it is the first. Raises ValueError with its ``name``."""
    Image.init()
    formats = [kind for kind in Image.ID if kind not in NEVER_OPENED]
    try:
        # Given its name, Pillow maps an uncompressed TIFF into memory, and garbles one that the camera turned.
        with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
            image = file if isinstance(file, Image.Image) else Image.open(file, formats=formats)
            frames = image.n_frames if getattr(image, "is_animated", False) else 1
            return ImageOps.exif_transpose(image), image.info.get("icc_profile"), frames
    except UnidentifiedImageError as error:
        known = ", ".join(extension[1:] for extension in EXTENSIONS)
        raise ValueError(f"{name}: not an image this project can read; expected one of {known}") from error
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS // 1_000_000
        raise ValueError(f"{name}: more than {most} megapixels, which may be a trap; save it smaller first") from error
    except Exception as error:  # on a damaged file Pillow raises ValueError, struct.error and more
        raise ValueError(f"{name}: cannot be decoded ({error}); it may be damaged, fetch it again") from error


def _photograph(source: Path | io.IOBase | Image.Image, name: str) -> Photograph:
    """Decoded and converted. Raises ValueError that gives its ``name`` if that cannot be done."""
    image, profile, frames = _decoded(source, name)
    alpha, warnings = None, []
    if 0 in image.size:
        raise ValueError(f"{name}: a picture of {image.width}×{image.height} has no pixels")
    if frames > 1:
        warnings.append(f"{name}: the first of {frames} pictures is taken")
    if image.mode == "F":
        raise ValueError(f"{name}: a float image has no agreed range; save it as 8 or 16 bit first")
    if image.mode.startswith("I"):
        warnings.append(f"{name}: 16 bits are reduced to 8")
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(
                f"{name}: values {values.min()} to {values.max()} do not fit 16 bit; save it as 8 or 16 bit"
            )
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
        alpha = np.array(image.getchannel("A"))
        alpha = alpha if alpha.min() < 255 else None
        image = image.convert(image.mode[:-1])
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        warnings.append(f"{name}: {image.mode} is converted to RGB")
        image, profile = _to_srgb(image, profile), None
    grey = image.mode in ("1", "L")
    if profile and not _fits(profile, grey):
        warnings.append(f"{name}: its colour profile is damaged or not for this picture, and left out")
        profile = None
    try:
        pixels = np.array(image.convert("RGB"))
    except ValueError as error:
        raise ValueError(f"{name}: cannot be converted from {image.mode} ({error}); save it as RGB first") from error
    return Photograph(pixels, alpha, profile, grey, warnings=tuple(warnings))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """By the picture's own profile where that works, else by Pillow's plain formula, which it has for all but Lab."""
    if image.mode == "LAB":
        return ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), _parsed(None), outputMode="RGB")
    if profile and image.mode == "CMYK":
        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            return ImageCms.profileToProfile(image, _parsed(profile), _parsed(None), outputMode="RGB")
    return image.convert("RGB")


def _parsed(profile: bytes | None) -> ImageCms.ImageCmsProfile:
    """Pillow's object of a profile, or of sRGB. Raises PyCMSError, OSError, ValueError or TypeError if damaged."""
    return ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("sRGB"))


def _fits(profile: bytes, grey: bool) -> bool:
    """Whether a colour profile can be read and is for grey or for RGB pictures."""
    try:
        return _parsed(profile).profile.xcolor_space.strip() == ("GRAY" if grey else "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False


def in_colours_of(photo: Photograph, like: Photograph) -> Pixels:
    """A photograph's pixels in the colour space of another, so that like colours have like numbers.

    Neither is changed where both are in the same space, and grey ones are left as they are.
    """
    if photo.profile == like.profile or photo.grey or like.grey:
        return photo.pixels
    given, wanted = _parsed(photo.profile), _parsed(like.profile)
    try:
        return np.array(ImageCms.profileToProfile(Image.fromarray(photo.pixels), given, wanted, outputMode="RGB"))
    except ImageCms.PyCMSError:  # a profile for display only, which nothing can be converted to
        return photo.pixels


def check_output(path: str | os.PathLike, size: tuple[int, int]) -> None:
    """Raise ValueError or OSError, which name the file, if a picture of (height, width) could not be written there."""
    path, extension = Path(path), Path(path).suffix.lower()
    if extension not in EXTENSIONS:
        raise ValueError(f"{path}: unknown extension {path.suffix!r}; use one of {', '.join(EXTENSIONS)}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file such as {path / 'sharp.png'}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; create it, then try again")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent}: cannot be written to; choose another folder for {path.name}")
    height, width = size
    longest = LONGEST.get(extension, max(size))
    if max(size) > longest:
        raise ValueError(f"{path}: {extension} holds at most {longest} pixels a side, not {width}×{height}; use .png")


def write_photograph(path: str | os.PathLike, photo: Photograph) -> list[str]:
    """Write it, whole or not at all; returns warnings of what the format cannot keep.

    Raises as ``check_output``, and OSError.
    """
    path, extension = Path(path), Path(path).suffix.lower()
    check_output(path, photo.pixels.shape[:2])
    opaque, warnings = extension in OPAQUE, []
    image = Image.fromarray(photo.on_white() if opaque else photo.pixels)
    if photo.grey:
        image = image.convert("L")
    if photo.alpha is not None and opaque:
        warnings.append(f"{path}: {extension} has no transparency, so white is behind the picture; .png keeps it")
    elif photo.alpha is not None:
        image.putalpha(Image.fromarray(photo.alpha))
    with whole_file(path) as temporary:
        image.save(temporary, **QUALITY, icc_profile=photo.profile)
    return warnings
