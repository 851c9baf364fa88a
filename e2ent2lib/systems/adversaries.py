"""What a critic and a generator minimise: the paper's relativistic average GAN, and the losses of the baselines."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.losses import Adversary, Images, Scores, batch_mean


def standard_critic_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Tensor:
    """−E[log σ(C(x_real))] − E[log(1 − σ(C(x_fake)))]: Goodfellow et al., NeurIPS 2014, Eq. 1."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def standard_generator_loss(real: Scores, fake: Scores, mean: Callable[[Scores], Tensor] = batch_mean) -> Tensor:
    """−E[log σ(C(x_fake))]: Eq. 6 of SRGAN, Eq. 5 of EnhanceNet."""
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


def weighted_penalty(critic: nn.Module, real: Images, fake: Images, seed: int) -> Float[Tensor, ""]:
    """``gradient_penalty`` with the weight of Gulrajani et al.; SRNTT."""
    return 10.0 * gradient_penalty(critic, real, fake, seed)


ADVERSARIES = {
    "ragan": Adversary(),
    "gan": Adversary(standard_critic_loss, standard_generator_loss),
    "wgan-gp": Adversary(wasserstein_critic_loss, wasserstein_generator_loss, penalty=weighted_penalty),
}
"""By the name that a recipe gives: "ragan" is Eq. 9 and 10 of the paper."""
