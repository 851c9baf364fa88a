"""Training crops as people's photographs are: reduced by other kernels, saved as JPEG, noisy, of another exposure.

Not the paper's: for ``e2ent2-photo``. Half of the crops stay as ``CropTwice`` makes them.
"""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from e2ent2lib.crops import Crops
from e2ent2lib.data.training import CropTwice
from e2ent2lib.photos.images import downscale, to_tensor

Picture = UInt8[np.ndarray, "h w 3"]
KERNELS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
"""How else than by Pillow's bicubic a picture may have been reduced; the last one after a light blur."""
CLEAN = 0.5
"""Share of the samples that stay clean."""


class Degraded(CropTwice):
    """``CropTwice`` with all items turned or mirrored by chance, both pictures alike, and half of them degraded.

    The input is reduced by another kernel, gets noise (σ up to 8 grey levels, in one of three) and is saved as JPEG
    (quality 50 to 95, in one of two). The reference gets another exposure (×0.6 to ×1.6), white balance (±15 %) and
    gamma (0.8 to 1.25), and is turned by up to 5° and scaled by up to 10 % in one of three.
    """

    def __getitem__(self, item: int) -> Crops:
        i, first, j, second = self.boxes(item)
        rng = np.random.default_rng([self.seed, item + self.start, 1])
        turns, mirrored, r = int(rng.integers(4)), rng.random() < 0.5, self.profile.scale
        both = (np.rot90(self._cut(*place), turns) for place in ((i, first), (j, second)))
        hr, ref = (np.ascontiguousarray(x[:, ::-1] if mirrored else x) for x in both)
        if rng.random() < CLEAN:
            lr = downscale(hr, r)
        else:
            lr = noisy(reduced(hr, r, rng), rng)
            lr = as_jpeg(lr, int(rng.integers(50, 96))) if rng.random() < 1 / 2 else lr
            ref = lit(turned(ref, rng), rng)
        return Crops(*(to_tensor(x)[0] for x in (hr, lr, ref, downscale(ref, r))))


def reduced(hr: Picture, scale: int, rng: np.random.Generator) -> Picture:
    """The picture reduced by one of ``KERNELS``, (h/scale, w/scale, 3)."""
    image, kernel = Image.fromarray(hr), int(rng.integers(len(KERNELS)))
    if kernel == len(KERNELS) - 1:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    return np.asarray(image.resize((hr.shape[1] // scale, hr.shape[0] // scale), KERNELS[kernel]))


def noisy(lr: Picture, rng: np.random.Generator) -> Picture:
    """One in three with noise."""
    return rounded(lr + rng.normal(0, rng.uniform(1, 8), lr.shape)) if rng.random() < 1 / 3 else lr


def turned(ref: Picture, rng: np.random.Generator) -> Picture:
    """One in three turned and scaled a little; what was outside is black."""
    if rng.random() >= 1 / 3:
        return ref
    angle, zoom = np.radians(rng.uniform(-5, 5)), np.exp(rng.uniform(-0.1, 0.1))
    a, b = np.cos(angle) / zoom, np.sin(angle) / zoom
    cx, cy = ref.shape[1] / 2, ref.shape[0] / 2
    matrix = (a, b, cx - a * cx - b * cy, -b, a, cy + b * cx - a * cy)
    image = Image.fromarray(ref)
    return np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))


def lit(ref: Picture, rng: np.random.Generator) -> Picture:
    """In another exposure, white balance and gamma."""
    gains = np.exp(rng.uniform(np.log(0.6), np.log(1.6))) * rng.uniform(0.85, 1.15, 3)
    return rounded(255 * (ref / 255) ** rng.uniform(0.8, 1.25) * gains)


def as_jpeg(picture: Picture, quality: int) -> Picture:
    """The picture as JPEG of this quality gives it back."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def rounded(values: np.ndarray) -> Picture:
    """Values of 0 to 255 as uint8, rounded, those beyond cut off."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
