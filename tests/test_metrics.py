"""PSNR and SSIM under a named protocol (metrics.py)."""

import json
import math
import re
from dataclasses import asdict, replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tiny import network

from e2ent2lib.config import SMOKE
from e2ent2lib.data.pairs import DATASETS, Pair, dataset
from e2ent2lib.measure.evaluate import Pictures, columns_of, evaluate, measure, prepared
from e2ent2lib.measure.everything import current
from e2ent2lib.measure.metrics import Protocol, psnr, ssim
from e2ent2lib.photos.images import crop_to_multiple, downscale, upscale_bicubic
from e2ent2lib.photos.options import Kernel
from e2ent2lib.report.printed import PUBLISHED, SOURCES, published
from e2ent2lib.runs.checkpoints import build_model, shipped_card

few = settings(deadline=None, max_examples=15)
sizes = st.tuples(st.integers(11, 24), st.integers(11, 24))
channels = st.sampled_from(["rgb", "y", "grey"])
WANG = {"channel_axis": 2, "data_range": 255, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
"""SSIM as Wang et al. (2004) define it, in scikit-image's words."""


def two(height=20, width=17, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (height, width, 3), np.uint8)
    return a, np.clip(a + rng.integers(-40, 41, a.shape), 0, 255).astype(np.uint8)


def decibels(mse):
    return 10 * math.log10(255**2 / mse)


# ---- by hand ----


def pixel(*colour, size=2):
    """Black, but for one pixel."""
    image = np.zeros((size, size, 3), np.uint8)
    image[0, 0] = colour
    return image


BLACK = np.zeros((2, 2, 3), np.uint8)


@pytest.mark.parametrize(
    ("a", "b", "options", "expected"),
    [
        (BLACK, pixel(3, 6, 9), {}, decibels((9 + 36 + 81) / 12)),
        (BLACK, 255 - BLACK, {}, 0),
        (BLACK, 255 - BLACK, {"channel": "y"}, decibels((235 - 16) ** 2)),
        (BLACK, 255 - BLACK, {"channel": "grey"}, 0),
        (BLACK, pixel(10, 20, 30), {"channel": "grey"}, decibels((0.299 * 10 + 0.587 * 20 + 0.114 * 30) ** 2 / 4)),
        (BLACK, pixel(0, 10, 0), {"channel": "y"}, decibels((10 * 128.553 / 255) ** 2 / 4)),
        (BLACK, BLACK + np.uint8((1, 2, 4)), {}, decibels(7)),  # the mean of the channels' MSEs 1, 4, 16
        (BLACK, BLACK + np.uint8((1, 2, 4)), {"psnr_mean": "per channel"}, decibels(4)),  # their geometric mean
        (BLACK + np.uint8(100), BLACK + 100.1, {"rounding": "none"}, decibels(0.01)),
        (BLACK[:1, :1], BLACK[:1, :1] + np.uint8(1), {}, decibels(1)),  # one pixel is enough
    ],
)
def test_psnr_of_hand_computed_cases(a, b, options, expected):
    assert psnr(a, b, Protocol(**options)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("k1", [0.01, 0.05])
def test_ssim_of_two_flat_images_is_the_luminance_term_with_k1(k1):
    a, b = np.full((11, 11, 3), 100, np.uint8), np.full((11, 11, 3), 120, np.uint8)
    c1 = (k1 * 255) ** 2
    expected = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ssim(a, b, Protocol(ssim_k1=k1)) == pytest.approx(expected)


# ---- against scikit-image ----


@few
@given(sizes, st.integers(0, 99))
def test_the_default_protocol_is_scikit_images_with_the_gaussian_window_of_wang_et_al(size, seed):
    a, b = two(*size, seed)
    assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))
    assert ssim(a, b) == pytest.approx(structural_similarity(a, b, **WANG))


def test_y_scores_equal_scikit_images_on_its_own_luma():
    a, b = two()
    luma = [rgb2ycbcr(x)[..., :1] for x in (a, b)]
    assert psnr(a, b, Protocol(channel="y")) == pytest.approx(peak_signal_noise_ratio(*luma, data_range=255))
    assert ssim(a, b, Protocol(channel="y")) == pytest.approx(structural_similarity(*luma, **WANG))


@few
@given(sizes, st.integers(0, 99), st.sampled_from(["gaussian", "uniform", "uniform, biased covariance"]))
def test_ssim_window_and_constants_are_scikit_images(size, seed, window):
    a, b = two(*size, seed)
    protocol = Protocol(ssim_window=window, ssim_k1=0.02, ssim_k2=0.1)
    plain = {"channel_axis": 2, "data_range": 255, "use_sample_covariance": window == "uniform"}
    options = WANG if window == "gaussian" else plain
    assert ssim(a, b, protocol) == pytest.approx(structural_similarity(a, b, K1=0.02, K2=0.1, **options))
    assert ssim(a, b, protocol) > ssim(a, b, Protocol(ssim_window=window))  # larger constants forgive more here


@few
@given(sizes, st.integers(0, 99))
def test_psnr_per_channel_is_the_mean_of_the_channels_and_never_below_the_pooled_one(size, seed):
    a, b = two(*size, seed)
    mean = psnr(a, b, Protocol(psnr_mean="per channel"))
    assert mean >= psnr(a, b) - 1e-9
    each = [peak_signal_noise_ratio(a[..., c], b[..., c], data_range=255) for c in range(3)]
    assert mean == pytest.approx(np.mean(each))


# ---- under every protocol ----


@few
@given(sizes, st.integers(0, 99), st.integers(0, 4))
def test_with_border_both_metrics_are_those_of_the_cut_images(size, seed, border):
    a, b = two(*(n + 8 for n in size), seed)
    cut = tuple(slice(border, n + 8 - border) for n in size)
    assert psnr(a, b, Protocol(border=border)) == pytest.approx(psnr(a[cut], b[cut]))
    assert ssim(a, b, Protocol(border=border)) == pytest.approx(ssim(a[cut], b[cut]))


@few
@given(
    sizes,
    st.integers(0, 99),
    st.builds(
        Protocol,
        channel=channels,
        border=st.integers(0, 2),
        psnr_mean=st.sampled_from(["pooled", "per channel"]),
        rounding=st.sampled_from(["8 bits", "none"]),
        ssim_window=st.sampled_from(get_args(get_type_hints(Protocol)["ssim_window"])),
    ),
)
def test_under_every_protocol_metrics_are_symmetric_and_best_for_the_same_image(size, seed, protocol):
    a, b = two(size[0] + 4, size[1] + 4, seed)
    assert psnr(a, b, protocol) == pytest.approx(psnr(b, a, protocol))
    assert ssim(a, b, protocol) == pytest.approx(ssim(b, a, protocol))
    assert psnr(a, a.copy(), protocol) == math.inf
    assert ssim(a, a.copy(), protocol) == pytest.approx(1)
    assert -1 <= ssim(a, b, protocol) < 1


@few
@given(sizes, st.integers(0, 99), channels)
def test_without_rounding_floats_are_measured_as_they_are(size, seed, channel):
    a, b = two(*size, seed)
    exact = Protocol(rounding="none", channel=channel)
    rounded = Protocol(channel=channel)
    assert psnr(a.astype(np.float32), b, exact) == pytest.approx(psnr(a, b, rounded))
    assert ssim(a.astype(np.float64), b, exact) == pytest.approx(ssim(a, b, rounded))


def test_less_64_columns_the_metrics_are_those_of_the_rest():
    a, b = two(20, 84)
    less = Protocol(stereo="left view less 64 columns")
    assert psnr(a, b, less) == pytest.approx(psnr(a[:, 64:], b[:, 64:]))
    assert ssim(a, b, less) == pytest.approx(ssim(a[:, 64:], b[:, 64:]))
    with pytest.raises(ValueError, match=r"10×20 .* leaves under 11 pixels"):
        ssim(a[:, :74], b[:, :74], less)


# ---- what is refused ----


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
    with pytest.raises(ValueError, match=rf"{other.dtype} {re.escape(str(other.shape))}"):
        metric(np.zeros((20, 20, 3), np.uint8), other)
    with pytest.raises(ValueError, match="uint8"):
        metric(*[np.zeros((20, 20), np.uint8)] * 2)  # grey, though of one size


@pytest.mark.parametrize(
    ("metric", "side", "border"), [(ssim, 10, 0), (ssim, 20, 5), (psnr, 4, 2), (psnr, 4, 3), (psnr, 4, -1)]
)
def test_too_few_pixels_or_a_negative_border_are_refused(metric, side, border):
    image = np.zeros((side, 30, 3), np.uint8)
    with pytest.raises(ValueError, match=rf"30×{side} .* {border} "):
        metric(image, image, Protocol(border=border))


def test_pil_images_are_measured_as_their_pixels():
    a, b = two()
    assert psnr(Image.fromarray(a), Image.fromarray(b)) == psnr(a, Image.fromarray(b)) == psnr(a, b)
    assert ssim(Image.fromarray(a), b) == ssim(a, b)
    with pytest.raises(ValueError, match="as_rgb"):
        psnr(Image.fromarray(a).convert("L"), Image.fromarray(b).convert("L"))


def test_values_of_0_to_1_are_refused_unless_the_picture_is_as_black():
    a, b = two()
    exact = Protocol(rounding="none")
    for other in (b, b / 255):
        with pytest.raises(ValueError, match="multiply it by 255"):
            psnr(a / 255, other, exact)
    assert psnr(BLACK + 0.5, BLACK + np.uint8(1), exact) == pytest.approx(decibels(0.25))
    assert psnr(BLACK + 0.0, b[:2, :2], exact) < 20  # a black result of a picture that is not


@pytest.mark.parametrize("value", [-0.5, 255.5])
def test_floats_outside_the_range_are_refused(value):
    a = np.full((12, 12, 3), 100, np.uint8)
    with pytest.raises(ValueError, match="outside 0 to 255"):
        psnr(np.full((12, 12, 3), value), a, Protocol(rounding="none"))


@pytest.mark.parametrize("field", "channel resize rounding psnr_mean ssim_window reference odd_size stereo".split())
def test_a_protocol_that_does_not_exist_is_refused_with_the_choices(field):
    with pytest.raises(ValueError, match=rf"{field} 'Y' .*{getattr(Protocol(), field)}"):
        Protocol(**{field: "Y"})


# ---- a protocol as text and in files ----


@few
@given(channels, st.integers(0, 9), st.floats(0.001, 0.1))
def test_a_protocol_survives_json_and_an_older_row_with_fewer_fields_has_the_defaults(channel, border, k1):
    protocol = Protocol(channel=channel, border=border, ssim_k1=k1)
    assert Protocol(**json.loads(json.dumps(asdict(protocol)))) == protocol
    assert Protocol(**json.loads('{"channel": "rgb", "border": 0, "ssim_window": "gaussian"}')) == Protocol()


# ---- printed numbers ----


def test_a_number_that_a_source_does_not_print_is_refused():
    with pytest.raises(ValueError, match="DRCN on Sun Hays 80"):
        published("E2ENT²", "DRCN", "Sun Hays 80")


def test_every_printed_number_has_a_source_and_a_protocol_of_known_fields():
    assert len({p[:3] + (str(p.known),) for p in PUBLISHED}) == len(PUBLISHED)
    for p in PUBLISHED:
        assert p.source in SOURCES and p.why and 15 < p.psnr < 35
        assert p.ssim is None or 0.5 < p.ssim < 0.9
        Protocol(**p.known)  # raises for a field or a value that does not exist
        assert isinstance(p.known.get("border", 0), int)
        assert p.how in ("said", "measured", "inferred", "unknown") and bool(p.known) == (p.how != "unknown")


# ---- evaluate under a protocol ----


BICUBIC = build_model("bicubic", SMOKE)


@pytest.fixture
def pair():
    """Odd sizes and three references."""
    hr = np.asarray(skimage.data.astronaut())[60:143, 150:249]
    return Pair("toy", hr, tuple(np.roll(hr, shift, axis=1) for shift in (3, 5, 9)))


def test_the_row_bicubic_follows_kernel_and_rounding(pair):
    hr = crop_to_multiple(pair.hr())
    for kernel in get_args(Kernel):
        found = measure(BICUBIC, pair, Protocol(resize=kernel))["psnr"]
        assert found == psnr(upscale_bicubic(downscale(hr, 4, kernel), 4, kernel), hr)
        exact = measure(BICUBIC, pair, Protocol(resize=kernel, rounding="none"))["psnr"]
        assert exact == pytest.approx(found, abs=0.03) and exact != found


def test_odd_sizes_are_cropped_or_resized(pair):
    cropped, resized = (prepared(pair, Protocol(odd_size=f"{how} to a multiple of 4"))[0] for how in ("crop", "resize"))
    np.testing.assert_array_equal(cropped, pair.hr()[:80, :96])
    expected = Image.fromarray(pair.hr()).resize((96, 80), Image.Resampling.BICUBIC)
    assert np.abs(resized.astype(int) - np.asarray(expected)).mean() < 0.5  # Pillow rounds twice in 8 bits


def test_all_levels_use_every_reference_and_the_default_only_the_first(pair):
    assert len(prepared(pair)) == 2
    assert len(prepared(pair, Protocol(reference="all levels"))) == 4


def test_a_model_is_measured_with_and_without_rounding(pair):
    model = network("e2ent2-mse")
    rounded, exact = (measure(model, pair, Protocol(rounding=how)) for how in ("8 bits", "none"))
    assert rounded["psnr"] == pytest.approx(exact["psnr"], abs=0.05) and rounded["psnr"] != exact["psnr"]
    alone = replace(pair, ref_sources=())
    assert measure(BICUBIC, alone, Protocol())["psnr"] == measure(BICUBIC, pair, Protocol())["psnr"]
    with pytest.raises(ValueError, match="toy: no reference"):
        measure(model, alone, Protocol())


BOTH_VIEWS = "mean of both views"


def turned(pair):
    """The right view as the input, with the left one as its reference."""
    right, left = prepared(pair)
    return Pair(pair.name, left, (right,))


@pytest.mark.parametrize("name", ["bicubic", "e2ent2-mse"])
def test_the_mean_of_both_views_is_that_of_the_two_pairs_they_make(pair, name):
    model, pair = network(name), replace(pair, ref_sources=pair.ref_sources[:1])
    one, other = (measure(model, p, Protocol()) for p in (pair, turned(pair)))
    mean = measure(model, pair, Protocol(stereo=BOTH_VIEWS))
    for metric in ("psnr", "ssim"):
        assert mean[metric] == pytest.approx((one[metric] + other[metric]) / 2, abs=1e-6)


def test_a_stereo_method_gets_the_right_view_and_its_reference_mirrored(pair):
    model, pair = network("passrnet"), replace(pair, ref_sources=pair.ref_sources[:1])
    mirrored = turned(pair)
    mirrored = Pair("", mirrored.hr()[:, ::-1], (mirrored.refs()[0][:, ::-1],))
    one, other = (measure(model, p, Protocol())["psnr"] for p in (pair, mirrored))
    assert measure(model, pair, Protocol(stereo=BOTH_VIEWS))["psnr"] == pytest.approx((one + other) / 2, abs=1e-6)


def test_columns_of_a_data_set_are_scored_beside_the_usual_protocol_each_under_its_own(pair):
    pair = replace(pair, ref_sources=pair.ref_sources[:1])
    columns = columns_of(DATASETS["kitti2012"], Protocol())
    assert {p.stereo for p in columns.values()} == {"left view less 64 columns", BOTH_VIEWS}
    row = measure(BICUBIC, pair, Protocol(), columns=columns)
    assert row["psnr"] == measure(BICUBIC, pair, Protocol())["psnr"]
    for name, protocol in columns.items():
        alone = measure(BICUBIC, pair, protocol)
        assert row["columns"][name] == {"protocol": asdict(protocol), "psnr": alone["psnr"], "ssim": alone["ssim"]}
    assert columns_of(DATASETS["kitti2012"], Protocol(reference="unrelated")) == {}


def test_the_mean_of_both_views_needs_the_other_view_and_a_stereo_set(pair):
    with pytest.raises(ValueError, match="needs the right view"):
        measure(BICUBIC, replace(pair, ref_sources=(pair.hr()[:40],)), Protocol(stereo=BOTH_VIEWS))
    for data, reference in (("cufed5", "level 1"), ("motorcycle", "unrelated")):
        with pytest.raises(ValueError, match="stereo pairs only"):
            evaluate("bicubic", data, protocol=Protocol(stereo=BOTH_VIEWS, reference=reference))


@pytest.mark.skipif(len(DATASETS["kitti2012"].lister()) < 20, reason="KITTI 2012 is not here")
def test_bicubic_on_kitti_2012_is_what_ipassrs_table_prints():
    rows = evaluate("bicubic", "kitti2012", progress=False)
    pictures, card = Pictures(DATASETS["kitti2012"], Protocol()), shipped_card("bicubic", "compact")
    facts = pictures.facts("bicubic", "compact", card, False)
    assert len(current(rows, facts)) == 20
    assert not current(rows, facts | {"columns": {}}) and not current(rows, facts | {"left_out": ["000000_10"]})
    for column in ("left", "both"):
        printed = published("iPASSR", "Bicubic", f"KITTI 2012, {rows[0]['columns'][column]['protocol']['stereo']}")
        for metric, tolerance in (("psnr", 0.01), ("ssim", 0.002)):
            mean = np.mean([row["columns"][column][metric] for row in rows])
            assert mean == pytest.approx(getattr(printed, metric), abs=tolerance)


def test_stored_rows_of_another_protocol_are_not_current():
    measured = evaluate("bicubic", "motorcycle", profile="smoke", progress=False)
    pictures = Pictures(dataset("motorcycle"), Protocol())
    facts = pictures.facts("bicubic", "smoke", shipped_card("bicubic", "smoke"), False)
    assert current(measured, facts) == {"motorcycle_left": measured[0]}
    assert not current(measured, facts | {"protocol": asdict(Protocol(border=4))})
