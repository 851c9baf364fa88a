"""Reading, writing, degrading and enlarging photographs (images.py)."""

import math
import os
import stat
from typing import get_args

import numpy as np
import PIL.Image
import pytest
import skimage.data
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from e2ent2lib.measure.metrics import psnr
from e2ent2lib.photos.images import (
    EXTENSIONS,
    Kernel,
    as_rgb,
    crop_to_multiple,
    downscale,
    read_image,
    resize,
    to_image,
    to_tensor,
    upscale_bicubic,
    write_image,
)
from e2ent2lib.runs.files import whole_file

few = settings(deadline=None, max_examples=20)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def saved(folder, image, name="picture.png", **options):
    path = folder / name
    image.save(path, **options)
    return path


# ---- modes ----


def test_a_grey_image_is_repeated_to_three_channels(tmp_path):
    grey = np.array([[0, 7], [128, 255]], np.uint8)
    found = read_image(saved(tmp_path, Image.fromarray(grey)))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.stack([grey] * 3, axis=2))


def test_a_palette_image_takes_the_colours_of_its_palette(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 150, 100])
    image.putpixel((1, 0), 1)
    np.testing.assert_array_equal(read_image(saved(tmp_path, image)), [[[10, 20, 30], [200, 150, 100]]])


def test_a_one_bit_image_is_black_and_white(tmp_path):
    image = Image.new("1", (2, 1))
    image.putpixel((0, 0), 255)
    np.testing.assert_array_equal(read_image(saved(tmp_path, image)), [[[255] * 3, [0] * 3]])


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 51), (255, 204, 204)),  # 51/255 is a fifth of red on white
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("LA", (100, 255), (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (0, 51), (204, 204, 204)),
    ],
)
def test_transparency_is_laid_on_white(tmp_path, mode, pixel, expected):
    path = saved(tmp_path, Image.new(mode, (3, 2), pixel))
    np.testing.assert_array_equal(read_image(path), np.full((2, 3, 3), expected))


@pytest.mark.parametrize(
    ("mode", "pixels", "transparent"), [("L", (9, 90), 9), ("RGB", ((1, 2, 3), (4, 5, 6)), (1, 2, 3)), ("P", (0, 1), 0)]
)
def test_a_transparent_colour_of_a_png_becomes_white(tmp_path, mode, pixels, transparent):
    image = Image.new(mode, (2, 1))
    if mode == "P":
        image.putpalette([1, 2, 3, 4, 5, 6])
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    found = read_image(saved(tmp_path, image, transparency=transparent))
    np.testing.assert_array_equal(found[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(found[0, 1], np.array(image.convert("RGB"))[0, 1])


def test_16_bit_grey_is_divided_by_257_and_rounded(tmp_path):
    values = np.array([[0, 128, 129, 257, 385, 386, 32768, 65406, 65407, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 1, 2, 128, 254, 255, 255]
    for name in ("grey.png", "grey.tif"):
        found = read_image(saved(tmp_path, Image.fromarray(values), name))
        np.testing.assert_array_equal(found, np.repeat(np.array(expected, np.uint8)[None, :, None], 3, axis=2))


def test_a_big_endian_16_bit_tiff_reads_like_a_little_endian_one(tmp_path):
    values = np.array([[0, 257, 514, 65535]], np.uint16)
    image = Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(saved(tmp_path, image, "grey.tif"))[..., 0], [[0, 1, 2, 255]])


def test_32_bit_integers_are_read_as_16_bit_if_they_fit(tmp_path):
    values = np.array([[0, 257, 65535]], np.int32)
    found = read_image(saved(tmp_path, Image.fromarray(values), "deep.tif"))
    np.testing.assert_array_equal(found[..., 1], [[0, 1, 255]])


@pytest.mark.parametrize("outside", [-1, 65536])
def test_32_bit_integers_that_do_not_fit_16_bit_are_refused_by_name(tmp_path, outside):
    path = saved(tmp_path, Image.fromarray(np.array([[0, outside]], np.int32)), "deep.tif")
    with pytest.raises(ValueError, match=r"deep\.tif.*do not fit 16 bit"):
        read_image(path)


def test_cmyk_is_converted(tmp_path):
    image = Image.new("CMYK", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    image.putpixel((2, 0), (0, 255, 255, 0))
    found = read_image(saved(tmp_path, image, "print.tif"))
    np.testing.assert_array_equal(found, [[[255, 255, 255], [0, 0, 0], [255, 0, 0]]])


def test_a_cmyk_jpeg_reads_as_the_same_colours_within_jpeg_loss(tmp_path):
    found = read_image(saved(tmp_path, Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "print.jpg"))
    assert np.abs(found.astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "LAB", "PA", "La", "RGBa", "RGBX", "I;16", "I;16B", "I;16L"])
def test_every_other_mode_of_pillow_becomes_rgb(mode):
    found = as_rgb(Image.new(mode, (3, 2)))
    assert found.shape == (2, 3, 3) and found.dtype == np.uint8


def test_a_float_tiff_error_says_what_to_do(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.ones((2, 2), np.float32)), "float.tif")
    with pytest.raises(ValueError, match=r"float\.tif.*save it as 8 or 16 bit"):
        read_image(path)


# ---- rotation, animation ----

UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_cameras_rotation_is_applied(tmp_path, orientation):
    stored = noise(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(stored), exif=exif)
    np.testing.assert_array_equal(read_image(path), UPRIGHT[orientation](stored))


def test_the_cameras_rotation_is_applied_to_16_bit_grey_too(tmp_path):
    stored = (np.arange(6, dtype=np.uint16) * 257).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(stored), exif=exif)
    np.testing.assert_array_equal(read_image(path)[..., 0], [[3, 0], [4, 1], [5, 2]])


def test_a_rotated_jpeg_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    left_red = Image.new("RGB", (32, 16), "blue")
    left_red.paste("red", (0, 0, 16, 16))
    found = read_image(saved(tmp_path, left_red, "camera.jpg", exif=exif, quality=95))
    assert found.shape == (32, 16, 3)
    assert found[4, 8, 0] > 200 > 50 > found[28, 8, 0]  # the left of the stored picture is the top


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, suffix):
    first, second = Image.new("RGB", (8, 8), (255, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 255))
    options = {"lossless": True} if suffix == ".webp" else {}
    path = saved(tmp_path, first, f"moving{suffix}", save_all=True, append_images=[second], duration=50, **options)
    with Image.open(path) as image:
        assert image.n_frames == 2
    np.testing.assert_array_equal(read_image(path), np.full((8, 8, 3), (255, 0, 0)))


# ---- PIL images and arrays ----


def test_a_path_a_string_a_pil_image_and_an_array_give_the_same_picture(tmp_path):
    picture = noise(5, 4)
    path = saved(tmp_path, Image.fromarray(picture))
    for given_as in (path, str(path), Image.fromarray(picture), picture):
        np.testing.assert_array_equal(as_rgb(given_as), picture)


@few
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([(), (1,), (3,), (4,)]))
def test_uint8_arrays_of_1_3_and_4_channels_become_h_w_3(height, width, channels):
    array = np.random.default_rng(0).integers(0, 256, (height, width, *channels), np.uint8)
    found = as_rgb(array)
    assert found.shape == (height, width, 3) and found.dtype == np.uint8
    if channels == (3,):
        np.testing.assert_array_equal(found, array)
    elif channels in ((), (1,)):
        np.testing.assert_array_equal(found[..., 2], array.reshape(height, width))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), bool),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        [[1, 2], [3, 4]],
    ],
    ids=lambda a: f"{np.asarray(a).dtype}{np.asarray(a).shape}",
)
def test_an_array_that_is_no_8_bit_picture_is_refused_by_name(array):
    with pytest.raises(ValueError, match="the holiday picture"):
        as_rgb(array, "the holiday picture")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "I", "P"])
@pytest.mark.parametrize("size", [(0, 4), (4, 0)])
def test_a_pil_image_without_pixels_is_refused_by_name(mode, size):
    with pytest.raises(ValueError, match="the holiday picture"):
        as_rgb(Image.new(mode, size), "the holiday picture")


def test_a_damaged_pil_image_that_was_opened_but_not_read_is_refused_by_name(tmp_path):
    path = saved(tmp_path, Image.fromarray(noise(64, 64)))
    path.write_bytes(path.read_bytes()[:2000])
    with Image.open(path) as lazy, pytest.raises(ValueError, match="the holiday picture"):
        as_rgb(lazy, "the holiday picture")


def test_the_result_may_be_changed_without_changing_the_argument():
    picture = noise(3, 3)
    before = picture.copy()
    as_rgb(picture)[:] = 0
    np.testing.assert_array_equal(picture, before)


# ---- damaged and missing files ----


@pytest.mark.parametrize("name", ["cut.png", "cut.jpg"])
def test_a_truncated_file_is_refused_by_name(tmp_path, name):
    path = saved(tmp_path, Image.fromarray(noise(64, 64)), name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"{name}.*damaged"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"these are words, not pixels\n" * 20], ids=["empty", "text"])
def test_a_file_that_is_no_image_is_refused_with_the_formats_that_are_read(tmp_path, content):
    path = tmp_path / "words.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"words\.png.*expected one of png, jpg"):
        read_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.png: no such file"):
        read_image(tmp_path / "absent.png")


def test_a_folder_is_not_a_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=tmp_path.name):
        read_image(tmp_path)


def test_a_decompression_bomb_is_refused_by_name(tmp_path, monkeypatch):
    path = saved(tmp_path, Image.new("RGB", (20, 20)), "bomb.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"bomb\.png"):
        read_image(path)


# ---- writing ----


@pytest.mark.parametrize("suffix", EXTENSIONS)
def test_every_ending_can_be_written_and_read_again(tmp_path, suffix):
    picture = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    for name in (f"out{suffix}", f"OUT2{suffix.upper()}"):
        write_image(tmp_path / name, picture)
        assert np.abs(read_image(tmp_path / name).astype(int) - picture).max() <= 4


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff"])
def test_lossless_endings_give_the_same_pixels_back(tmp_path, suffix):
    write_image(tmp_path / f"out{suffix}", noise(7, 5))
    np.testing.assert_array_equal(read_image(tmp_path / f"out{suffix}"), noise(7, 5))


@pytest.mark.parametrize("name", ["out.pdf", "out", "out.xyz"])
def test_an_unknown_ending_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ValueError, match=r"unknown ending.*\.png"):
        write_image(tmp_path / name, noise(2, 2))
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named_and_not_created(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent does not exist; create it first"):
        write_image(tmp_path / "absent" / "out.png", noise(2, 2))
    assert os.listdir(tmp_path) == []


def half_written(self, path, *args, **options):
    with open(path, "wb") as file:
        file.write(b"half")
    raise OSError("no space left on device")


def test_a_failed_write_leaves_no_file_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", half_written)
    with pytest.raises(OSError, match="no space"):
        write_image(tmp_path / "out.png", noise(2, 2))
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file_as_it_was(tmp_path, monkeypatch):
    write_image(tmp_path / "out.png", noise(2, 2))
    before = (tmp_path / "out.png").read_bytes()
    monkeypatch.setattr(Image.Image, "save", half_written)
    with pytest.raises(OSError, match="no space"):
        write_image(tmp_path / "out.png", noise(2, 2, seed=1))
    assert os.listdir(tmp_path) == ["out.png"]
    assert (tmp_path / "out.png").read_bytes() == before


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "out.txt") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


def test_a_write_onto_a_folder_fails_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "out.png").mkdir()
    with pytest.raises(OSError, match=r"out\.png"):
        write_image(tmp_path / "out.png", noise(2, 2))
    assert os.listdir(tmp_path) == ["out.png"]


def test_an_existing_file_is_replaced(tmp_path):
    for seed in (0, 1):
        write_image(tmp_path / "out.png", noise(2, 2, seed))
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), noise(2, 2, seed=1))
    assert os.listdir(tmp_path) == ["out.png"]


@pytest.mark.skipif(os.name != "posix", reason="file modes are a matter of POSIX systems")
def test_a_written_file_can_be_read_by_others(tmp_path):
    write_image(tmp_path / "out.png", noise(2, 2))
    assert stat.S_IMODE((tmp_path / "out.png").stat().st_mode) == 0o644


# ---- degrading and enlarging ----


def bicubic_weights(length, r):
    """The antialiased bicubic kernel (a = −0.5, four output pixels wide), as a matrix of length/r rows."""
    out = length // r
    centre = (np.arange(out)[:, None] + 0.5) * r
    x = np.abs(np.arange(length)[None] + 0.5 - centre) / r
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    weights = np.where(x < 1, near, np.where(x < 2, far, 0))
    return weights / weights.sum(1, keepdims=True)


@few
@example(5, 2, 2, 60)
@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from([2, 4]), st.integers(0, 99))
def test_downscaling_is_the_antialiased_bicubic_kernel_to_rounding(rows, columns, r, seed):
    picture = noise(rows * r, columns * r, seed)
    found = downscale(picture, r)
    assert found.shape == (rows, columns, 3) and found.dtype == np.uint8
    # Pillow rounds to 8 bits after each of its two passes, clipping over- and undershoot in between; newer ones begin
    # with the columns of a tall picture
    weights = {"hwc,jw->hjc": bicubic_weights(columns * r, r), "hwc,ih->iwc": bicubic_weights(rows * r, r)}
    apart = []
    for passes in (weights.items(), reversed(weights.items())):
        twice = picture
        for along, kernel in passes:
            twice = np.einsum(along, twice, kernel).round().clip(0, 255)
        apart.append(np.abs(found - twice).max())
    assert min(apart) <= 1


@few
@given(st.integers(1, 6), st.integers(1, 6), st.tuples(*[st.integers(0, 255)] * 3))
def test_a_constant_image_stays_constant_down_and_up(height, width, colour):
    small, large = (np.full((n * height, n * width, 3), colour, np.uint8) for n in (1, 4))
    np.testing.assert_array_equal(downscale(large), small)
    np.testing.assert_array_equal(upscale_bicubic(small), large)


# ---- other programs' kernels ----

MATLAB_IN = np.array(
    [
        [116, 227, 153, 69, 146, 194, 59, 130, 139, 106],
        [2, 47, 137, 249, 90, 75, 16, 24, 158, 44],
        [155, 68, 46, 84, 166, 156, 69, 204, 32, 152],
        [71, 221, 137, 230, 210, 153, 192, 115, 30, 118],
        [107, 143, 108, 52, 51, 73, 101, 21, 175, 90],
        [54, 158, 143, 77, 26, 168, 113, 229, 165, 225],
        [9, 47, 133, 135, 130, 207, 236, 43, 19, 73],
        [129, 60, 59, 243, 64, 181, 249, 56, 32, 86],
    ],
    np.uint8,
)
MATLAB_OUT = [[105, 140, 126, 81, 109], [110, 134, 153, 114, 93], [108, 108, 94, 127, 146], [67, 126, 162, 149, 62]]
"""imresize(MATLAB_IN, 0.5, "bicubic") of MATLAB on uint8, as printed in the tests of Octave's package image."""


def keys(x, a):
    """The cubic kernel of Keys (1981)."""
    x = abs(x)
    near, far = (a + 2) * x**3 - (a + 3) * x**2 + 1, a * (x**3 - 5 * x**2 + 8 * x - 4)
    return near if x <= 1 else far if x < 2 else 0.0


def matlab_pass(line, length):
    """One line as imresize's documentation defines it: widened kernel, mirrored border; in loops."""
    scale, n = length / len(line), len(line)
    narrow, found = min(scale, 1), []
    for i in range(length):
        centre = (i + 0.5) / scale - 0.5
        total = weights = 0.0
        for j in range(math.floor(centre - 2 / narrow), math.ceil(centre + 2 / narrow) + 1):
            weight = keys((j - centre) * narrow, -0.5)
            folded = j % (2 * n)
            total += weight * float(line[folded if folded < n else 2 * n - 1 - folded])
            weights += weight
        found.append(total / weights)
    return np.array(found)


def matlab_slowly(picture, height, width, *, rounded):
    def finish(x):
        return np.floor(x.clip(0, 255) + 0.5) if rounded else x

    rows = finish(np.apply_along_axis(matlab_pass, 0, picture.astype(float), height))
    return finish(np.apply_along_axis(matlab_pass, 1, rows, width))


def test_matlabs_kernel_gives_matlabs_own_values():
    picture = np.repeat(MATLAB_IN[..., None], 3, axis=2)
    found = downscale(picture, 2, "matlab-bicubic")
    np.testing.assert_array_equal(found, np.repeat(np.array(MATLAB_OUT)[..., None], 3, axis=2))
    assert np.abs(downscale(picture, 2).astype(int) - found).max() > 2  # Pillow's border is another


@few
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 2, 3, 4]), st.integers(0, 99))
def test_matlabs_kernel_equals_slow_loops_down_and_up(height, width, r, seed):
    large, small = noise(height * r, width * r, seed), noise(height, width, seed)
    for picture, h, w in ((large, height, width), (small, height * r, width * r)):
        exact = matlab_slowly(picture, h, w, rounded=False).clip(0, 255)
        np.testing.assert_allclose(resize(picture, h, w, "matlab-bicubic"), exact, atol=1e-6)
    down = matlab_slowly(large, height, width, rounded=True)
    assert np.abs(downscale(large, r, "matlab-bicubic") - down).max() <= 1  # only where a half is rounded
    assert np.mean(downscale(large, r, "matlab-bicubic") != down) < 0.1


@few
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_opencvs_kernel_is_four_taps_without_antialiasing(height, width, seed):
    picture = noise(4 * height, 4 * width, seed)
    taps = [keys(x, -0.75) for x in (1.5, 0.5, 0.5, 1.5)]  # new pixel i lies midway between old 4i + 1 and 4i + 2
    rows = sum(t * picture[k::4].astype(float) for k, t in enumerate(taps))
    exact = sum(t * rows[:, k::4] for k, t in enumerate(taps)).clip(0, 255)
    np.testing.assert_allclose(resize(picture, height, width, "opencv-bicubic"), exact, atol=1e-6)
    np.testing.assert_array_equal(downscale(picture, 4, "opencv-bicubic"), np.floor(exact + 0.5))


def test_enlarging_with_opencvs_kernel_has_its_taps_and_repeats_the_border():
    line = np.repeat(noise(1, 6)[:, :, :1], 3, axis=2)
    found = resize(line, 4, 24, "opencv-bicubic")[0, :, 0]
    wide = np.pad(line[0, :, 0].astype(float), 3, mode="edge")
    for i in range(24):
        centre = (i + 0.5) / 4 - 0.5
        taps = [(j, keys(j - centre, -0.75)) for j in range(math.floor(centre) - 1, math.floor(centre) + 3)]
        assert found[i] == pytest.approx(np.clip(sum(w * wide[j + 3] for j, w in taps), 0, 255), abs=1e-6)


def test_bilinear_is_only_for_enlarging():
    picture = noise(8, 12)
    np.testing.assert_array_equal(downscale(picture, 4, "pillow-bicubic-bilinear"), downscale(picture))
    expected = Image.fromarray(picture).resize((48, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(upscale_bicubic(picture, 4, "pillow-bicubic-bilinear"), np.asarray(expected))


@few
@given(st.sampled_from(get_args(Kernel)), st.integers(2, 6), st.integers(2, 6), st.integers(0, 255))
def test_every_kernel_keeps_a_constant_picture(kernel, height, width, value):
    small, large = (np.full((n * height, n * width, 3), value, np.uint8) for n in (1, 4))
    np.testing.assert_array_equal(downscale(large, 4, kernel), small)
    np.testing.assert_array_equal(upscale_bicubic(small, 4, kernel), large)


@few
@given(st.sampled_from(get_args(Kernel)), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_8_bits_are_the_unrounded_values_to_rounding(kernel, height, width, seed):
    picture = np.uint8(64 + noise(height, width, seed) // 2)  # far from 0 and 255, where Pillow clips midway
    exact = resize(picture, 4 * height, 4 * width, kernel)
    assert np.abs(upscale_bicubic(picture, 4, kernel) - exact).max() <= 1.5


@pytest.mark.parametrize("kernel", ["bicubic", "pillow-lanczos", ""])
def test_an_unknown_kernel_is_refused_with_the_choices(kernel):
    for call in (downscale, upscale_bicubic):
        with pytest.raises(ValueError, match=r"unknown kernel .* choose one of pillow-bicubic, matlab-bicubic"):
            call(noise(8, 8), 4, kernel)


def test_on_photographs_matlab_and_pillow_are_a_hundredth_of_a_decibel_apart():
    for picture in (skimage.data.chelsea(), skimage.data.coffee()):
        hr = crop_to_multiple(picture)
        scores = [psnr(upscale_bicubic(downscale(hr, 4, k), 4, k), hr) for k in ("pillow-bicubic", "matlab-bicubic")]
        assert 0 < abs(scores[0] - scores[1]) <= 0.012


def test_downscaling_keeps_left_and_right_apart():
    picture = np.zeros((8, 16, 3), np.uint8)
    picture[:, 8:] = 255
    found = downscale(picture)[..., 0]
    assert (np.diff(found.astype(int), axis=1) >= 0).all() and found[0, 0] < 10 and found[0, 3] > 245
    np.testing.assert_array_equal(found, 255 - found[:, ::-1])


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (3, 3)])
def test_a_size_that_the_scale_does_not_divide_is_refused(size):
    with pytest.raises(ValueError, match=rf"{size[1]}×{size[0]} is not a multiple of 4; use crop_to_multiple"):
        downscale(np.zeros((*size, 3), np.uint8))


@few
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_bicubic_enlarges_any_size_by_the_scale(height, width, r):
    found = upscale_bicubic(noise(height, width), r)
    assert found.shape == (height * r, width * r, 3) and found.dtype == np.uint8


@few
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5))
def test_cropping_to_a_multiple_keeps_the_top_left(height, width, r):
    picture = noise(height, width)
    found = crop_to_multiple(picture, r)
    assert all(n % r == 0 and 0 <= m - n < r for n, m in zip(found.shape[:2], picture.shape[:2]))
    np.testing.assert_array_equal(found, picture[: found.shape[0], : found.shape[1]])


# ---- tensors ----


@few
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_an_image_survives_the_way_to_a_tensor_and_back(height, width, seed):
    picture = noise(height, width, seed)
    tensor = to_tensor(picture)
    assert tensor.shape == (1, 3, height, width) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(to_image(tensor), picture)


def test_a_tensor_holds_the_channels_first_in_0_to_1():
    tensor = to_tensor(np.array([[[0, 51, 255]]], np.uint8))
    torch.testing.assert_close(tensor.flatten(), torch.tensor([0.0, 0.2, 1.0]))


def test_a_tensor_is_clipped_then_rounded_to_the_nearest():
    values = torch.tensor([-0.3, 1.7, 100.4 / 255, 100.6 / 255, 254.7 / 255, 0.4 / 255])
    found = to_image(values.reshape(1, 3, 1, 2))
    np.testing.assert_array_equal(found[0].T.flatten(), [0, 255, 100, 101, 255, 0])


def test_a_tensor_with_gradient_or_of_half_precision_becomes_an_image():
    values = torch.full((1, 3, 2, 2), 0.5, dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(to_image(values), np.full((2, 2, 3), 128))


def test_the_tensor_does_not_share_memory_with_the_image():
    picture = noise(2, 2)
    before = picture.copy()
    to_tensor(picture).zero_()
    np.testing.assert_array_equal(picture, before)
