"""Photographs in and out (photograph.py): what a file carries is kept, or a warning says that it could not be."""

import os
import stat

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from e2ent2lib.photos.images import as_rgb, downscale, read_image, write_image
from e2ent2lib.photos.photograph import (
    EXTENSIONS,
    Photograph,
    check_output,
    in_colours_of,
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
    np.testing.assert_array_equal(read_image(saved(tmp_path, image)), [expected])
    assert read_photograph(tmp_path / "picture.png").grey == (image.mode in ("1", "L", "LA"))
    if image.mode in ("L", "P", "RGB"):
        found = read_image(saved(tmp_path, image, transparency=image.getpixel((0, 0))))
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
        read_image(saved(tmp_path, values, "deep.tif"))


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "PA", "La", "RGBa", "RGBX", "I;16", "I;16B", "I;16L"])
def test_every_other_mode_of_pillow_becomes_rgb(mode):
    found = as_rgb(Image.new(mode, (3, 2)))
    assert found.shape == (2, 3, 3) and found.dtype == np.uint8


def test_cmyk_without_a_profile_is_converted_by_the_plain_formula(tmp_path):
    inks = pixels_of("CMYK", (0, 0, 0, 0), (0, 0, 0, 255), (0, 255, 255, 0))
    np.testing.assert_array_equal(read_image(saved(tmp_path, inks, "a.tif")), [[[255] * 3, [0] * 3, [255, 0, 0]]])


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
    assert_close(read_image(tmp_path / f"b{extension}"), photo.pixels)
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
    square = SMOOTH.resize((48, 48))
    assert_close(read_image(saved(tmp_path, square, f"a{extension}")), np.asarray(square))


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
        read_image(tmp_path / name)


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
    assert read_image(tmp_path / f"a{extension}").min() == 255


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
    assert np.abs(read_image(path).astype(int) - sharp).mean() < 3.5


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
        np.testing.assert_array_equal(read_image(tmp_path / "out.png"), noise())
        assert os.name != "posix" or stat.S_IMODE((tmp_path / "out.png").stat().st_mode) == 0o644
