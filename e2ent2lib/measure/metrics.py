"""PSNR and SSIM under a named protocol (4.1 says only "PSNR and SSIM"). scikit-image computes both. Notebook 05."""

from dataclasses import asdict, dataclass, fields
from typing import Literal, get_args

import numpy as np
import skimage  # loads color and metrics on first use; the command line's help needs this module for ``Protocol`` alone
from jaxtyping import Float, UInt8

from e2ent2lib.photos.options import Kernel

Measurable = UInt8[np.ndarray, "h w 3"] | Float[np.ndarray, "h w 3"]
"""An 8-bit image, as array or RGB PIL image; or an array from 0 to 255 under a protocol that does not round."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a number is measured. It travels with every number; two protocols are never subtracted.

    A stored row names the fields of its day: ``Protocol(**row["protocol"])`` fills in the rest with the defaults, under
    which it was measured. Raises ValueError for a value that does not exist.
    """

    channel: Literal["rgb", "y", "grey"] = "rgb"
    """All three channels, BT.601 luma from 16 to 235, or the same luma from 0 to 255; luma is not rounded."""
    border: int = 0
    """Pixels cut off each side before measuring."""
    resize: Kernel = "pillow-bicubic"
    """What makes the small input (8 bits), and the row Bicubic from it: ``images.resize``. I_ref↓ stays Pillow's."""
    rounding: Literal["8 bits", "none"] = "8 bits"
    """Whether the result is rounded, as in a file, before it is measured. It is clipped to [0, 255] in any case."""
    psnr_mean: Literal["pooled", "per channel"] = "pooled"
    """PSNR of the MSE over all channels, or the mean of the channels' PSNRs."""
    ssim_window: Literal["gaussian", "uniform", "uniform, biased covariance"] = "gaussian"
    """Gaussian σ 1.5 as Wang et al. (2004) define it, or scikit-image's 7×7 mean; divided by 48, or biased by 49."""
    ssim_k1: float = 0.01
    """K1 of Wang et al. (2004)."""
    ssim_k2: float = 0.03
    """K2 of Wang et al. (2004)."""
    reference: Literal["level 1", "level 2", "level 3", "level 4", "level 5", "all levels", "unrelated"] = "level 1"
    """Which reference is used where there are several; level 1 is the most similar, or the data set's usual one.
    "unrelated" is a photograph of something else, ``data.pairs.unrelated``."""
    odd_size: Literal["crop to a multiple of 4", "resize to a multiple of 4"] = "crop to a multiple of 4"
    """What is done with sizes that the scale does not divide; resizing is Pillow's bicubic."""
    stereo: Literal["left view", "left view less 64 columns", "mean of both views"] = "left view"
    """What is scored of a stereo pair. The first 64 columns are those that the right view may not show; the literature
    cuts them off. In the mean each view is the input once, with the other one as its reference."""

    def __post_init__(self) -> None:
        for field in fields(self):
            allowed, value = get_args(field.type), getattr(self, field.name)
            if allowed and value not in allowed:
                raise ValueError(f"{field.name} {value!r} does not exist; choose one of {', '.join(allowed)}")

    def __str__(self) -> str:
        return ", ".join(f"{k} {v}" for k, v in asdict(self).items())


def _prepare(image: Measurable, protocol: Protocol) -> Float[np.ndarray, "h w c"]:
    b = protocol.border
    image = image[b : image.shape[0] - b, b + _cut(protocol) : image.shape[1] - b].astype(np.float64)
    if protocol.channel == "rgb":
        return image
    luma = skimage.color.rgb2ycbcr(image / 255)[..., :1]
    return luma if protocol.channel == "y" else (luma - 16) * 255 / 219


def _cut(protocol: Protocol) -> int:
    """Columns cut off at the left."""
    return 64 if protocol.stereo == "left view less 64 columns" else 0


def _checked(a: Measurable, b: Measurable, protocol: Protocol, least: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a), np.asarray(b)  # a PIL image becomes its values
    exact = protocol.rounding == "none"
    if any(x.dtype != np.uint8 and not (exact and x.dtype.kind == "f") for x in (a, b)) or not (
        a.shape == b.shape and a.ndim == 3 and a.shape[2] == 3
    ):
        raise ValueError(
            f"expected two {'uint8 or float' if exact else 'uint8'} (H, W, 3) images of one size, "
            f"got {a.dtype} {a.shape} and {b.dtype} {b.shape}; images.as_rgb makes one of a file or a PIL image"
        )
    height, width = a.shape[0], a.shape[1] - _cut(protocol)
    if protocol.border < 0 or min(height, width) - 2 * protocol.border < least:
        raise ValueError(f"{width}×{height} less a border of {protocol.border} leaves under {least} pixels")
    if exact and not all(0 <= x.min() and x.max() <= 255 for x in (a, b)):
        raise ValueError("a float image holds values outside 0 to 255; clip it first, images.to_pixels does")
    highest = {kind: max((x.max() for x in (a, b) if x.dtype.kind == kind), default=0) for kind in "fu"}
    if 0 < highest["f"] <= 1 and highest["u"] != 1:
        raise ValueError("a float image holds values of 0 to 1, which would count as black; multiply it by 255")
    return a, b


def psnr(a: Measurable, b: Measurable, protocol: Protocol = Protocol()) -> float:
    """PSNR in dB, peak 255, by default from the MSE pooled over pixels and channels; infinite for equal images."""
    a, b = (_prepare(image, protocol) for image in _checked(a, b, protocol, 1))
    if protocol.psnr_mean == "per channel":
        return float(np.mean([_decibels(x, y) for x, y in zip(np.moveaxis(a, 2, 0), np.moveaxis(b, 2, 0))]))
    return _decibels(a, b)


def _decibels(a: np.ndarray, b: np.ndarray) -> float:
    if np.array_equal(a, b):
        return float("inf")
    return float(skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255))


def ssim(a: Measurable, b: Measurable, protocol: Protocol = Protocol()) -> float:
    """SSIM (Wang et al. 2004), mean over channels, in [−1, 1]. Needs at least 11 × 11 pixels."""
    window = {"use_sample_covariance": protocol.ssim_window == "uniform"}
    window |= {"gaussian_weights": True, "sigma": 1.5} if protocol.ssim_window == "gaussian" else {}
    options = {"K1": protocol.ssim_k1, "K2": protocol.ssim_k2} | window
    a, b = (_prepare(image, protocol) for image in _checked(a, b, protocol, 11))
    return float(skimage.metrics.structural_similarity(a, b, channel_axis=2, data_range=255, **options))
