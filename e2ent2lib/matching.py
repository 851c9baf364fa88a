"""Section 3.3 of the paper, top to bottom: match (Eq. 3 and 4), swap (Eq. 4), and the way back (Eq. 5 and 6).

First the equations as the paper writes them, in plain torch: ``similarity``, ``plain_match``, ``plain_swap`` and
``plain_swap_adjoint`` are the reference that all else is tested against. They hold all N × M similarities at once and
leave near ties to rounding. Then what networks call: ``match``, ``swap`` and ``match_and_swap`` give the same results
and hand the work to the folder ``exact``, which is exact, fast and needs little memory. Notebook 03 walks through it.

Maps are (B, C, height, width). A *cell* is one position of the low-resolution grid, an r × r block of the high one.
Patch i = v·(W−2) + u of a reference W cells wide has its top-left cell at column u, row v.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Norm = Literal["l2", "l1"]
Map = Float[Tensor, "b c h w"]


class NotFiniteError(ValueError):
    """A map, a loss or a gradient holds NaN or infinity."""


class Matches(NamedTuple):
    """For each patch of the query: which patch of which key matches it best, and how well."""

    index: Int[Tensor, "b h w"]
    """i* of Eq. 4, int64."""
    score: Float[Tensor, "b h w"]
    """max_i S_i of Eq. 3, in the query's unit (a zero key patch scores 0)."""
    source: Int[Tensor, "b h w"]
    """Which key, int64; all 0 if there is only one."""
    query_norm: Float[Tensor, "b h w"]
    """|query patch| in L2."""

    @property
    def confidence(self) -> Float[Tensor, "b h w"]:
        """Cosine of the angle between a patch and its match, in [−1, 1]; 0 for a zero patch. For norm "l2"."""
        return torch.where(self.query_norm > 0, self.score / self.query_norm, 0).clamp(-1, 1)


def as_list(maps: Map | Sequence[Map]) -> list[Map]:
    """One map, or the maps of several references, as a list."""
    return [maps] if isinstance(maps, Tensor) else list(maps)


def index_and_source(index: Int[Tensor, "b h w"] | Matches) -> tuple[Int[Tensor, "b h w"], Int[Tensor, "b h w"]]:
    """i* and the reference that it points into; an index alone points into the first."""
    return (index.index, index.source) if isinstance(index, Matches) else (index, torch.zeros_like(index))


# ---- The equations as the paper writes them: any device and dtype, nothing waits for the device ----


def query_patches(query: Map) -> Float[Tensor, "b 9*c h*w"]:
    """The 3×3 patch of φ(I_in) around every position; the border is repeated once, so that all have one."""
    return F.unfold(F.pad(query, (1, 1, 1, 1), mode="replicate"), 3)


def similarity(query: Map, key: Map, norm: Norm = "l2") -> Float[Tensor, "b m h w"]:
    """S of Eq. 3 for all m = (H−2)·(W−2) patches of the key (B, C, H, W); the query is (B, C, h, w).

    The convolution with kernel P_i is the product of P_i with every patch of φ(I_in). The text below Eq. 3 prints "L1";
    L2 is the default, with which a patch is most similar to itself. A patch of zeros scores 0.
    """
    patches = F.unfold(key, 3)  # P_i(φ(I_ref↓))
    length = torch.linalg.vector_norm(patches, ord={"l2": 2, "l1": 1}[norm], dim=1, keepdim=True)  # ‖P_i(φ(I_ref↓))‖
    normalised = torch.where(length > 0, patches / length, 0)
    scores = normalised.transpose(1, 2) @ query_patches(query)  # S_i(x, y)
    return scores.unflatten(2, query.shape[2:])


@torch.no_grad()
def plain_match(query: Map, key: Map | Sequence[Map], norm: Norm = "l2") -> Matches:
    """Eq. 3 and the arg max of Eq. 4, in the dtype of the maps; arguments and result as in ``match``."""
    best = [similarity(query, one, norm).max(dim=1) for one in as_list(key)]  # max_i S_i(x, y) and i*, for each key
    score, source = torch.stack([one.values for one in best]).max(dim=0)  # several references: the best of all
    index = torch.stack([one.indices for one in best]).gather(0, source[None])[0]
    return Matches(index, score, source, query_patches(query).norm(dim=1).view_as(score))


def plain_swap(value: Map | Sequence[Map], index: Int[Tensor, "b h w"] | Matches, scale: int = 4) -> Map:
    """F of Eq. 4: each position gets the patch P_i*(φ(I_ref)); the mean where patches overlap. As ``swap``."""
    index, source = index_and_source(index)
    chosen = 0
    for s, one in enumerate(as_list(value)):
        patches = F.unfold(one, 3 * scale, stride=scale)  # P_i(φ(I_ref)): 3r × 3r values, a step of r apart
        own = (source == s).flatten(1)[:, None]
        i_star = torch.where(own, index.flatten(1)[:, None], 0).expand(-1, patches.shape[1], -1)
        chosen = torch.where(own, patches.gather(2, i_star), chosen)  # F^p(x, y) = P_i*(φ(I_ref))
    return _put_in_place(chosen, index, scale) / _put_in_place(torch.ones_like(chosen), index, scale)


def _put_in_place(patches: Float[Tensor, "b 9*c*r*r h*w"], index: Int[Tensor, "b h w"], scale: int) -> Map:
    """The sum of 3r × 3r patches, each laid around its own position of F; what lies outside of F is cut off."""
    size = [scale * (n + 2) for n in index.shape[1:]]
    return F.fold(patches, size, 3 * scale, stride=scale)[..., scale:-scale, scale:-scale]


def plain_swap_adjoint(
    error: Map, index: Int[Tensor, "b h w"] | Matches, sizes: Sequence[tuple[int, int]], scale: int = 4
) -> list[Map]:
    """The sums of Eq. 5: each patch of F returns its error to the patch it was copied from. As ``swap_adjoint``."""
    index, source = index_and_source(index)
    ones = error.new_ones(len(error), 9 * scale**2, index[0].numel())
    share = error / _put_in_place(ones, index, scale)  # of a mean of n patches each gets 1/n: "the average error value"
    errors = F.unfold(F.pad(share, [scale] * 4), 3 * scale, stride=scale)  # E of the patch at each position
    maps = []
    for s, (height, width) in enumerate(sizes):
        own = (source == s).flatten(1)[:, None]
        i_star = torch.where(own, index.flatten(1)[:, None], 0).expand_as(errors)
        sums = errors.new_zeros(*errors.shape[:2], (height - 2) * (width - 2))
        sums.scatter_add_(2, i_star, torch.where(own, errors, 0))  # Σ_j E_(Q^j): over the K positions that chose it
        maps.append(F.fold(sums, (scale * height, scale * width), 3 * scale, stride=scale))
    return maps


# ---- What networks call: the same, exact and fast ----


def match(query: Map, key: Map | Sequence[Map], norm: Norm = "l2", *, rows: slice | None = None) -> Matches:
    """The best key patch for every query position: Eq. 3 and the arg max of Eq. 4, exact. No gradients.

    query (B, C, h, w); key (B, C, H, W) or several of different sizes, matched jointly. The query's border is
    replicated by one cell so that every position has a 3×3 patch. Half precision is computed in float32. Where scores
    are so close that rounding could decide, they are computed again in float64; a tie in the query's dtype (float32
    at least) goes to the first key's lowest index. Patches weaker than 1e-150 of a float64 map's largest value
    count as zero. The N × M similarity is never held, only blocks of it. ``rows`` selects the query's rows to match;
    the result has only those.
    Raises ValueError for shapes that do not fit, an unknown norm, and, as NotFiniteError, values that are not finite.
    """
    from e2ent2lib.exact.search import match as exact_match  # on first use, so that this file needs torch alone

    return exact_match(query, as_list(key), norm, rows)


def swap(value: Map | Sequence[Map], index: Int[Tensor, "b h w"] | Matches, scale: int = 4) -> Map:
    """F of Eq. 4: every query patch replaced by its reference patch; the mean where patches overlap.

    value (B, C, r·H, r·W), r = ``scale``; index (B, h, w) as ``match`` gives it. For several references give the
    list of values and the ``Matches``. Returns (B, C, r·h, r·w) in the value's dtype. Inside, a cell of F is the
    mean of 9 reference cells, at a border of 6, in a corner of 4.
    Raises ValueError for maps that do not fit, and for an index outside its reference.
    """
    from e2ent2lib.exact.gather import swap as exact_swap

    return exact_swap(as_list(value), index, scale)


def swap_adjoint(
    error: Map, index: Int[Tensor, "b h w"] | Matches, sizes: Sequence[tuple[int, int]], scale: int = 4
) -> list[Map]:
    """The exact adjoint of ``swap``: each cell of F hands its error back to the cells it averaged.

    error (B, C, r·h, r·w) → one map (B, C, r·H, r·W) for each (H, W) of ``sizes``, in cells. This is Σ_j over Q in the
    third line of Eq. 5, with "the average error value" of an overlap weighted as the forward pass weighted it.
    """
    from e2ent2lib.exact.gather import swap_adjoint as exact_adjoint

    return exact_adjoint(error, index, sizes, scale)


class GradientRule(torch.autograd.Function):
    """Eq. 4 forward, Eq. 5 backward. The backward pass needs i* (and so K and Q), nothing else."""

    @staticmethod
    def forward(ctx, matches: Matches, alphas, scale: int, error_down: str, f_in: Tensor, *refs: Tensor):  # noqa: ANN001, ANN205
        """F; refs are φ(I_ref↓) of each reference, then φ(I_ref) of each."""
        downs, fulls = refs[: len(refs) // 2], refs[len(refs) // 2 :]
        ctx.save_for_backward(matches.index, matches.source)
        sizes = [tuple(down.shape[2:]) for down in downs]
        ctx.rule = (alphas, scale, error_down, sizes, [x.dtype for x in (f_in, *refs)])
        return swap(fulls, matches, scale)

    @staticmethod
    def backward(ctx, error: Tensor):  # noqa: ANN001, ANN205
        """The errors of f_in and refs from E = ∂J/∂F."""
        index, source = ctx.saved_tensors
        (alpha1, alpha2, alpha3), scale, error_down, sizes, dtypes = ctx.rule
        matches = Matches(index, index, source, index)
        error = error if error.dtype == torch.float64 else error.float()
        small = F.avg_pool2d(error, scale)  # E↓
        if error_down == "sum":
            small = small * scale**2
        at_in = alpha1 * small  # Eq. 5, first line: E^(I_in) = α1 E↓
        at_downs = [alpha2 * e for e in swap_adjoint(small, matches, sizes, 1)]  # second line: α2 Σ_j E↓_(Q^j)
        at_refs = [alpha3 * e for e in swap_adjoint(error, matches, sizes, scale)]  # third line: α3 Σ_j E_(Q^j)
        # autograd carries the three on to φ's weights W and adds them up: that sum is Eq. 6
        errors = [e.to(dtype) for e, dtype in zip((at_in, *at_downs, *at_refs), dtypes)]
        return None, None, None, None, *errors


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
    downs, refs = as_list(f_ref_down), as_list(f_ref)
    if error_down not in ("mean", "sum"):
        raise ValueError(f"unknown error_down {error_down!r}; choose 'mean' (default) or 'sum'")
    if len(downs) != len(refs):
        raise ValueError(f"{len(downs)} maps in f_ref_down but {len(refs)} in f_ref; each reference needs both")
    for down, ref in zip(downs, refs):
        if tuple(ref.shape[2:]) != tuple(scale * n for n in down.shape[2:]) or ref.shape[:2] != down.shape[:2]:
            raise ValueError(f"f_ref {tuple(ref.shape)} is not f_ref_down {tuple(down.shape)} at scale {scale}")
    matches = match(f_in, downs, norm)
    swapped = GradientRule.apply(matches, tuple(alphas), scale, error_down, f_in, *downs, *refs)
    if not return_matches:
        return swapped
    counts = [chosen_count(matches, d.shape[2:], s) for s, d in enumerate(downs)]
    return swapped, matches, counts if len(counts) > 1 else counts[0], Choosers(matches)


def chosen_count(matches: Matches, size: tuple[int, int], source: int = 0) -> Int[Tensor, "b H-2 W-2"]:
    """K of 3.3: how often each patch of a reference of ``size`` cells was chosen; int64."""
    rows, columns = size[0] - 2, size[1] - 2
    own = (matches.source == source).flatten(1)
    count = own.new_zeros(len(own), rows * columns, dtype=torch.int64)
    count.scatter_add_(1, torch.where(own, matches.index.flatten(1), 0), own.long())
    return count.view(-1, rows, columns)


class Choosers:
    """Q of 3.3: which query positions chose a reference patch."""

    def __init__(self, matches: Matches):
        self._matches = matches

    def __call__(self, index: int, *, sample: int = 0, source: int = 0) -> Int[Tensor, "k 2"]:
        """The (row, column) of every query position that chose patch ``index``; (K, 2) int64."""
        m = self._matches
        return ((m.index[sample] == index) & (m.source[sample] == source)).nonzero()
