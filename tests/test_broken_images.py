"""Broken and odd images through the command line, an upload and ``super_resolve``: a result, or one clear error.

A few of them in every run, all in `make test-all`; what single bytes do to the reading of files: test_fuzz_images.
"""

import contextlib
import io
import subprocess
import sys
import warnings

import numpy as np
import pytest
from data_files import call, encoded, huge_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import network, picture

import e2ent2lib as e2
from e2ent2lib.explore.match_explorer import MatchExplorer
from e2ent2lib.photos import inference
from e2ent2lib.photos.images import read_image
from e2ent2lib.photos.photograph import read_photograph
from e2ent2lib.runs.checkpoints import save_model

KINDS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP", "jp2": "JPEG2000"}
some = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


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
def home(tmp_path, monkeypatch):
    """A folder with a low-resolution picture and a reference, and models of random weights in another one."""
    inference._shipped.cache_clear()
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    save_model(network("e2ent2"), {"model": "e2ent2"}, tmp_path / "weights/smoke", "e2ent2")
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(picture(9, 11, 5)).save(folder / "low.png")
    Image.fromarray(picture(24, 28, 6)).save(folder / "ref.png")
    yield folder
    inference._shipped.cache_clear()


def upscaled_or_one_error(monkeypatch, folder, low, *refs):
    """Whether there is a result; if there is none, one error that names a file, and nothing left."""
    out, before = folder / "out.png", sorted(folder.rglob("*"))
    named = [part for ref in refs for part in ("--ref", ref)]
    with (
        contextlib.redirect_stderr(io.StringIO()) as err,
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        code = call(monkeypatch, "upscale", low, *named, "-o", out)
    message = err.getvalue()
    assert "Traceback" not in message
    if code == 0:
        size = tuple(4 * n for n in read_photograph(low).pixels.shape[:2])
        assert read_image(out).shape[:2] == size
        out.unlink()
    else:
        assert code == 2 and message.startswith("e2ent2: ") and message.count("e2ent2: ") == 1
        assert any(str(path) in message for path in (low, *refs)), message
    assert sorted(folder.rglob("*")) == before
    return code == 0


def through_the_command_line(monkeypatch, home, name, content):
    path = home / name
    path.write_bytes(content)
    made = [upscaled_or_one_error(monkeypatch, home, path)]
    made.append(upscaled_or_one_error(monkeypatch, home, home / "low.png", path, home / "ref.png"))
    path.unlink()
    return made


def through_an_upload(explorer, name, content):
    """Whether the explorer took it; if not, it says why and shows what it showed."""
    control, before = explorer.uploads[0], explorer.summary()
    explorer.say("")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
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


@pytest.mark.slow
@some
@given(st.sampled_from(sorted(whole())), st.data())
def test_any_damage_through_super_resolve_gives_a_picture_or_names_the_file(home, name, data):
    content = bytearray(whole()[name])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
        content[at] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    path = home / name
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if max(Image.open(path).size) > 500:
                return  # a size that a turned byte made up
            made = e2.super_resolve(path, home / "ref.png")
    except (ValueError, OSError) as error:
        assert name in str(error) or not isinstance(error, ValueError)
    else:
        assert made.dtype == np.uint8 and made.shape[2] == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", [f"cut 5 of whole.{extension}" for extension in ("png", "jpg", "tif", "webp")])
def test_as_a_command_of_its_own_the_exit_status_and_the_one_line_are_the_same(home, name):
    path = home / name
    path.write_bytes(broken()[name])
    command = [sys.executable, "-m", "e2ent2lib.cli", "upscale", str(path), "-o", str(home / "out.png")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 2 and ran.stdout == ""
    assert ran.stderr.startswith("e2ent2: ") and len(ran.stderr.strip().splitlines()) == 1
    assert not (home / "out.png").exists()
