"""What several systems share: luma and chroma, resized tensors, Gram matrices, and adversaries by their names."""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.losses import Adversary, Images, Scores, batch_mean

Luma = Float[Tensor, "b 1 h w"]
_LUMA = (
    (65.481 / 255, 128.553 / 255, 24.966 / 255),
    (-37.797 / 255, -74.203 / 255, 112.0 / 255),
    (112.0 / 255, -93.786 / 255, -18.214 / 255),
)
_OFFSET = (16 / 255, 128 / 255, 128 / 255)


def to_ycbcr(rgb: Images) -> Images:
    """ITU-R BT.601 with limited range (Y from 16/255 to 235/255), as MATLAB's rgb2ycbcr; RGB in [0, 1]."""
    matrix, _, offset = _bt601(rgb.device, rgb.dtype)
    return torch.einsum("oi,bihw->bohw", matrix, rgb) + offset


def to_rgb(ycbcr: Images) -> Images:
    """The reverse of ``to_ycbcr``, not clipped."""
    _, back, offset = _bt601(ycbcr.device, ycbcr.dtype)
    return torch.einsum("oi,bihw->bohw", back, ycbcr - offset)


@lru_cache
def _bt601(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The matrix, its inverse and the offset, brought to a device once: each time would make it wait."""
    with torch.inference_mode(False):
        matrix, offset = (torch.tensor(x, dtype=torch.float64) for x in (_LUMA, _OFFSET))
        return tuple(x.to(device, dtype) for x in (matrix, torch.linalg.inv(matrix), offset.view(1, 3, 1, 1)))


def enlarge(image: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c R*h R*w"]:
    """Bicubic × ``scale`` with Pillow's kernel (Keys, a = −0.5), not rounded."""
    return F.interpolate(image.float(), scale_factor=scale, mode="bicubic", antialias=True)


def shrink(image: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c h/R w/R"]:
    """Bicubic × 1/``scale`` with Pillow's antialiased kernel, not rounded; the degradation of 4.1, with gradients."""
    return F.interpolate(image.float(), scale_factor=1 / scale, mode="bicubic", antialias=True)


def gram(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c c"]:
    """Sums over positions of the products of two channels each, float32."""
    flat = features.float().flatten(2)
    with torch.autocast(flat.device.type, enabled=False):
        return flat @ flat.transpose(1, 2)


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


def gradient_penalty(
    critic: nn.Module, real: Images, fake: Images, seed: int | Float[Tensor, "b 1 1 1"]
) -> Float[Tensor, ""]:
    """10 · E[(‖∇C(x)‖ − 1)²] at x = ε·real + (1 − ε)·fake: Gulrajani et al., NeurIPS 2017, Eq. 3; SRNTT.

    ε, uniform for each image, is drawn from ``seed``, so that a resumed run draws what an unbroken one does; or it is
    given in its place.
    """
    epsilon = seed
    if isinstance(seed, int):
        epsilon = torch.rand(len(real), 1, 1, 1, generator=torch.Generator().manual_seed(seed)).to(real)
    mixed = (epsilon * real + (1 - epsilon) * fake).detach().requires_grad_()
    slope = torch.autograd.grad(critic(mixed).float().sum(), mixed, create_graph=True)[0]
    return 10 * ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


ADVERSARIES = {
    "ragan": Adversary(),
    "gan": Adversary(standard_critic_loss, standard_generator_loss),
    "wgan-gp": Adversary(wasserstein_critic_loss, wasserstein_generator_loss, gradient_penalty),
}
"""By the name that a recipe gives: "ragan" is Eq. 9 and 10 of the paper."""
