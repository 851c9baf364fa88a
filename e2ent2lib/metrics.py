"""PSNR and SSIM under a named protocol (4.1 says only "PSNR and SSIM"). scikit-image computes both."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a number is measured. It travels with every number; two protocols are never subtracted."""

    channel: Literal["rgb", "y"] = "rgb"
    """All three channels pooled, or BT.601 luma (16 to 235)."""
    border: int = 0
    """Pixels cut off each side before measuring."""
    resize: Literal["pillow-bicubic"] = "pillow-bicubic"
    """The ×1/r kernel: antialiased bicubic, a = −0.5, rounded to 8 bits."""
    ssim_window: Literal["gaussian", "uniform"] = "gaussian"
    """Gaussian σ 1.5 as Wang et al. (2004) define it, or scikit-image's 7×7 mean."""
    reference: str = "level 1"
    """Which reference is used where there are several."""
    odd_size: str = "crop to a multiple of 4"
    """What is done with sizes that the scale does not divide."""

    def __str__(self) -> str:
        return ", ".join(f"{k} {v}" for k, v in asdict(self).items())


def _prepare(image: UInt8[np.ndarray, "h w 3"], protocol: Protocol) -> Float[np.ndarray, "h w c"]:
    b = protocol.border
    image = image[b : image.shape[0] - b, b : image.shape[1] - b]
    return rgb2ycbcr(image)[..., :1] if protocol.channel == "y" else image.astype(np.float64)


def _check(a: np.ndarray, b: np.ndarray, protocol: Protocol, least: int) -> None:
    if a.dtype != np.uint8 or b.dtype != np.uint8 or a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3:
        raise ValueError(
            f"expected two uint8 (H, W, 3) images of one size, got {a.dtype} {a.shape} and {b.dtype} {b.shape}"
        )
    if protocol.border < 0 or min(a.shape[:2]) - 2 * protocol.border < least:
        raise ValueError(f"{a.shape[1]}×{a.shape[0]} less a border of {protocol.border} leaves under {least} pixels")


def psnr(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"], protocol: Protocol = Protocol()) -> float:
    """PSNR in dB, from the MSE pooled over pixels and channels, peak 255; infinite for equal images."""
    _check(a, b, protocol, 1)
    a, b = _prepare(a, protocol), _prepare(b, protocol)
    return float("inf") if np.array_equal(a, b) else float(peak_signal_noise_ratio(a, b, data_range=255))


def ssim(a: UInt8[np.ndarray, "h w 3"], b: UInt8[np.ndarray, "h w 3"], protocol: Protocol = Protocol()) -> float:
    """SSIM (Wang et al. 2004), mean over channels, in [−1, 1]. Needs at least 11 × 11 pixels."""
    _check(a, b, protocol, 11)
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    options = wang if protocol.ssim_window == "gaussian" else {}
    return float(
        structural_similarity(_prepare(a, protocol), _prepare(b, protocol), channel_axis=2, data_range=255, **options)
    )
