"""Matches found by looking around a place, and around those of the neighbours.

``match_coarse`` is much faster than Eq. 4 and off by default; notebook 14 shows what it loses. Maps of half the size
are matched first, a sixteenth of the pairs. Their matches, doubled, are where each patch begins to look.

``systems.photo`` looks between the cells: its keys have a cell at every pixel, and the cells of a patch lie ``step``
pixels apart.
"""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from e2ent2lib.exact.search import compiled, patch_norm
from e2ent2lib.matching import Map, Matches, Norm, match

HALF = 2
AROUND = 2
"""Patches to each side of the doubled place that are tried."""
ROUNDS = 2
"""How often the neighbours' places are tried, with ``NEAR`` patches around each."""
NEAR = 1
CHUNK = 1 << 16
"""Cells of the keys that are looked at together: few enough for a processor's cache."""


class Places(NamedTuple):
    """For each query cell a patch of a key: which key, the row and column of its top-left cell (of its middle cell from
    ``places_of`` and ``refine``), and its score."""

    source: Int[Tensor, "h w"]
    row: Int[Tensor, "h w"]
    column: Int[Tensor, "h w"]
    score: Float[Tensor, "h w"]


def places_of(matches: Matches, widths: Sequence[int], side: int = 1) -> Places:
    """Where each matched patch has its middle cell, in pixels, ``side`` to a cell; ``widths`` of the keys in cells."""
    across = torch.tensor(widths, device=matches.index.device)[matches.source] - 2
    row, column = side * (matches.index // across + 1), side * (matches.index % across + 1)
    return Places(matches.source, row, column, matches.score)


@torch.no_grad()
def match_coarse(
    query: Map, keys: Sequence[Map], norm: Norm = "l2", first: Callable[..., Matches] = match, bar: Callable = iter
) -> Matches:
    """As ``matching.match`` for a batch of one, but a patch may be matched with one that is not the very best.

    ``first`` matches the maps of half the size, ``bar`` shows the rounds after it, as tqdm does. Maps too small to be
    halved are matched exactly.
    """
    small = [F.avg_pool2d(x, HALF, ceil_mode=True, count_include_pad=False) for x in (query, *keys)]
    if min(min(key.shape[2:]) for key in small[1:]) < 3:
        return first(query, keys, norm)
    look = Lookup(query, keys, norm)
    places = _doubled(first(small[0], small[1:], norm), small[1:], query.shape[2:])
    places = look.around(places, AROUND, bar)
    widths = torch.tensor([key.shape[3] for key in keys], device=query.device)[places.source]
    index = places.row * (widths - 2) + places.column
    return Matches(index[None], places.score[None], places.source[None], look.query_norm[None])


def _doubled(matches: Matches, small: Sequence[Map], size: tuple[int, int]) -> Places:
    """The places in the full maps: the cell of the query lies in its half-size cell as the match's does."""
    y, x = (torch.arange(n, device=matches.index.device) for n in size)
    y = y[:, None]
    places = places_of(matches, [key.shape[3] for key in small], HALF)
    source, row, column, score = (field[0][y // HALF, x // HALF] for field in places)
    return Places(source, row + y % HALF - 1, column + x % HALF - 1, score)


def _from_neighbour(places: Places, axis: int, way: int, step: int) -> Places:
    """Each cell gets the place beside that of its neighbour; at the border its own, moved."""
    length = places.row.shape[axis]
    at = torch.arange(-way, length - way, device=places.row.device).clamp(0, length - 1)
    source, row, column, score = (field.index_select(axis, at) for field in places)
    return Places(source, row + way * step * (axis == 0), column + way * step * (axis == 1), score)


class Lookup:
    """Scores of Eq. 3 at given places, of a batch of one; the cells of a key's patch lie ``step`` apart."""

    def __init__(self, query: Map, keys: Sequence[Map], norm: Norm = "l2", step: int = 1):
        padded = F.pad(query.float(), (1, 1, 1, 1), mode="replicate")
        self.query, self.query_norm = padded[0].permute(1, 2, 0).contiguous(), patch_norm(padded)[0]
        self.step, self.keys, self.inverse = step, [key[0].permute(1, 2, 0).contiguous() for key in keys], []
        for key in keys:
            self.inverse.append(padded.new_zeros(key.shape[2:]))
            for y, x in product(*(range(min(step, n - 2 * step)) for n in key.shape[2:])):  # of each grid of cells
                length = patch_norm(key[..., y::step, x::step].float(), norm)[0]
                inverse = self.inverse[-1][y::step, x::step]
                inverse[: length.shape[0], : length.shape[1]] = torch.where(length > 0, 1 / length, 0)

    def around(self, places: Places, reach: int, bar: Callable = iter) -> Places:
        """The best places up to ``reach`` from these, then near those of the neighbours, ``ROUNDS`` times."""
        places = self.best(places, reach)
        for axis, way in bar(ROUNDS * [(0, 1), (0, -1), (1, 1), (1, -1)]):
            there = _from_neighbour(places, axis, way, self.step)
            other = self.best(there, NEAR, torch.stack([a != b for a, b in zip(there[:3], places)]).any(0))
            places = Places(*(torch.where(other.score > places.score, *pair) for pair in zip(other, places)))
        return places

    def best(self, places: Places, around: int, tried: Bool[Tensor, "h w"] | None = None) -> Places:
        """The best patch of those up to ``around`` rows and columns from each place; −∞ if none is in the key.

        ``tried`` are the cells that are looked at, all if None; the others get −∞.
        """
        source, row, column, score = (field.flatten().clone() for field in places)
        score.fill_(-torch.inf)
        tried = torch.ones_like(source, dtype=torch.bool) if tried is None else tried.flatten()
        at_once, width = max(1, CHUNK // (2 * around + 2 * self.step + 1) ** 2), places.row.shape[1]
        for s in range(len(self.keys)):
            for at in ((source == s) & tried).nonzero()[:, 0].split(at_once):
                row[at], column[at], score[at] = self._best(s, at // width, at % width, row[at], column[at], around)
        return Places(*(field.view_as(places.row) for field in (source, row, column, score)))

    def _best(self, s: int, y: Tensor, x: Tensor, row: Tensor, column: Tensor, around: int) -> tuple:
        key = self.keys[s]
        if key.device.type == "cpu" and key.dtype == torch.float32 and (kernel := compiled()):
            arrays = (part.numpy() for part in (y, x, row, column, self.query, key, self.inverse[s]))
            return tuple(map(torch.from_numpy, kernel.best_around(*arrays, self.step, around)))
        three = torch.arange(3, device=row.device)
        patch = self.query[y[:, None, None] + three[:, None], x[:, None, None] + three]  # (n, 3, 3, C)
        last, k = 2 * self.step, 2 * around + 1  # from a patch's first cell to its last; places on a side
        side = torch.arange(-around, around + last + 1, device=row.device)  # of the cells of all patches
        wanted = row[:, None] + side, column[:, None] + side
        rows, columns = (at.clamp(0, n - 1) for at, n in zip(wanted, key.shape))
        cells = key[rows[:, :, None], columns[:, None]].float()
        products = torch.bmm(patch.flatten(1, 2), cells.flatten(1, 2).transpose(1, 2))
        products = products.unflatten(1, (3, 3)).unflatten(3, (len(side), len(side)))
        starts = range(0, last + 1, self.step)
        total = sum(products[:, i, j, y : y + k, x : x + k] for i, y in enumerate(starts) for j, x in enumerate(starts))
        wanted = wanted[0][:, :k, None], wanted[1][:, None, :k]
        rows, columns = (at.clamp(0, n - 1 - last) for at, n in zip(wanted, key.shape))
        inside = (rows == wanted[0]) & (columns == wanted[1])
        score = torch.where(inside, total * self.inverse[s][rows, columns], -torch.inf)
        best, which = score.flatten(1).max(1)
        n = torch.arange(len(which), device=which.device)
        return rows[n, which // k, 0], columns[n, 0, which % k], best
