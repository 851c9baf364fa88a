"""Damaged image files: reading one gives a picture, or an error that names the file. Run by `make test-all`."""

import struct
import warnings
import zlib

import numpy as np
import PIL.Image
import pytest
from data_files import encoded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from e2ent2lib.photos.images import read_image

pytestmark = pytest.mark.slow


def seeds():
    """Small whole files of many kinds, by name."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (6, 7), np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769)[0x9003] = "2000:01:01 00:00:00"
    text = PngImagePlugin.PngInfo()
    text.add_text("note", "a word")
    text.add_text("long", "many words " * 20, zip=True)
    text.add_itxt("other", "ein Wört", zip=True)
    frames = [Image.new("RGB", (6, 6), c) for c in ("red", "blue")]
    return {
        "rgb.png": encoded(colour, "PNG", exif=exif, pnginfo=text, dpi=(72, 72)),
        "rgba.png": encoded(colour.convert("RGBA"), "PNG"),
        "palette.png": encoded(colour.quantize(16), "PNG", transparency=bytes(range(0, 160, 10))),
        "bit.png": encoded(colour.convert("1"), "PNG", transparency=0),
        "deep.png": encoded(deep, "PNG", exif=exif),
        "moving.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=20),
        "rgb.jpg": encoded(colour, "JPEG", exif=exif, comment="a word"),
        "progressive.jpg": encoded(colour, "JPEG", progressive=True, dpi=(72, 72)),
        "grey.jpg": encoded(colour.convert("L"), "JPEG"),
        "cmyk.jpg": encoded(colour.convert("CMYK"), "JPEG"),
    }


SEEDS = seeds()
PNGS = sorted(name for name in SEEDS if name.endswith(".png"))


@pytest.fixture(autouse=True)
def small_bombs(monkeypatch):
    """A size that a flipped byte makes up must not fill the memory of the machine that tests."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100_000)


def reads_or_names_the_file(path, content):
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read_image(path)
    except (ValueError, FileNotFoundError) as error:
        assert str(path) in str(error), f"{error!r} does not name {path}"
    else:
        assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3 and 0 not in found.shape


EDIT = st.tuples(
    st.sampled_from(["set", "insert", "delete", "cut", "flip"]),
    st.floats(0, 1, exclude_max=True),
    st.binary(min_size=1, max_size=6),
)
EDITS = st.lists(EDIT, min_size=1, max_size=4)
"""Each (kind, place from 0 to 1, bytes)."""


def mutated(content, changes):
    content = bytearray(content)
    for kind, place, new in changes:
        at = int(place * len(content))
        if kind == "set":
            content[at : at + len(new)] = new
        elif kind == "insert":
            content[at:at] = new
        elif kind == "delete":
            del content[at : at + len(new)]
        elif kind == "cut":
            del content[at:]
        elif content:
            content[at] ^= 1 << new[0] % 8
    return bytes(content)


def chunks(png):
    """The chunks of a PNG as (type, content)."""
    at, found = 8, []
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def joined(parts):
    """The reverse of ``chunks``, with checksums that are right."""
    out = b"\x89PNG\r\n\x1a\n"
    for kind, content in parts:
        out += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    return out


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_the_files_that_are_damaged_below_are_whole(tmp_path, name):
    (tmp_path / name).write_bytes(SEEDS[name])
    assert min(read_image(tmp_path / name).shape[:2]) >= 6
    if name.endswith(".png"):
        assert joined(chunks(SEEDS[name])) == SEEDS[name]


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_every_truncation_and_every_single_damaged_byte_gives_a_picture_or_names_the_file(tmp_path, name):
    content = SEEDS[name]
    for length in range(0, len(content), 1 + len(content) // 300):
        reads_or_names_the_file(tmp_path / name, content[:length])
    for at in range(0, len(content), 1 + len(content) // 700):
        for value in (0, 255, content[at] ^ 1):
            reads_or_names_the_file(tmp_path / name, content[:at] + bytes([value]) + content[at + 1 :])


@st.composite
def damaged(draw):
    """(name, bytes) of a file; of a PNG's parts some with checksums that are right, as a bug of a writer has it."""
    way = draw(st.sampled_from(["bytes", "chunk", "rows", "order", "start"]))
    if way == "start":
        start = draw(st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF", b"II*\0", b"BM"]))
        return "random.png", start + draw(st.binary(max_size=200))
    name, changes = draw(st.sampled_from(sorted(SEEDS) if way == "bytes" else PNGS)), draw(EDITS)
    if way == "bytes":
        return name, mutated(SEEDS[name], changes)
    parts = chunks(SEEDS[name])
    if way == "chunk":
        which = draw(st.integers(0, len(parts) - 1))
        parts[which] = (parts[which][0], mutated(parts[which][1], changes))
    if way == "rows":
        parts = [(k, zlib.compress(mutated(zlib.decompress(c), changes)) if k == b"IDAT" else c) for k, c in parts]
    if way == "order":
        parts = draw(st.permutations(parts))[: draw(st.integers(1, len(parts)))]
    return name, joined(parts)


@settings(deadline=None, max_examples=1500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damaged())
def test_any_damage_gives_a_picture_or_names_the_file(tmp_path, file):
    name, content = file
    reads_or_names_the_file(tmp_path / name, content)
