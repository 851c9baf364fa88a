"""Photographs in files and in memory: one way to read them, with all that a viewer needs, and one to write them.

Transparency, colour profile and grey are kept; what could not be kept is among a photograph's ``warnings``.
"""

import io
import os
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
JPEG = {"quality": 95, "subsampling": 0}
QUALITY = {".jpg": JPEG, ".jpeg": JPEG, ".webp": {"quality": 95}}
"""What Pillow is told beside the picture: what was made sharp must not be blurred by a codec."""
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
    if isinstance(picture, Image.Image):
        return _photograph(picture, name)
    if isinstance(picture, io.IOBase):
        with _opened(picture, name) as image:
            return _photograph(image, name)
    if isinstance(picture, (str, os.PathLike)):
        path = Path(picture)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; check the name")
        with _opened(path, str(path)) as image:
            return _photograph(image, str(path))._replace(path=path)
    array = np.asarray(picture)
    channels = array.shape[2:]
    if array.dtype != np.uint8 or array.ndim < 2 or 0 in array.shape or channels not in ((), (1,), (3,), (4,)):
        raise ValueError(
            f"{name}: expected a uint8 array (H, W, 3), or of 1 or 4 channels, not {array.dtype} {array.shape}"
        )
    return _photograph(Image.fromarray(array.squeeze(2) if channels == (1,) else array), name)


def _opened(source: Path | io.IOBase, name: str) -> Image.Image:
    """Pillow's image, not decoded yet. Raises ValueError that gives its ``name``."""
    Image.init()
    try:
        return Image.open(source, formats=[kind for kind in Image.ID if kind not in NEVER_OPENED])
    except UnidentifiedImageError as error:
        known = ", ".join(extension[1:] for extension in EXTENSIONS)
        raise ValueError(f"{name}: not an image this project can read; expected one of {known}") from error
    except Exception as error:  # on a damaged file Pillow raises ValueError, struct.error and more
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> ValueError:
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * Image.MAX_IMAGE_PIXELS // 1_000_000
        return ValueError(f"{name}: more than {most} megapixels, which may be a trap; save it smaller first")
    return ValueError(f"{name}: cannot be decoded ({error}); it may be damaged, fetch it again")


def _photograph(image: Image.Image, name: str) -> Photograph:
    """Decoded and converted. Raises ValueError that gives its ``name`` if that cannot be done."""
    if 0 in image.size:
        raise ValueError(f"{name}: a picture of {image.width}×{image.height} has no pixels")
    try:
        frames = image.n_frames if getattr(image, "is_animated", False) else 1
        upright = ImageOps.exif_transpose(image)  # decodes first
        profile = image.info.get("icc_profile")
    except Exception as error:
        raise _damaged(name, error) from error
    image, alpha, warnings = upright, None, []
    if frames > 1:
        warnings.append(f"{name}: the first of {frames} pictures is taken")
    if image.mode == "F":
        raise ValueError(f"{name}: a float image has no agreed range; save it as 8 or 16 bit first")
    if image.mode.startswith("I"):
        warnings.append(f"{name}: 16 bits are reduced to 8")
        image = _eight_bits(image, name)
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


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """An image of integers from 0 to 65535 as mode "L", divided by 257."""
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"{name}: values {grey.min()} to {grey.max()} do not fit 16 bit; save it as 8 or 16 bit")
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """By the picture's own profile where that works, else by Pillow's plain formula, which it has for all but Lab."""
    srgb = ImageCms.createProfile("sRGB")
    if image.mode == "LAB":
        return ImageCms.profileToProfile(image, ImageCms.createProfile("LAB"), srgb, outputMode="RGB")
    if profile and image.mode == "CMYK":
        try:
            return ImageCms.profileToProfile(image, _parsed(profile), srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return image.convert("RGB")


def _parsed(profile: bytes | None) -> ImageCms.ImageCmsProfile:
    """Pillow's object of a profile, or of sRGB. Raises PyCMSError, OSError, ValueError or TypeError if damaged."""
    return ImageCms.ImageCmsProfile(io.BytesIO(profile) if profile else ImageCms.createProfile("sRGB"))


def _fits(profile: bytes, grey: bool) -> bool:
    """Whether a colour profile can be read and is for grey or for RGB pictures."""
    try:
        space = _parsed(profile).profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False
    return space == ("GRAY" if grey else "RGB")


def in_colours_of(photo: Photograph, like: Photograph) -> Pixels:
    """A photograph's pixels in the colour space of another, so that like colours have like numbers.

    Neither is changed where both are in the same space, and grey ones are left as they are.
    """
    if photo.profile == like.profile or photo.grey or like.grey:
        return photo.pixels
    image, given, wanted = Image.fromarray(photo.pixels), _parsed(photo.profile), _parsed(like.profile)
    try:
        return np.array(ImageCms.profileToProfile(image, given, wanted, outputMode="RGB"))
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
    longest = LONGEST.get(extension, max(size))
    if max(size) > longest:
        height, width = size
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
    options = QUALITY.get(extension, {}) | ({"icc_profile": photo.profile} if photo.profile else {})
    with whole_file(path) as temporary:
        image.save(temporary, **options)
    return warnings
