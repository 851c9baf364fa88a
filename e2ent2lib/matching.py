"""Match and swap: Eq. 3 to 6 of the paper, top to bottom: match, its parts, swap, its adjoint, both together.

Maps are (B, C, height, width). A *cell* is one position of the low-resolution grid, an r × r block of the high one.
Patch i = v·(W−2) + u of a key of width W has its top-left cell at column u, row v. Notebook 03 goes through it.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

try:
    from e2ent2lib.exact.kernel import take_best as _compiled
except (ImportError, RuntimeError):  # no numba, or nowhere to keep what it compiled
    _compiled = None

Norm = Literal["l2", "l1"]
Map = Float[Tensor, "b c h w"]
BLOCK = 1 << 20  # similarities at a time: three buffers of 4 MiB stay in a processor's shared cache
KEPT = 1 << 22  # best scores of key rows kept at a time, 16 MiB
_one_at_a_time = Lock()


class NotFiniteError(ValueError):
    """A map, a loss or a gradient holds NaN or infinity."""


class Matches(NamedTuple):
    """For each patch of the query: which patch of which key matches it best, and how well."""

    index: Int[Tensor, "b h w"]
    """i* of Eq. 4, int64."""
    score: Float[Tensor, "b h w"]
    """max_i S_i of Eq. 3, in the query's unit (a zero key patch scores 0)."""
    source: Int[Tensor, "b h w"]
    """Which key, int64; all 0 where there is one."""
    query_norm: Float[Tensor, "b h w"]
    """|query patch| in L2."""

    @property
    def confidence(self) -> Float[Tensor, "b h w"]:
        """Cosine of the angle between a patch and its match, in [−1, 1]; 0 for a zero patch. For norm "l2"."""
        return torch.where(self.query_norm > 0, self.score / self.query_norm, 0).clamp(-1, 1)


@torch.no_grad()
def match(query: Map, key: Map | Sequence[Map], norm: Norm = "l2", *, rows: slice | None = None) -> Matches:
    """The best key patch for every query position: Eq. 3 and the argmax of Eq. 4, exact.

    query (B, C, h, w); key (B, C, H, W) or several of different sizes, matched jointly. The query's border is
    replicated by one cell so that every position has a 3×3 patch. Half precision is computed in float32. Where scores
    are so close that rounding could decide, they are computed again in float64; of those equal in the query's type
    (float32 at least) the first key's lowest index wins. Patches weaker than 1e-150 of a float64 map's largest value
    count as zero. The N × M similarity is never held, only blocks of it. ``rows`` are the query's rows to be matched,
    if not all; the result has only those.
    Raises ValueError for shapes that do not fit, an unknown norm, and, as NotFiniteError, values that are not finite.
    """
    keys = [key] if isinstance(key, Tensor) else list(key)
    _check_maps(query, keys, norm)
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    unit, units = _unit(query), [_unit(one) for one in keys]
    # products of faint values would vanish in float32
    working = torch.float64 if any(_faint(m, u) for m, u in zip((query, *keys), (unit, *units))) else dtype
    first, last, _ = (rows or slice(None)).indices(query.shape[2])
    shape = (query.shape[0], last - first, query.shape[3])
    index, source = torch.zeros(2, *shape, dtype=torch.int64, device=query.device)
    score, query_norm = torch.zeros(2, *shape, dtype=torch.float64, device=query.device)
    with _exact_products(query.device.type):
        for samples, ys, xs in _tiles(query, keys, range(first, last)):
            padded = _padded_rows(query[samples], ys, xs, unit).to(working)
            here, parts = (samples, slice(ys.start - first, ys.stop - first), xs), [one[samples] for one in keys]
            index[here], score[here], source[here], query_norm[here] = _best_patches(padded, parts, units, norm, dtype)
    return Matches(index, (score / unit).to(dtype), source, (query_norm / unit).to(dtype))


def _check_maps(query: Map, keys: list[Map], norm: str) -> None:
    if norm not in ("l2", "l1"):
        raise ValueError(f"unknown norm {norm!r}; choose 'l2' (default) or 'l1' (as printed below Eq. 3)")
    if not keys:
        raise ValueError("match needs at least one key")
    if query.ndim != 4 or 0 in query.shape:
        raise ValueError(f"query must be a non-empty (B, C, h, w) map, got shape {tuple(query.shape)}")
    for one in keys:
        if one.ndim != 4 or one.shape[:2] != query.shape[:2]:
            raise ValueError(f"key {tuple(one.shape)} and query {tuple(query.shape)} differ in batch or channels")
        if min(one.shape[2:]) < 3:
            raise ValueError(f"a key needs at least 3 × 3 cells for one patch, got {tuple(one.shape[2:])}")


def _unit(maps: Map) -> float:
    """A power of two that brings the largest value to about 1, so that no product overflows or vanishes: exact."""
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


def _tiles(query: Map, keys: list[Map], wanted: range) -> Iterator[tuple[slice, slice, slice]]:
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


def _padded_rows(query: Map, ys: slice, xs: slice, unit: float) -> Float[Tensor, "n+2 b c w+2"]:
    """These rows and columns with one cell around them, the map's border replicated; float64, in ``unit``s."""
    near = [torch.arange(s.start - 1, s.stop + 1, device=query.device) for s in (ys, xs)]
    y, x = (n.clamp(0, size - 1) for n, size in zip(near, query.shape[2:]))
    return query[:, :, y[:, None], x].permute(2, 0, 1, 3).double() * unit


def _best_patches(
    rows: Tensor, keys: list[Map], units: list[float], norm: Norm, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Index, score, source and query norm, each (b, n, w), of n query rows given as ``_padded_rows`` does.

    The best patch of every key row is found in the rows' format. Where only one patch is within rounding of the best,
    it is the match; all other positions are left to ``_settle``, where scores equal in ``dtype`` are a tie.
    """
    n, b, channels, w = rows.shape[0] - 2, rows.shape[1], rows.shape[2], rows.shape[3] - 2
    query_norm = patch_norm(rows.permute(1, 2, 0, 3).double()).transpose(0, 1)
    best, second = rows.new_full((2, n, b, w), -torch.inf)  # second: the runner-up in the key row of the best
    index, source = torch.zeros(2, n, b, w, dtype=torch.int64, device=rows.device)
    row_best = [rows.new_empty(n, b, key.shape[2] - 2, w) for key in keys]
    for s, (key, unit) in enumerate(zip(keys, units)):
        before = best.clone()
        for v, cells, inverse in _key_blocks(key, unit, rows, norm):
            for y, products in enumerate(_products(rows, cells)):
                found = _take_best(products, inverse, v, best[y], second[y], index[y])
                row_best[s][y, :, v : v + inverse.shape[1]] = found
        source[best > before] = s
    slack = (_rounding(channels, dtype) * query_norm).to(rows.dtype)
    near = [one >= (best - slack)[:, :, None] for one in row_best]
    unsettled = (second >= best - slack) | (sum(one.sum(2) for one in near) > 1)
    score = best.double()
    for i in range(b):
        for y, x in (positions.T for positions in unsettled[:, i].nonzero().split(1024)):
            marked = [one[y, i, :, x] for one in near]
            found = _settle(rows[:, i], y, x, marked, [key[i] for key in keys], units, norm, dtype)
            index[y, i, x], score[y, i, x], source[y, i, x] = found
    return tuple(found.transpose(0, 1) for found in (index, score, source, query_norm))


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


def _key_blocks(key: Map, unit: float, rows: Tensor, norm: Norm) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield (first row, cells (b, key rows + 2, W, C), 1/‖P_i‖ (b, key rows, W−2)): a key in blocks of rows."""
    count, key_w = key.shape[2] - 2, key.shape[3]
    most = max(1, BLOCK // (rows.shape[1] * rows.shape[3] * key_w) - 2)
    step = -(-count // -(-count // most))  # blocks of equal size
    for v in range(0, count, step):
        block = key[:, :, v : min(count, v + step) + 2].double() * unit
        length = patch_norm(block, norm)
        inverse = torch.where(length > 0, 1 / length, 0)
        yield v, block.to(rows.dtype).permute(0, 2, 3, 1).contiguous(), inverse.to(rows.dtype)


def _products(rows: Tensor, cells: Tensor) -> Iterator[list[Float[Tensor, "b key_h key_w w+2"]]]:
    """Yield for each query row the products of its own, the row above and below with all cells of a key block."""
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

    A 3×3 patch product is a sum of nine per-cell products, each of which nine patches share. Cell (v, u) and query cell
    x lie at (v, u, x) of the products; one row down and one column on are each a fixed step, so the nine are summed as
    flat arrays. What runs over an edge lands outside the patches.
    """
    if _compiled and best.device.type == "cpu":
        arrays = [t.numpy() for t in (inverse, best, second, index)]
        return torch.from_numpy(_compiled([p.numpy() for p in products], *arrays, first))
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
    rows: Tensor, y: Tensor, x: Tensor, near: list[Tensor], keys: list[Tensor], units: list[float], norm: Norm,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Index, score and source of some query positions (y, x) of one sample, from the key rows that ``near`` marks.

    near: for each key (positions, key rows); rows (n+2, C, w+2); keys (C, H, W). In float64 throughout.
    """
    three = torch.arange(3, device=rows.device)
    patches = rows[y[:, None, None] + three[:, None], :, x[:, None, None] + three]  # (positions, 3, 3, C)
    patches = patches.permute(0, 3, 1, 2).flatten(1).double()
    tie = _rounding(patches.shape[1], torch.float64) * patches.norm(dim=1)
    index, source = torch.zeros(2, len(y), dtype=torch.int64, device=rows.device)
    best = torch.full_like(tie, -torch.inf)
    for s, key in enumerate(keys):
        for v in near[s].any(0).nonzero()[:, 0].tolist():
            who = near[s][:, v].nonzero()[:, 0]
            candidates = F.unfold(key[None, :, v : v + 3].double() * units[s], 3)[0]
            length = candidates.norm(dim=0) if norm == "l2" else candidates.abs().sum(0)
            scores = patches[who] @ candidates * torch.where(length > 0, 1 / length, 0)
            top = scores.amax(1)
            least = (top - tie[who]).to(dtype)  # equal in dtype, but for rounding in float64
            first = (scores.to(dtype) >= least[:, None]).view(torch.uint8).argmax(1)
            better = least > best[who].to(dtype)
            who = who[better]
            best[who], source[who] = top[better], s
            index[who] = v * (key.shape[2] - 2) + first[better]
    return index, best, source


@torch.no_grad()
def similarity_map(query: Map, key: Map, position: tuple[int, int], norm: Norm = "l2") -> Float[Tensor, "b H-2 W-2"]:
    """S of Eq. 3 of all key patches for the one query patch around ``position`` (row, column).

    Maps, border, number formats and errors as in ``match``; raises IndexError for a position outside the query.
    """
    _check_maps(query, [key], norm)
    (y, x), (h, w) = position, query.shape[2:]
    if not (0 <= y < h and 0 <= x < w):
        raise IndexError(f"position {(y, x)} lies outside the query of {h}×{w} cells")
    unit, key_unit = _unit(query), _unit(key)
    patch = _padded_rows(query, slice(y, y + 1), slice(x, x + 1), unit)  # (3, b, C, 3)
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
    keys = [key] if isinstance(key, Tensor) else list(key)
    _check_maps(query, keys, norm)
    maps = [similarity_map(query, one, position, norm).flatten(1) for one in keys]
    score, order = torch.cat(maps, dim=1).sort(dim=1, descending=True, stable=True)
    count = torch.tensor([m.shape[1] for m in maps], device=score.device)
    source = torch.arange(len(maps), device=score.device).repeat_interleave(count)[order[:, :k]]
    return order[:, :k] - (count.cumsum(0) - count)[source], score[:, :k], source


def swap(value: Map | Sequence[Map], index: Int[Tensor, "b h w"] | Matches, scale: int = 4) -> Map:
    """F of Eq. 4: every query patch replaced by its reference patch; the mean where patches overlap.

    value (B, C, r·H, r·W), r = ``scale``; index (B, h, w) as ``match`` gives it. For several references give the
    list of values and the ``Matches``. Returns (B, C, r·h, r·w) in the value's dtype. Inside, a cell of F is the
    mean of 9 reference cells, at a border of 6, in a corner of 4: a weighted gather (``embedding_bag``).
    """
    values = [value] if isinstance(value, Tensor) else list(value)
    batch = (index.index if isinstance(index, Matches) else index).shape[0]
    for v in values:
        if v.ndim != 4 or v.shape[2] % scale or v.shape[3] % scale or v.shape[0] != batch:
            raise ValueError(f"value {tuple(v.shape)}: expected a batch of {batch} and sides that {scale} divides")
    cells, weights = swap_plan(index, [(v.shape[2] // scale, v.shape[3] // scale) for v in values])
    dtype = values[0].dtype
    rows = torch.cat([to_rows(v, scale) for v in values], dim=1)  # (B, cells of all references, C·r²)
    work = rows if dtype == torch.float64 else rows.float()
    bags, weights = _in_batch(cells, rows.shape[1]).flatten(0, 2), weights.to(work.dtype).flatten(0, 2)
    out = F.embedding_bag(bags, work.flatten(0, 1), mode="sum", per_sample_weights=weights)
    return from_rows(out.view(batch, -1, rows.shape[2]), cells.shape[1:3], scale).to(dtype)


def swap_plan(
    index: Int[Tensor, "b h w"] | Matches, sizes: Sequence[tuple[int, int]]
) -> tuple[Int[Tensor, "b h w 9"], Float[Tensor, "b h w 9"]]:
    """For each cell of F the 9 cells it averages, of references of these sizes in cells, and their weights.

    Reference cells are counted row by row, one reference after another. Raises ValueError for an index out of them.
    """
    source = index.source if isinstance(index, Matches) else None
    index = index.index if isinstance(index, Matches) else index
    return _cells_of_patches(index, source, sizes), overlap_weights(index)


def _cells_of_patches(index: Tensor, source: Tensor | None, sizes: list[tuple[int, int]]) -> Int[Tensor, "b h w 9"]:
    """Reference cells (row-major, references one after another) that each cell of F averages.

    The patch at query position (y, x) covers the cells (y+oy, x+ox), oy, ox in −1..1, with its own cells
    (v+1+oy, u+1+ox); so cell (y, x) collects from the neighbours (y−oy, x−ox). Out of the map: weight 0.
    """
    source = torch.zeros_like(index) if source is None else source
    heights, widths = (torch.tensor(n, device=index.device)[source] for n in zip(*sizes))
    if (index < 0).any() or (index >= (heights - 2) * (widths - 2)).any():
        raise ValueError(f"an index lies outside the patches of a reference of {sizes} cells")
    starts = torch.tensor([0] + [h * w for h, w in sizes], device=index.device).cumsum(0)[source]
    v, u = index // (widths - 2), index % (widths - 2)
    first = F.pad(starts + v * widths + u, (1, 1, 1, 1))
    widths = F.pad(widths, (1, 1, 1, 1))
    h, w = index.shape[1:]
    cells = []
    for oy in (-1, 0, 1):
        for ox in (-1, 0, 1):
            window = (slice(None), slice(1 - oy, 1 - oy + h), slice(1 - ox, 1 - ox + w))
            cells.append(first[window] + (1 + oy) * widths[window] + 1 + ox)
    # a neighbour outside the map was padded with 0; its weight is 0, but its cell must exist
    return torch.stack(cells, dim=-1).clamp_(max=sum(h * w for h, w in sizes) - 1)


def overlap_weights(index: Tensor) -> Float[Tensor, "b h w 9"]:
    """1/(number of patches over the cell) for the neighbours inside the map, else 0; float64."""
    inside = F.pad(torch.ones_like(index, dtype=torch.float64), (1, 1, 1, 1))
    h, w = index.shape[1:]
    shifts = [(oy, ox) for oy in (-1, 0, 1) for ox in (-1, 0, 1)]
    weights = torch.stack([inside[:, 1 - oy : 1 - oy + h, 1 - ox : 1 - ox + w] for oy, ox in shifts], dim=-1)
    return weights / weights.sum(-1, keepdim=True)


def to_rows(maps: Map, scale: int) -> Float[Tensor, "b cells wide"]:
    """Each r × r cell of a map as one row of r²·C numbers; channels last, as the convolutions of training have them."""
    cells = maps.permute(0, 2, 3, 1).unflatten(2, (-1, scale)).unflatten(1, (-1, scale))
    return cells.transpose(2, 3).flatten(3).flatten(1, 2)


def from_rows(rows: Float[Tensor, "b cells wide"], size: tuple[int, int], scale: int) -> Map:
    """The map of ``size`` cells that ``to_rows`` took apart; channels last in memory."""
    cells = rows.view(len(rows), *size, scale, scale, -1)
    return cells.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _in_batch(cells: Int[Tensor, "b h w 9"], total: int) -> Int[Tensor, "b h w 9"]:
    """Numbers of cells that go on from sample to sample, each of ``total`` reference cells."""
    return cells + total * torch.arange(len(cells), device=cells.device).view(-1, 1, 1, 1)


def swap_adjoint(
    error: Map, index: Int[Tensor, "b h w"] | Matches, sizes: list[tuple[int, int]], scale: int = 4
) -> list[Map]:
    """The exact adjoint of ``swap``: each cell of F hands its error back to the cells it averaged.

    error (B, C, r·h, r·w) → one map (B, C, r·H, r·W) for each (H, W) of ``sizes``, in cells. This is Σ_j over Q in the
    third line of Eq. 5, with "the average error value" of an overlap weighted as the forward pass weighted it.
    """
    cells, weights = swap_plan(index, sizes)
    rows = to_rows(error, scale)
    b, _, wide = rows.shape
    counts = [h * w for h, w in sizes]
    cells = _in_batch(cells, sum(counts)).flatten()
    order = cells.argsort(stable=True)  # by reference cell, so that each one's errors are a bag: no atomic additions
    starts = torch.searchsorted(cells[order], torch.arange(b * sum(counts), device=cells.device))
    weights = weights.to(rows.dtype).flatten()[order]
    out = F.embedding_bag(order // 9, rows.flatten(0, 1), starts, mode="sum", per_sample_weights=weights)
    parts = zip(out.view(b, -1, wide).split(counts, dim=1), sizes)
    return [from_rows(part, size, scale) for part, size in parts]


class _MatchAndSwap(torch.autograd.Function):
    """Eq. 4 forward, Eq. 5 backward. What is kept for the backward pass is the indices, nothing else."""

    @staticmethod
    def forward(ctx, matches: Matches, alphas, scale: int, error_down: str, f_in: Tensor, *refs: Tensor):  # noqa: ANN001, ANN205
        n = len(refs) // 2
        ctx.save_for_backward(matches.index, matches.source)
        sizes = [tuple(r.shape[2:]) for r in refs[:n]]
        ctx.rule = (alphas, scale, error_down, sizes, [x.dtype for x in (f_in, *refs)])
        return swap(refs[n:], matches, scale)

    @staticmethod
    def backward(ctx, error: Tensor):  # noqa: ANN001, ANN205
        index, source = ctx.saved_tensors
        (a1, a2, a3), scale, error_down, sizes, dtypes = ctx.rule
        matches = Matches(index, index, source, index)
        error = error if error.dtype == torch.float64 else error.float()
        small = F.avg_pool2d(error, scale)  # E↓
        if error_down == "sum":
            small = small * scale**2
        grad_in = a1 * small  # first line of Eq. 5
        grad_downs = [a2 * g for g in swap_adjoint(small, matches, sizes, 1)]  # second line
        grad_refs = [a3 * g for g in swap_adjoint(error, matches, sizes, scale)]  # third line
        grads = [g.to(dtype) for g, dtype in zip((grad_in, *grad_downs, *grad_refs), dtypes)]
        return None, None, None, None, *grads


def match_and_swap(
    f_in: Map,
    f_ref_down: Map | Sequence[Map],
    f_ref: Map | Sequence[Map],
    alphas: tuple[float, float, float] = (0.25, 0.25, 0.5),
    scale: int = 4,
    norm: Norm = "l2",
    *,
    error_down: Literal["mean", "sum"] = "mean",
    return_matches: bool = False,
) -> Map | tuple[Map, Matches, Tensor | list[Tensor], "Choosers"]:
    """ψ of Eq. 1: F (B, C, r·h, r·w), with the gradients of Eq. 5 weighted by ``alphas`` = (α1, α2, α3).

    f_in (B, C, h, w), f_ref_down (B, C, H, W), f_ref (B, C, r·H, r·W); lists for several references. α = (0, 0, 1) is
    the true gradient; α1 and α2 copy the error straight through to the two maps that only decided the match. E↓ is
    the mean of E over an r × r cell, or with ``error_down="sum"`` the sum.
    With ``return_matches`` returns (F, Matches, K, Q): K (B, H−2, W−2) how often each reference patch was chosen (a
    list for several references), Q by whom. Raises ValueError for maps that do not fit.
    """
    downs = [f_ref_down] if isinstance(f_ref_down, Tensor) else list(f_ref_down)
    refs = [f_ref] if isinstance(f_ref, Tensor) else list(f_ref)
    if error_down not in ("mean", "sum"):
        raise ValueError(f"unknown error_down {error_down!r}; choose 'mean' (default) or 'sum'")
    if len(downs) != len(refs):
        raise ValueError(f"{len(downs)} maps in f_ref_down but {len(refs)} in f_ref; each reference needs both")
    for down, ref in zip(downs, refs):
        if tuple(ref.shape[2:]) != tuple(scale * n for n in down.shape[2:]) or ref.shape[:2] != down.shape[:2]:
            raise ValueError(f"f_ref {tuple(ref.shape)} is not f_ref_down {tuple(down.shape)} at scale {scale}")
    matches = match(f_in, downs, norm)
    swapped = _MatchAndSwap.apply(matches, tuple(alphas), scale, error_down, f_in, *downs, *refs)
    if not return_matches:
        return swapped
    counts = [chosen_count(matches, d.shape[2:], s) for s, d in enumerate(downs)]
    return swapped, matches, counts if len(counts) > 1 else counts[0], Choosers(matches)


def chosen_count(matches: Matches, size: tuple[int, int], source: int = 0) -> Int[Tensor, "b H-2 W-2"]:
    """K of 3.3: how often each patch of a reference of ``size`` cells was chosen; int64."""
    rows, columns = size[0] - 2, size[1] - 2
    mine = (matches.source == source).flatten(1)
    count = mine.new_zeros(len(mine), rows * columns, dtype=torch.int64)
    count.scatter_add_(1, torch.where(mine, matches.index.flatten(1), 0), mine.long())
    return count.view(-1, rows, columns)


class Choosers:
    """Q of 3.3: by which query positions a reference patch was chosen."""

    def __init__(self, matches: Matches):
        self._matches = matches

    def __call__(self, index: int, *, sample: int = 0, source: int = 0) -> Int[Tensor, "k 2"]:
        """The (row, column) of every query position that chose patch ``index``; (K, 2) int64."""
        m = self._matches
        return ((m.index[sample] == index) & (m.source[sample] == source)).nonzero()
