"""Landmark: H. Yue, X. Sun, J. Yang, F. Wu, "Landmark image super-resolution by retrieving web images", TIP 2013.

The idea: lay photographs of the same place over the enlarged input by one global registration, then search only close
by for the patch of the same structure, and take from it the details that the input has lost; nothing is learned.

Kept: SIFT on the enlarged input, global registration, matching by structure with blocks of adaptive size, blending of
the matched high-resolution patches into an image that agrees with the input.

Scaled: in place of retrieval from the web, of the references given the one is used that has most key points in
agreement (the two best, or all, were no better). Single SIFT descriptors in place of bundles, and one homography by
RANSAC. For the minimised energy stand a weighted mean of the patches and iterative back-projection (Irani and Peleg,
1991).

Not known: the system's code, which was never public, and so its thresholds; those below were chosen on photographs
that no table measures.
"""

import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2gray
from skimage.feature import SIFT, match_descriptors
from skimage.measure import ransac
from skimage.transform import ProjectiveTransform, warp_coords

from e2ent2lib.config import Profile
from e2ent2lib.matching import as_list
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.photos.images import to_image, to_tensor

SCALE = 4
LEAST_INLIERS = 8
"""On unrelated photographs up to five pairs of key points agree on a homography by chance."""
LARGEST_SCALE = 4
"""A homography that enlarges or shrinks more than this anywhere in the picture is an error."""
REACH = 16
"""How far from the registered place a patch is searched, in pixels of the result."""
BLOCKS = (9, 5, 3)
"""Sides of the compared blocks in pixels of the input, largest first."""
SMALLER = 0.85
"""A smaller block is taken if its error is below this share of the larger one's."""
PATCH = 5
"""Side of a transferred patch in pixels of the input; patches overlap, one is centred on each pixel of the input."""
NOISE = 1.0
"""Power of structure, in grey levels squared, below which there is nothing to match."""

Pixels = Float32[np.ndarray, "h w 3"]


class Registration(NamedTuple):
    """What ``register`` finds; the homography maps (x, y, 1) of the picture to the reference, None if there is none."""

    homography: Float[np.ndarray, "3 3"] | None
    inliers: int


class Matches(NamedTuple):
    """For each pixel of the input, the patch found: its shift in pixels of the result, and how far it is trusted."""

    dy: Float[np.ndarray, "h w"]
    dx: Float[np.ndarray, "h w"]
    quality: Float[np.ndarray, "h w"]
    """From 0, no detail is taken, to 1."""


class Landmark(Network):
    """``super_resolve`` as a network without weights."""

    references = "any"

    def __init__(self, profile: Profile):
        """Raises ValueError for a scale other than 4."""
        super().__init__()
        if profile.scale != SCALE:
            raise ValueError(f"scale {profile.scale}: Landmark's thresholds are for scale {SCALE}")
        self.profile = profile

    def forward(self, lr: Images, refs: Images | Sequence[Images], ref_downs: Images | Sequence[Images]) -> Outputs:
        """The enlarged image of a batch of one, before rounding; images in [0, 1], lists for several references."""
        pixels = super_resolve(to_image(lr), [to_image(ref) for ref in as_list(refs)])
        return Outputs(to_tensor(pixels))


def super_resolve(
    lr: UInt8[np.ndarray, "h w 3"], refs: Sequence[UInt8[np.ndarray, "H W 3"]]
) -> Float32[np.ndarray, "4*h 4*w 3"]:
    """The picture ×4, from 0 to 255 and not rounded. A reference that can't be registered is left out.

    If none can be, this is the bicubic image, back-projected.
    """
    picture = _scaled(lr, SCALE).clip(0, 255)
    registered = [(register(picture, ref), ref) for ref in refs]
    (homography, _), ref = max(registered, key=lambda x: (x[0].homography is not None, x[0].inliers))
    if homography is not None:
        warped, valid = warp(ref, homography, picture)
        picture = picture + transfer(warped, valid, match(lr, warped, valid))
    return back_project(picture, lr)


def register(picture: Float[np.ndarray, "h w 3"], ref: UInt8[np.ndarray, "H W 3"]) -> Registration:
    """The homography from the enlarged picture to the reference on which most SIFT key points agree.

    None if fewer than ``LEAST_INLIERS`` do, or if it mirrors, folds or scales beyond ``LARGEST_SCALE``.
    """
    (points, descriptors), (ref_points, ref_descriptors) = _key_points(picture), _key_points(ref)
    enough = min(len(points), len(ref_points)) >= LEAST_INLIERS
    pairs = match_descriptors(descriptors, ref_descriptors, max_ratio=0.8, cross_check=True) if enough else []
    if len(pairs) < LEAST_INLIERS:
        return Registration(None, 0)
    matched = points[pairs[:, 0]], ref_points[pairs[:, 1]]
    with warnings.catch_warnings(action="ignore"):  # a degenerate sample is no news
        model, agree = ransac(matched, ProjectiveTransform, 4, residual_threshold=SCALE, max_trials=2000, rng=0)
    inliers = 0 if agree is None else int(agree.sum())
    if inliers < LEAST_INLIERS or not model or not _sane(model.params, picture.shape):
        return Registration(None, inliers)
    return Registration(model.params / model.params[2, 2], inliers)


def warp(
    ref: UInt8[np.ndarray, "H W 3"], homography: Float[np.ndarray, "3 3"], picture: Pixels
) -> tuple[Pixels, Bool[np.ndarray, "h w"]]:
    """The reference laid over the picture, with the picture's contrast, and where it covers it."""
    y, x = warp_coords(ProjectiveTransform(homography), picture.shape[:2])
    shrinks = max(abs(np.linalg.det(homography[:2, :2])) ** 0.5, 1)
    smooth = ndimage.gaussian_filter(ref.astype(np.float32), 0.5 * (shrinks**2 - 1) ** 0.5, axes=(0, 1))
    bands = [ndimage.map_coordinates(smooth[..., c], [y, x], order=3, mode="nearest") for c in range(3)]
    warped, valid = np.stack(bands, 2), (x >= 0) & (y >= 0) & (x <= ref.shape[1] - 1) & (y <= ref.shape[0] - 1)
    if not valid.any():
        return warped, valid
    contrast = picture[valid].std() / max(_soften(warped)[valid].std(), 1e-3)
    return warped * np.float32(contrast.clip(0.5, 2)), valid


def match(lr: UInt8[np.ndarray, "h w 3"], warped: Pixels, valid: Bool[np.ndarray, "H W"]) -> Matches:
    """The most similar patch of the warped reference for each pixel of the input, within ``REACH``.

    The reference is shrunk as the input was, once for each shift. Similarity of two blocks a and b of structure is
    2⟨a, b⟩ / (|a|² + |b|²), and its cube the quality; a smaller block has to be clearly better at the centre.
    """
    best, rows = np.full((len(BLOCKS), 4, *lr.shape[:2]), -np.inf, np.float32), deque(maxlen=3)
    for dy, row in _similarities(lr, warped, valid):
        rows.append(row)
        if len(rows) == 3:
            peaks = _peaks(*rows, dy - 1)
            best = np.where(peaks[:, :1] > best[:, :1], peaks, best)
    chosen = best[0]
    for smaller in best[1:]:
        chosen = np.where(1 - smaller[1] < SMALLER * (1 - chosen[1]), smaller, chosen)
    return Matches(chosen[2], chosen[3], chosen[1].clip(0, 1) ** 3)


def transfer(warped: Pixels, valid: Bool[np.ndarray, "h w"], matches: Matches) -> Pixels:
    """The details to add: high frequencies of overlapping patches, their mean weighted by a window and their quality.

    It is damped by the quality once more, so that poor matches alone add next to nothing.
    """
    height, width = valid.shape
    covered = ndimage.binary_erosion(valid, iterations=2 * SCALE, border_value=1)
    high = (warped - _soften(warped)) * covered[..., None]
    bands = [ndimage.spline_filter(high[..., c], output=np.float32) for c in range(3)]
    place = np.mgrid[:height, :width].astype(np.float32)
    window = np.sin(np.pi * (np.arange(SCALE * PATCH, dtype=np.float32) + 0.5) / (SCALE * PATCH)) ** 2
    window = window.reshape(PATCH, SCALE)
    detail, total = np.zeros_like(high), np.full((height, width, 1), 1e-6, np.float32)
    for i, j in np.ndindex(PATCH, PATCH):  # each pixel lies in PATCH² patches: here in cell i, j of its patch
        dy, dx, quality = (_of_patch(field, i, j) for field in matches)
        patch = [ndimage.map_coordinates(b, place + [dy, dx], prefilter=False, mode="nearest") for b in bands]
        weight = (np.tile(np.outer(window[i], window[j]), matches.dy.shape) * quality)[..., None]
        detail += weight * quality[..., None] * np.stack(patch, 2)
        total += weight
    return detail / total


def back_project(picture: Pixels, lr: UInt8[np.ndarray, "h w 3"], steps: int = 20) -> Pixels:
    """The picture corrected until it is the input when shrunk by bicubic ×1/4, as far as 0 to 255 allows."""
    picture = picture.clip(0, 255)
    for _ in range(steps):
        picture = (picture + _scaled(lr - _scaled(picture, 1 / SCALE), SCALE)).clip(0, 255)
    return picture


def _key_points(picture: np.ndarray) -> tuple[Float[np.ndarray, "n 2"], np.ndarray]:
    """(x, y) and descriptors; of the picture as blurred as the enlarged input, or few would match."""
    sift = SIFT(upsampling=1)
    try:
        sift.detect_and_extract(rgb2gray(_soften(picture).clip(0, 255) / 255))
    except (RuntimeError, IndexError):  # nothing to detect, or fewer pixels than one octave needs
        return np.zeros((0, 2)), np.zeros((0, 128))
    return sift.keypoints[:, ::-1].astype(float), sift.descriptors


def _sane(matrix: Float[np.ndarray, "3 3"], shape: tuple[int, ...]) -> bool:
    if not np.isfinite(matrix).all() or abs(matrix[2, 2]) < 1e-9:
        return False
    depth = [matrix[2] @ (x, y, 1) / matrix[2, 2] for x in (0, shape[1]) for y in (0, shape[0])]
    areas = np.linalg.det(matrix / matrix[2, 2]) / np.power(depth, 3)  # of a pixel, laid on the reference
    return bool(min(depth) > 0 and areas.min() > 1 / LARGEST_SCALE**2 and areas.max() < LARGEST_SCALE**2)


def _similarities(
    lr: np.ndarray, warped: Pixels, valid: np.ndarray
) -> Iterator[tuple[int, Float32[np.ndarray, "k n h w"]]]:
    """For one dy after the other: similarities by block size, dx and pixel, dy and dx one more than ``REACH``."""
    margin = (REACH + 1) // SCALE + 1
    warped = np.pad(warped, [(SCALE * margin,) * 2] * 2 + [(0, 0)], mode="edge")
    valid = np.pad(valid, SCALE * margin)
    (height, width), own = lr.shape[:2], _structure(lr.astype(np.float32))
    own_power = _blocks((own**2).sum(2))
    phases = {}
    for phase in np.ndindex(SCALE, SCALE):
        shifted, covered = (np.roll(x, (-phase[0], -phase[1]), (0, 1)) for x in (warped, valid))
        covered = covered.reshape(len(covered) // SCALE, SCALE, -1, SCALE).all((1, 3))
        other = _structure(_scaled(shifted, 1 / SCALE)) * ndimage.binary_erosion(covered)[..., None]
        phases[phase] = other, _blocks((other**2).sum(2))

    def similarity(dy: int, dx: int) -> Float32[np.ndarray, "k h w"]:
        (y, i), (x, j) = divmod(dy, SCALE), divmod(dx, SCALE)
        here = np.s_[margin + y : margin + y + height, margin + x : margin + x + width]
        other, power = phases[i, j]
        product = _blocks(np.einsum("hwc,hwc->hw", own, other[here]))
        return 2 * product / (own_power + power[:, *here] + NOISE)

    for dy in range(-REACH - 1, REACH + 2):
        yield dy, np.stack([similarity(dy, dx) for dx in range(-REACH - 1, REACH + 2)], 1)


def _peaks(above: np.ndarray, row: np.ndarray, below: np.ndarray, dy: int) -> Float32[np.ndarray, "k 4 h w"]:
    """For each block size the best of a row: similarity, that of the smallest block there, and the peak's y and x.

    The place is refined to fractions of a pixel by parabolas through the neighbours' similarities.
    """
    best = row[:, 1:-1].argmax(1)[:, None] + 1
    at = lambda scores, index=best: np.take_along_axis(scores, index, 1)[:, 0]  # noqa: E731
    top = at(row)
    y = dy + _vertex(at(above), top, at(below))
    x = best[:, 0] - REACH - 1 + _vertex(at(row, best - 1), top, at(row, best + 1))
    return np.stack([top, at(np.broadcast_to(row[-1], row.shape)), y, x], 1).astype(np.float32)


def _vertex(before: np.ndarray, top: np.ndarray, after: np.ndarray) -> np.ndarray:
    bend = np.maximum(2 * top - before - after, 1e-6)
    return ((after - before) / (2 * bend)).clip(-0.5, 0.5)


def _structure(image: Pixels) -> Pixels:
    """What varies within a few pixels: edges and texture, whatever the light."""
    return image - ndimage.gaussian_filter(image, 2, axes=(0, 1))


def _blocks(values: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "k h w"]:
    return np.stack([ndimage.uniform_filter(values, side, mode="constant") for side in BLOCKS])


def _of_patch(field: Float[np.ndarray, "h w"], i: int, j: int) -> Float[np.ndarray, "H W"]:
    """A value for each pixel of the result: that of the patch in which the pixel lies in cell i, j."""
    reach, (height, width) = PATCH // 2, field.shape
    moved = np.pad(field, reach, mode="edge")[PATCH - 1 - i :, PATCH - 1 - j :][:height, :width]
    return moved.repeat(SCALE, 0).repeat(SCALE, 1)


def _scaled(picture: np.ndarray, factor: float) -> Pixels:
    return _resize(picture, *(int(n * factor) for n in picture.shape[:2]))


def _soften(picture: np.ndarray) -> Pixels:
    """Shrunk and enlarged again: the picture without the details that the input lacks, too."""
    small = _resize(picture, *(max(n // SCALE, 1) for n in picture.shape[:2]))
    return _resize(small, *picture.shape[:2])


def _resize(picture: np.ndarray, height: int, width: int) -> Pixels:
    """As ``images.resize``, but not clipped: residuals are negative."""
    bands = (Image.fromarray(np.ascontiguousarray(band, np.float32)) for band in np.moveaxis(picture, 2, 0))
    return np.stack([np.asarray(band.resize((width, height), Image.Resampling.BICUBIC)) for band in bands], axis=2)
