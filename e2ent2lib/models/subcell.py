"""A departure from the paper, under a name of its own: the reference is matched between the cells too.

Eq. 4 moves what it takes from the reference by whole cells, r pixels. The true displacement lies anywhere between, so
F is up to r/2 pixels off, and ζ would have to find out by how much and move it. Here the reference is offered several
times, each time shifted by a part of a cell; match and swap, which take any number of references, choose.
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from e2ent2lib.matching import match_and_swap
from e2ent2lib.models.e2ent2 import E2ENT2, Images, Outputs

SHIFTS = 2
"""Positions tried in a cell, in each direction: with r = 4, F is at most 1 pixel off instead of 2."""


class SubcellE2ENT2(E2ENT2):
    """E2ENT² whose reference is also matched at positions between the cells of the low-resolution grid."""

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """As ``E2ENT2.forward``; ``ref_down`` is made anew from ``ref``, at each shift."""
        phi_in = self.encoder(lr)
        downs, fulls = [], []
        for image in [ref] if isinstance(ref, Tensor) else ref:
            full = self.encoder(image)  # once: φ at full resolution moves along with its image
            for rows, columns in shifted(image.shape[2:], self.profile.scale):
                downs.append(self.encoder(downscaled(image[..., rows, columns], self.profile.scale)))
                fulls.append(full[..., rows, columns])
        options = {"norm": self.norm, "error_down": self.error_down}
        swapped = match_and_swap(phi_in, downs, fulls, self.alphas, self.profile.scale, **options)
        return Outputs(self.synthesis(swapped, phi_in, lr), self.reconstruct(phi_in, lr), swapped)


def shifted(size: tuple[int, int], scale: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the reference for each shift, unshifted first, each of whole cells; 3 of them at least."""
    starts = [round(i * scale / SHIFTS) for i in range(SHIFTS)]
    whole = [[slice(s, s + (n - s) // scale * scale) for s in starts if s == 0 or n - s >= 3 * scale] for n in size]
    return list(product(*whole))


def downscaled(image: Images, scale: int) -> Float[Tensor, "b 3 H/r W/r"]:
    """I_ref↓ of a part of the reference: antialiased bicubic, rounded to 8 bits, as ``images.downscale`` makes it."""
    small = F.interpolate(image.float(), scale_factor=1 / scale, mode="bicubic", antialias=True)
    return torch.round(255 * small.clamp(0, 1)) / 255
