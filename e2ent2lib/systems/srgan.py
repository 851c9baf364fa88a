"""SRResNet and SRGAN: Ledig et al., CVPR 2017, "Photo-realistic single image super-resolution using a GAN".

The idea: judge the enlarged image by what VGG19 sees in it and by a discriminator, not by its pixels (Eq. 3).

Kept: the network of Fig. 4; trained by pixel MSE (SRResNet), then from those weights by VGG's φ5,4 and the adversary
(SRGAN), in the published units, images in [−1, 1]. The network works in that range; its image is mapped to [0, 1].

Scaled: with the profile, width and blocks. Where only the short VGG file is at hand, relu3_1 stands in for relu5_4.
The discriminator is ``models.Critic``: the published ladder of convolutions without its batch norms, and the mean over
positions in place of its two dense layers, so that any crop will do.

Not known: whether Eq. 5 adds up VGG's channels or averages them, and the unit of VGG's input. Here it is the mean, with
ImageNet's mean and standard deviation: that is of "a scale that is comparable to the MSE loss" (3.2).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.models.blocks import conv3, doublings
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.systems.vgg import VGG19, deepest

VGG_SCALE = 1 / 12.75
"""Factor on VGG's features (3.2); its square is the 0.006 on the loss."""


class NormalisedBlock(nn.Module):
    """x + BN(conv(act(BN(conv(x))))): the residual block of Fig. 4, also SRNTT's."""

    def __init__(self, channels: int, activation: Callable[[], nn.Module] = nn.PReLU):
        super().__init__()
        first, second = (nn.Sequential(conv3(channels, channels), nn.BatchNorm2d(channels)) for _ in range(2))
        self.body = nn.Sequential(*first, activation(), *second)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same shape out as in."""
        return x + self.body(x)


class SRResNet(Network):
    """The generator of Fig. 4."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile, c = profile, profile.channels
        self.head = nn.Sequential(nn.Conv2d(3, c, 9, padding=4), nn.PReLU())
        blocks = (NormalisedBlock(c) for _ in range(profile.blocks(16)))
        self.body = nn.Sequential(*blocks, conv3(c, c), nn.BatchNorm2d(c))
        times = range(doublings(profile.scale))
        stages = (layer for _ in times for layer in (conv3(c, 4 * c), nn.PixelShuffle(2), nn.PReLU()))
        self.tail = nn.Sequential(*stages, nn.Conv2d(c, 3, 9, padding=4))

    def features(self, lr: Images) -> Float[Tensor, "b c h w"]:
        """The map before the upsampling, after the long skip: SRNTT's content; lr in [0, 1]."""
        x = self.head(lr)
        return x + self.body(x)

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The super-resolved image; lr in [0, 1]."""
        return Outputs((self.tail(self.features(lr)) + 1) / 2)  # from [−1, 1], the range of the published images


class SRResNetLoss(nn.Module):
    """Eq. 4, pixel MSE."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.weights = {"mse": 1.0}

    def forward(self, outputs: Outputs, batch: Crops, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The term of ``weights``, for images in [−1, 1]; those of ``outputs`` are in [0, 1]."""
        return {"mse": F.mse_loss(2 * outputs.sr.float(), 2 * batch.hr)}


class SRGANLoss(nn.Module):
    """Eq. 3: the VGG loss of Eq. 5, and 10⁻³ of the adversary's −log D (Eq. 6)."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.weights = {"content": 1.0, "adv_sisr": 1e-3}
        self.layer = deepest("relu5_4", profile.name)
        self.vgg = VGG19(self.layer)

    def forward(self, outputs: Outputs, batch: Crops, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The content term, Eq. 5 on rescaled features."""
        with torch.no_grad():
            wanted = self.vgg(batch.hr)[self.layer]
        found = self.vgg(outputs.sr.float())[self.layer]
        return {"content": F.mse_loss(VGG_SCALE * found, VGG_SCALE * wanted)}
