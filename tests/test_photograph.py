"""Photographs in and out (photograph.py): what a file carries is kept, or a warning says that it could not be."""

import io
import os
import shutil
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from e2ent2lib.photos.images import as_rgb, downscale, write_image
from e2ent2lib.photos.photograph import (
    EXTENSIONS,
    Photograph,
    check_output,
    in_colours_of,
    listed,
    read_photograph,
    write_photograph,
)
from e2ent2lib.runs.files import whole_file

few = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
SMOOTH = Image.fromarray(np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)).resize((48, 32))
"""Survives a lossy codec."""


def noise(height=12, width=17, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels)[: 2 + (channels > 1)], np.uint8)


def saved(folder, image, name="picture.png", **options):
    path = folder / name
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def turned(orientation):
    """EXIF data of a camera that was held so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def assert_close(a, b, mean=12):
    assert a.shape == b.shape and np.abs(a.astype(int) - b).mean() < mean


def wide_gamut():
    """An RGB profile other than sRGB: its red and blue primaries exchanged, by the tags' names in the table."""
    profile = bytearray(SRGB)
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


# ---- what a file may hold ----


def pixels_of(mode, *pixels, palette=None):
    """An image of one row."""
    image = Image.new(mode, (len(pixels), 1))
    if palette:
        image.putpalette(palette)
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (pixels_of("L", 0, 7, 128), [[0] * 3, [7] * 3, [128] * 3]),
        (pixels_of("RGB", (1, 2, 3), (4, 5, 6)), [[1, 2, 3], [4, 5, 6]]),
        (pixels_of("P", 0, 1, palette=[10, 20, 30, 200, 150, 100]), [[10, 20, 30], [200, 150, 100]]),
        (pixels_of("1", 255, 0), [[255] * 3, [0] * 3]),
        (pixels_of("RGBA", (255, 0, 0, 255), (255, 0, 0, 0)), [[255, 0, 0], [255] * 3]),
        (pixels_of("RGBA", (255, 0, 0, 51), (0, 0, 0, 51)), [[255, 204, 204], [204] * 3]),  # a fifth of it, on white
        (pixels_of("LA", (100, 255), (100, 0), (0, 51)), [[100] * 3, [255] * 3, [204] * 3]),
    ],
)
def test_every_mode_of_a_png_becomes_rgb_on_white_and_a_transparent_colour_white(tmp_path, image, expected):
    np.testing.assert_array_equal(as_rgb(saved(tmp_path, image)), [expected])
    assert read_photograph(tmp_path / "picture.png").grey == (image.mode in ("1", "L", "LA"))
    if image.mode in ("L", "P", "RGB"):
        found = as_rgb(saved(tmp_path, image, transparency=image.getpixel((0, 0))))
        np.testing.assert_array_equal(found, [[[255] * 3, *expected[1:]]])


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "big endian.tif", "32 bits.tif"])
def test_16_bit_grey_is_divided_by_257_rounded_and_kept_beside_it(tmp_path, name):
    values = np.array([[0, 128, 129, 257, 385, 386, 32768, 65406, 65407, 65535]], np.uint16)
    image = Image.fromarray(values.astype(np.int32) if name.startswith("32") else values)
    if name.startswith("big"):
        image = Image.frombytes("I;16B", (10, 1), values.astype(">u2").tobytes())
    photo = read_photograph(saved(tmp_path, image, name, exif=turned(6)))
    np.testing.assert_array_equal(photo.pixels[:, 0, 1], [0, 0, 1, 1, 1, 2, 128, 254, 255, 255])
    assert photo.grey and photo.white == 65535 and not photo.warnings
    np.testing.assert_allclose(photo.deep[:, 0, 1] * 257, values[0], rtol=1e-5)


@pytest.mark.parametrize("values", [np.int32([[0, -1]]), np.int32([[0, 65536]]), np.float32([[0, 1]])])
def test_deeper_images_are_refused_by_name(tmp_path, values):
    with pytest.raises(ValueError, match=r"deep\.tif.*16 bit"):
        as_rgb(saved(tmp_path, values, "deep.tif"))


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "PA", "La", "RGBa", "RGBX", "I;16", "I;16B", "I;16L"])
def test_every_other_mode_of_pillow_becomes_rgb(mode):
    found = as_rgb(Image.new(mode, (3, 2)))
    assert found.shape == (2, 3, 3) and found.dtype == np.uint8


def test_cmyk_without_a_profile_is_converted_by_the_plain_formula(tmp_path):
    inks = pixels_of("CMYK", (0, 0, 0, 0), (0, 0, 0, 255), (0, 255, 255, 0))
    np.testing.assert_array_equal(as_rgb(saved(tmp_path, inks, "a.tif")), [[[255] * 3, [0] * 3, [255, 0, 0]]])


@pytest.mark.parametrize("kind", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_are_converted_with_a_warning(tmp_path, kind):
    spaces = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    image = ImageCms.profileToProfile(SMOOTH, *spaces, outputMode="LAB") if kind == "LAB" else SMOOTH.convert(kind)
    photo = read_photograph(saved(tmp_path, image, "a.tif"))
    assert kind in photo.warnings[0] and photo.profile is None
    assert_close(photo.pixels, np.asarray(SMOOTH), 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".png", ".jpg", ".tif", ".webp"])
def test_the_cameras_rotation_is_applied_and_not_written_again(tmp_path, orientation, extension):
    ways = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270"}
    ways |= {7: "TRANSVERSE", 8: "ROTATE_90"}
    stored = Image.new("RGB", (64, 32), "black")
    stored.paste("white", (0, 0, 32, 16))  # so that each turn is another picture
    upright = stored.transpose(Image.Transpose[ways[orientation]]) if orientation > 1 else stored
    photo = read_photograph(saved(tmp_path, stored, f"a{extension}", exif=turned(orientation)))
    assert not photo.warnings
    assert_close(photo.pixels, np.asarray(upright))
    write_photograph(tmp_path / f"b{extension}", photo)
    assert_close(as_rgb(tmp_path / f"b{extension}"), photo.pixels)
    with Image.open(tmp_path / f"b{extension}") as written:
        assert 0x0112 not in written.getexif()


@pytest.mark.parametrize("extension", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_picture_is_taken_with_a_warning(tmp_path, extension):
    frames = [Image.new("RGB", (20, 14), c) for c in ("red", "blue", "lime")]
    photo = read_photograph(saved(tmp_path, frames[0], f"a{extension}", save_all=True, append_images=frames[1:]))
    assert np.abs(photo.pixels.astype(int) - [255, 0, 0]).max() < 4
    assert f"a{extension}" in photo.warnings[0] and " 3 " in photo.warnings[0]


@pytest.mark.parametrize(
    "extension", [".png", ".jpg", ".bmp", ".gif", ".ico", ".ppm", ".tga", ".jp2", ".webp", ".pcx", ".avif"]
)
def test_every_kind_of_file_that_pillow_reads_and_writes_is_read(tmp_path, extension):
    Image.init()
    if Image.registered_extensions().get(extension) not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {extension}")
    if extension == ".ppm":  # black and white in digits, which Pillow reads alone
        np.testing.assert_array_equal(read_photograph(io.BytesIO(b"P1 2 1 1 0")).pixels[0, :, 0], [0, 255])
    square = SMOOTH.resize((48, 48))
    assert_close(as_rgb(saved(tmp_path, square, f"a{extension}")), np.asarray(square))


# ---- PIL images, arrays, streams ----


def test_a_path_a_string_a_stream_a_pil_image_and_an_array_give_the_same_picture(tmp_path):
    without = saved(tmp_path, noise()).rename(tmp_path / "no extension")
    with open(without, "rb") as stream:
        for given_as in (without, str(without), stream, Image.fromarray(noise()), noise()):
            np.testing.assert_array_equal(as_rgb(given_as), noise())


@few
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (1,), (3,), (4,)]))
def test_uint8_arrays_of_1_3_and_4_channels_become_h_w_3(height, width, channels):
    array = np.random.default_rng(0).integers(0, 256, (height, width, *channels), np.uint8)
    found = as_rgb(array)
    assert found.shape == (height, width, 3) and found.dtype == np.uint8
    if channels == (3,):
        np.testing.assert_array_equal(found, array)
        found[:] = 0
        assert array.any()  # the result may be changed without changing the argument
    elif channels in ((), (1,)):
        np.testing.assert_array_equal(found[..., 2], array.reshape(height, width))


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 3), kind) for kind in (np.uint16, np.float32, bool)]
    + [np.zeros(size, np.uint8) for size in ((4, 4, 2), (4, 4, 5), (4,), (1, 4, 4, 3), (0, 4, 3), (4, 0, 3))]
    + [[[1, 2], [3, 4]], *(Image.new(mode, (0, 4)) for mode in ("RGB", "RGBA", "I", "P"))],
)
def test_what_is_no_8_bit_picture_is_refused_by_name(array):
    with pytest.raises(ValueError, match="the holiday picture"):
        as_rgb(array, "the holiday picture")


# ---- damaged and missing files ----


@pytest.mark.parametrize("name", ["absent.png", "."])
def test_a_missing_file_or_a_folder_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=str(tmp_path / name)):
        as_rgb(tmp_path / name)


# ---- what is carried over ----


@pytest.mark.parametrize("extension", [".png", ".jpg", ".tif", ".webp"])
def test_a_colour_profile_is_carried_over(tmp_path, extension):
    photo = read_photograph(saved(tmp_path, noise(), f"a{extension}", icc_profile=wide_gamut()))
    assert photo.profile == wide_gamut()
    assert write_photograph(tmp_path / f"b{extension}", photo) == []
    with Image.open(tmp_path / f"b{extension}") as written:
        assert written.info["icc_profile"] == wide_gamut()


@pytest.mark.parametrize("profile", [b"nonsense", SRGB[:200], LAB])
def test_a_profile_that_is_damaged_or_of_another_kind_is_left_out_with_a_warning(tmp_path, profile):
    photo = read_photograph(saved(tmp_path, noise(), "a.png", icc_profile=profile))
    assert photo.profile is None and "a.png" in photo.warnings[0] and "profile" in photo.warnings[0]


def test_a_reference_in_other_colours_is_brought_into_the_inputs():
    plain, wide = Photograph(noise()), Photograph(noise(), profile=wide_gamut())
    assert in_colours_of(plain, plain) is plain.pixels and in_colours_of(wide, wide) is wide.pixels
    there = in_colours_of(plain, wide)
    back = in_colours_of(Photograph(there, profile=wide_gamut()), plain)
    assert np.abs(there.astype(int) - plain.pixels).mean() > 5
    inside = np.all((there > 0) & (there < 255), axis=2)
    assert np.abs(back.astype(int) - plain.pixels)[inside].mean() < 3


@pytest.mark.parametrize("extension", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_carried_over(tmp_path, mode, extension):
    rgba = Image.fromarray(np.dstack([noise(), noise(channels=1, seed=1)]))
    palette = rgba.convert("RGB").quantize(16)
    path = saved(tmp_path, palette, transparency=3) if mode == "P" else saved(tmp_path, rgba.convert(mode))
    with Image.open(path) as image:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    photo = read_photograph(path)
    np.testing.assert_array_equal(photo.alpha, alpha)
    assert write_photograph(tmp_path / f"b{extension}", photo) == []
    with Image.open(tmp_path / f"b{extension}") as written:
        np.testing.assert_array_equal(np.asarray(written.getchannel("A")), alpha)
        assert written.mode == ("LA" if mode == "LA" and extension != ".webp" else "RGBA")


def test_colours_under_full_transparency_are_not_lost_and_an_opaque_alpha_is_none(tmp_path):
    for alpha in (0, 255):
        path = saved(tmp_path, np.dstack([noise(), np.full((12, 17), alpha, np.uint8)]))
        photo = read_photograph(path)
        np.testing.assert_array_equal(photo.pixels, noise())
        assert (photo.alpha is None) == (alpha == 255)


# ---- writing ----


@pytest.mark.parametrize("extension", [".jpg", ".bmp"])
def test_a_format_without_transparency_gets_white_and_a_warning(tmp_path, extension):
    photo = Photograph(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8))
    (warning,) = write_photograph(tmp_path / f"a{extension}", photo)
    assert f"a{extension}" in warning and "transparency" in warning
    assert as_rgb(tmp_path / f"a{extension}").min() == 255


@few
@given(st.sampled_from(EXTENSIONS), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_what_is_written_is_read_back(tmp_path, extension, height, width, grey, transparent):
    pixels = np.repeat(noise(height, width, 1)[..., None], 3, 2) if grey else noise(height, width)
    photo = Photograph(pixels, noise(height, width, 1, 2) if transparent else None, grey=grey)
    warnings = write_photograph(tmp_path / f"a{extension}", photo)
    found = read_photograph(tmp_path / f"a{extension}")
    assert found.pixels.shape == pixels.shape
    assert found.grey == grey or extension == ".webp"  # which has no grey
    if extension in (".png", ".tif", ".tiff"):
        shown = photo.alpha > 0 if transparent else np.ones((height, width), bool)
        np.testing.assert_array_equal(found.pixels[shown], pixels[shown])
        assert not warnings
        if transparent and photo.alpha.min() < 255:
            np.testing.assert_array_equal(found.alpha, photo.alpha)


@pytest.mark.parametrize("name", [f"{n}{e}" for e in EXTENSIONS for n in ("out", "OUT")])
def test_every_extension_can_be_written_and_hardly_loses_what_was_made_sharp(tmp_path, name):
    sharp = downscale(noise(256, 256), 2)
    if name.endswith(".webp"):  # codes colour at half the resolution in any case
        sharp = np.repeat(sharp[..., :1], 3, axis=2)
    path = tmp_path / (name.upper() if name.startswith("OUT") else name)
    write_image(path, sharp)
    assert np.abs(as_rgb(path).astype(int) - sharp).mean() < 3.5


@pytest.mark.parametrize("name", ["a.xyz", "a.pdf", "a", "folder.png", "gone/a.png"])
def test_an_output_that_cannot_be_written_is_refused_beforehand_by_name(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    for call in (lambda path: check_output(path, (8, 8)), lambda path: write_image(path, noise())):
        with pytest.raises((ValueError, OSError), match=name.split("/")[0]):
            call(tmp_path / name)
    assert os.listdir(tmp_path) == ["folder.png"] and os.listdir(tmp_path / "folder.png") == []


@pytest.mark.parametrize(("name", "most"), [("a.webp", 16383), ("a.jpg", 65500)])
def test_a_picture_larger_than_its_format_is_refused_beforehand(tmp_path, name, most):
    check_output(tmp_path / name, (4, most))
    with pytest.raises(ValueError, match=f"{name}.*{most + 1}×4"):
        check_output(tmp_path / name, (4, most + 1))


@pytest.mark.parametrize("old", [False, True])
def test_a_write_that_fails_or_is_interrupted_leaves_the_old_file_or_none(tmp_path, monkeypatch, old):
    def half_written(self, path, *args, **options):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("no space left on device")

    if old:
        write_image(tmp_path / "out.png", noise())
    monkeypatch.setattr(Image.Image, "save", half_written)
    with pytest.raises(OSError, match="no space"):
        write_image(tmp_path / "out.png", noise(seed=1))
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "out.png") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == (["out.png"] if old else [])
    if old:
        np.testing.assert_array_equal(as_rgb(tmp_path / "out.png"), noise())
        assert os.name != "posix" or stat.S_IMODE((tmp_path / "out.png").stat().st_mode) == 0o644


# ---- range, depth, page, colours ----


def deep(height=12, width=17, bands=3, most=65535, seed=0):
    return np.random.default_rng(seed).integers(0, most + 1, (height, width, bands), np.uint16)


@pytest.mark.parametrize("extension", [".png", ".tif"])
@pytest.mark.parametrize(("grey", "transparent"), [(False, False), (False, True), (True, False), (True, True)])
def test_16_bits_a_channel_are_read_and_written_to_the_last_bit(tmp_path, extension, grey, transparent):
    values = deep(bands=1 if grey else 3).astype(np.float32)
    colours = np.repeat(values, 3, 2) if grey else values
    alpha = deep(bands=1, seed=1)[..., 0].clip(1).astype(np.float32) / 257 if transparent else None
    photo = Photograph(
        np.rint(colours / 257).astype(np.uint8), alpha, None if grey else SRGB, grey, deep=colours / 257, exif=camera()
    )
    assert write_photograph(tmp_path / f"a{extension}", photo) == []
    found = read_photograph(tmp_path / f"a{extension}")
    np.testing.assert_allclose(found.deep * 257, colours, atol=0.01)
    assert found.white == 65535 and found.warnings == () and found.exif[0x0110] == "a camera"
    assert (found.alpha is None) != transparent
    if transparent:
        np.testing.assert_allclose(found.alpha, alpha, atol=1e-4)
    assert (found.grey, found.profile) == (grey, SRGB if not grey else None)


@pytest.mark.parametrize("kind", ["a.png", "big endian.tif", "packed.tif"])
@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
@pytest.mark.parametrize("bands", [2, 3])
def test_16_bits_of_other_programs_are_read_upright(tmp_path, kind, orientation, bands):
    values, path = deep(6, 4, bands), tmp_path / kind
    if kind == "a.png":
        path.write_bytes(png(values, turned(orientation).tobytes()[6:]))
    else:
        tiff(path, values, ">" if kind.startswith("big") else "<", turned=orientation, packed=kind == "packed.tif")
    turn = {1: values, 3: values[::-1, ::-1], 5: values.swapaxes(0, 1), 6: np.rot90(values, -1), 8: np.rot90(values)}
    found, colours = read_photograph(path), 1 if bands == 2 else 3
    np.testing.assert_allclose(found.deep[..., :colours] * 257, turn[orientation][..., :colours], atol=0.01)
    assert found.grey == (bands == 2)
    if bands == 2:
        np.testing.assert_allclose(found.alpha * 257, turn[orientation][..., 1], atol=0.01)


def chunk(kind, body):
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png(values, exif=b"", **chunks):
    """A PNG of 8 or 16 bits in RGB, with further chunks before its pixels."""
    height, width, bands = values.shape
    bits = 8 * values.dtype.itemsize
    rows = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in values)
    head = struct.pack(">LLBBBBB", width, height, bits, {3: 2, 1: 0, 2: 4, 4: 6}[bands], 0, 0, 0)
    parts = [chunk(b"IHDR", head), *(chunk(k.encode(), v) for k, v in chunks.items())]
    parts += [chunk(b"eXIf", exif)] * bool(exif) + [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(path, values, order="<", *, turned=1, packed=False, negative=False, more=()):
    """A TIFF as other programs write it; ``more`` are further tags (number, value) of type LONG."""
    options = {"extrasamples": "unassalpha"} if values.shape[2] == 2 else {}
    if packed:
        options |= {"compression": "zlib", "predictor": True}
    kind = "rgb" if values.shape[2] == 3 else "miniswhite" if negative else "minisblack"
    tags = [(274, 3, 1, turned, True), *((n, 4, 1, v, True) for n, v in more)]
    tifffile.imwrite(
        path, values.squeeze(), byteorder=order, photometric=kind, metadata=None, extratags=tags, **options
    )


def camera(**gps):
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "a camera", 1
    exif.get_ifd(0x8769)[0x9003] = "2026:01:02 03:04:05"
    if gps:
        exif.get_ifd(0x8825)[1] = "N"
    return exif


@pytest.mark.parametrize(
    ("values", "white", "given", "told"),
    [
        (np.int32([[37, 200]]), 255, None, "255 is taken as white"),
        (np.uint16([[37, 4000]]), 4095, None, "4095 is taken as white"),
        (np.uint16([[37, 4096]]), 65535, None, None),
        (np.uint16([[37, 1000]]), 1023, 1023, None),
        (np.float32([[0.25, 1]]), 1, 1, None),
    ],
)
def test_white_is_the_least_range_that_holds_all_numbers_or_what_is_named(tmp_path, values, white, given, told):
    photo = read_photograph(saved(tmp_path, values, "a.tif"), white=given)
    np.testing.assert_array_equal(photo.pixels[..., 0], np.rint(values * (255.0 / white)))
    assert told in photo.warnings[0] if told else not photo.warnings
    assert (photo.deep is None) == (white == 255)
    if photo.deep is not None and values.dtype == np.uint16:  # goes out in the range it came in
        write_photograph(tmp_path / "b.tif", photo)
        with Image.open(tmp_path / "b.tif") as written:
            np.testing.assert_array_equal(np.asarray(written), values)


def test_a_range_that_the_file_states_comes_first(tmp_path):
    tiff(tmp_path / "a.tif", np.uint16([[[0], [1000]]] * 2), more=[(281, 1000)])
    assert read_photograph(tmp_path / "a.tif").pixels[0, 1, 0] == 255
    tiff(tmp_path / "b.tif", np.uint16([[[0], [65535]]] * 2), negative=True)
    np.testing.assert_array_equal(read_photograph(tmp_path / "b.tif").pixels[0, :, 0], [255, 0])
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 1000\n" + struct.pack(">2H", 0, 500))
    assert read_photograph(tmp_path / "a.pgm").pixels[0, 1, 0] == 128


def test_a_transparent_value_of_16_bits_is_transparent(tmp_path):
    values = np.uint16([[[300], [301], [40000]]])
    (tmp_path / "a.png").write_bytes(png(values, tRNS=struct.pack(">H", 301)))
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png").alpha, [[255, 0, 255]])
    values = np.uint16([[[300, 1, 2], [300, 1, 3]]])
    (tmp_path / "b.png").write_bytes(png(values, tRNS=struct.pack(">3H", 300, 1, 3)))
    np.testing.assert_array_equal(read_photograph(tmp_path / "b.png").alpha, [[255, 0]])


def test_what_is_reduced_to_8_bits_says_so(tmp_path):
    tiff(tmp_path / "a.tif", deep(2, 2, 3))
    photo = read_photograph(tmp_path / "a.tif")
    (told,) = write_photograph(tmp_path / "a.jpg", photo)
    assert "8 of the picture's 16 bits" in told
    (tmp_path / "a.ppm").write_bytes(b"P6 2 2 65535\n" + deep(2, 2).tobytes())
    assert "16 bits are reduced to 8" in read_photograph(tmp_path / "a.ppm").warnings[0]


def test_tiffs_that_pillow_reads_wrong_are_refused_or_read_right(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", deep(3, 5, 7), photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match="planes"):
        read_photograph(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", np.uint32([[0, 2**32 - 1], [2**31, 5]]))
    found = read_photograph(tmp_path / "b.tif", white=2**32 - 1)
    np.testing.assert_array_equal(found.pixels[..., 0], [[0, 255], [128, 0]])


def test_the_largest_page_is_taken_and_a_raw_files_thumbnail_refused(tmp_path):
    pages = [Image.new("RGB", size, colour) for size, colour in (((8, 6), "red"), ((40, 30), "lime"), ((9, 9), "blue"))]
    photo = read_photograph(saved(tmp_path, pages[0], "a.tif", save_all=True, append_images=pages[1:]))
    assert photo.pixels.shape == (30, 40, 3) and "largest, number 2, of 3" in photo.warnings[0]
    for side in (6, 60):  # of a page below
        with tifffile.TiffWriter(tmp_path / "a.nef") as file:
            file.write(np.zeros((6, 8, 3), np.uint8), subifds=1)
            file.write(np.zeros((side, 8, 3), np.uint8))
        if side == 6:
            assert read_photograph(tmp_path / "a.nef").pixels.shape == (6, 8, 3)
    with pytest.raises(ValueError, match=r"a\.nef: holds a larger picture"):
        read_photograph(tmp_path / "a.nef")


def test_a_text_or_profile_of_over_1_mb_is_no_damage(tmp_path):
    content = png(noise(), zTXt=b"a\0\0" + zlib.compress(bytes(3_000_000)))
    (tmp_path / "a.png").write_bytes(content)
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png").pixels, noise())


def srgb(light):
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_colours_given_by_gamma_primaries_or_exif_alone_are_converted_to_srgb(tmp_path):
    values = np.uint8([[[0, 64, 255], [128, 128, 128]]])
    (tmp_path / "a.png").write_bytes(png(values, gAMA=struct.pack(">L", 100000)))
    photo = read_photograph(tmp_path / "a.png")
    np.testing.assert_allclose(photo.pixels, srgb(values / 255), atol=0.51)
    assert "converted to sRGB" in photo.warnings[0]
    usual = struct.pack(">8L", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    (tmp_path / "b.png").write_bytes(png(values, gAMA=struct.pack(">L", 45455), cHRM=usual))
    assert read_photograph(tmp_path / "b.png").warnings == ()
    (tmp_path / "c.png").write_bytes(png(values, cICP=bytes((12, 13, 0, 1))))
    blue, grey = read_photograph(tmp_path / "c.png").pixels[0].astype(int)
    assert (grey == 128).all() and blue[2] == 255 and blue[1] != 64
    (tmp_path / "d.png").write_bytes(png(values, cICP=bytes((9, 16, 0, 1))))
    assert "cICP 9, 16" in read_photograph(tmp_path / "d.png").warnings[0]
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 2
    green, grey = read_photograph(
        saved(tmp_path, np.uint8([[[100, 200, 100], [99, 99, 99]]]), "e.png", exif=exif.tobytes())
    ).pixels[0]
    # Adobe RGB (100, 200, 100) is sRGB (0, 201, 88) by its published matrix; greys hardly change
    assert np.abs(green.astype(int) - (0, 201, 88)).max() <= 4 and np.abs(grey.astype(int) - 99).max() <= 1


def test_a_profile_is_converted_where_the_format_has_none(tmp_path):
    photo = Photograph(noise(), profile=wide_gamut())
    (told,) = write_photograph(tmp_path / "a.bmp", photo)
    assert "converted to sRGB" in told
    np.testing.assert_array_equal(as_rgb(tmp_path / "a.bmp"), in_colours_of(photo, Photograph(noise())))


def test_the_colour_of_what_is_hidden_is_that_of_the_nearest_that_is_shown(tmp_path):
    rgba = np.zeros((9, 9, 4), np.uint8)
    rgba[3:6, 3:6] = (200, 100, 50, 255)
    rgba[4, 6] = (10, 20, 30, 1)  # hardly to be seen, but its own
    photo = read_photograph(saved(tmp_path, rgba))
    assert (photo.pixels[4, 6:] == (10, 20, 30)).all() and (photo.pixels[:, :5] == (200, 100, 50)).all()
    np.testing.assert_array_equal(photo.alpha, rgba[..., 3])


@pytest.mark.parametrize("extension", [".png", ".jpg", ".tif", ".webp"])
def test_what_the_camera_noted_and_the_resolution_are_carried_over_without_the_place(tmp_path, extension):
    photo = read_photograph(saved(tmp_path, noise(), f"a{extension}", exif=camera(gps=1).tobytes(), dpi=(240, 240)))
    write_photograph(tmp_path / f"b{extension}", photo)
    with Image.open(tmp_path / f"b{extension}") as written:
        exif = written.getexif()
        assert exif[0x0110] == "a camera" and exif.get_ifd(0x8769)[0x9003] == "2026:01:02 03:04:05"
        assert 0x8825 not in exif
        if extension != ".webp":
            assert written.info["dpi"] == pytest.approx((240, 240), abs=0.1)


def test_a_file_that_may_not_be_read_and_a_heic_are_called_so(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(ValueError, match=r"a\.jpg: is a HEIC picture.*pillow-heif"):
        read_photograph(tmp_path / "a.jpg")

    def refuses(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuses)
    with pytest.raises(PermissionError, match=r"a\.jpg: may not be read"):
        read_photograph(tmp_path / "a.jpg")


def test_no_room_and_a_name_that_is_too_long_are_told_beforehand_and_a_name_that_is_not_is_written(
    tmp_path, monkeypatch
):
    longest = tmp_path / f"{'n' * 251}.png"
    write_image(longest, noise())
    np.testing.assert_array_equal(as_rgb(longest), noise())
    with pytest.raises(OSError, match="too long"):
        check_output(tmp_path / f"{'n' * 252}.png", (8, 8))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 100))
    with pytest.raises(OSError, match=r"a\.bmp: no room"):
        check_output(tmp_path / "a.bmp", (8, 8))


def test_a_folder_lists_photographs_without_what_is_hidden_and_counts_the_rest(tmp_path):
    for name in (
        "b.png",
        "a.JPG",
        "._a.png",
        "__MACOSX/c.png",
        "sub/d.tif",
        ".x/e.png",
        "f.heic",
        "g.nef",
        "h.nef",
        "i",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    paths, others = listed(tmp_path)
    assert [p.name for p in paths] == ["a.JPG", "b.png"]
    assert others[-2:] == ["2 .nef (g.nef, h.nef)", "1 without extension (i)"]
    assert others[0] == '1 .heic (f.heic); pip install "pillow-heif" for these'
    assert [p.name for p in listed(tmp_path, "**/*")[0]] == ["a.JPG", "b.png", "d.tif"]
