"""Photographs in files and in memory: one way to read them, with all that a viewer needs, and one to write them.

Range, depth, page and colours are settled once, on reading. Transparency, colour profile, grey, 16 bits and what the
camera noted are kept; what could not be kept is among a photograph's ``warnings``.
"""

import io
import os
import re
import shutil
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real, UInt8, UInt16
from PIL import ExifTags, Image, ImageCms, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError
from scipy.ndimage import distance_transform_edt
from tifffile import TiffFile

from e2ent2lib.runs.files import check_folder, whole_file

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Of the files that are written; Pillow reads more."""
NEVER_OPENED = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG")
"""Pillow's formats that are programs for another program (EPS for Ghostscript), or that it cannot decode itself."""
LONGEST = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}
"""Pixels of the longer side that a format can hold, where that may be too few."""
OPAQUE = (".jpg", ".jpeg", ".bmp")
"""Formats without transparency."""
DEEP = (".png", ".tif", ".tiff")
"""Formats that hold 16 bits."""
QUALITY = {"quality": 95, "subsampling": 0}
"""What Pillow is told beside the picture, where a format knows it: no codec may blur what was made sharp."""
for _order, _extra in product((b"II", b"MM"), ((), (0,), (2,))):  # grey with alpha of 16 bits, as bytes: ``_numbers``
    TiffImagePlugin.OPEN_INFO[_order, 1, (1,), 1, (16, 16), _extra] = "RGBA", "RGBA"
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20  # bytes of a colour profile or text; more than 64 MB in all stay refused
SRGB = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06), (0.3127, 0.329))
"""Red, green, blue and white of sRGB: x and y of CIE 1931."""
P3 = ((0.68, 0.32), (0.265, 0.69), *SRGB[2:])
ADOBE = (SRGB[0], (0.21, 0.71), *SRGB[2:]), 563 / 256
"""Those of Adobe RGB (1998), and its gamma."""
CAMERA = [ExifTags.Base[name] for name in "ImageDescription Make Model Software DateTime Artist Copyright".split()]
"""What is kept of EXIF's first part; of the second all but ``NOT_KEPT``: not the thumbnail, nor the old size."""
NOT_KEPT = [ExifTags.Base[n] for n in ("MakerNote", "ColorSpace", "ExifImageWidth", "ExifImageHeight")] + [0xA005]
RAW = (32803, 34892)
"""TIFF's photometric kinds of a camera's raw pixels."""
Pixels = Real[np.ndarray, "h w 3"]
"""RGB as uint8; or as float32 from 0 to 255, where more than 8 bits are kept."""
Picture = str | os.PathLike | io.IOBase | Image.Image | np.ndarray
"""A path, an open file, a PIL image, or an array: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""


class Photograph(NamedTuple):
    """A photograph, upright."""

    pixels: UInt8[np.ndarray, "h w 3"]
    """RGB; a grey one three times the same. Where all is transparent, the nearest colour that is not."""
    alpha: Real[np.ndarray, "h w"] | None = None
    """255 is opaque; None if all of it is. uint8, or float32 beside ``deep``."""
    profile: bytes | None = None
    """Its ICC colour profile, of a grey picture one for grey; None means sRGB."""
    grey: bool = False
    path: Path | None = None
    """Where it was read from; None if not from a path."""
    warnings: tuple[str, ...] = ()
    """What of the file could not be kept, for the user."""
    deep: Float[np.ndarray, "h w 3"] | None = None
    """``pixels`` before they were rounded to 8 bits, of a picture that has more."""
    white: int = 65535
    """What is 255 in ``deep`` in the file's own numbers."""
    exif: Image.Exif | None = None
    """What the camera noted, but not where."""
    dpi: tuple[float, float] | None = None
    jpeg: int | None = None
    """A JPEG's quality, as its table tells it."""

    def on_white(self) -> UInt8[np.ndarray, "h w 3"]:
        """The pixels with white behind what is transparent."""
        if self.alpha is None:
            return self.pixels
        image = Image.fromarray(np.dstack([self.pixels, np.rint(self.alpha).astype(np.uint8)]))
        return np.array(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))

    def visible(self) -> tuple[slice, slice]:
        """Rows and columns around all that isn't transparent. Raises ValueError if all is."""
        if self.alpha is None:
            return slice(None), slice(None)
        if (box := Image.fromarray(self.alpha > 0).getbbox()) is None:
            raise ValueError(f"{self.path}: is transparent everywhere, so that there is nothing to take from it")
        return slice(box[1], box[3]), slice(box[0], box[2])


class RefusedError(ValueError):
    """An error whose message is passed to the user unchanged."""


def read_photograph(picture: Picture, name: str = "image", white: int | None = None) -> Photograph:
    """The photograph in a file of any format that Pillow reads, or in memory.

    The camera's EXIF rotation is applied; CMYK, Lab, and colours given without a profile are converted to sRGB; of an
    animation it is the first frame, of a TIFF the largest page. ``white`` is the number that stands for white in a
    picture of more than 8 bits. By default it is the range that the file states, else the least of 255, 4095 and 65535
    that holds all numbers. Raises FileNotFoundError, PermissionError or ValueError, which give the path (else ``name``)
    and what to do.
    """
    path = Path(picture) if isinstance(picture, (str, os.PathLike)) else None
    if path and not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; check the name")
    if not path and not isinstance(picture, (io.IOBase, Image.Image)):
        array = np.asarray(picture)
        channels = array.shape[2:]
        if array.dtype != np.uint8 or array.ndim < 2 or 0 in array.shape or channels not in ((), (1,), (3,), (4,)):
            wanted = "expected a uint8 array (H, W, 3), or of 1 or 4 channels"
            raise ValueError(f"{name}: {wanted}, not {array.dtype} {array.shape}")
        picture = Image.fromarray(array.squeeze(2) if channels == (1,) else array)
    name = str(path or name)
    with _named(name):
        photo = _photograph(path or picture, white)
    return photo._replace(path=path, warnings=tuple(f"{name}: {warning}" for warning in photo.warnings))


@lru_cache(maxsize=1)
def readable() -> tuple[list[str], set[str]]:
    """(Pillow's formats that are opened, extensions of files in them); HEIC where pillow-heif is installed."""
    Image.init()
    with suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    formats = [kind for kind in Image.ID if kind not in NEVER_OPENED]
    return formats, {e for e, kind in Image.registered_extensions().items() if kind in formats}


def listed(folder: Path, pattern: str = "*") -> tuple[list[Path], list[str]]:
    """(The photographs in a folder that match ``pattern``, sorted; a description of the others, but hidden ones)."""
    photographs, others = [], defaultdict(list)
    for path in sorted(folder.glob(pattern)):
        parts = path.relative_to(folder).parts
        if any(p.startswith(".") or p in ("__MACOSX", "Thumbs.db", "desktop.ini") for p in parts) or path.is_dir():
            continue
        if path.suffix.lower() in readable()[1]:
            photographs.append(path)
        else:
            others[path.suffix.lower() or "without extension"].append(path.name)
    kinds = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        + ('; pip install "pillow-heif" for these' if kind in (".heic", ".heif") else "")
        for kind, names in sorted(others.items())
    ]
    return photographs, kinds


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors of decoding become ValueError or PermissionError, which give the ``name`` and what to do."""
    try:
        yield
    except UnidentifiedImageError as error:
        known = ", ".join(extension[1:] for extension in EXTENSIONS)
        raise ValueError(f"{name}: not an image this project can read; expected one of {known}") from error
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS // 1_000_000
        raise ValueError(f"{name}: more than {most} megapixels, which may be a trap; save it smaller first") from error
    except PermissionError as error:
        raise PermissionError(f"{name}: may not be read; change its permissions") from error
    except RefusedError as error:
        raise ValueError(f"{name}: {error}") from error
    except Exception as error:  # on a damaged file Pillow raises ValueError, struct.error and more
        raise ValueError(f"{name}: cannot be decoded ({error}); it may be damaged, fetch it again") from error


def _numbers(image: Image.Image, file: io.IOBase, start: int) -> tuple[Image.Image, Real[np.ndarray, "h w n"] | None]:
    """The picture upright, and its numbers if a band has more than 8 bits and all of them can be read.

    Of 16 bits in colour Pillow gives the first byte; read in the other order of bytes, it gives the second. Grey with
    alpha is read as the four bytes that it is.
    """
    tiles = [t._replace(args=(t.args,) if isinstance(t.args, str) else t.args) for t in getattr(image, "tile", ())]
    page, pair = image.tell(), None
    if tiles and tiles[0].args == ("LA;16B",):
        image.tile, pair = [tile._replace(args="RGBA") for tile in tiles], ">u2"
    elif image.format == "TIFF" and image.tag_v2.get(258) == (16, 16):
        pair = ">u2" if image.tag_v2.prefix == b"MM" and tiles[0].codec_name == "raw" else "<u2"
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        unsigned = image.format == "TIFF" and upright.mode == "I" and image.tag_v2.get(339, (1,))[0] == 1
        return upright, np.atleast_3d(np.array(upright, np.uint32 if unsigned else None))
    if pair:
        return upright, np.array(upright).view(pair)
    if file is image or not tiles or not all(re.fullmatch("RGB[AX]?;16[BLN]", str(t.args[0])) for t in tiles):
        return upright, None
    file.seek(start)
    low, other = Image.open(file, formats=[image.format]), {"B": "L", "L": "B", "N": "LB"[sys.byteorder == "little"]}
    low.seek(page)
    low.tile = [t._replace(args=(t.args[0][:-1] + other[t.args[0][-1]], *t.args[1:])) for t in tiles]
    second = np.asarray(ImageOps.exif_transpose(low))
    return upright, 256 * np.asarray(upright).astype(np.uint16) + second


def _turn_to_largest(image: Image.Image, file: io.IOBase, start: int) -> int | None:
    """Turn a TIFF to its largest page; its number for white, if known. Raises RefusedError for a camera's raw file."""
    file.seek(start)
    with TiffFile(file, offset=start) as tiff:
        sizes = [page.imagelength * page.imagewidth for page in tiff.pages]
        every = [inner for page in tiff.pages for inner in (page, *(page.pages or ()))]
        if any(page.imagelength * page.imagewidth > max(sizes) or page.photometric in RAW for page in every):
            raise RefusedError(
                "holds a larger picture that can't be read, as a camera's raw file; save it as TIFF first"
            )
        page = tiff.pages[sizes.index(max(sizes))]
        if page.planarconfig == 2 and page.bitspersample > 8:
            raise RefusedError("holds its colours in planes of over 8 bits, which Pillow garbles; save it interleaved")
    image.seek(page.index)
    white, bits = image.tag_v2.get(281, image.tag_v2.get(341)), image.tag_v2.get(258, (1,))[0]
    return white[0] if isinstance(white, tuple) else white or (2**bits - 1 if bits in (10, 12, 14) else None)


def _png_colours(image: Image.Image, head: bytes, notes: list[str]) -> tuple[tuple, float | None] | None:
    """Primaries and gamma (None: sRGB's curve) that a PNG gives instead of a profile; None for sRGB's."""
    described = re.search(rb"cICP(.)(.)", head.partition(b"IDAT")[0], re.DOTALL)
    if described and (kind := (described[1][0], described[2][0])) != (1, 13):
        if kind == (12, 13):
            return P3, None
        notes.append(f"its colour description (cICP {kind[0]}, {kind[1]}) is left out, and sRGB assumed")
    if described or "icc_profile" in image.info or "srgb" in image.info:
        return None
    white, *primaries = np.reshape(image.info.get("chromaticity", (*SRGB[3], *SRGB[0], *SRGB[1], *SRGB[2])), (4, 2))
    gamma = 1 / (image.info.get("gamma") or 1 / 2.2)
    usual = np.allclose([*primaries, white], SRGB, atol=0.01) and abs(gamma - 2.2) < 0.1
    return None if usual else ((*primaries, white), gamma)


def _photograph(source: Path | io.IOBase | Image.Image, white: float | None) -> Photograph:
    """Decoded and converted; its warnings don't name it yet. Raises RefusedError, and whatever Pillow does."""
    head, start, notes, alpha, deep, stated, colours, jpeg = b"", 0, [], None, None, None, None, None
    # Given its name, Pillow maps an uncompressed TIFF into memory, and garbles one that the camera turned.
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        image = file
        if not isinstance(file, Image.Image):
            start = file.tell()
            head = file.read(1 << 16)
            file.seek(start)
            heic = re.match(rb"ftyp(hei|hev|mif1|msf1)", head[4:]) and b"avif" not in head[:48]
            if heic and ".heic" not in readable()[1]:
                raise RefusedError('is a HEIC picture; pip install "pillow-heif", or save it as JPEG')
            image = Image.open(file, formats=readable()[0])
        if image.format == "TIFF" and head:
            stated = _turn_to_largest(image, file, start)
        elif image.format == "PNG" and head:
            colours = _png_colours(image, head, notes)
        elif image.mode.startswith("I"):
            stated = 65535  # for so Pillow scales what Netpbm and JPEG 2000 hold
        elif bits := re.search(rb"ihdr.{10}([\x08-\x0f])|pixi.{5}([\x09-\x10])", head, re.DOTALL):
            notes.append(f"{(bits[1] or bits[2])[0] + bool(bits[1])} bits are reduced to 8")
        if getattr(image, "is_animated", False):
            number = "first" if image.tell() == 0 else f"largest, number {image.tell() + 1},"
            notes.append(f"the {number} of {image.n_frames} pictures is taken")
        if image.format == "JPEG" and 0 in image.quantization:  # by the table of quality 50, scaled as libjpeg does
            scale = sum(image.quantization[0]) / 3688
            jpeg = round(100 - 50 * scale if scale <= 1 else 50 / scale)
        reduced = head and any(
            ";16" in str(args) or (codec.startswith("ppm") and image.mode == "RGB" and args[1] > 255)
            for codec, *_, args in image.tile
        )
        negative = head and image.format == "TIFF" and image.tag_v2.get(262) == 0
        upright, values = _numbers(image, file, start)
        exif, adobe = _noted(image)
    image, info = upright, upright.info
    profile = info.get("icc_profile")
    colours = colours or (ADOBE if adobe else None)
    if 0 in image.size:
        raise RefusedError(f"a picture of {image.width}×{image.height} has no pixels")
    if values is not None:
        if values.shape[2] in (2, 4):
            alpha, values = values[..., -1] * np.float32(255 / np.iinfo(values.dtype).max), values[..., :-1]
        elif "transparency" in info:
            alpha = np.where((values == info["transparency"]).all(2), 0, np.float32(255))
        if negative:  # white is 0
            stated, values = stated or 65535, (stated or 65535) - values
        white = white or stated or _range(values, notes)
        if not (values.min() >= 0 and values.max() <= white):
            raise RefusedError(f"values {values.min()} to {values.max()} do not fit 16 bit; save it as 8 or 16 bit")
        deep = (values * (255 / white)).astype(np.float32)
        image = Image.fromarray(np.rint(deep.squeeze(2) if deep.shape[2] == 1 else deep).astype(np.uint8))
        deep = np.broadcast_to(deep, (*deep.shape[:2], 3))
    elif reduced:
        notes.append("16 bits are reduced to 8")
    if values is None and (image.has_transparency_data or image.mode in ("PA", "La", "RGBa")):
        image = image.convert("LA" if image.mode in ("LA", "La") else "RGBA")
        alpha = np.array(image.getchannel("A"))
        image = image.convert(image.mode[:-1])
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        notes.append(f"{image.mode} is converted to RGB")
        image, profile = _to_srgb(image, profile), None
    grey = image.mode in ("1", "L")
    if profile and not _fits(profile, grey):
        notes.append("its colour profile is damaged or not for this picture, and left out")
        profile = None
    pixels = np.array(image.convert("RGB"))
    if colours and not profile:
        deep, hadnt = _from_colours(pixels if deep is None else deep, *colours), deep is None
        pixels, deep = np.rint(deep).astype(np.uint8), None if hadnt else deep
        notes.append("its colours, given without a profile, are converted to sRGB")
    if alpha is not None and alpha.min() == 255:
        alpha = None
    if alpha is not None and (alpha == 0).any() and alpha.any():  # what is hidden is no picture
        nearest = tuple(distance_transform_edt(alpha == 0, return_distances=False, return_indices=True))
        pixels, deep = pixels[nearest], None if deep is None else deep[nearest]
    if deep is not None and white <= 255 and values.dtype.kind in "iu":
        deep, alpha = None, None if alpha is None else np.rint(alpha).astype(np.uint8)
    whole = int(white) if deep is not None and values.dtype.kind in "iu" and white <= 65535 else 65535
    return Photograph(pixels, alpha, profile, grey, None, tuple(notes), deep, whole, exif, info.get("dpi"), jpeg)


def _range(values: np.ndarray, notes: list[str]) -> int:
    """The number that stands for white where nobody says which. Raises RefusedError for floats."""
    if values.dtype.kind == "f":
        raise RefusedError("a float image has no agreed range; name its white with --range, or save it as 16 bit")
    white = next((n for n in (255, 4095) if values.max() <= n), 65535)
    if white < 65535:
        notes.append(f"no number is over {values.max()}, so {white} is taken as white; --range takes another")
    return white


def _noted(image: Image.Image) -> tuple[Image.Exif | None, bool]:
    """What the camera noted that holds for the result too, but not where it was; whether its colours are Adobe RGB."""
    given, kept = image.getexif(), Image.Exif()
    kept.update({tag: given[tag] for tag in CAMERA if tag in given})
    all_of_it = given.get_ifd(ExifTags.IFD.Exif)
    second = {tag: value for tag, value in all_of_it.items() if tag not in NOT_KEPT}
    adobe = all_of_it.get(ExifTags.Base.ColorSpace) == 2 or given.get_ifd(ExifTags.IFD.Interop).get(1) == "R03"
    if second:
        kept.get_ifd(ExifTags.IFD.Exif).update(second)
    return (kept if second or len(kept) else None), adobe


def _from_colours(pixels: Pixels, primaries: tuple, gamma: float | None) -> Float[np.ndarray, "h w 3"]:
    """From these primaries and gamma to sRGB, clipped."""
    light = pixels.astype(np.float64) / 255
    light = light**gamma if gamma else np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    mix = np.linalg.solve(_to_xyz(*SRGB), _to_xyz(*primaries))
    light = (light @ (mix / mix.sum(1, keepdims=True)).T).clip(0, 1)  # white stays white
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def _to_xyz(*points: tuple[float, float]) -> Float[np.ndarray, "3 3"]:
    """Of red, green, blue and white, the matrix from light to XYZ."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in points]).T
    return columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])


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
    """A photograph's pixels in the colour space of another, so that like colours have like numbers; grey is kept."""
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
    with suppress(FileNotFoundError):
        os.lstat(path)  # raises for a name that is too long
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; name a file such as {path / 'sharp.png'}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder; create it, then try again")
    check_folder(path.parent)
    height, width = size
    longest = LONGEST.get(extension, max(size))
    if max(size) > longest:
        raise ValueError(f"{path}: {extension} holds at most {longest} pixels a side, not {width}×{height}; use .png")
    least = 3 * height * width // (1 if extension in (".bmp", ".tif", ".tiff") else 20)
    if shutil.disk_usage(path.parent).free < least:
        raise OSError(f"{path}: no room, it takes {least / 1e6:.0f} MB or more; delete something, or write elsewhere")


def write_photograph(path: str | os.PathLike, photo: Photograph) -> list[str]:
    """Write it, whole or not at all; returns warnings of what the format cannot keep. Raises as ``check_output``."""
    path, extension = Path(path), Path(path).suffix.lower()
    check_output(path, photo.pixels.shape[:2])
    warnings, alpha = [], photo.alpha
    if photo.deep is not None and extension not in DEEP:
        warnings.append("holds 8 of the picture's 16 bits; .png and .tif hold all")
    if alpha is not None and extension in OPAQUE:
        warnings.append("has no transparency, so white is behind the picture; .png keeps it")
        photo, alpha = photo._replace(pixels=photo.on_white()), None
    if photo.profile and extension == ".bmp":
        warnings.append("has no colour profile, so the colours are converted to sRGB")
        photo = photo._replace(pixels=in_colours_of(photo, Photograph(photo.pixels)), profile=None)
    image = Image.fromarray(photo.pixels)
    if photo.grey:
        image = image.convert("L")
    if alpha is not None:
        image.putalpha(Image.fromarray(np.rint(alpha).astype(np.uint8)))
    exif = None if photo.exif is None else photo.exif.tobytes()
    options = {"icc_profile": photo.profile, "dpi": photo.dpi, "exif": exif}
    options = QUALITY | {key: value for key, value in options.items() if value}
    deep = photo.deep is not None and extension in DEEP
    if deep:
        bands = np.rint(photo.deep[..., : 1 if photo.grey else 3] * (photo.white / 255))
        bands = (bands if alpha is None else np.dstack([bands, np.rint(alpha * 257.0)])).astype("<u2")
        if extension != ".png":  # its bytes, as a picture of twice the width
            doubled = bands.view(np.uint8).reshape(len(bands), -1, bands.shape[2])
            image = Image.fromarray(doubled.squeeze(2) if doubled.shape[2] == 1 else doubled)
    with whole_file(path) as temporary:
        if deep and extension == ".png":
            temporary.write_bytes(_png_in_16_bits(PngImagePlugin.getchunks(image, **options), bands))
        else:
            image.save(temporary, **options)
        if deep and extension != ".png":
            with TiffFile(temporary, mode="r+b") as tiff:
                tiff.pages.first.tags["ImageWidth"].overwrite(bands.shape[1])
                tiff.pages.first.tags["BitsPerSample"].overwrite([16] * bands.shape[2])
    return [f"{path}: {extension} {warning}" for warning in warnings]


def _png_in_16_bits(chunks: list[tuple[bytes, bytes, bytes]], bands: UInt16[np.ndarray, "h w bands"]) -> bytes:
    """The PNG of chunks with these numbers instead of its own. Nothing that is installed writes 16 bits in colour."""
    rows = bands.astype(">u2").reshape(len(bands), -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    numbers = zlib.compress(np.insert(rows - above, 0, 2, axis=1).tobytes())  # filter 2
    deep = io.BytesIO()
    deep.write(b"\x89PNG\r\n\x1a\n")
    for kind, body, _ in chunks:
        if kind == b"IEND":
            PngImagePlugin.putchunk(deep, b"IDAT", numbers)
        if kind != b"IDAT":
            PngImagePlugin.putchunk(deep, kind, body[:8] + b"\x10" + body[9:] if kind == b"IHDR" else body)
    return deep.getvalue()
