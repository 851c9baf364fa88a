"""A match refined to the pixel, and the swap from there: for ``systems.photo``, which departs from Eq. 4 here.

The match of Eq. 3 is between whole cells. φ(I_ref↓) is known at every pixel too, if I_ref is shifted by each part of a
cell before it is reduced; there each match looks around itself and its neighbours' places (``coarse.Lookup``).
"""

from collections.abc import Sequence
from itertools import accumulate, product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.exact.gather import SHIFTS, of_neighbours, overlap_weights
from e2ent2lib.matching import Map, Matches
from e2ent2lib.models.network import Images
from e2ent2lib.models.sisr import bilinear
from e2ent2lib.photos.coarse import Lookup, Places, places_of
from e2ent2lib.systems.parts import shrink

SPREAD = 0.005
"""Cosines that differ by this count e times as much in ``mixed``. On three views 0.01 gave 0.02 dB more, which is the
most, and LPIPS that was 0.003 worse; 0.0025 gave 0.02 dB less, and LPIPS that was 0.002 better."""
LOOKS = 8
"""Cells around its own that a cell of a reference in place may be found at (``REACH``) or asks (``coarse.ROUNDS``)."""
REACH = 3
"""Pixels by which a match is refined at most before its neighbours are asked; half a cell is 2."""


class Candidate(NamedTuple):
    """What one way to look at the references gives."""

    swapped: Map
    """F, of the result's size."""
    evidence: Float[Tensor, "b c+1 h w"]
    """Of ``evidence``."""


def dense_features(encoder: nn.Module, ref: Images, scale: int, dtype: torch.dtype | None = None) -> Map:
    """φ(I_ref↓) of the cell that begins at each pixel: I_ref shifted by each part of a cell, reduced, encoded.

    ref (B, 3, H, W) with sides that r = ``scale`` divides; returns (B, C, H − r + 1, W − r + 1), since a cell must be
    inside, in φ's dtype if no other is given.
    """
    height, width = (n - scale + 1 for n in ref.shape[2:])
    out = None
    for dy, dx in product(range(scale), repeat=2):
        shifted = ref[
            ..., dy : dy + (ref.shape[2] - dy) // scale * scale, dx : dx + (ref.shape[3] - dx) // scale * scale
        ]
        phi = encoder(torch.round(255 * shrink(shifted, scale).clamp(0, 1)) / 255)
        if out is None:
            rows = phi.new_empty(len(phi), height, width, phi.shape[1], dtype=dtype or phi.dtype)
            out = rows.permute(0, 3, 1, 2)  # channels last, as ``refine`` reads them
        out[..., dy::scale, dx::scale] = phi
    return out


@torch.no_grad()
def refine(query: Map, dense: Sequence[Map], places: Matches | Places, scale: int) -> Places:
    """Each match of Eq. 3, or place, moved to the pixel around it where the 3×3 cells have the largest cosine.

    query φ(I_in) (B, C, h, w); dense of ``dense_features``, one map a reference; matches are of its whole cells.
    Returns (B, h, w): the row and column are of the pixel where the place of the cell itself begins, the score is the
    cosine. It tries shifts by up to ``REACH`` pixels, then the neighbours' displacements and those around them.
    """
    refined = []
    if isinstance(places, Matches):
        places = places_of(places, [-(-d.shape[3] // scale) for d in dense], scale)
    for b, (source, row, column, score) in enumerate(zip(*places)):
        look = Lookup(query[b : b + 1], [d[b : b + 1] for d in dense], step=scale)
        source, row, column, score = look.around(Places(source, row - scale, column - scale, score), REACH)
        cosine = score / look.query_norm.clamp_min(1e-12)
        refined.append(Places(source, row + scale, column + scale, cosine))
    return Places(*map(torch.stack, zip(*refined)))


def look_up(dense: Sequence[Map], places: Places) -> Map:
    """The features of ``dense_features`` at the places, (B, C, h, w)."""
    found = dense[0].new_empty(*places.row.shape, dense[0].shape[1])
    for s, one in enumerate(dense):
        at = b, _, _ = (places.source == s).nonzero(as_tuple=True)
        found[at] = one.permute(0, 2, 3, 1)[b, places.row[at], places.column[at]]
    return found.permute(0, 3, 1, 2)


def in_place(encoder: nn.Module, query: Map, ref: Images, scale: int) -> Candidate:
    """F of a reference that lies over the result (1, 3, r·h, r·w), where each cell looks around its own place.

    query φ(I_in) (1, C, h, w).
    """
    ref = F.pad(ref, 4 * (scale,), mode="replicate")  # a cell at the border has a patch there, too
    dense = dense_features(encoder, ref, scale, torch.float32)
    own = [scale * torch.arange(1, n + 1, device=query.device) for n in query.shape[2:]]
    row, column = (at[None] for at in torch.meshgrid(*own, indexing="ij"))
    places = refine(query, [dense], Places(torch.zeros_like(row), row, column, torch.zeros_like(row).float()), scale)
    swapped = swap_at([encoder(ref).float()], places, scale)  # all is used, so that picking what is would take longer
    return Candidate(swapped, evidence([dense], places))


def evidence(dense: Sequence[Map], places: Places) -> Float[Tensor, "b c+1 h w"]:
    """What tells whether the places fit: the features there, and the cosine."""
    return torch.cat([look_up(dense, places).float(), places.score[:, None]], dim=1)


def mixed(candidates: Sequence[Candidate], scale: int) -> Candidate:
    """The mean of several, each cell's weighted by how well they fit: a softmax of the cosines over ``SPREAD``."""
    weights = (torch.stack([c.evidence[:, -1:] for c in candidates]) / SPREAD).softmax(0)
    return Candidate(
        sum(bilinear(w, scale) * c.swapped for w, c in zip(weights, candidates)),
        sum(w * c.evidence for w, c in zip(weights, candidates)),
    )


def swap_at(values: Sequence[Map], places: Places, scale: int) -> Map:
    """F of Eq. 4 from patches that may begin at any pixel; the mean where they overlap. Differentiable in ``values``.

    values φ(I_ref) (B, C, H, W), a map each reference. Returns (B, C, r·h, r·w) in their dtype.
    """
    rows = torch.cat([m.permute(0, 2, 3, 1).flatten(1, 2) for m in values], dim=1)
    return swap_rows(rows, [m.shape[2:] for m in values], places, scale).to(rows.dtype)


def swap_rows(
    rows: Float[Tensor, "b pixels c"], sizes: Sequence[tuple[int, int]], places: Places, scale: int
) -> Float[Tensor, "b c H W"]:
    """``swap_at`` in float32 of maps of these ``sizes`` as rows: all pixels of all maps, one map after another."""
    # the first pixel of each place as one of ``rows``, all samples one after another; how wide its map is
    samples = rows.shape[1] * torch.arange(len(rows), device=rows.device).view(-1, 1, 1)
    starts = torch.tensor([0, *accumulate(h * w for h, w in sizes)], device=rows.device)[places.source]
    width = torch.tensor([w for _, w in sizes], device=rows.device)[places.source]
    # the 9 pixels that each pixel of F averages, one from the patch of each neighbour: (B, h, r, w, r, 9)
    corner, width = of_neighbours(samples + starts + places.row * width + places.column), of_neighbours(width)
    oy, ox = torch.tensor(SHIFTS, device=rows.device).T
    cell = corner + scale * (oy * width + ox)
    inside = torch.arange(scale, device=rows.device)
    pixels = cell[:, :, None, :, None] + inside[:, None, None, None] * width[:, :, None, :, None] + inside[:, None]
    weights = overlap_weights(places.row)[:, :, None, :, None].expand_as(pixels).flatten(0, 4).to(torch.float32)
    rows = rows.flatten(0, 1)
    bags = pixels.clamp_(0, len(rows) - 1).flatten(0, 4)  # beyond the cells the weight is 0, but the pixel must exist
    if rows.dtype != torch.float32:  # of large maps, of which a tile needs a part
        used, bags = bags.unique(return_inverse=True)
        rows = rows[used].float()
    out = F.embedding_bag(bags, rows, mode="sum", per_sample_weights=weights)
    b, h, w = places.row.shape
    return out.view(b, scale * h, scale * w, -1).permute(0, 3, 1, 2)
