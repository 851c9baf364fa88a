"""A departure from the paper, under a name of its own: the reference is matched between the cells too.

The idea: match at every pixel of the reference instead of every r-th, so that the swapped features are in place.

Eq. 4 moves what it takes from the reference by whole cells, r pixels. The true displacement lies anywhere between, so
F is up to r/2 pixels off, and ζ would have to find out by how much and move it. Here the reference is offered r² times,
each time shifted by another part of a cell; the match chooses the shift with the patch, and F is at most half a pixel
off. The rest is E2ENT², weight for weight. Notebook 04 shows what it gives.
"""

from collections.abc import Sequence
from itertools import accumulate, product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from e2ent2lib.exact.gather import SHIFTS, of_neighbours, overlap_weights
from e2ent2lib.matching import Map, Matches, as_list, match, swap
from e2ent2lib.models.e2ent2 import E2ENT2
from e2ent2lib.models.network import Images, Outputs
from e2ent2lib.systems.parts import shrink


class SubcellE2ENT2(E2ENT2):
    """E2ENT² whose reference is also matched at positions between the cells of the low-resolution grid."""

    swaps = ""

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """As ``E2ENT2.forward``; ``ref_down`` is made anew from ``ref``, at each shift."""
        r = self.profile.scale
        refs = as_list(ref)
        phi_in, fulls = self.encoder(lr), [self.encoder(image) for image in refs]
        downs, starts = [], []
        for number, image in enumerate(refs):
            for rows, columns in shifted(image.shape[2:], r):
                downs.append(self.encoder(downscaled(image[..., rows, columns], r)))
                starts.append((number, rows.start, columns.start))
        matches = match(phi_in, downs, self.norm)
        swapped = swap_between_cells([_weighted(full, self.alphas[2]) for full in fulls], matches, downs, starts, r)
        if torch.is_grad_enabled():
            swapped = swapped + self._straight_through(phi_in, swap(downs, matches, 1)).to(swapped.dtype)
        return self.compose(swapped, phi_in, lr, matches.confidence)

    def _straight_through(self, phi_in: Map, swapped_down: Map) -> Map:
        """Nothing, but with the first two lines of Eq. 5 as gradient: E↓ for the two maps that decided the match."""
        both = self.alphas[0] * phi_in + self.alphas[1] * swapped_down
        both = F.interpolate(both.float(), scale_factor=self.profile.scale, mode="nearest")
        if self.error_down == "mean":
            both = both / self.profile.scale**2
        return both - both.detach()


def _weighted(maps: Map, alpha: float) -> Map:
    """The map itself; its gradient times ``alpha``."""
    return alpha * maps + (1 - alpha) * maps.detach()


def shifted(size: tuple[int, int], scale: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the reference for each shift, unshifted first, each of whole cells; 3 of them at least."""
    whole = [
        [slice(s, s + (n - s) // scale * scale) for s in range(scale) if s == 0 or n - s >= 3 * scale] for n in size
    ]
    return list(product(*whole))


def downscaled(image: Images, scale: int) -> Float[Tensor, "b 3 H/r W/r"]:
    """I_ref↓ of a part of the reference, rounded to 8 bits, as ``images.downscale`` makes it."""
    return torch.round(255 * shrink(image, scale).clamp(0, 1)) / 255


def swap_between_cells(
    values: Sequence[Map], matches: Matches, keys: Sequence[Map], starts: Sequence[tuple[int, int, int]], scale: int
) -> Map:
    """F as ``matching.swap`` makes it, of patches that may begin at any pixel; differentiable in ``values``.

    ``matching.swap`` could have each shift as a reference of its own, but would hold φ(I_ref) r² times.
    values (B, C, H, W), a map each reference; ``starts`` says for each of ``keys``, the (B, C, ., .) maps that were
    matched, which value it is of and the pixel (y, x) where its first cell begins. Returns (B, C, r·h, r·w).
    """
    rows = torch.cat([v.permute(0, 2, 3, 1).flatten(1, 2) for v in values], dim=1).float()  # (B, pixels, C)
    before = [0, *accumulate(v[0, 0].numel() for v in values)]
    facts = [
        (before[n] + y * values[n].shape[3] + x, values[n].shape[3], k.shape[3]) for (n, y, x), k in zip(starts, keys)
    ]
    first, width, key_width = torch.tensor(facts, device=rows.device)[matches.source].unbind(-1)
    v, u = matches.index // (key_width - 2), matches.index % (key_width - 2)
    # the 9 pixels, counted on through all references, that each pixel of F averages: (B, h, r, w, r, 9)
    corner, width = of_neighbours(first + scale * (v * width + u)), of_neighbours(width)
    oy, ox = torch.tensor(SHIFTS, device=rows.device).T
    cell = corner + scale * ((1 + oy) * width + 1 + ox)
    inside = torch.arange(scale, device=rows.device)[:, None]
    pixels = cell[:, :, None, :, None] + inside[:, None, None] * width[:, :, None, :, None] + inside
    pixels = pixels.clamp_(max=rows.shape[1] - 1)  # beyond the map: its weight is 0, but its pixel must exist
    batch, h, w = matches.index.shape
    pixels += rows.shape[1] * torch.arange(batch, device=rows.device).view(-1, 1, 1, 1, 1, 1)
    weights = overlap_weights(matches.index).to(rows.dtype)[:, :, None, :, None].expand_as(pixels)
    bags, weights = pixels.flatten(0, 4), weights.flatten(0, 4)
    out = F.embedding_bag(bags, rows.flatten(0, 1), mode="sum", per_sample_weights=weights)
    return out.view(batch, scale * h, scale * w, -1).permute(0, 3, 1, 2).to(values[0].dtype)
