"""Match and swap: Eq. 3 to 6 of the paper, top to bottom. Notebook 03.

Maps are (B, C, height, width). A *cell* is one position of the low-resolution grid, an r × r block of the high one.
Patch i = v·(W−2) + u of a key of width W has its top-left cell at column u, row v.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Norm = Literal["l2", "l1"]
Map = Float[Tensor, "b c h w"]
BLOCK = 1 << 21  # similarities held at a time: 8 MiB of float32, so that a block stays in a core's cache


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
def match(query: Map, key: Map | Sequence[Map], norm: Norm = "l2") -> Matches:
    """The best key patch for every query position: Eq. 3 and the argmax of Eq. 4.

    query (B, C, h, w); key (B, C, H, W) or several of different sizes. The query's border is replicated by one cell so
    that every position has a 3×3 patch. Ties (to 4 units of rounding) go to the lowest index, then to the first key.
    float64 is computed in float64, all else in float32. The N × M similarity is never held, only blocks of it.
    Raises ValueError for shapes that do not fit, an unknown norm, and values that are not finite.
    """
    keys = [key] if isinstance(key, Tensor) else list(key)
    _check_maps(query, keys, norm)
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    padded = F.pad(query.to(dtype), (1, 1, 1, 1), mode="replicate")
    b, _, h, w = query.shape
    index = torch.zeros(b, h, w, dtype=torch.int64, device=query.device)
    source = torch.zeros_like(index)
    score = torch.full((b, h, w), -torch.inf, dtype=dtype, device=query.device)
    query_norm = patch_norm(padded, "l2")
    rounding = 4 * torch.finfo(dtype).eps * query_norm  # closer scores are a tie: a product's last bits are chance
    for s, one in enumerate(keys):
        one = one.to(dtype)
        length = patch_norm(one, norm)
        inverse = torch.where(length > 0, 1 / length, 0)
        for sample in range(b):
            for rows, first, block in _similarity_blocks(padded[sample], one[sample], inverse[sample]):
                block, slack = block.flatten(2), rounding[sample, rows]
                best = block.amax(-1)
                where = (block >= (best - slack)[..., None]).view(torch.uint8).argmax(-1)  # of equal ones the first
                better = best > score[sample, rows] + slack
                score[sample, rows] = torch.where(better, best, score[sample, rows])
                index[sample, rows] = torch.where(better, where + first, index[sample, rows])
                source[sample, rows] = torch.where(better, s, source[sample, rows])
    return Matches(index, score, source, query_norm)


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
    if not all(torch.isfinite(x).all() for x in (query, *keys)):
        raise ValueError("query or key holds NaN or infinity; a similarity with it has no maximum")


def patch_norm(maps: Map, norm: Norm = "l2") -> Float[Tensor, "b h-2 w-2"]:
    """‖P_i‖ of Eq. 3 for each valid 3×3 patch: L2 by default, L1 as the text below Eq. 3 prints it."""
    power = maps.square() if norm == "l2" else maps.abs()
    total = F.avg_pool2d(power.sum(1, keepdim=True), 3, stride=1, divisor_override=1)[:, 0]
    return total.sqrt() if norm == "l2" else total


def _similarity_blocks(padded: Tensor, key: Tensor, inverse: Tensor):  # noqa: ANN202
    """Yield (query rows, first patch index, S) of one sample with S (rows, w, key rows, W−2): Eq. 3, block by block.

    A 3×3 patch product is a sum of nine per-cell products, each of which nine patches share. So one matrix product
    with inner size C gives all cell products of a block, and shifted sums over (dy, dx) turn them into S.
    """
    channels, height, width = padded.shape
    h, w, (key_h, key_w) = height - 2, width - 2, key.shape[1:]
    step_q = max(1, min(h, BLOCK // (width * 5 * key_w) - 2))
    step_k = max(1, min(key_h - 2, BLOCK // ((step_q + 2) * width * key_w) - 2))
    for v in range(0, key_h - 2, step_k):
        rows_k = min(step_k, key_h - 2 - v)
        cells_k = key[:, v : v + rows_k + 2].reshape(channels, -1)
        for y in range(0, h, step_q):
            rows_q = min(step_q, h - y)
            cells_q = padded[:, y : y + rows_q + 2].reshape(channels, -1)
            with torch.autocast(padded.device.type, enabled=False):  # matching stays float32 in mixed precision
                cells = (cells_q.T @ cells_k).view(rows_q + 2, width, rows_k + 2, key_w)
            across = sum(cells[:, d : d + w, :, d : d + key_w - 2] for d in range(3))
            s = sum(across[d : d + rows_q, :, d : d + rows_k] for d in range(3))
            yield slice(y, y + rows_q), v * (key_w - 2), s * inverse[v : v + rows_k]


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
    cells, weights = _plan(index, [(v.shape[2] // scale, v.shape[3] // scale) for v in values])
    dtype = values[0].dtype
    rows = torch.cat([_to_rows(v, scale) for v in values], dim=1)  # (B, cells of all references, C·r²)
    b, total, wide = rows.shape
    h, w = cells.shape[1:3]
    offset = torch.arange(b, device=cells.device).view(-1, 1, 1, 1) * total
    work = rows.reshape(-1, wide)
    work = work if dtype == torch.float64 else work.float()
    bags = (cells + offset).reshape(-1, 9)
    out = F.embedding_bag(bags, work, mode="sum", per_sample_weights=weights.to(work.dtype).reshape(-1, 9))
    return F.pixel_shuffle(out.view(b, h, w, wide).permute(0, 3, 1, 2), scale).to(dtype)


def _plan(index: Tensor | Matches, sizes: list[tuple[int, int]]):  # noqa: ANN202
    """For each cell of F the 9 cells it averages, of references of these sizes in cells, and their weights."""
    source = index.source if isinstance(index, Matches) else None
    index = index.index if isinstance(index, Matches) else index
    return _cells_of_patches(index, source, sizes), _overlap_weights(index)


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


def _overlap_weights(index: Tensor) -> Float[Tensor, "b h w 9"]:
    """1/(number of patches over the cell) for the neighbours inside the map, else 0; float64."""
    inside = F.pad(torch.ones_like(index, dtype=torch.float64), (1, 1, 1, 1))
    h, w = index.shape[1:]
    shifts = [(oy, ox) for oy in (-1, 0, 1) for ox in (-1, 0, 1)]
    weights = torch.stack([inside[:, 1 - oy : 1 - oy + h, 1 - ox : 1 - ox + w] for oy, ox in shifts], dim=-1)
    return weights / weights.sum(-1, keepdim=True)


def _to_rows(maps: Map, scale: int) -> Float[Tensor, "b cells wide"]:
    """Each r × r cell of a map as one row of C·r² numbers."""
    return F.pixel_unshuffle(maps, scale).flatten(2).transpose(1, 2)


def swap_adjoint(
    error: Map, index: Int[Tensor, "b h w"] | Matches, sizes: list[tuple[int, int]], scale: int = 4
) -> list[Map]:
    """The exact adjoint of ``swap``: each cell of F hands its error back to the cells it averaged.

    error (B, C, r·h, r·w) → one map (B, C, r·H, r·W) for each (H, W) of ``sizes``, in cells. This is Σ_j over Q in the
    third line of Eq. 5, with "the average error value" of an overlap weighted as the forward pass weighted it.
    """
    cells, weights = _plan(index, sizes)
    rows = _to_rows(error, scale)
    b, n, wide = rows.shape
    counts = [h * w for h, w in sizes]
    cells, weights = cells.view(b, n, 9), weights.to(rows.dtype).view(b, n, 9)
    out = rows.new_zeros(b, sum(counts), wide)
    for k in range(9):
        out.scatter_add_(1, cells[..., k, None].expand(-1, -1, wide), rows * weights[..., k, None])
    parts = zip(out.split(counts, dim=1), sizes)
    return [F.pixel_shuffle(p.transpose(1, 2).reshape(b, wide, h, w), scale) for p, (h, w) in parts]


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
