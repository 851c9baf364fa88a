"""The discriminators of 3.2 and 3.4: one for the SISR branch, one for the RefSR branch."""

from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.models.blocks import conv3


class Critic(nn.Module):
    """C of the relativistic average discriminator (Eq. 9): an image in, one raw number out.

    SRGAN's ladder of 3×3 convolutions, the second of each stage with stride 2, then the mean over the positions. No
    batch norm, so that a batch split over several processes gives the same gradients as one process. The baselines'
    discriminators are this one too.
    """

    def __init__(self, profile: Profile):
        super().__init__()
        layers, inputs = [], 3
        for stage in range(profile.critic_stages):
            width = profile.critic_channels * 2**stage
            layers += [conv3(inputs, width), nn.LeakyReLU(0.2), conv3(width, width, stride=2), nn.LeakyReLU(0.2)]
            inputs = width
        self.body = nn.Sequential(*layers, conv3(inputs, 1))

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """C(image), unbounded; image in [0, 1]."""
        return self.body(image).mean((1, 2, 3))
