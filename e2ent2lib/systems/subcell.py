"""A departure from the paper, under a name of its own: the reference is matched between the cells too.

The idea: match at every pixel of the reference instead of every r-th, so that the swapped features are in place.

Eq. 4 moves what it takes from the reference by whole cells, r pixels. The true displacement lies anywhere between, so
F is up to r/2 pixels off, and ζ would have to find out by how much and move it. Here the reference is offered r² times,
each time shifted by another part of a cell; the match chooses the shift with the patch, and F is at most half a pixel
off. The rest is E2ENT², weight for weight. Notebook 04 shows what it gives.
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from e2ent2lib.exact.gather import SHIFTS, of_neighbours, overlap_weights
from e2ent2lib.matching import Map, Matches, match, swap
from e2ent2lib.models.e2ent2 import E2ENT2
from e2ent2lib.models.network import Images, Outputs


class SubcellE2ENT2(E2ENT2):
    """E2ENT² whose reference is also matched at positions between the cells of the low-resolution grid."""

    whole_cells = False

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """As ``E2ENT2.forward``; ``ref_down`` is made anew from ``ref``, at each shift."""
        r = self.profile.scale
        refs = [ref] if isinstance(ref, Tensor) else list(ref)
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
    """I_ref↓ of a part of the reference: antialiased bicubic, rounded to 8 bits, as ``images.downscale`` makes it."""
    small = F.interpolate(image.float(), scale_factor=1 / scale, mode="bicubic", antialias=True)
    return torch.round(255 * small.clamp(0, 1)) / 255


def swap_between_cells(
    values: Sequence[Map], matches: Matches, keys: Sequence[Map], starts: Sequence[tuple[int, int, int]], scale: int
) -> Map:
    """F as ``matching.swap`` makes it, of patches that may begin at any pixel; differentiable in ``values``.

    ``matching.swap`` could have each shift as a reference of its own, but would hold φ(I_ref) r² times.
    values (B, C, H, W), a map each reference; ``starts`` says for each of ``keys``, the (B, C, ., .) maps that were
    matched, which value it is of and the pixel (y, x) where its first cell begins. Returns (B, C, r·h, r·w).
    """
    rows = torch.cat([v.permute(0, 2, 3, 1).flatten(1, 2) for v in values], dim=1).float()  # (B, pixels, C)
    pixels = _pixels_of_patches(matches, [v.shape[2:] for v in values], [k.shape[3] for k in keys], starts, scale)
    batch, h, w = matches.index.shape
    pixels = pixels.clamp_(max=rows.shape[1] - 1)  # beyond the map: its weight is 0, but its pixel must exist
    pixels += rows.shape[1] * torch.arange(batch, device=rows.device).view(-1, 1, 1, 1, 1, 1)
    weights = overlap_weights(matches.index).to(rows.dtype)[:, :, None, :, None].expand_as(pixels)
    out = F.embedding_bag(
        pixels.flatten(0, 4), rows.flatten(0, 1), mode="sum", per_sample_weights=weights.flatten(0, 4)
    )
    return out.view(batch, scale * h, scale * w, -1).permute(0, 3, 1, 2).to(values[0].dtype)


def _pixels_of_patches(
    matches: Matches,
    sizes: Sequence[tuple[int, int]],
    key_widths: Sequence[int],
    starts: Sequence[tuple[int, int, int]],
    scale: int,
) -> Int[Tensor, "b h r w r 9"]:
    """The 9 pixels, counted on through all references, that each pixel of F averages; cf. ``matching.swap``."""
    begin = [0]
    for height, width in sizes:
        begin.append(begin[-1] + height * width)
    facts = [(begin[n] + y * sizes[n][1] + x, sizes[n][1], k - 2) for (n, y, x), k in zip(starts, key_widths)]
    first, width, columns = torch.tensor(facts, device=matches.index.device)[matches.source].unbind(-1)
    corner = of_neighbours(first + matches.index // columns * scale * width + matches.index % columns * scale)
    width = of_neighbours(width)
    oy, ox = torch.tensor(SHIFTS, device=corner.device).T
    cell = corner + (1 + oy) * scale * width + (1 + ox) * scale
    inside = torch.arange(scale, device=corner.device)[:, None]
    return cell[:, :, None, :, None] + inside[:, None, None] * width[:, :, None, :, None] + inside
