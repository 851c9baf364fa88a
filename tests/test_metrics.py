"""PSNR and SSIM under a named protocol (metrics.py)."""

import json
import math
import os
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from e2ent2lib.config import SMOKE
from e2ent2lib.data.pairs import Pair
from e2ent2lib.measure.evaluate import data_fingerprint, data_set, evaluate, measure, prepared, up_to_date
from e2ent2lib.measure.metrics import Protocol, psnr, ssim
from e2ent2lib.photos.images import crop_to_multiple, downscale, read_image, upscale_bicubic
from e2ent2lib.photos.options import Kernel
from e2ent2lib.report.compare import compare
from e2ent2lib.report.paper import PRINTED
from e2ent2lib.report.published import PUBLISHED, SOURCES, published
from e2ent2lib.runs.checkpoints import build_model

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
    text = str(Protocol(border=4, channel="y", rounding="none"))
    for part in ("channel y", "border 4", "resize pillow-bicubic", "ssim_window gaussian", "reference level 1"):
        assert part in text
    for field in fields(Protocol):
        assert f"{field.name} " in text


@pytest.mark.parametrize(
    "field", ["channel", "resize", "rounding", "psnr_mean", "ssim_window", "reference", "odd_size"]
)
def test_a_protocol_that_does_not_exist_is_refused_with_the_choices(field):
    with pytest.raises(ValueError, match=rf"{field} 'Y' does not exist; choose one of .*{getattr(Protocol(), field)}"):
        Protocol(**{field: "Y"})


def test_an_older_stored_row_with_fewer_fields_is_the_default_protocol():
    stored = '{"channel": "rgb", "border": 0, "resize": "pillow-bicubic", "ssim_window": "gaussian", '
    stored += '"reference": "level 1", "odd_size": "crop to a multiple of 4"}'
    assert Protocol(**json.loads(stored)) == Protocol()


@few
@given(st.sampled_from(["rgb", "y", "grey"]), st.integers(0, 9), st.floats(0.001, 0.1))
def test_a_protocol_survives_json(channel, border, k1):
    protocol = Protocol(channel=channel, border=border, ssim_k1=k1)
    assert Protocol(**json.loads(json.dumps(asdict(protocol)))) == protocol


# ---- the other axes ----


def test_full_range_grey_is_luma_from_0_to_255():
    black = np.zeros((2, 2, 3), np.uint8)
    assert psnr(black, 255 - black, Protocol(channel="grey")) == pytest.approx(0, abs=1e-3)


def test_the_grey_of_a_hand_computed_case():
    a = np.zeros((2, 2, 3), np.uint8)
    b = a.copy()
    b[0, 0] = (10, 20, 30)  # grey 0.299 · 10 + 0.587 · 20 + 0.114 · 30 = 18.15 in one of four pixels
    assert psnr(a, b, Protocol(channel="grey")) == pytest.approx(10 * math.log10(255**2 / (18.15**2 / 4)), abs=1e-3)


@few
@given(sizes, st.integers(0, 99))
def test_y_and_grey_are_a_constant_1_322_db_apart(size, seed):
    a, b = two(*size, seed)
    gap = psnr(a, b, Protocol(channel="y")) - psnr(a, b, Protocol(channel="grey"))
    assert gap == pytest.approx(20 * math.log10(255 / 219), abs=1e-9)


def test_an_error_alike_in_all_channels_is_the_same_in_rgb_and_grey():
    a, _ = two()
    a = a // 2
    b = a + np.uint8(7)
    assert psnr(a, b, Protocol(channel="grey")) == pytest.approx(psnr(a, b), abs=1e-3)
    assert psnr(a, b, Protocol(channel="y")) == pytest.approx(psnr(a, b) + 1.322, abs=1e-3)


def test_psnr_per_channel_of_a_hand_computed_case():
    a = np.zeros((2, 2, 3), np.uint8)
    b = a.copy()
    b[..., 0], b[..., 1], b[..., 2] = 1, 2, 4  # channel MSEs 1, 4, 16: their geometric mean is 4, their mean 7
    assert psnr(a, b, Protocol(psnr_mean="per channel")) == pytest.approx(10 * math.log10(255**2 / 4))
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / 7))


@few
@given(sizes, st.integers(0, 99))
def test_psnr_per_channel_is_never_below_the_pooled_one(size, seed):
    a, b = two(*size, seed)
    found = psnr(a, b, Protocol(psnr_mean="per channel"))
    assert found >= psnr(a, b) - 1e-9
    assert found == pytest.approx(
        np.mean([peak_signal_noise_ratio(a[..., c], b[..., c], data_range=255) for c in range(3)])
    )


def test_ssim_of_two_flat_images_is_the_luminance_term_with_k1():
    a, b = np.full((11, 11, 3), 100, np.uint8), np.full((11, 11, 3), 120, np.uint8)
    for k1 in (0.01, 0.05):
        c1 = (k1 * 255) ** 2
        expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
        assert ssim(a, b, Protocol(ssim_k1=k1)) == pytest.approx(expected)


@few
@given(sizes, st.integers(0, 99), st.sampled_from(["gaussian", "uniform"]))
def test_ssim_constants_are_scikit_images(size, seed, window):
    a, b = two(*size, seed)
    protocol = Protocol(ssim_window=window, ssim_k1=0.02, ssim_k2=0.1)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False} if window == "gaussian" else {}
    expected = structural_similarity(a, b, channel_axis=2, data_range=255, K1=0.02, K2=0.1, **options)
    assert ssim(a, b, protocol) == pytest.approx(expected)
    assert ssim(a, b, protocol) > ssim(a, b, Protocol(ssim_window=window))  # larger constants forgive more here


@few
@given(
    sizes,
    st.integers(0, 99),
    st.builds(
        Protocol,
        channel=st.sampled_from(["rgb", "y", "grey"]),
        border=st.integers(0, 2),
        psnr_mean=st.sampled_from(["pooled", "per channel"]),
        rounding=st.sampled_from(["8 bits", "none"]),
        ssim_window=st.sampled_from(["gaussian", "uniform"]),
    ),
)
def test_under_every_protocol_metrics_are_symmetric_and_best_for_the_same_image(size, seed, protocol):
    a, b = two(size[0] + 4, size[1] + 4, seed)
    assert psnr(a, b, protocol) == pytest.approx(psnr(b, a, protocol))
    assert ssim(a, b, protocol) == pytest.approx(ssim(b, a, protocol))
    assert psnr(a, a.copy(), protocol) == math.inf
    assert ssim(a, a.copy(), protocol) == pytest.approx(1)
    assert ssim(a, b, protocol) < 1


@few
@given(sizes, st.integers(0, 99), st.sampled_from(["rgb", "y", "grey"]))
def test_without_rounding_floats_are_measured_as_they_are(size, seed, channel):
    a, b = two(*size, seed)
    exact = Protocol(rounding="none", channel=channel)
    rounded = Protocol(channel=channel)
    assert psnr(a.astype(np.float32), b, exact) == pytest.approx(psnr(a, b, rounded))
    assert ssim(a.astype(np.float64), b, exact) == pytest.approx(ssim(a, b, rounded))


def test_without_rounding_an_error_of_a_tenth_counts():
    a = np.full((3, 3, 3), 100, np.uint8)
    assert psnr(a + 0.1, a, Protocol(rounding="none")) == pytest.approx(20 * math.log10(255 / 0.1))


@pytest.mark.parametrize("value", [-0.5, 255.5])
def test_floats_outside_the_range_are_refused(value):
    a = np.full((12, 12, 3), 100, np.uint8)
    with pytest.raises(ValueError, match="outside 0 to 255"):
        psnr(np.full((12, 12, 3), value), a, Protocol(rounding="none"))


# ---- compare ----


def rows(**changes):
    shared = {"label": "motorcycle", "data_fingerprint": "f" * 64, "protocol": asdict(Protocol())} | changes
    return [shared | {"image": name, "psnr": score, "ssim": 0.5} for name, score in (("a", 30.0), ("b", 20.0))]


def test_rows_of_one_protocol_are_subtracted_image_by_image():
    better = [row | {"psnr": row["psnr"] + gain} for row, gain in zip(rows(), (1, 3))]
    assert compare(better, rows()[::-1]) == pytest.approx(2)
    assert compare(better[0], rows()[0]) == pytest.approx(1)
    assert compare(better, rows(), "ssim") == 0


def test_an_older_row_with_fewer_fields_compares_with_a_newer_one():
    assert compare(rows(protocol={"channel": "rgb", "border": 0}), rows()) == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"protocol": asdict(Protocol(channel="y"))}, "channel: rgb and y"),
        (
            {"protocol": asdict(Protocol(border=4, resize="matlab-bicubic"))},
            "border: 0 and 4; resize: ",
        ),
        ({"label": "CUFED5"}, "data set: motorcycle and CUFED5"),
        ({"data_fingerprint": "e" * 64}, "pixels"),
    ],
)
def test_rows_measured_otherwise_are_refused_and_the_fields_named(changes, named):
    with pytest.raises(ValueError, match="must not be compared") as error:
        compare(rows(), rows(**changes))
    assert named in str(error.value)


def test_other_images_or_no_images_or_mixed_protocols_are_refused():
    with pytest.raises(ValueError, match="images: a, b and a"):
        compare(rows(), rows()[:1])
    with pytest.raises(ValueError, match="nothing has been measured"):
        compare(rows(), [])
    with pytest.raises(ValueError, match="rows of one side differ"):
        compare(rows(), [rows()[0], rows(protocol=asdict(Protocol(border=1)))[1]])


def test_numbers_with_their_protocols_are_subtracted_if_these_agree():
    assert compare((24.0, Protocol()), (22.5, Protocol())) == pytest.approx(1.5)
    with pytest.raises(ValueError, match=r"channel: y and rgb$"):
        compare((24.0, Protocol(channel="y")), (22.5, Protocol()))
    with pytest.raises(ValueError, match="not stated: data set, pixels, images"):
        compare((24.0, Protocol()), rows())


def test_printed_numbers_are_subtracted_within_a_source_and_a_column_only():
    srntt, bicubic = (published("SRNTT", name, "CUFED5") for name in ("SRNTT", "Bicubic"))
    assert compare(srntt, bicubic) == pytest.approx(1.43)
    ours = published("E2ENT²", "E2ENT² (ours)", "CUFED5")
    with pytest.raises(ValueError, match=r"channel: y and rgb; not stated: .*ssim_window"):
        compare(srntt, ours)
    with pytest.raises(ValueError, match="data set: CUFED5 and Sun Hays 80"):
        compare(srntt, published("SRNTT", "SRNTT", "Sun Hays 80"))
    y, rgb = (p for p in PUBLISHED if (p.source, p.method, p.dataset) == ("C2 rerun", "C2-Matching", "CUFED5"))
    with pytest.raises(ValueError, match="channel: y and rgb"):
        compare(y, rgb)
    with pytest.raises(ValueError, match="prints no ssim"):
        compare(rgb, rgb, "ssim")


def test_every_printed_number_has_a_source_and_a_protocol_of_known_fields():
    assert len({p[:3] + (str(p.known),) for p in PUBLISHED}) == len(PUBLISHED)
    for p in PUBLISHED:
        assert p.source in SOURCES and p.why and 15 < p.psnr < 35
        assert p.ssim is None or 0.5 < p.ssim < 0.9
        Protocol(**p.known)  # raises for a field or a value that does not exist
        assert bool(p.known) == (p.how != "unknown")


def test_printed_numbers_repeat_the_papers_tables():
    found = [p for p in PUBLISHED if p.source == "E2ENT²"]
    wanted = [p for p in PRINTED if p.table in (1, 2) and p.psnr is not None]
    assert [(p.method, p.psnr, p.ssim) for p in found] == [(p.method, p.psnr, p.ssim) for p in wanted]
    with pytest.raises(ValueError, match="prints 0 numbers of DRCN on Sun Hays 80"):
        published("E2ENT²", "DRCN", "Sun Hays 80")


# ---- evaluate under a protocol ----


@pytest.fixture
def pair():
    """Odd sizes and three references."""
    hr = np.asarray(skimage.data.astronaut())[60:143, 150:249]
    return Pair("toy", hr, tuple(np.roll(hr, shift, axis=1) for shift in (3, 5, 9)))


def test_the_row_bicubic_follows_kernel_and_rounding(pair):
    hr = crop_to_multiple(pair.hr())
    for kernel in get_args(Kernel):
        found = measure("bicubic", pair, Protocol(resize=kernel))["psnr"]
        assert found == psnr(upscale_bicubic(downscale(hr, 4, kernel), 4, kernel), hr)
        exact = measure("bicubic", pair, Protocol(resize=kernel, rounding="none"))["psnr"]
        assert exact == pytest.approx(found, abs=0.03) and exact != found


def test_odd_sizes_are_cropped_or_resized(pair):
    cropped, resized = (prepared(pair, Protocol(odd_size=f"{how} to a multiple of 4"))[0] for how in ("crop", "resize"))
    np.testing.assert_array_equal(cropped, pair.hr()[:80, :96])
    expected = Image.fromarray(pair.hr()).resize((96, 80), Image.Resampling.BICUBIC)
    assert np.abs(resized.astype(int) - np.asarray(expected)).mean() < 0.5  # Pillow rounds twice in 8 bits
    assert data_fingerprint([pair]) != data_fingerprint([pair], Protocol(odd_size="resize to a multiple of 4"))


def test_all_levels_use_every_reference_and_the_default_only_the_first(pair):
    assert len(prepared(pair)) == 2
    assert len(prepared(pair, Protocol(reference="all levels"))) == 4
    with pytest.raises(ValueError, match="no reference level"):
        data_set("motorcycle", Protocol(reference="level 2"))


def test_a_model_is_measured_with_and_without_rounding(pair):
    model = build_model("e2ent2-mse", SMOKE).eval()
    rounded, exact = (measure(model, pair, Protocol(rounding=how)) for how in ("8 bits", "none"))
    assert rounded["psnr"] == pytest.approx(exact["psnr"], abs=0.05) and rounded["psnr"] != exact["psnr"]
    alone = replace(pair, ref_sources=())
    assert measure("bicubic", alone, Protocol())["psnr"] == measure("bicubic", pair, Protocol())["psnr"]
    with pytest.raises(ValueError, match="toy: no reference"):
        measure(model, alone, Protocol())


def test_stored_rows_of_another_protocol_are_not_up_to_date():
    found = evaluate("bicubic", "motorcycle", profile="smoke", progress=False)
    assert up_to_date(found, "bicubic", "motorcycle", "smoke", Protocol())
    assert not up_to_date(found, "bicubic", "motorcycle", "smoke", Protocol(border=4))
    older = [row | {"protocol": {"channel": "rgb"}} for row in found]
    assert up_to_date(older, "bicubic", "motorcycle", "smoke", Protocol())


def test_bicubic_on_the_first_cufed5_image_scores_like_bicubic():
    path = Path(os.environ.get("E2ENT2_DATA") or "absent", "CUFED5", "001_0.png")
    if not path.is_file():
        pytest.skip("CUFED5 is not here; E2ENT2_DATA names the folder it is in")
    hr = read_image(path)
    hr = hr[: hr.shape[0] // 4 * 4, : hr.shape[1] // 4 * 4]
    found = psnr(upscale_bicubic(downscale(hr)), hr)
    assert math.isfinite(found) and 20 < found < 30
