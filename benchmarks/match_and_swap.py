"""Ratios measured in one run: match against the convolution form, swap against unfold, gather, fold.

    python benchmarks/match_and_swap.py

Both opponents are written from their published description: the convolution form is how ports of SRNTT compute Eq. 3,
the other is how TTSR gathers. Run it on a quiet machine.
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from e2ent2lib.matching import match, patch_norm, swap, swap_adjoint


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of ``repeats`` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def match_by_convolution(query: Tensor, key: Tensor) -> Tensor:
    """argmax of Eq. 3 with the key's normalised patches as convolution kernels; (B, h, w)."""
    kernels = F.unfold(key, 3)[0].T.reshape(-1, key.shape[1], 3, 3) / patch_norm(key)[0].reshape(-1, 1, 1, 1)
    return F.conv2d(F.pad(query, (1, 1, 1, 1), mode="replicate"), kernels).argmax(1)


def swap_by_fold(value: Tensor, index: Tensor, r: int = 4) -> Tensor:
    """F of Eq. 4 by unfold, gather and fold, divided by the count map."""
    patches = F.unfold(value, 3 * r, stride=r)
    chosen = patches.gather(2, index.flatten(1)[:, None].expand(-1, patches.shape[1], -1))
    size = [r * (n + 2) for n in index.shape[1:]]
    total, count = (F.fold(x, size, 3 * r, stride=r) for x in (chosen, torch.ones_like(chosen)))
    return (total / count)[..., r:-r, r:-r]


def main() -> None:
    """Print the ratios and how far the results agree."""
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for h, w in ((40, 40), (80, 125)):
        query, key = torch.randn(2, 1, 64, h, w)
        ours, theirs = match(query, key).index, match_by_convolution(query, key)
        ratio = seconds(lambda: match_by_convolution(query, key)) / seconds(lambda: match(query, key))  # noqa: B023
        same = (ours == theirs).double().mean()
        print(f"match {h}×{w}, 64 channels: {ratio:.1f} times faster than convolution, {same:.2%} same")

    value, query = torch.randn(2, 32, 160, 160), torch.randn(2, 32, 40, 40)
    index = match(query, F.avg_pool2d(value, 4)).index
    error = torch.randn_like(value)
    leaf = value.clone().requires_grad_()

    def ours() -> Tensor:
        swap(value, index)
        return swap_adjoint(error, index, [(40, 40)])[0]

    def theirs() -> Tensor:
        return torch.autograd.grad(swap_by_fold(leaf, index), leaf, error)[0]

    ratio, apart = seconds(theirs) / seconds(ours), (theirs() - ours()).abs().max()
    print(f"swap 160×160, B=2, C=32, forward and backward: {ratio:.1f} times faster than fold, {apart:.0e} apart")


if __name__ == "__main__":
    main()
