"""How the field computes match and swap, written from the descriptions: what the benchmark compares with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from e2ent2lib.matching import patch_norm


def match_by_convolution(query: Tensor, key: Tensor) -> Tensor:
    """argmax of Eq. 3 with the key's normalised patches as convolution kernels, as ports of SRNTT do; (1, h, w)."""
    kernels = F.unfold(key, 3)[0].T.reshape(-1, key.shape[1], 3, 3) / patch_norm(key)[0].reshape(-1, 1, 1, 1)
    return F.conv2d(F.pad(query, (1, 1, 1, 1), mode="replicate"), kernels).argmax(1)


def match_by_product(query: Tensor, key: Tensor) -> Tensor:
    """The same with unfold and one batched matrix product, as TTSR does; (B, h, w)."""
    patches = F.unfold(F.pad(query, (1, 1, 1, 1), mode="replicate"), 3)
    keys = F.unfold(key, 3)
    keys = keys / patch_norm(key).flatten(1)[:, None]
    index = torch.bmm(keys.transpose(1, 2), patches).max(dim=1).indices
    return index.view(-1, *query.shape[2:])


def swap_by_fold(value: Tensor, index: Tensor, r: int = 4) -> Tensor:
    """F of Eq. 4 by unfold, gather and fold, divided by the count map."""
    patches = F.unfold(value, 3 * r, stride=r)
    chosen = patches.gather(2, index.flatten(1)[:, None].expand(-1, patches.shape[1], -1))
    size = [r * (n + 2) for n in index.shape[1:]]
    total, count = (F.fold(x, size, 3 * r, stride=r) for x in (chosen, torch.ones_like(chosen)))
    return (total / count)[..., r:-r, r:-r]
