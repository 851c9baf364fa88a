"""All scores of one query patch, for notebook 03 and the match explorer; in float64 inside."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from e2ent2lib.exact.search import check_maps, padded_rows, patch_norm, unit_of
from e2ent2lib.matching import Map, Norm, as_list


@torch.no_grad()
def similarity_map(query: Map, key: Map, position: tuple[int, int], norm: Norm = "l2") -> Float[Tensor, "b H-2 W-2"]:
    """S of Eq. 3 of all key patches for the one query patch around ``position`` (row, column).

    Maps, border, dtypes and errors as in ``match``; raises IndexError for a position outside the query.
    """
    check_maps(query, [key], norm)
    (y, x), (h, w) = position, query.shape[2:]
    if not (0 <= y < h and 0 <= x < w):
        raise IndexError(f"position {(y, x)} lies outside the query of {h}×{w} cells")
    unit, key_unit = unit_of(query), unit_of(key)
    patch = padded_rows(query, slice(y, y + 1), slice(x, x + 1), unit)  # (3, b, C, 3)
    key = key.double() * key_unit
    products = torch.einsum("ybcx,bchw->byxhw", patch, key)
    length = patch_norm(key, norm)
    rows, columns = length.shape[1:]
    total = sum(products[:, dy, dx, dy : dy + rows, dx : dx + columns] for dy in range(3) for dx in range(3))
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    return (torch.where(length > 0, total / length, 0) / unit).to(dtype)


def top_matches(
    query: Map, key: Map | Sequence[Map], position: tuple[int, int], k: int = 5, norm: Norm = "l2"
) -> tuple[Int[Tensor, "b k"], Float[Tensor, "b k"], Int[Tensor, "b k"]]:
    """The k best key patches for the one query patch at ``position``, best first: index, score and source.

    The first is what ``match`` finds; equal scores come in the order of source and index (of float64 maps to
    rounding). Fewer than k if there are not as many patches. Raises as ``similarity_map``, and ValueError for k < 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; ask for at least one match")
    keys = as_list(key)
    check_maps(query, keys, norm)
    maps = [similarity_map(query, one, position, norm).flatten(1) for one in keys]
    score, order = torch.cat(maps, dim=1).sort(dim=1, descending=True, stable=True)
    count = torch.tensor([m.shape[1] for m in maps], device=score.device)
    source = torch.arange(len(maps), device=score.device).repeat_interleave(count)[order[:, :k]]
    return order[:, :k] - (count.cumsum(0) - count)[source], score[:, :k], source
