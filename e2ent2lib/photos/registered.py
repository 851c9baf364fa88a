"""A reference laid over the input where it shows things in another size, turned or in perspective.

Patches of 3×3 cells are compared as they are, so that a reference that is 4 % larger already costs half of its gain.
Where enough key points agree on a homography (``systems.landmark``), the warped reference is offered beside the one as
it is: each patch takes the better of the two, and what lies outside the overlap isn't lost.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from e2ent2lib.models.network import Pixels
from e2ent2lib.photos.images import crop_to_multiple, downscale, resize, upscale_bicubic
from e2ent2lib.systems import landmark

AREA = 150_000
"""Pixels of the pictures in which key points are looked for; the input, enlarged, has no more to show."""
FEW = 0.2
"""Share of the result's pixels below which a reference has few."""
BLURRED = 4.0
"""Standard deviation, in 8-bit steps, of what reducing takes from a reference, below which it holds no fine detail."""
DIFFERS = 0.015
"""How much of a homography's linear part may differ from that of a shift without a warp."""


def laid_over(lr: Pixels, refs: Sequence[Pixels], scale: int = 4) -> list[Pixels]:
    """Those references (H, W, 3) that register with another size, angle or perspective, laid over the input ×scale."""
    picture = resize(lr, *(scale * n for n in lr.shape[:2]))
    warped = []
    for ref in refs:
        homography = registered(picture, ref)
        if homography is not None and np.abs(linear_part(homography, picture.shape) - np.eye(2)).max() > DIFFERS:
            pixels, _ = landmark.warp(ref, homography, picture)
            warped.append(crop_to_multiple(pixels.round().clip(0, 255).astype(np.uint8), scale))
    return warped


def remarks(lr: Pixels, ref: Pixels, name: str, *, laid_over: bool = False, scale: int = 4) -> tuple[list[str], bool]:
    """What costs a reference its gain, for the user: too few pixels, no fine detail, another size or angle; whether any
    does, for one in another size may have been ``laid_over`` the input.
    """
    remarks, blurred = [], upscale_bicubic(downscale(ref, scale), scale)
    if ref[..., 0].size < FEW * scale**2 * lr[..., 0].size:
        remarks.append(
            f"{name} has few pixels beside the result's; one that shows things {scale} times as large is best"
        )
    elif (ref.astype(np.float32) - blurred).std() < BLURRED:
        remarks.append(f"{name} holds no finer detail than the input does, so that there is little to take from it")
    costs = bool(remarks)
    picture = resize(lr, *(scale * n for n in lr.shape[:2]))
    homography = registered(picture, ref)
    if homography is not None:
        linear = linear_part(homography, picture.shape)
        size, angle = np.sqrt(abs(np.linalg.det(linear))), np.degrees(np.arctan2(linear[1, 0], linear[0, 0]))
        if abs(np.log(size)) > 0.1 or abs(angle) > 5:
            turned = f", turned by {abs(angle):.0f}°" if abs(angle) > 5 else ""
            remarks.append(
                f"{name} shows things {size:.2g} times as large as the result will{turned}; "
                + ("so it was laid over the input" if laid_over else "--register lays it over the input")
            )
            costs |= not laid_over
    return remarks, costs


def registered(picture: Pixels, ref: Pixels) -> Float[np.ndarray, "3 3"] | None:
    """The homography from the picture's pixels to the reference's, found in reduced ones if they are large, or None."""
    small, factors = [], []
    for image in (picture, ref):
        factor = min(1.0, (AREA / (image.shape[0] * image.shape[1])) ** 0.5)
        small.append(image if factor == 1 else resize(image, *(max(1, round(factor * n)) for n in image.shape[:2])))
        factors.append(np.diag([small[-1].shape[1] / image.shape[1], small[-1].shape[0] / image.shape[0], 1.0]))
    homography = landmark.register(small[0].astype(np.float32), small[1].round().astype(np.uint8)).homography
    return None if homography is None else np.linalg.inv(factors[1]) @ homography @ factors[0]


def linear_part(homography: Float[np.ndarray, "3 3"], shape: tuple[int, ...]) -> Float[np.ndarray, "2 2"]:
    """The homography's derivative in the middle of a picture of this shape: the identity for a mere shift."""
    x, y, depth = homography @ (shape[1] / 2, shape[0] / 2, 1)
    return (homography[:2, :2] - np.outer((x, y), homography[2, :2]) / depth) / depth
