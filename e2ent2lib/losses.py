"""Section 3.5: reconstruction loss (Eq. 8) and the relativistic average adversarial losses (Eq. 9 and 10)."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "b 3 h w"]
Scores = Float[Tensor, " b"]


def reconstruction_loss(sr: Images, hr: Images, kind: Literal["l1", "mse"] = "l1") -> Float[Tensor, ""]:
    """L_rec of Eq. 8, mean over pixels; "mse" is E2ENT²-MSE's. Images in [0, 1]."""
    if kind not in ("l1", "mse"):
        raise ValueError(f"unknown reconstruction loss {kind!r}; choose 'l1' (Eq. 8) or 'mse'")
    return F.l1_loss(sr, hr) if kind == "l1" else F.mse_loss(sr, hr)


def batch_mean(scores: Scores) -> Float[Tensor, ""]:
    """E[C(x)] over the batch of one process."""
    return scores.mean()


def critic_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Float[Tensor, ""]:
    """L_D of Eq. 9, with D(a, b) = σ(C(a) − E[C(b)]); real and fake are raw critic values C(x).

    ``mean`` is E over the whole batch: with several processes one that gathers with gradients.
    """
    real_over_fake, fake_over_real = real - mean(fake), fake - mean(real)
    # −log σ(z) = softplus(−z) and −log(1 − σ(z)) = softplus(z)
    return F.softplus(-real_over_fake).mean() + F.softplus(fake_over_real).mean()


def generator_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Float[Tensor, ""]:
    """L_G of Eq. 10: Eq. 9 with real and fake exchanged, so that the fakes are to look the more real."""
    return critic_loss(fake, real, mean)
