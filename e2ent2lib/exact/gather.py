"""Swap (Eq. 4) and its adjoint as gathers: each cell of F is a weighted sum of reference cells, and the reverse.

``plain_swap`` copies whole patches, each value nine times. But the mean over overlapping patches needs, for a cell of
F, only the nine cells of the reference that lie on it: ``torch``'s ``embedding_bag`` sums them, one bag per cell,
without a copy. A cell is one row of r²·C numbers.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from e2ent2lib.exact import is_capturable
from e2ent2lib.matching import Map, Matches, index_and_source

SHIFTS = [(oy, ox) for oy in (-1, 0, 1) for ox in (-1, 0, 1)]
"""Where a cell lies in the nine patches over it, seen from their centres."""


def swap(values: list[Map], index: Int[Tensor, "b h w"] | Matches, scale: int = 4) -> Map:
    """``matching.swap``, for a list of values."""
    batch = index_and_source(index)[0].shape[0]
    for v in values:
        if v.ndim != 4 or v.shape[2] % scale or v.shape[3] % scale or v.shape[0] != batch:
            raise ValueError(f"value {tuple(v.shape)}: expected a batch of {batch} and sides that {scale} divides")
    cells, weights = swap_plan(index, [(v.shape[2] // scale, v.shape[3] // scale) for v in values])
    dtype = values[0].dtype
    rows = torch.cat([to_rows(v, scale) for v in values], dim=1)  # (B, cells of all references, C·r²)
    if is_capturable():
        out = weight_matrix(cells, weights, rows.shape[1]) @ rows.float()
        return from_rows(out, cells.shape[1:3], scale).to(dtype)
    work = rows if dtype == torch.float64 else rows.float()
    bags, weights = cells.flatten(0, 2), weights.to(work.dtype).flatten(0, 2)
    out = F.embedding_bag(bags, work.flatten(0, 1), mode="sum", per_sample_weights=weights)
    return from_rows(out.view(batch, -1, rows.shape[2]), cells.shape[1:3], scale).to(dtype)


def swap_adjoint(
    error: Map, index: Int[Tensor, "b h w"] | Matches, sizes: Sequence[tuple[int, int]], scale: int = 4
) -> list[Map]:
    """``matching.swap_adjoint``.

    The cells of F are sorted by the reference cell that they averaged, so that all errors of one reference cell are a
    bag: no atomic additions, and the same to the last bit each time.
    """
    cells, weights = swap_plan(index, sizes)
    rows = to_rows(error, scale)
    b, _, wide = rows.shape
    counts = [h * w for h, w in sizes]
    if is_capturable():
        out = weight_matrix(cells, weights, sum(counts)).transpose(1, 2) @ rows.float()
        return [from_rows(part, size, scale) for part, size in zip(out.split(counts, dim=1), sizes)]
    cells = cells.flatten()
    order = cells.argsort(stable=True)
    starts = torch.searchsorted(cells[order], torch.arange(b * sum(counts), device=cells.device))
    weights = weights.to(rows.dtype).flatten()[order]
    out = F.embedding_bag(order // 9, rows.flatten(0, 1), starts, mode="sum", per_sample_weights=weights)
    parts = zip(out.view(b, -1, wide).split(counts, dim=1), sizes)
    return [from_rows(part, size, scale) for part, size in parts]


def swap_plan(
    index: Int[Tensor, "b h w"] | Matches, sizes: Sequence[tuple[int, int]]
) -> tuple[Int[Tensor, "b h w 9"], Float[Tensor, "b h w 9"]]:
    """For each cell of F the 9 cells it averages, of references of these sizes in cells, and their weights.

    Reference cells are counted row by row, one reference after another, on from sample to sample.
    Raises ValueError for an index outside them.
    The patch at query position (y, x) covers the cells (y+oy, x+ox), oy, ox in −1..1, with its own cells
    (v+1+oy, u+1+ox); so cell (y, x) collects from the neighbours (y−oy, x−ox). Outside the map, the weight is 0.
    """
    index, source = index_and_source(index)
    starts = [0, *accumulate(h * w for h, w in sizes)][:-1]
    # of each position's reference; by arithmetic, for a table of numbers would have to be copied to the device
    starts, heights, widths = (
        sum(number * (source == s) for s, number in enumerate(numbers)) for numbers in (starts, *zip(*sizes))
    )
    if not is_capturable() and ((index < 0).any() or (index >= (heights - 2) * (widths - 2)).any()):
        raise ValueError(f"an index lies outside the patches of a reference of {sizes} cells")
    v, u = index // (widths - 2), index % (widths - 2)
    own = torch.arange(9, device=index.device)  # the cell (1 + oy, 1 + ox) of a patch, counted row by row
    cells = of_neighbours(starts + v * widths + u) + own // 3 * of_neighbours(widths) + own % 3
    # outside the map a neighbour's values are 0; its weight is 0, but its cell must exist
    total, samples = sum(h * w for h, w in sizes), torch.arange(len(index), device=index.device)
    return cells.clamp_(max=total - 1) + total * samples.view(-1, 1, 1, 1), overlap_weights(index)


def weight_matrix(
    cells: Int[Tensor, "b h w 9"], weights: Float[Tensor, "b h w 9"], count: int
) -> Float[Tensor, "b h*w count"]:
    """``swap_plan`` as matrices: what each of ``count`` reference cells of a sample adds to each cell of F; float32."""
    matrix = torch.zeros(len(cells), cells[0, ..., 0].numel(), count, device=cells.device)
    return matrix.scatter_add_(2, cells.flatten(1, 2) % count, weights.float().flatten(1, 2))


def of_neighbours(values: Shaped[Tensor, "b h w"]) -> Shaped[Tensor, "b h w 9"]:
    """For each cell (y, x) the values at (y−oy, x−ox), (oy, ox) of ``SHIFTS``; 0 outside the map."""
    padded = F.pad(values, (1, 1, 1, 1))
    h, w = values.shape[1:]
    return torch.stack([padded[:, 1 - oy : 1 - oy + h, 1 - ox : 1 - ox + w] for oy, ox in SHIFTS], dim=-1)


def overlap_weights(index: Int[Tensor, "b h w"]) -> Float[Tensor, "b h w 9"]:
    """1/(number of patches over the cell) for the neighbours inside the map, else 0; float64."""
    inside = of_neighbours(torch.ones_like(index, dtype=torch.float64))
    return inside / inside.sum(-1, keepdim=True)


def to_rows(maps: Map, scale: int) -> Float[Tensor, "b cells wide"]:
    """Each r × r cell of a map as one row of r²·C numbers; channels last, as the convolutions of training have them."""
    cells = maps.permute(0, 2, 3, 1).unflatten(2, (-1, scale)).unflatten(1, (-1, scale))
    return cells.transpose(2, 3).flatten(3).flatten(1, 2)


def from_rows(rows: Float[Tensor, "b cells wide"], size: tuple[int, int], scale: int) -> Map:
    """The map of ``size`` cells that ``to_rows`` took apart; channels last in memory."""
    cells = rows.view(len(rows), *size, scale, scale, -1)
    return cells.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
