"""Landmark: registration, the patches and what they add, and that a useless reference changes nothing."""

import numpy as np
import pytest
import skimage.data
from scipy import ndimage
from skimage.transform import ProjectiveTransform
from skimage.transform import warp as skimage_warp

from e2ent2lib.measure.metrics import psnr
from e2ent2lib.photos.images import downscale, resize, upscale_bicubic
from e2ent2lib.systems import landmark
from e2ent2lib.systems.landmark import back_project, match, register, super_resolve, transfer, warp

HR = skimage.data.astronaut()[:240, 100:340]
OTHER = skimage.data.coffee()[100:340, 150:390]
LR = downscale(HR)
TRUE = np.array([[1.05, 0.08, -9.3], [-0.06, 0.98, 8.7], [1e-4, -8e-5, 1]])


def seen_through(homography, image=HR):
    """The photograph that the homography leads to from ``image``."""
    ref = skimage_warp(image, np.linalg.inv(homography), order=3, mode="reflect")
    return (ref * 255).round().astype(np.uint8)


def corners(homography, height=240, width=240):
    x = [[0, 0], [width - 1, 0], [0, height - 1], [width - 1, height - 1]]
    return ProjectiveTransform(homography)(np.array(x, float))


def scored(sr, hr=HR):
    return psnr(sr.round().astype(np.uint8), hr)


def enlarged(lr=LR):
    return upscale_bicubic(lr).astype(np.float32)


def plain(lr=LR):
    """What is left where no reference helps."""
    return back_project(resize(lr, 4 * lr.shape[0], 4 * lr.shape[1]).astype(np.float32), lr)


REF = seen_through(TRUE)


@pytest.fixture(scope="module")
def result():
    return super_resolve(LR, [REF])


@pytest.mark.parametrize("sharp", [True, False], ids=["sharp", "enlarged from a quarter"])
def test_a_known_homography_is_found_within_a_pixel(sharp):
    whole = skimage.data.astronaut()
    found = register(whole if sharp else enlarged(downscale(whole)), seen_through(TRUE, whole))
    assert found.inliers >= 200 and found.homography[2, 2] == 1
    assert np.abs(corners(found.homography, 512, 512) - corners(TRUE, 512, 512)).max() < 1


def test_a_reference_of_another_size_and_turned_is_registered_too():
    true = np.array([[0.3, -1.5, 720.0], [1.5, 0.3, 0], [0, 0, 1]])
    whole = skimage.data.astronaut()[:, :480]
    ref = skimage_warp(whole, np.linalg.inv(true), order=3, output_shape=(880, 880))
    found = register(enlarged(downscale(whole)), (ref * 255).round().astype(np.uint8))
    error = np.abs(corners(found.homography, 512, 480) - corners(true, 512, 480)).max()
    assert error < 1.53 * 2  # two pixels of the picture


@pytest.mark.parametrize("ref", [OTHER, HR[:, ::-1], np.full((200, 90, 3), 77, np.uint8), HR[:12, :12], HR[:5, :300]])
def test_what_is_unrelated_mirrored_flat_or_tiny_is_not_registered(ref):
    assert register(enlarged(), np.ascontiguousarray(ref)).homography is None


@pytest.mark.parametrize(
    "matrix",
    [np.diag([5.0, 5, 1]), np.diag([0.2, 0.2, 1]), np.diag([-1.0, 1, 1]), [[1, 0, 0], [0, 1, 0], [-0.01, 0, 1]]],
)
def test_a_homography_that_scales_too_much_mirrors_or_folds_is_an_error(matrix):
    assert landmark._sane(TRUE, HR.shape)
    assert not landmark._sane(np.array(matrix, float), HR.shape)


def test_the_warped_reference_lies_on_the_picture_where_it_covers_it():
    warped, valid = warp(REF, TRUE, HR.astype(np.float32))
    assert corners(TRUE)[0, 0] < 0 and not valid[0, 0]  # left of the reference, which begins at 0
    assert 0.8 < valid.mean() < 1
    inside = ndimage.binary_erosion(valid, iterations=4)
    assert np.abs(warped - HR)[inside].mean() < 4


def test_the_warped_reference_has_the_contrast_of_the_picture():
    dim = (REF * 0.7 + 20).astype(np.uint8)
    (bright, valid), (same, _) = (warp(ref, TRUE, enlarged()) for ref in (REF, dim))
    assert same[valid].std() == pytest.approx(bright[valid].std(), rel=0.02)


@pytest.mark.parametrize("shift", [(0, 0), (5, -7), (-16, 16), (2.5, -3.25)])
def test_the_shift_of_a_patch_is_found_to_fractions_of_a_pixel(shift):
    moved = ndimage.shift(HR.astype(np.float32), (*shift, 0), order=3, mode="nearest")
    matches = match(LR, moved, np.ones(HR.shape[:2], bool))
    inner = np.s_[8:-8, 8:-8]
    trusted = matches.quality[inner] > 0.5
    assert trusted.mean() > 0.5
    for field, true in zip((matches.dy, matches.dx), shift):
        assert np.median(np.abs(field[inner][trusted] - true)) < 0.25


def test_the_similarity_of_a_block_is_the_formula_of_the_docstring():
    score = {dy: row for dy, row in landmark._similarities(LR, HR.astype(np.float32), np.ones(HR.shape[:2], bool))}
    own = landmark._structure(LR.astype(np.float32))
    moved = np.roll(HR, (-8, 3), (0, 1)).astype(np.float32)  # the shift 8, −3
    other = landmark._structure(landmark._scaled(moved, 1 / landmark.SCALE))
    for k, side in enumerate(landmark.BLOCKS):
        y, x, reach = 30, 33, side // 2
        a, b = (f[y - reach : y + reach + 1, x - reach : x + reach + 1] for f in (own, other))
        mean = [z.sum() / side**2 for z in (a * b, a**2, b**2)]
        by_hand = 2 * mean[0] / (mean[1] + mean[2] + landmark.NOISE)
        assert score[8][k, -3 + landmark.REACH + 1, y, x] == pytest.approx(by_hand, abs=1e-4)


def test_a_patch_adds_the_high_frequencies_of_the_place_it_was_found():
    everywhere = np.ones(LR.shape[:2])
    matches = landmark.Matches(6 * everywhere, -5 * everywhere, everywhere)
    moved = np.roll(HR, (6, -5), (0, 1)).astype(np.float32)
    detail = transfer(moved, np.ones(HR.shape[:2], bool), matches)
    high = moved - landmark._soften(moved)
    inner = np.s_[24:-24, 24:-24]
    np.testing.assert_allclose(detail[inner], np.roll(high, (-6, 5), (0, 1))[inner], atol=1e-2)


def test_a_patch_that_is_not_trusted_adds_nothing_and_a_doubtful_one_less():
    everywhere, valid, picture = np.ones(LR.shape[:2]), np.ones(HR.shape[:2], bool), HR.astype(np.float32)
    whole, half, none = (
        transfer(picture, valid, landmark.Matches(0 * everywhere, 0 * everywhere, q * everywhere)) for q in (1, 0.5, 0)
    )
    np.testing.assert_allclose(half, whole / 2, atol=1e-2)
    assert not none.any() and whole.any()


def test_nothing_is_added_where_the_reference_does_not_reach():
    valid = np.ones(HR.shape[:2], bool)
    valid[:, :120] = False
    still = landmark.Matches(*np.zeros((2, *LR.shape[:2])), np.ones(LR.shape[:2]))
    detail = transfer(HR.astype(np.float32), valid, still)
    assert np.abs(detail[:, :120]).max() < 1e-3 < 1 < np.abs(detail[:, 140:]).max()


@pytest.mark.parametrize("start", [plain(), np.zeros(HR.shape, np.float32), OTHER.astype(np.float32)])
def test_a_back_projected_picture_shrinks_to_the_input(start):
    small = np.clip(LR, 40, 215)  # away from the ends of the range nothing is clipped
    error = resize(back_project(start, small, 60), 60, 60) - small
    assert np.abs(error).max() < 1 and np.abs(error).mean() < 0.05


def test_a_related_reference_is_over_1_db_better_than_bicubic(result):
    assert scored(result) > psnr(upscale_bicubic(LR), HR) + 1
    assert scored(result) > scored(plain()) + 1
    assert result.shape == HR.shape and 0 <= result.min() and result.max() <= 255


def test_an_unrelated_reference_leaves_the_back_projected_bicubic_image():
    np.testing.assert_allclose(super_resolve(LR, [OTHER]), plain(), atol=1e-3)


def test_where_a_registered_reference_shows_something_else_it_does_little_harm():
    ref = REF.copy()
    ref[:, 120:] = OTHER[:, 120:]
    assert register(enlarged(), ref).homography is not None
    ours, base, bicubic = (x.round().astype(np.uint8) for x in (super_resolve(LR, [ref]), plain(), enlarged()))
    halves = np.s_[:, :100], np.s_[:, 145:]
    same, changed = ([psnr(x[part], HR[part]) for x in (ours, base, bicubic)] for part in halves)
    assert same[0] > same[1] + 1
    assert changed[0] > changed[1] - 0.25 and changed[0] > changed[2]


def test_the_best_reference_is_used_whatever_the_order(result):
    part = REF[:120, 60:]  # registered as well, but with less to agree on
    assert 0 < register(enlarged(), part).inliers < register(enlarged(), REF).inliers
    for refs in ([OTHER, REF], [REF, OTHER], [part, REF, OTHER]):
        np.testing.assert_array_equal(super_resolve(LR, refs), result)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (3, 40), (5, 9), (17, 23)])
@pytest.mark.parametrize("flat", [False, True], ids=["varied", "constant"])
def test_any_small_or_constant_picture_is_enlarged(size, flat):
    lr = np.full((*size, 3), 200, np.uint8) if flat else OTHER[: size[0], : size[1]]
    for ref in (REF, np.zeros((12, 12, 3), np.uint8), OTHER[:13, :50]):
        sr = super_resolve(lr, [ref])
        assert sr.shape == (4 * size[0], 4 * size[1], 3) and np.isfinite(sr).all()
        if flat:
            np.testing.assert_allclose(sr, 200, atol=1e-3)
