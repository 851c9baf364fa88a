"""How an input differs from the training inputs, and what keeps a reference from helping.

The limits were chosen on 87 photographs of the data folder, reduced by ``images.downscale``, decimated, with noise, and
as JPEG, so that fewer than one in twenty of the reduced ones gets a note.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import convolve, uniform_filter

from e2ent2lib.models.network import Pixels
from e2ent2lib.photos.images import resize
from e2ent2lib.photos.photograph import Photograph
from e2ent2lib.photos.registered import DETAIL, fine_detail, linear_part, registered

NOISE = 3.0
"""Standard deviation of noise, in 8-bit steps where the picture is flattest; 2.2 was the most without noise."""
ALIASED = 0.2
"""Power just below the highest frequency over that of half of it; 0.17 in 19 of 20 pictures reduced with a filter."""
QUALITY = 80
"""JPEG quality, read from its quantisation table; at 75 the result suffers."""
SEEN = 50, 4.0
"""The lowest JPEG quality and the most noise in ``data.degraded``: 8 steps per channel are estimated as up to 4."""
SMALLEST = 32
"""Pixels of a side, for anything to be estimated."""
FEW = 0.2
"""Share of the result's pixels below which a reference has few."""


def unlike_training(photo: Photograph) -> tuple[str | None, bool]:
    """(What is unlike the inputs of training, for the user; whether systems trained with ``data.degraded`` haven't seen
    it either). (None, False) if nothing is noticed.
    """
    grey = photo.pixels @ np.array((0.299, 0.587, 0.114))
    if photo.jpeg and photo.jpeg < QUALITY:
        found, beyond = f"JPEG artefacts (quality {photo.jpeg}), which are enlarged too", photo.jpeg < SEEN[0]
    elif min(grey.shape) < SMALLEST or np.ptp(grey) == 0:
        return None, False
    elif (deviation := noise(grey)) > NOISE:
        found, beyond = f"noise of about {deviation:.0f} steps of 255, which is enlarged too", deviation > SEEN[1]
    elif aliasing(grey) > ALIASED:
        found, beyond = "more detail than pixels can hold, as if it was made smaller without a filter", True
    else:
        return None, False
    return f"the input has {found}; no system of the paper was trained on that, and bicubic may do as well", beyond


def remarks(lr: Pixels, ref: Pixels, name: str, *, laid_over: bool = False, scale: int = 4) -> tuple[list[str], bool]:
    """What keeps a reference from helping, for the user: too few pixels, no fine detail, another size or angle; and
    whether anything still does, since a reference in another size may have been ``laid_over`` the input.
    """
    remarks = []
    if ref[..., 0].size < FEW * scale**2 * lr[..., 0].size:
        remarks.append(f"{name} has few pixels; one that shows things {scale} times as large is best")
    elif fine_detail(ref, scale) < DETAIL:
        remarks.append(f"{name} holds no finer detail than the input does, so that there is little to take from it")
    costs = bool(remarks)
    picture = resize(lr, *(scale * n for n in lr.shape[:2]))
    if (homography := registered(picture, ref)) is not None:
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


def noise(grey: Float[np.ndarray, "h w"]) -> float:
    """Immerkær's estimate (1996) in the flattest tenth of a picture: what no straight edge explains."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
    left = np.abs(convolve(grey, kernel))[1:-1, 1:-1]
    around = uniform_filter(left, 5)
    return float(np.sqrt(np.pi / 2) * left[around <= np.quantile(around, 0.1)].mean())


def aliasing(grey: Float[np.ndarray, "h w"]) -> float:
    """The power from 0.45 to 0.5 cycles a pixel over that from 0.2 to 0.3."""
    window = np.outer(*(np.hanning(n) for n in grey.shape))
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    frequency = np.maximum(*np.meshgrid(*(np.abs(np.fft.fftfreq(n)) for n in grey.shape), indexing="ij"))
    middle = power[(frequency > 0.2) & (frequency < 0.3)].mean()
    return float(power[frequency > 0.45].mean() / max(middle, 1e-9))
