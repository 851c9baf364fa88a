"""A reference made like the input: in its light, and laid over it where it shows things in another size or turned.

Patches of 3×3 cells are compared as they are, so that a reference in another size, or turned, would help little.
Where enough key points agree on a homography (``systems.landmark``), the warped reference is offered beside the one as
it is, so that what lies outside the overlap isn't lost.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float
from scipy.ndimage import map_coordinates, zoom
from skimage.color import rgb2gray
from skimage.registration import optical_flow_ilk

from e2ent2lib.models.network import Pixels
from e2ent2lib.photos.images import crop_to_multiple, downscale, resize, upscale_bicubic
from e2ent2lib.systems import landmark

DETAIL = 0.22
"""Of ``fine_detail``, below which references harm; 56 of our sets have over 0.34, enlarged ×2 0.27, ×4 under 0.21."""
AREA = 150_000
"""Pixels of the pictures in which key points are looked for; the input, enlarged, has no more to show."""
AROUND = 12
"""Input pixels around its own that the flow of a pixel is computed from; the less, the rougher."""


def fine_detail(ref: Pixels, scale: int = 4) -> float:
    """The detail that reducing a reference loses over what reducing it again loses, near 0.7; 1 if it is too small."""
    lost = []
    for _ in range(2 if min(ref.shape[:2]) > scale**2 else 0):
        small = downscale(ref := crop_to_multiple(ref, scale), scale)
        enlarged = upscale_bicubic(small, scale), small.repeat(scale, 0).repeat(scale, 1)
        lost.append(min((ref - one.astype(np.float32)).std() for one in enlarged))
        ref = small
    return lost[0] / max(lost[1], 1e-9) if lost else 1.0


def in_light_of(lr: Pixels, ref: Pixels) -> Pixels:
    """The reference with each channel multiplied so that its median is the input's; black borders don't count.

    Medians recover exposure and white balance better than means or quantiles, also where a reference is clipped.
    """
    shown = ref[ref.any(axis=2)]
    gains = np.median(lr, axis=(0, 1)) / np.maximum(np.median(shown, axis=0), 1) if len(shown) else np.ones(3)
    return (ref * gains.clip(0.25, 4)).round().clip(0, 255).astype(np.uint8)


def ways_over(lr: Pixels, ref: Pixels, scale: int = 4) -> Iterator[Pixels]:
    """The reference laid over the input ×scale in up to four ways, none of which is right everywhere; or none.

    By the homographies that key points agree on in the pictures as they are and in mirrored ones, where others are
    found; and each moved on by a smooth optical flow (Le Besnerais and Champagnat, "Dense optical flow by iterative
    local window registration", ICIP 2005), for what is no plane.
    """
    picture, grey = resize(lr, *(scale * n for n in lr.shape[:2])), rgb2gray(lr)
    for step in (1, -1):
        homography = registered(picture[:, ::step], ref[:, ::step])
        if homography is None:
            continue
        if step < 0:
            homography = _mirror(ref) @ homography @ _mirror(picture)
        laid, _ = landmark.warp(ref, homography, picture)
        yield (way := laid.round().clip(0, 255).astype(np.uint8))
        small = rgb2gray(downscale(way, scale))
        flow = optical_flow_ilk(grey, small, radius=AROUND, prefilter=True, gaussian=True)
        at = np.indices(laid.shape[:2]) + scale * zoom(flow, (1, scale, scale), order=1, mode="nearest", grid_mode=True)
        moved = [map_coordinates(laid[..., c], at, order=3, mode="nearest") for c in range(3)]
        yield np.stack(moved, axis=2).round().clip(0, 255).astype(np.uint8)


def _mirror(image: Pixels) -> Float[np.ndarray, "3 3"]:
    return np.array([[-1, 0, image.shape[1] - 1], [0, 1, 0], [0, 0, 1.0]])


def registered(picture: Pixels, ref: Pixels) -> Float[np.ndarray, "3 3"] | None:
    """The homography from the picture's pixels to the reference's, found in reduced ones if they are large, or None."""
    small, factors = [], []
    for image in (picture, ref):
        factor = min(1.0, (AREA / (image.shape[0] * image.shape[1])) ** 0.5)
        small.append(image if factor == 1 else resize(image, *(max(1, round(factor * n)) for n in image.shape[:2])))
        factors.append(np.diag([small[-1].shape[1] / image.shape[1], small[-1].shape[0] / image.shape[0], 1.0]))
    picture, ref = (image.round().astype(np.uint8) for image in small)
    homography = landmark.register(picture.astype(np.float32), ref).homography
    return None if homography is None else np.linalg.inv(factors[1]) @ homography @ factors[0]


def linear_part(homography: Float[np.ndarray, "3 3"], shape: tuple[int, ...]) -> Float[np.ndarray, "2 2"]:
    """The homography's derivative in the middle of a picture of this shape: the identity for a mere shift."""
    x, y, depth = homography @ (shape[1] / 2, shape[0] / 2, 1)
    return (homography[:2, :2] - np.outer((x, y), homography[2, :2]) / depth) / depth
