"""Photographs of one's own, with what must not be lost: transparency, colour profile, grey.

``images`` is for measuring, where a picture is three channels of 8 bits. Here a file comes with all that a viewer
needs, and what could not be kept is said.
"""

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms

from e2ent2lib.photos.images import EXTENSIONS, as_mode, eight_bits, has_alpha, opened, upright, with_alpha
from e2ent2lib.runs.files import whole_file

LONGEST = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
"""Pixels of the longer side that a format can hold, where that may be too few."""
OPAQUE = (".jpg", ".jpeg", ".bmp")
"""Formats without transparency."""
JPEG = {"quality": 95, "subsampling": 0}
QUALITY = {".jpg": JPEG, ".jpeg": JPEG, ".webp": {"quality": 95}}
"""What Pillow is told beside the picture: what was made sharp must not be blurred by a codec."""


class Photograph(NamedTuple):
    """A photograph, upright, in 8 bits."""

    pixels: UInt8[np.ndarray, "h w 3"]
    """RGB; a grey one three times the same."""
    alpha: UInt8[np.ndarray, "h w"] | None = None
    """255 is opaque; None if all of it is."""
    profile: bytes | None = None
    """Its ICC colour profile, of a grey picture one for grey; None means sRGB."""
    grey: bool = False
    said: tuple[str, ...] = ()
    """What of the file could not be kept, for the user."""


def read_photograph(path: str | os.PathLike) -> Photograph:
    """The photograph in a file of any format that Pillow reads.

    The camera's rotation is applied, CMYK and Lab converted to sRGB, 16 bits reduced to 8; of an animation it is the
    first frame. Raises FileNotFoundError or ValueError, which name the file and what to do.
    """
    path, said = Path(path), []
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the name")
    with opened(path, str(path)) as image:
        frames = getattr(image, "n_frames", 1) if getattr(image, "is_animated", False) else 1
        image, profile = upright(image, str(path)), image.info.get("icc_profile")
    if frames > 1:
        said.append(f"{path}: the first of {frames} pictures is taken")
    if image.mode.startswith("I"):
        said.append(f"{path}: 16 bits are reduced to 8")
    image, alpha = eight_bits(image, str(path)), None
    if has_alpha(image):
        image = with_alpha(image) if image.mode != "LA" else image
        alpha = np.array(image.getchannel("A"))
        image = image.convert("L" if image.mode == "LA" else "RGB")
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        said.append(f"{path}: {image.mode} is converted to RGB")
        image, profile = _to_srgb(image, profile, str(path)), None
    grey = image.mode in ("1", "L")
    if profile and not _fits(profile, grey):
        said.append(f"{path}: its colour profile is damaged or not for this picture, and left out")
        profile = None
    transparent = alpha is not None and alpha.min() < 255
    pixels = np.array(as_mode(image, "RGB", str(path)))
    return Photograph(pixels, alpha if transparent else None, profile, grey, tuple(said))


def _to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """By the picture's own profile where that works, else by Pillow's plain formula."""
    if profile and image.mode == "CMYK":
        try:
            own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image, own, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass
    return as_mode(image, "RGB", name)


def _fits(profile: bytes, grey: bool) -> bool:
    """Whether a colour profile can be read and is for grey or for RGB pictures."""
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return False
    return space == ("GRAY" if grey else "RGB")


def in_colours_of(photo: Photograph, like: Photograph) -> UInt8[np.ndarray, "h w 3"]:
    """A photograph's pixels in the colour space of another, so that like colours have like numbers.

    None of the two is changed where both are in the same space, and grey ones are left as they are.
    """
    if photo.profile == like.profile or photo.grey or like.grey:
        return photo.pixels
    given, wanted = (
        ImageCms.ImageCmsProfile(io.BytesIO(p.profile)) if p.profile else ImageCms.createProfile("sRGB")
        for p in (photo, like)
    )
    try:
        return np.array(ImageCms.profileToProfile(Image.fromarray(photo.pixels), given, wanted, outputMode="RGB"))
    except ImageCms.PyCMSError:  # a profile for display only, which nothing can be converted to
        return photo.pixels


def check_output(path: str | os.PathLike, size: tuple[int, int]) -> None:
    """Raise ValueError or FileNotFoundError if a picture of (height, width) could not be written there."""
    path, ending = Path(path), Path(path).suffix.lower()
    if ending not in EXTENSIONS:
        raise ValueError(f"{path}: unknown ending {path.suffix!r}; use one of {', '.join(EXTENSIONS)}")
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file such as {path / 'sharp.png'}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; create it, then try again")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent}: cannot be written to; choose another folder for {path.name}")
    longest = LONGEST.get(ending, max(size))
    if max(size) > longest:
        height, width = size
        raise ValueError(f"{path}: {ending} holds at most {longest} pixels a side, not {width}×{height}; use .png")


def write_photograph(path: str | os.PathLike, photo: Photograph) -> list[str]:
    """Write it, whole or not at all; returns what the format cannot keep. Raises as ``check_output``, and OSError."""
    path = Path(path)
    check_output(path, photo.pixels.shape[:2])
    image, ending, said = Image.fromarray(photo.pixels), path.suffix.lower(), []
    if photo.alpha is not None and ending in OPAQUE:
        white = Image.new("RGB", image.size, "white")
        image = Image.composite(image, white, Image.fromarray(photo.alpha))
        said.append(f"{path}: {ending} has no transparency, so white is behind the picture; .png keeps it")
    if photo.grey:
        image = image.convert("L")
    if photo.alpha is not None and ending not in OPAQUE:
        image.putalpha(Image.fromarray(photo.alpha))
    options = QUALITY.get(ending, {}) | ({"icc_profile": photo.profile} if photo.profile else {})
    with whole_file(path) as temporary:
        image.save(temporary, **options)
    return said


def enlarged_alpha(alpha: UInt8[np.ndarray, "h w"], r: int = 4) -> UInt8[np.ndarray, "H W"]:
    """Transparency ×r, bicubic: what is opaque stays so."""
    size = (alpha.shape[1] * r, alpha.shape[0] * r)
    return np.array(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
