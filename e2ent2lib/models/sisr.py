"""φ and the SISR branch around it (3.2, Fig. 3)."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.models.blocks import conv3, output_conv, residual_blocks, upsampling
from e2ent2lib.models.network import Images, Network, Outputs


class FeatureEncoder(nn.Module):
    """φ of 3.2: a convolution, residual blocks, a long skip. Height and width stay (3.1)."""

    def __init__(self, channels: int, blocks: int):
        super().__init__()
        self.head = conv3(3, channels)
        self.body = nn.Sequential(residual_blocks(channels, blocks), conv3(channels, channels))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """φ(image), for I_in, I_ref↓ and I_ref alike; image in [0, 1]."""
        x = self.head(image)
        return x + self.body(x)


class SISRBranch(Network):
    """Fig. 3: φ, two pixel-shuffle stages, a global bilinear skip."""

    encodes = True

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        self.encoder = FeatureEncoder(profile.channels, profile.encoder_blocks)
        self.tail = nn.Sequential(upsampling(profile.channels, profile.scale), output_conv(profile.channels))

    def reconstruct(
        self, phi_in: Float[Tensor, "b c h w"], lr: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 3 r*h r*w"]:
        """The branch after φ: φ(I_in) and I_in in, the super-resolved image out."""
        return self.tail(phi_in) + bilinear(lr, self.profile.scale)

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The super-resolved image; lr in [0, 1]."""
        return Outputs(self.reconstruct(self.encoder(lr), lr))


def bilinear(lr: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c r*h r*w"]:
    """I_in↑ of Eq. 7."""
    return F.interpolate(lr, scale_factor=scale, mode="bilinear", align_corners=False)
