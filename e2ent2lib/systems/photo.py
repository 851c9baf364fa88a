"""E2ENT²-photo: a departure from the paper for people's own photographs, under a name of its own.

The idea: a deep SISR branch, a match refined to the pixel, and F used where the low-resolution features agree.

- φ is as lean as E2ENT²'s, since it also runs on the reference at high resolution. What follows it in the SISR branch
  sees the low resolution alone, so it may be wide and deep at little cost.
- Eq. 4 moves what it takes from the reference by whole cells, so that F is up to r/2 pixels off. Here each match of
  Eq. 3 is refined: φ(I_ref↓) is known at every pixel (``dense_features``), and a cell tries the shifts around its
  match, then those of its neighbours (``refine``). F is then at most half a pixel off.
- F is scaled by a gate that compares φ(I_in) with the features found there, and added to the SISR branch's image.
- The gradient is that of Eq. 5 with α = (0, 0, 1), the true one.

Notebook 14 shows what each of these gives.
"""

from collections.abc import Sequence
from itertools import accumulate, product

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.exact.gather import SHIFTS, of_neighbours, overlap_weights
from e2ent2lib.matching import Map, Matches, as_list, match
from e2ent2lib.models.blocks import conv3, output_conv, residual_blocks
from e2ent2lib.models.e2ent2 import features
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.models.sisr import FeatureEncoder, bilinear
from e2ent2lib.photos.coarse import Lookup, Places
from e2ent2lib.systems.parts import shrink

REACH = 3
"""Pixels by which a match is refined at most before its neighbours are asked; half a cell is 2."""


class PhotoBase(Network):
    """The SISR branch: φ, a body twice as wide and four times as deep, one pixel-shuffle stage, a bilinear skip."""

    encodes = True

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        c, wide, r = profile.channels, 2 * profile.channels, profile.scale
        self.encoder = FeatureEncoder(c, profile.encoder_blocks)
        self.head = conv3(c, wide)
        self.body = nn.Sequential(residual_blocks(wide, 4 * profile.encoder_blocks), conv3(wide, wide))
        self.up = nn.Sequential(conv3(wide, r * r * c), nn.PixelShuffle(r), nn.ReLU(inplace=True))
        self.last = output_conv(c)

    def details(self, phi_in: Map) -> Float[Tensor, "b c r*h r*w"]:
        """Features at high resolution from φ(I_in), of which the last convolution makes the image."""
        x = self.head(phi_in)
        return self.up(x + self.body(x))

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The super-resolved image; lr in [0, 1]."""
        return Outputs(self.last(self.details(self.encoder(lr))) + bilinear(lr, self.profile.scale))


class PhotoE2ENT2(Network):
    """The SISR branch, refined match, swap and gate, and a synthesis that adds what F tells to the branch's image."""

    references = "any"
    encodes = True
    norm = "l2"

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        c = profile.channels
        self.base = PhotoBase(profile)
        self.gate = nn.Sequential(conv3(2 * c + 1, c), nn.ReLU(inplace=True), conv3(c, c))
        self.synthesis = nn.Sequential(conv3(2 * c, c), residual_blocks(c, profile.res2_blocks), output_conv(c))

    @property
    def encoder(self) -> FeatureEncoder:
        """φ, shared with the SISR branch."""
        return self.base.encoder

    @property
    def single_image(self) -> PhotoBase:
        """The SISR branch."""
        return self.base

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """I_sr and the SISR branch's image, from images in [0, 1]; lists for several references."""
        r, refs = self.profile.scale, as_list(ref)
        phi_in, downs, fulls = features(self.encoder, lr, ref_down, refs)
        with torch.no_grad():
            dense = [dense_features(self.encoder, image, r) for image in refs]
            places = refine(phi_in, dense, match(phi_in, downs, self.norm), r)
            found = look_up(dense, places)
        swapped = swap_at(fulls, places, r)  # F
        return self.compose(swapped, phi_in, lr, torch.cat([found, places.score[:, None]], dim=1))

    def compose(self, swapped: Map, phi_in: Map, lr: Images, found: Float[Tensor, "b c+1 h w"]) -> Outputs:
        """What comes after the swap; ``found`` are the low-resolution features at the matched places and the cosine."""
        details = self.base.details(phi_in)
        sisr = self.base.last(details) + bilinear(lr, self.profile.scale)
        gate = bilinear(
            torch.sigmoid(self.gate(torch.cat([phi_in, found.to(phi_in.dtype)], dim=1))), self.profile.scale
        )
        sr = sisr + self.synthesis(torch.cat([gate * swapped, details], dim=1))
        return Outputs(sr, sisr, swapped, found[:, -1])


# ---- A match refined to the pixel ----


def dense_features(encoder: nn.Module, ref: Images, scale: int) -> Map:
    """φ(I_ref↓) of the cell that begins at each pixel: I_ref shifted by each part of a cell, reduced, encoded.

    ref (B, 3, H, W) with sides that ``scale`` divides, its last rows and columns repeated; returns (B, C, H, W).
    """
    wide, out = F.pad(ref, (0, scale - 1, 0, scale - 1), mode="replicate"), None
    for dy, dx in product(range(scale), repeat=2):
        shifted = wide[..., dy : dy + ref.shape[2], dx : dx + ref.shape[3]]
        phi = encoder(torch.round(255 * shrink(shifted, scale).clamp(0, 1)) / 255)
        if out is None:
            out = phi.new_empty(*phi.shape[:2], *ref.shape[2:])
        out[..., dy::scale, dx::scale] = phi
    return out


@torch.no_grad()
def refine(query: Map, dense: Sequence[Map], matches: Matches, scale: int) -> Places:
    """The matches of Eq. 3, each moved to the pixel around it where the 3×3 cells have the largest cosine.

    query φ(I_in) (B, C, h, w); dense of ``dense_features``, one map (B, C, H, W) a reference; matches of these.
    Returns (B, h, w): the row and column are of the pixel where the place of the cell itself begins, the score is the
    cosine. Tried are shifts by up to ``REACH`` pixels, then the displacements of the neighbours and those around them.
    """
    widths = torch.tensor([d.shape[3] // scale - 2 for d in dense], device=query.device)[matches.source]
    refined = []
    for b in range(len(query)):
        look = Lookup(query[b : b + 1], [d[b : b + 1] for d in dense], step=scale)
        row, column = (scale * part for part in (matches.index[b] // widths[b], matches.index[b] % widths[b]))
        start = Places(matches.source[b], row, column, torch.full_like(matches.score[b], -torch.inf))
        source, row, column, score = look.around(start, REACH)
        cosine = score / look.query_norm.clamp_min(1e-12)
        refined.append(Places(source, row + scale, column + scale, cosine))
    return Places(*map(torch.stack, zip(*refined)))


def look_up(dense: Sequence[Map], places: Places) -> Map:
    """The features of ``dense_features`` at the places, (B, C, h, w)."""
    rows, cells, _ = _rows_and_cells(dense, places)
    return rows[cells.flatten()].view(*cells.shape, -1).permute(0, 3, 1, 2)


def swap_at(values: Sequence[Map], places: Places, scale: int) -> Map:
    """F of Eq. 4 from patches that may begin at any pixel; the mean where they overlap. Differentiable in ``values``.

    values φ(I_ref) (B, C, H, W), a map each reference. Returns (B, C, r·h, r·w) in their dtype.
    """
    rows, first, width = _rows_and_cells(values, places)
    # the 9 pixels that each pixel of F averages, one from the patch of each neighbour: (B, h, r, w, r, 9)
    corner, width = of_neighbours(first), of_neighbours(width)
    oy, ox = torch.tensor(SHIFTS, device=rows.device).T
    cell = corner + scale * (oy * width + ox)
    inside = torch.arange(scale, device=rows.device)
    pixels = cell[:, :, None, :, None] + inside[:, None, None, None] * width[:, :, None, :, None] + inside[:, None]
    weights = overlap_weights(places.row)[:, :, None, :, None].expand_as(pixels)
    pixels = pixels.clamp_(0, len(rows) - 1)  # beyond the map of cells: the weight is 0, but the pixel must exist
    bags, weights = pixels.flatten(0, 4), weights.flatten(0, 4).to(torch.float32)
    out = F.embedding_bag(bags, rows.float(), mode="sum", per_sample_weights=weights)
    b, h, w = places.row.shape
    return out.view(b, scale * h, scale * w, -1).permute(0, 3, 1, 2).to(values[0].dtype)


def _rows_and_cells(maps: Sequence[Map], places: Places) -> tuple[Tensor, Int[Tensor, "b h w"], Int[Tensor, "b h w"]]:
    """All pixels of all maps as rows, sample by sample; which row each place is; how wide its map is."""
    rows = torch.cat([m.permute(0, 2, 3, 1).flatten(1, 2) for m in maps], dim=1)
    widths = torch.tensor([m.shape[3] for m in maps], device=rows.device)[places.source]
    starts = [0, *accumulate(m[0, 0].numel() for m in maps)][:-1]
    starts = torch.tensor(starts, device=rows.device)[places.source]
    samples = rows.shape[1] * torch.arange(len(rows), device=rows.device).view(-1, 1, 1)
    return rows.flatten(0, 1), samples + starts + places.row * widths + places.column, widths
