"""Broken and odd images, read alone, by the command line, an upload and ``super_resolve``: a result or one clear error.

A few of them in every run, all in `make test-all`.
"""

import contextlib
import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from data_files import call, encoded, huge_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from tiny import picture

from e2ent2lib.explore.match import MatchExplorer
from e2ent2lib.photos.images import as_rgb
from e2ent2lib.photos.photograph import read_photograph

pytestmark = pytest.mark.filterwarnings("ignore")
KINDS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP", "jp2": "JPEG2000"}
SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}


def whole():
    """{file name: bytes} of pictures that are whole."""
    image = Image.fromarray(picture(20, 16))
    return {f"whole.{extension}": encoded(image, kind) for extension, kind in KINDS.items()}


def odd():
    """Whole files of unusual shapes and kinds, and files that are no pictures."""
    frames = [Image.fromarray(picture(13, 14, seed)) for seed in range(3)]
    several = {"save_all": True, "append_images": frames[1:]}
    found = {f"moving.{e}": encoded(frames[0], KINDS[e], **several) for e in ("gif", "png", "webp", "tif")}
    for width, height in ((1, 1), (1, 10000), (10000, 1), (2, 3)):
        found[f"{width}x{height}.png"] = encoded(Image.new("RGB", (width, height), "teal"), "PNG")
    content = whole()
    found |= {"png called.jpg": content["whole.png"], "jpg called.png": content["whole.jpg"]}
    found |= {f"no magic.{e}": b"\0\0\0\0" + content[f"whole.{e}"][4:] for e in KINDS}
    found["other magic.png"] = b"\xff\xd8\xff\xe0" + content["whole.png"][4:]
    sizes = {"huge.png": (60_000, 60_000), "large.png": (9_000, 9_000), "wide.png": (2**31 - 1, 1)}
    found |= {name: huge_header(*size) for name, size in sizes.items()}
    return found | {"empty.png": b"", "text.jpg": b"a shopping list\n", "zeros.tif": bytes(500), "nothing": b"\x89PNG"}


def broken():
    """Every file of ``whole`` cut at every tenth, and with bits turned."""
    found, random = {}, np.random.default_rng(0)
    for name, content in whole().items():
        for tenth in range(10):
            found[f"cut {tenth} of {name}"] = content[: len(content) * tenth // 10]
        for number in range(25):
            turned = bytearray(content)
            for at in random.integers(len(content), size=1 + number % 4):
                turned[at] ^= 1 << random.integers(8)
            found[f"turned {number} of {name}"] = bytes(turned)
    return found


@pytest.fixture
def home(shipped):
    """A folder with a low-resolution picture and a reference."""
    folder = shipped / "photographs"
    folder.mkdir()
    Image.fromarray(picture(9, 11, 5)).save(folder / "low.png")
    Image.fromarray(picture(24, 28, 6)).save(folder / "ref.png")
    return folder


def upscaled_or_one_error(monkeypatch, folder, low, *refs):
    """Whether there is a result; if there is none, one error that names a file, and nothing left."""
    out, before = folder / "out.png", sorted(folder.rglob("*"))
    named = [part for ref in refs for part in ("--ref", ref)]
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.redirect_stdout(io.StringIO()):
        code = call(monkeypatch, "upscale", low, *named, "-o", out)
    message = err.getvalue()
    assert "Traceback" not in message
    if code == 0:
        size = tuple(4 * n for n in read_photograph(low).pixels.shape[:2])
        assert as_rgb(out).shape[:2] == size
        out.unlink()
    else:
        assert code == 2 and message.startswith("e2ent2: ") and message.count("e2ent2: ") == 1
        assert any(str(path) in message for path in (low, *refs)), message
    assert sorted(folder.rglob("*")) == before
    return code == 0


def through_the_command_line(monkeypatch, home, name, content):
    """Whether there is a result of it as the input, and as one of two references."""
    path = home / name
    path.write_bytes(content)
    inputs = ((path,), (home / "low.png", path, home / "ref.png"))
    made = [upscaled_or_one_error(monkeypatch, home, *paths) for paths in inputs]
    path.unlink()
    return made


def through_an_upload(explorer, name, content):
    """Whether the explorer took it; if not, it says why and shows what it showed."""
    control, before = explorer.uploads[0], explorer.summary()
    explorer.say("")
    control._handle_custom_msg({"name": name, "part": 0, "last": True}, [content])
    if control.said == "not taken":
        assert name in explorer.status.value and "Traceback" not in explorer.status.value
        assert explorer.summary() == before
    return control.said != "not taken"


@pytest.fixture(scope="module")
def explorer():
    return MatchExplorer("motorcycle, a part")


CUT = [f"cut {tenth} of whole.{extension}" for tenth in (0, 3, 9) for extension in ("png", "jpg")]


@pytest.mark.parametrize("name", [*whole(), *odd(), *CUT])
def test_whole_odd_and_cut_ones_give_a_result_or_one_error(monkeypatch, home, explorer, name):
    content = (whole() | odd() | broken())[name]
    as_input, as_reference = through_the_command_line(monkeypatch, home, name, content)
    assert as_input == name.startswith(("whole", "moving", "1x", "10000x", "2x", "png called", "jpg called"))
    taken = through_an_upload(explorer, name, content)
    if name in CUT:
        assert not as_reference and not taken
    if name in whole():
        large = encoded(Image.fromarray(picture(60, 56)), KINDS[name.split(".")[1]])
        assert as_reference and through_an_upload(explorer, name, large)


@pytest.mark.slow
@pytest.mark.parametrize("extension", KINDS)
def test_every_broken_one_gives_a_result_or_one_error(monkeypatch, home, explorer, extension):
    found = {name: content for name, content in broken().items() if name.endswith(extension)}
    for name, content in found.items():
        through_the_command_line(monkeypatch, home, name, content)
        through_an_upload(explorer, name, content)
    assert len(found) == 35


# ---- single bytes and parts of files ----


def seeds():
    """Small whole files, by name: those of ``whole``, and of many kinds of PNG and JPEG."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8))
    deep = Image.fromarray(rng.integers(0, 65536, (6, 7), np.uint16))
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x9003] = "2000:01:01 00:00:00"
    text.add_text("long", "many words " * 20, zip=True)
    text.add_itxt("other", "ein Wört", zip=True)
    frames = [Image.new("RGB", (6, 6), c) for c in ("red", "blue")]
    return whole() | {
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


@pytest.fixture
def small_bombs(monkeypatch):
    """A size that a flipped byte makes up must not fill the memory of the machine that tests."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100_000)


def reads_or_names_the_file(path, content):
    path.write_bytes(content)
    try:
        found = as_rgb(path)
    except (ValueError, FileNotFoundError) as error:
        assert str(path) in str(error), f"{error!r} does not name {path}"
    else:
        assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3 and 0 not in found.shape


EDIT = st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([0, 1, 6, 10**6]), st.binary(max_size=6))
EDITS = st.lists(EDIT, min_size=1, max_size=4)
"""Each (place from 0 to 1, how many bytes go there, bytes that come instead)."""


def mutated(content, changes):
    content = bytearray(content)
    for place, count, new in changes:
        at = int(place * len(content))
        content[at : at + count] = new
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


@pytest.mark.slow
@pytest.mark.usefixtures("small_bombs")
@pytest.mark.parametrize("name", sorted(SEEDS))
def test_every_truncation_and_every_single_damaged_byte_gives_a_picture_or_names_the_file(tmp_path, name):
    content = SEEDS[name]
    (tmp_path / name).write_bytes(content)
    assert min(as_rgb(tmp_path / name).shape[:2]) >= 6
    assert not name.endswith(".png") or joined(chunks(content)) == content
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


@pytest.mark.slow
@pytest.mark.usefixtures("small_bombs")
@settings(max_examples=1500, **SLOW)
@given(damaged())
def test_any_damage_gives_a_picture_or_names_the_file(tmp_path, file):
    name, content = file
    reads_or_names_the_file(tmp_path / name, content)
