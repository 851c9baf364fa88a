"""Section 3.5: reconstruction loss (Eq. 8) and the relativistic average adversarial losses (Eq. 9 and 10).

Below them the adversarial losses of the baselines: SRGAN's and EnhanceNet's standard GAN, SRNTT's WGAN-GP.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.models.network import Outputs, trained_images

Images = Float[Tensor, "b 3 h w"]
Scores = Float[Tensor, " b"]


def reconstruction_loss(sr: Images, hr: Images, kind: Literal["l1", "mse"] = "l1") -> Float[Tensor, ""]:
    """L_rec of Eq. 8, mean over pixels; "mse" is E2ENT²-MSE's. Images in [0, 1]."""
    if kind not in ("l1", "mse"):
        raise ValueError(f"unknown reconstruction loss {kind!r}; choose 'l1' (Eq. 8) or 'mse'")
    return F.l1_loss(sr, hr) if kind == "l1" else F.mse_loss(sr, hr)


class PaperLoss(nn.Module):
    """Eq. 8 on each branch, with the weights of 4.1. ``weights`` holds those of Eq. 10 too, which the trainer adds."""

    def __init__(self, profile: Profile, rec: Literal["l1", "mse"] = "l1", branches: tuple[str, ...] = ("sisr",)):
        """``branches``: "sisr", "ref", or both; beside the other the SISR branch has the profile's ``weight_sisr``."""
        super().__init__()
        self.rec, self.branches = rec, branches
        shares = {
            branch: profile.weight_sisr if branch == "sisr" and len(branches) == 2 else 1.0 for branch in branches
        }
        self.weights = {f"rec_{branch}": share * profile.weight_rec for branch, share in shares.items()}
        self.weights |= {f"adv_{branch}": share * profile.weight_adv for branch, share in shares.items()}

    def forward(self, outputs: Outputs, batch: tuple, progress: float) -> dict[str, Tensor]:
        """L_rec of each branch, unweighted; ``batch`` are ``Crops``."""
        images = trained_images(outputs, self.branches)
        return {f"rec_{branch}": reconstruction_loss(image, batch.hr, self.rec) for branch, image in images.items()}


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


def standard_critic_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Tensor:
    """−E[log σ(C(x_real))] − E[log(1 − σ(C(x_fake)))]: Goodfellow et al., NeurIPS 2014, Eq. 1."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def standard_generator_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Tensor:
    """−E[log σ(C(x_fake))]: SRGAN's Eq. 6, EnhanceNet's Eq. 5."""
    return F.softplus(-fake).mean()


def wasserstein_critic_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Tensor:
    """E[C(x_fake)] − E[C(x_real)], without its penalty: Arjovsky et al., ICML 2017; SRNTT."""
    return fake.mean() - real.mean()


def wasserstein_generator_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Tensor:
    """−E[C(x_fake)]."""
    return -fake.mean()


def gradient_penalty(critic: nn.Module, real: Images, fake: Images, seed: int) -> Float[Tensor, ""]:
    """E[(‖∇C(x)‖ − 1)²] at x = ε·real + (1 − ε)·fake, ε uniform for each image: Gulrajani et al., NeurIPS 2017, Eq. 3.

    ε is drawn from ``seed``, so that a resumed run draws what an unbroken one does.
    """
    epsilon = torch.rand(len(real), 1, 1, 1, generator=torch.Generator().manual_seed(seed)).to(real)
    mixed = (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()
    slope = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)[0]
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


class Adversary(NamedTuple):
    """What the critic and what the generator minimises, and the weight of the critic's gradient penalty."""

    critic_loss: Callable[..., Tensor]
    generator_loss: Callable[..., Tensor]
    penalty: float = 0.0


ADVERSARIES = {
    "ragan": Adversary(critic_loss, generator_loss),
    "gan": Adversary(standard_critic_loss, standard_generator_loss),
    "wgan-gp": Adversary(wasserstein_critic_loss, wasserstein_generator_loss, penalty=10.0),
}
