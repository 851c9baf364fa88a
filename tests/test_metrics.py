"""PSNR and SSIM under a named protocol (metrics.py)."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from e2ent2lib.images import downscale, read_image, upscale_bicubic
from e2ent2lib.metrics import Protocol, psnr, ssim

few = settings(deadline=None, max_examples=15)
sizes = st.tuples(st.integers(11, 24), st.integers(11, 24))


def two(height=20, width=17, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (height, width, 3), np.uint8)
    return a, np.clip(a + rng.integers(-40, 41, a.shape), 0, 255).astype(np.uint8)


def test_psnr_of_a_hand_computed_case():
    a = np.zeros((2, 2, 3), np.uint8)
    b = a.copy()
    b[0, 0] = (3, 6, 9)  # MSE = (9 + 36 + 81) / 12 = 10.5
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / 10.5))


def test_black_against_white_is_0_db():
    black = np.zeros((3, 3, 3), np.uint8)
    assert psnr(black, 255 - black) == pytest.approx(0)


def test_equal_images_have_infinite_psnr_and_ssim_1():
    a, _ = two()
    for protocol in (Protocol(), Protocol(channel="y"), Protocol(border=2)):
        assert psnr(a, a.copy(), protocol) == math.inf
        assert ssim(a, a.copy(), protocol) == pytest.approx(1)


def test_images_that_differ_only_in_the_border_are_equal_without_it():
    a, _ = two()
    b = a.copy()
    b[:2], b[-2:], b[:, :2], b[:, -2:] = 0, 0, 0, 0
    assert psnr(a, b, Protocol(border=2)) == math.inf
    assert psnr(a, b, Protocol(border=1)) < 50


@few
@given(sizes, st.integers(0, 99))
def test_the_default_protocol_is_scikit_images_with_the_gaussian_window_of_wang_et_al(size, seed):
    a, b = two(*size, seed)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ssim(a, b) == pytest.approx(structural_similarity(a, b, channel_axis=2, data_range=255, **options))


def test_the_uniform_window_is_scikit_images_default_and_another_number():
    a, b = two()
    found = ssim(a, b, Protocol(ssim_window="uniform"))
    assert found == pytest.approx(structural_similarity(a, b, channel_axis=2, data_range=255))
    assert abs(found - ssim(a, b)) > 1e-4


@few
@given(sizes, st.integers(0, 99), st.integers(0, 4))
def test_psnr_with_border_is_psnr_of_the_cut_images(size, seed, border):
    a, b = two(*size, seed)
    cut = tuple(slice(border, n - border) for n in size)
    assert psnr(a, b, Protocol(border=border)) == pytest.approx(psnr(a[cut], b[cut]))


def test_ssim_with_border_is_ssim_of_the_cut_images():
    a, b = two(24, 20)
    assert ssim(a, b, Protocol(border=4)) == pytest.approx(ssim(a[4:-4, 4:-4], b[4:-4, 4:-4]))


def test_the_y_channel_is_luma_from_16_to_235():
    black = np.zeros((2, 2, 3), np.uint8)
    expected = 10 * math.log10(255**2 / (235 - 16) ** 2)
    assert psnr(black, 255 - black, Protocol(channel="y")) == pytest.approx(expected, abs=1e-3)


def test_a_green_error_weighs_more_in_y_than_a_blue_one_and_the_same_in_rgb():
    grey = np.full((12, 12, 3), 100, np.uint8)
    green, blue = grey.copy(), grey.copy()
    green[..., 1] += 20
    blue[..., 2] += 20
    assert psnr(grey, green) == pytest.approx(psnr(grey, blue))
    gain = psnr(grey, blue, Protocol(channel="y")) - psnr(grey, green, Protocol(channel="y"))
    assert gain == pytest.approx(20 * math.log10(128.553 / 24.966), abs=1e-3)  # BT.601's weights of green and blue


def test_y_scores_equal_scikit_images_on_its_own_luma():
    a, b = two()
    luma = [rgb2ycbcr(x)[..., 0] for x in (a, b)]
    assert psnr(a, b, Protocol(channel="y")) == pytest.approx(peak_signal_noise_ratio(*luma, data_range=255))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(*luma, data_range=255, **options)
    assert ssim(a, b, Protocol(channel="y")) == pytest.approx(expected)


@few
@given(sizes, st.integers(0, 99), st.sampled_from(["rgb", "y"]))
def test_both_metrics_are_symmetric_and_ssim_stays_in_its_range(size, seed, channel):
    a, b = two(*size, seed)
    protocol = Protocol(channel=channel)
    assert psnr(a, b, protocol) == pytest.approx(psnr(b, a, protocol))
    assert ssim(a, b, protocol) == pytest.approx(ssim(b, a, protocol))
    assert -1 <= ssim(a, b, protocol) <= 1


@pytest.mark.parametrize("metric", [psnr, ssim])
@pytest.mark.parametrize(
    "other",
    [
        np.zeros((20, 20, 3), np.float64),
        np.zeros((20, 20, 3), np.uint16),
        np.zeros((20, 21, 3), np.uint8),
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_images_of_another_type_or_size_are_refused_with_both_named(metric, other):
    with pytest.raises(ValueError, match=r"expected two uint8 \(H, W, 3\) images of one size") as error:
        metric(np.zeros((20, 20, 3), np.uint8), other)
    assert str(other.dtype) in str(error.value) and str(other.shape) in str(error.value)


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_two_grey_images_are_refused_though_their_sizes_agree(metric):
    with pytest.raises(ValueError, match="expected two uint8"):
        metric(*[np.zeros((20, 20), np.uint8)] * 2)


@pytest.mark.parametrize(
    ("metric", "side", "border"), [(ssim, 10, 0), (ssim, 20, 5), (psnr, 4, 2), (psnr, 4, 3), (psnr, 4, -1)]
)
def test_too_few_pixels_or_a_negative_border_are_refused(metric, side, border):
    image = np.zeros((side, 30, 3), np.uint8)
    with pytest.raises(ValueError, match=rf"30×{side} less a border of {border}"):
        metric(image, image, Protocol(border=border))


def test_the_smallest_sizes_that_are_allowed_work():
    least = np.zeros((11, 11, 3), np.uint8)
    assert ssim(least, least) == pytest.approx(1)
    assert psnr(least[:1, :1], least[:1, :1] + np.uint8(1)) == pytest.approx(20 * math.log10(255))


def test_the_protocol_writes_out_every_choice_by_name():
    text = str(Protocol(border=4, channel="y"))
    for part in ("channel y", "border 4", "resize pillow-bicubic", "ssim_window gaussian", "reference level 1"):
        assert part in text


def test_bicubic_on_the_first_cufed5_image_scores_like_bicubic():
    path = Path(os.environ.get("E2ENT2_DATA") or "absent", "CUFED5", "001_0.png")
    if not path.is_file():
        pytest.skip("CUFED5 is not here; E2ENT2_DATA names the folder it is in")
    hr = read_image(path)
    hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
    found = psnr(upscale_bicubic(downscale(hr)), hr)
    assert math.isfinite(found) and 20 < found < 30
