"""Section 3.5: the reconstruction loss (Eq. 8) and the adversarial losses (Eq. 9 and 10). Notebook 02."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.models.network import Images, Outputs, trained_images

Scores = Float[Tensor, " b"]


def reconstruction_loss(sr: Images, hr: Images, kind: Literal["l1", "mse"] = "l1") -> Float[Tensor, ""]:
    """L_rec = ‖I_SR − GT‖₁ of Eq. 8 as a mean over pixels; "mse" is that of E2ENT²-MSE. Images in [0, 1].

    Raises ValueError for another kind.
    """
    if kind not in ("l1", "mse"):
        raise ValueError(f"unknown reconstruction loss {kind!r}; choose 'l1' (Eq. 8) or 'mse'")
    return F.l1_loss(sr, hr) if kind == "l1" else F.mse_loss(sr, hr)


def batch_mean(scores: Scores) -> Float[Tensor, ""]:
    """E[C(x)] over the batch of one process."""
    return scores.mean()


def critic_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Float[Tensor, ""]:
    """L_D of Eq. 9 from the critic's raw scores C(x_real) and C(x_fake).

    D is the relativistic average discriminator: D(a, b) = σ(C(a) − E[C(b)]), whether a looks more real than b does on
    average. ``mean`` is E over the whole batch: with several processes one that gathers with gradients.
    """
    real_over_fake = real - mean(fake)  # D(x_real, x_fake) = σ of this
    fake_over_real = fake - mean(real)  # D(x_fake, x_real) = σ of this
    # −log σ(z) = softplus(−z) and −log(1 − σ(z)) = softplus(z), which can't overflow
    return F.softplus(-real_over_fake).mean() + F.softplus(fake_over_real).mean()


def generator_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Float[Tensor, ""]:
    """L_G of Eq. 10: Eq. 9 with real and fake exchanged, so that the fakes learn to look more real."""
    return critic_loss(fake, real, mean)


class Adversary(NamedTuple):
    """What a critic and the generator minimise: Eq. 9 and 10, unless a baseline has others."""

    critic_loss: Callable[..., Tensor] = critic_loss
    generator_loss: Callable[..., Tensor] = generator_loss
    penalty: Callable[[nn.Module, Images, Images, int], Tensor] | None = None
    """What is added to the critic's loss, from (critic, real, fake, seed); nothing in the paper."""


class PaperLoss(nn.Module):
    """Eq. 8 on each branch, with the weights of 4.1. ``weights`` holds those of Eq. 10 too, which the trainer adds."""

    def __init__(self, profile: Profile, rec: Literal["l1", "mse"] = "l1", branches: tuple[str, ...] = ("sisr",)):
        """``branches``: "sisr", "ref", or both; beside the other the SISR branch has the profile's ``weight_sisr``."""
        super().__init__()
        self.rec, self.branches = rec, branches
        joint = len(branches) == 2
        shares = {branch: profile.weight_sisr if branch == "sisr" and joint else 1.0 for branch in branches}
        self.weights = {f"rec_{branch}": share * profile.weight_rec for branch, share in shares.items()}
        self.weights |= {f"adv_{branch}": share * profile.weight_adv for branch, share in shares.items()}

    def forward(self, outputs: Outputs, batch: tuple, progress: float) -> dict[str, Tensor]:
        """L_rec of each branch's image, unweighted.

        ``batch`` is of ``Crops``; ``progress`` is for the losses of baselines that change during training.
        """
        images = trained_images(outputs, self.branches)
        return {f"rec_{branch}": reconstruction_loss(image, batch.hr, self.rec) for branch, image in images.items()}
