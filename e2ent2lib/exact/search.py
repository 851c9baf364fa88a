"""The match of Eq. 3 and 4 without the N × M similarities: blocks of float32 scores, near ties settled in float64.

How it is fast. The product of two 3×3 patches is a sum of nine products of single cells, and neighbouring patches share
most of them. So each cell of the query is multiplied with each cell of the key once (``_cell_products``, one matrix
product per query row), and a score is the sum of nine shifted copies (``_take_best``, compiled if numba is there).

How it is exact. A float32 score is off by at most a known bound. The pass over the blocks keeps the best score, the
runner-up in the best one's key row and the best of every key row. Where only one patch lies within the bound of the
best, it is the match; elsewhere the key rows that may hold it are computed again in float64 (``_settle``).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from types import ModuleType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from e2ent2lib.exact import is_capturable
from e2ent2lib.matching import Map, Matches, Norm, NotFiniteError, plain_match

BLOCK = 1 << 20  # similarities at a time: three buffers of 4 MiB stay in a processor's shared cache
KEPT = 1 << 22  # best scores of key rows kept at a time, 16 MiB
_one_at_a_time = Lock()


@cache
def compiled() -> ModuleType | None:
    """The module ``kernel``, imported on first use; None without numba, or with nowhere to keep what it compiled."""
    try:
        from e2ent2lib.exact import kernel
    except (ImportError, RuntimeError):
        return None
    return kernel


class Keys(NamedTuple):
    """The keys of some samples, and what is needed to score their patches."""

    maps: list[Map]
    units: list[float]
    norm: Norm
    dtype: torch.dtype
    """The dtype in which equal scores are a tie: float64 for a float64 query, else float32."""

    def rows(self, source: int, first: int, last: int) -> Map:
        """These rows of cells of a key, in float64 and in its unit."""
        return self.maps[source][:, :, first:last].double() * self.units[source]


@torch.no_grad()
def match(query: Map, keys: list[Map], norm: Norm = "l2", rows: slice | None = None) -> Matches:
    """``matching.match``, for a list of keys."""
    check_maps(query, keys, norm)
    if is_capturable():
        with torch.autocast(query.device.type, enabled=False):
            return plain_match(query.float(), [key.float() for key in keys], norm)
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    unit, units = unit_of(query), [unit_of(key) for key in keys]
    # products of faint values would vanish in float32
    working = torch.float64 if any(_faint(m, u) for m, u in zip((query, *keys), (unit, *units))) else dtype
    first, last, _ = (rows or slice(None)).indices(query.shape[2])
    shape = (query.shape[0], last - first, query.shape[3])
    index, source = torch.zeros(2, *shape, dtype=torch.int64, device=query.device)
    score, query_norm = torch.zeros(2, *shape, dtype=torch.float64, device=query.device)
    with _exact_products(query.device.type):
        for samples, ys, xs in _parts(query, keys, range(first, last)):
            padded = padded_rows(query[samples], ys, xs, unit).to(working)
            part = Keys([key[samples] for key in keys], units, norm, dtype)
            at = (samples, slice(ys.start - first, ys.stop - first), xs)
            index[at], score[at], source[at], query_norm[at] = _best_patches(padded, part)
    return Matches(index, (score / unit).to(dtype), source, (query_norm / unit).to(dtype))


def check_maps(query: Map, keys: list[Map], norm: str) -> None:
    """Raises ValueError for maps that can't be matched with each other, and for an unknown norm."""
    if norm not in ("l2", "l1"):
        raise ValueError(f"unknown norm {norm!r}; choose 'l2' (default) or 'l1' (as printed below Eq. 3)")
    if not keys:
        raise ValueError("match needs at least one key")
    if query.ndim != 4 or 0 in query.shape:
        raise ValueError(f"query must be a non-empty (B, C, h, w) map, got shape {tuple(query.shape)}")
    for key in keys:
        if key.ndim != 4 or key.shape[:2] != query.shape[:2]:
            raise ValueError(f"key {tuple(key.shape)} and query {tuple(query.shape)} differ in batch or channels")
        if min(key.shape[2:]) < 3:
            raise ValueError(f"a key needs at least 3 × 3 cells for one patch, got {tuple(key.shape[2:])}")


def unit_of(maps: Map) -> float:
    """A power of two that brings the largest value to about 1, so that no product overflows or vanishes: exact.

    Raises NotFiniteError for a map that holds NaN or infinity.
    """
    largest = max(abs(float(end)) for end in torch.aminmax(maps))
    if not math.isfinite(largest):
        raise NotFiniteError("query or key holds NaN or infinity; a similarity with it has no maximum")
    return 2.0 ** -max(math.frexp(largest)[1], -1022)


def _faint(maps: Map, unit: float) -> bool:
    """Whether a value other than 0 is smaller than 2^−60 of the largest."""
    sizes = maps.abs()
    return bool(sizes.masked_fill_(sizes == 0, torch.inf).amin() * unit < 2.0**-60)


@contextmanager
def _exact_products(device: str) -> Iterator[None]:
    """Keeps autocast, TF32 and bfloat16 products out: matching is float32 in mixed precision too.

    One match at a time: these settings are the process's, and not every threading layer of numba may be entered twice.
    """
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    with _one_at_a_time:
        before = [backend.fp32_precision for backend in backends]
        try:
            for backend in backends:
                backend.fp32_precision = "ieee"
            with torch.autocast(device, enabled=False):
                yield
        finally:
            for backend, precision in zip(backends, before):
                backend.fp32_precision = precision


def _parts(query: Map, keys: list[Map], wanted: range) -> Iterator[tuple[slice, slice, slice]]:
    """Samples, rows and columns of the query to be matched at a time: small maps together, large ones in parts."""
    b, h, w = query.shape[0], len(wanted), query.shape[3]
    key_w, key_h = max(k.shape[3] for k in keys), sum(k.shape[2] for k in keys)
    columns = max(1, min(w, BLOCK // (10 * key_w) - 2))
    samples = max(1, min(b, BLOCK // (key_w * key_h * (columns + 2))))
    rows = max(1, min(h, KEPT // (samples * key_h * columns)))
    for first in range(0, b, samples):
        for y in wanted[::rows]:
            for x in range(0, w, columns):
                yield slice(first, first + samples), slice(y, min(wanted.stop, y + rows)), slice(x, min(w, x + columns))


def padded_rows(query: Map, ys: slice, xs: slice, unit: float) -> Float[Tensor, "n+2 b c w+2"]:
    """These rows and columns with one cell around them, the map's border replicated; float64, in ``unit``s."""
    near = [torch.arange(s.start - 1, s.stop + 1, device=query.device) for s in (ys, xs)]
    y, x = (n.clamp(0, size - 1) for n, size in zip(near, query.shape[2:]))
    return query[:, :, y[:, None], x].permute(2, 0, 1, 3).double() * unit


def _best_patches(rows: Float[Tensor, "n+2 b c w+2"], keys: Keys) -> tuple[Tensor, ...]:
    """Index, score, source and query norm, each (b, n, w), of n query rows given as ``padded_rows`` does.

    The best patch of every key row is found in the rows' dtype. Where only one patch is within rounding of the best,
    it is the match; all other positions are left to ``_settle``, where scores equal in ``keys.dtype`` are a tie.
    """
    n, b, channels, w = rows.shape[0] - 2, rows.shape[1], rows.shape[2], rows.shape[3] - 2
    query_norm = patch_norm(rows.permute(1, 2, 0, 3).double()).transpose(0, 1)
    best, second = rows.new_full((2, n, b, w), -torch.inf)  # second: the runner-up in the key row of the best
    index, source = torch.zeros(2, n, b, w, dtype=torch.int64, device=rows.device)
    row_best = [rows.new_empty(n, b, key.shape[2] - 2, w) for key in keys.maps]
    for s in range(len(keys.maps)):
        before = best.clone()
        for v, cells, inverse in _key_blocks(keys, s, rows):
            for y, products in enumerate(_cell_products(rows, cells)):
                of_rows = _take_best(products, inverse, v, best[y], second[y], index[y])
                row_best[s][y, :, v : v + inverse.shape[1]] = of_rows
        source[best > before] = s
    # a runner-up in the best one's own key row, or another key row, that rounding may have put behind the best
    slack = (_rounding(channels, keys.dtype) * query_norm).to(rows.dtype)
    near = [one >= (best - slack)[:, :, None] for one in row_best]
    unsettled = (second >= best - slack) | (sum(one.sum(2) for one in near) > 1)
    score = best.double()
    for i in range(b):
        sample = keys._replace(maps=[key[i : i + 1] for key in keys.maps])
        for y, x in (positions.T for positions in unsettled[:, i].nonzero().split(1024)):
            settled = _settle(rows[:, i], y, x, [one[y, i, :, x] for one in near], sample)
            index[y, i, x], score[y, i, x], source[y, i, x] = settled
    return tuple(result.transpose(0, 1) for result in (index, score, source, query_norm))


def _rounding(channels: int, dtype: torch.dtype) -> float:
    """How far two scores of Eq. 3 may move against each other by rounding, for a query patch of length 1.

    A sum of n products is off by at most n·ε/2 times the lengths of its two sides (Higham 2002, section 3.1).
    """
    return (channels + 12) * torch.finfo(dtype).eps


def patch_norm(maps: Map, norm: Norm = "l2") -> Float[Tensor, "b h-2 w-2"]:
    """‖P_i‖ of Eq. 3 for each valid 3×3 patch: L2 by default, L1 as the text below Eq. 3 prints it."""
    power = maps.square() if norm == "l2" else maps.abs()
    total = F.avg_pool2d(power.sum(1, keepdim=True), 3, stride=1, divisor_override=1)[:, 0]
    return total.sqrt() if norm == "l2" else total


def _key_blocks(keys: Keys, source: int, rows: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield (first row, cells (b, key rows + 2, W, C), 1/‖P_i‖ (b, key rows, W−2)): a key in blocks of rows."""
    count, key_w = keys.maps[source].shape[2] - 2, keys.maps[source].shape[3]
    most = max(1, BLOCK // (rows.shape[1] * rows.shape[3] * key_w) - 2)
    step = -(-count // -(-count // most))  # blocks of equal size
    for v in range(0, count, step):
        block = keys.rows(source, v, min(count, v + step) + 2)
        length = patch_norm(block, keys.norm)
        inverse = torch.where(length > 0, 1 / length, 0)
        yield v, block.to(rows.dtype).permute(0, 2, 3, 1).contiguous(), inverse.to(rows.dtype)


def _cell_products(rows: Tensor, cells: Tensor) -> Iterator[list[Float[Tensor, "b key_h key_w w+2"]]]:
    """Yield for each query row the products of the row above, itself and the row below with all cells of a key block.

    Each row's product is computed once and used for three query rows, so three buffers are enough.
    """
    b, key_h, key_w, channels = cells.shape
    three = rows.new_empty(3, b, key_h, key_w, rows.shape[3])
    for y, row in enumerate(rows):
        torch.bmm(cells.view(b, -1, channels), row, out=three[y % 3].view(b, key_h * key_w, -1))
        if y >= 2:
            yield [three[(y + dy) % 3] for dy in (1, 2, 0)]


def _take_best(
    products: list[Tensor], inverse: Tensor, first: int, best: Tensor, second: Tensor, index: Tensor
) -> Float[Tensor, "b rows w"]:
    """Eq. 3 for one query row: the best of each key row from ``first`` on; updates the last three, each (b, w).

    Without the compiled pass the nine products are summed as flat arrays: cell (v, u) and query cell x lie at (v, u, x)
    of the products, so one row down and one column on are each a fixed step. What crosses an edge is in no patch.
    """
    if best.device.type == "cpu" and (kernel := compiled()):
        arrays = [t.numpy() for t in (inverse, best, second, index)]
        return torch.from_numpy(kernel.take_best([p.numpy() for p in products], *arrays, first))
    top, middle, bottom = (p.view(-1) for p in products)
    key_w, wide = products[0].shape[2:]
    down, across = key_w * wide, wide + 1
    inner = len(top) - 2 * down
    scores, valid = torch.empty_like(products[0]), inner - 2 * across
    column = top[:inner].add_(middle[down:][:inner]).add_(bottom[2 * down :])  # the next row overwrites top anyway
    torch.add(column[:valid], column[across:][:valid], out=scores.view(-1)[:valid]).add_(column[2 * across :])
    scores = scores[:, :-2, :-2, :-2].mul_(inverse[..., None])
    row_best = scores.amax(2)
    value, row = row_best.max(1)
    i, x = (value > best).nonzero(as_tuple=True)
    two, u = scores[i, row[i, x], :, x].topk(min(2, key_w - 2))
    best[i, x], second[i, x], index[i, x] = two[:, 0], two[:, -1], (first + row[i, x]) * (key_w - 2) + u[:, 0]
    return row_best


def _settle(
    rows: Float[Tensor, "n+2 c w+2"], y: Tensor, x: Tensor, near: list[Tensor], keys: Keys
) -> tuple[Tensor, Tensor, Tensor]:
    """Index, score and source of some query positions (y, x) of one sample, in float64 throughout.

    near: for each key which of its rows may hold a position's best patch, (positions, key rows).
    """
    three = torch.arange(3, device=rows.device)
    patches = rows[y[:, None, None] + three[:, None], :, x[:, None, None] + three]  # (positions, 3, 3, C)
    patches = patches.permute(0, 3, 1, 2).flatten(1).double()
    tie = _rounding(patches.shape[1], torch.float64) * patches.norm(dim=1)
    index, source = torch.zeros(2, len(y), dtype=torch.int64, device=rows.device)
    best = torch.full_like(tie, -torch.inf)
    for s, marked in enumerate(near):
        for v in marked.any(0).nonzero()[:, 0].tolist():
            who = marked[:, v].nonzero()[:, 0]
            candidates = F.unfold(keys.rows(s, v, v + 3), 3)[0]
            length = candidates.norm(dim=0) if keys.norm == "l2" else candidates.abs().sum(0)
            scores = patches[who] @ candidates * torch.where(length > 0, 1 / length, 0)
            top = scores.amax(1)
            least = (top - tie[who]).to(keys.dtype)  # equal in dtype, but for rounding in float64
            first = (scores.to(keys.dtype) >= least[:, None]).view(torch.uint8).argmax(1)
            better = least > best[who].to(keys.dtype)
            who = who[better]
            best[who], source[who] = top[better], s
            index[who] = v * (keys.maps[s].shape[3] - 2) + first[better]
    return index, best, source


# ---- All scores of one query patch, for notebook 03 and the match explorer; in float64 inside ----


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
