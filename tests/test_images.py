"""Pictures as arrays (images.py): degraded, enlarged with the kernels of several programs, as tensors."""

import math
from typing import get_args

import numpy as np
import pytest
import skimage.data
import torch
from data_files import noise
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from e2ent2lib.measure.metrics import psnr
from e2ent2lib.photos.images import crop_to_multiple, downscale, resize, to_image, to_tensor, upscale_bicubic
from e2ent2lib.photos.options import Kernel

few = settings(deadline=None, max_examples=20)

# ---- degrading and enlarging ----


def bicubic_weights(length, r):
    """The antialiased bicubic kernel (a = −0.5, four output pixels wide), as a matrix of length/r rows."""
    out = length // r
    centre = (np.arange(out)[:, None] + 0.5) * r
    weights = np.vectorize(keys)((np.arange(length)[None] + 0.5 - centre) / r, -0.5)
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


def rounded(x):
    return np.floor(x.clip(0, 255) + 0.5)


def matlab_slowly(picture, height, width, finish=np.asarray):
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
        exact = matlab_slowly(picture, h, w).clip(0, 255)
        np.testing.assert_allclose(resize(picture, h, w, "matlab-bicubic"), exact, atol=1e-6)
    down = matlab_slowly(large, height, width, rounded)
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
    np.testing.assert_array_equal(downscale(picture, 4, "opencv-bicubic"), rounded(exact))


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
@given(st.sampled_from(get_args(Kernel)), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_8_bits_are_the_unrounded_values_to_rounding(kernel, height, width, seed):
    picture = np.uint8(64 + noise(height, width, seed) // 2)  # far from 0 and 255, where Pillow clips midway
    exact = resize(picture, 4 * height, 4 * width, kernel)
    assert np.abs(upscale_bicubic(picture, 4, kernel) - exact).max() <= 1.5


@pytest.mark.parametrize("kernel", ["bicubic", "pillow-lanczos", ""])
def test_an_unknown_kernel_is_refused_by_name(kernel):
    for call in (downscale, upscale_bicubic, resize):
        with pytest.raises(ValueError, match=f"kernel '{kernel}'"):
            call(noise(8, 8), *[4] * (call is resize), 4, kernel)


def test_on_photographs_matlab_and_pillow_are_a_hundredth_of_a_decibel_apart():
    for hr in map(crop_to_multiple, (skimage.data.chelsea(), skimage.data.coffee())):
        scores = [psnr(upscale_bicubic(downscale(hr, 4, k), 4, k), hr) for k in ("pillow-bicubic", "matlab-bicubic")]
        assert 0 < abs(scores[0] - scores[1]) <= 0.012


@pytest.mark.parametrize("size", [(5, 8), (8, 5), (3, 3)])
def test_a_size_that_the_scale_does_not_divide_is_refused(size):
    with pytest.raises(ValueError, match=rf"{size[1]}×{size[0]}"):
        downscale(np.zeros((*size, 3), np.uint8))


@few
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 5))
def test_cropping_to_a_multiple_keeps_the_top_left(height, width, r):
    picture = noise(height, width)
    found = crop_to_multiple(picture, r)
    assert all(n % r == 0 and 0 <= m - n < r for n, m in zip(found.shape[:2], picture.shape[:2]))
    np.testing.assert_array_equal(found, picture[: found.shape[0], : found.shape[1]])


def test_what_is_opaque_stays_opaque_when_enlarged():
    alpha = np.full((9, 9), 255, np.uint8)
    alpha[:4] = 0
    large = upscale_bicubic(alpha)
    assert large.shape == (36, 36) and large[:8].max() == 0 and large[24:].min() == 255


# ---- tensors ----


@few
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_an_image_survives_the_way_to_a_tensor_and_back(height, width, seed):
    picture = noise(height, width, seed)
    tensor = to_tensor(picture)
    assert tensor.dtype == torch.float32
    torch.testing.assert_close(tensor[0], torch.tensor(picture).permute(2, 0, 1) / 255)
    np.testing.assert_array_equal(to_image(tensor), picture)
    tensor.zero_()  # shares no memory with the picture
    np.testing.assert_array_equal(picture, noise(height, width, seed))


def test_a_tensor_is_clipped_then_rounded_to_the_nearest():
    values = torch.tensor([-0.3, 1.7, 100.4 / 255, 100.6 / 255, 254.7 / 255, 0.4 / 255], requires_grad=True)
    found = to_image(values.reshape(1, 3, 1, 2))
    np.testing.assert_array_equal(found[0].T.flatten(), [0, 255, 100, 101, 255, 0])
