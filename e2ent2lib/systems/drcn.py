"""DRCN: J. Kim, J. K. Lee, K. M. Lee, "Deeply-recursive convolutional network for image super-resolution", CVPR 2016.

The idea: one convolution applied 16 times with the same weights, every application supervised, and a learned weighted
average of the 16 predictions as the result; depth without more parameters.

Kept: luminance only, on the bicubically enlarged image, with bicubic colour; two embedding convolutions, one recursive
and two reconstruction convolutions, 16 recursions, a skip from the input to each prediction; the losses, α falling
from 1 to 0, β = 1e-4; the recursive convolution starts as the identity, the others by He's rule.

Scaled: 256 channels, at ``compact`` 32. The last convolution starts near zero, so that training begins at the bicubic
image. Adam in place of SGD with momentum; whole crops in place of patches of 41 × 41.

Not known: how α falls (here linearly), and whether a weight of the average may be negative (here none: a softmax).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.models.blocks import conv3
from e2ent2lib.models.network import SKIPS, Images, Network, Outputs
from e2ent2lib.systems.parts import Luma, enlarge, to_rgb, to_ycbcr

Recursions = Float[Tensor, "b D h w"]
RECURSIONS = 16
"""D of the paper's experiments."""
PATCH_SUM = 41**2 / 2
"""Half the number of pixels of the published training patch."""


class Recursive(NamedTuple):
    """What the loss looks at, at high resolution: ``Outputs.details``."""

    luma: Luma
    """The weighted average of ``recursions``; Y with limited range, as ``to_ycbcr`` has it."""
    recursions: Recursions
    """The prediction of each recursion."""
    squared_norm: Float[Tensor, ""]
    """‖θ‖² of all parameters, which the loss cannot see."""


class DRCN(Network):
    """The advanced model of section 3.2: recursive supervision and skip connection. It uses no reference."""

    def __init__(self, profile: Profile, recursions: int = RECURSIONS):
        super().__init__()
        self.profile, c = profile, profile.drcn_channels
        self.embedding = nn.Sequential(conv3(1, c), nn.ReLU(inplace=True), conv3(c, c), nn.ReLU(inplace=True))
        self.recursion = nn.Sequential(conv3(c, c), nn.ReLU(inplace=True))
        self.reconstruction = nn.Sequential(conv3(c, c), nn.ReLU(inplace=True), conv3(c, 1))
        self.ensemble = nn.Parameter(torch.zeros(recursions))
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
        nn.init.dirac_(self.recursion[0].weight)  # 16 applications then neither fade nor explode
        nn.init.normal_(self.reconstruction[-1].weight, std=1e-3)

    @property
    def receptive_field(self) -> int:
        """As of every network, with the recursions counted."""
        return -(-(len(self.ensemble) + 4) // self.profile.scale) + SKIPS

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The enlarged image, ``luma`` with bicubic colour, and its ``Recursive``; lr in [0, 1]."""
        with torch.autocast(lr.device.type, enabled=False):  # bfloat16 would round colours to 8 bits and less
            y, *chroma = to_ycbcr(enlarge(lr, self.profile.scale)).split(1, dim=1)
        luma, recursions = self.super_resolve(y)
        with torch.autocast(lr.device.type, enabled=False):
            sr = to_rgb(torch.cat([luma, *chroma], dim=1))
        details = Recursive(luma, recursions, sum(p.square().sum() for p in self.parameters()))
        return Outputs(sr, details=details)

    def super_resolve(self, y: Luma) -> tuple[Luma, Recursions]:
        """The final luminance and that of each recursion, from the enlarged luminance."""
        features, recursions = self.embedding(y), []
        for _ in self.ensemble:
            features = self.recursion(features)  # always the same convolution
            # at once, so that without gradients only one recursion's features are ever held
            recursions.append(y + self.reconstruction(features))
        stacked = torch.cat(recursions, dim=1)
        weights = self.ensemble.softmax(0).view(1, -1, 1, 1)  # positive, their sum is 1
        return (weights * stacked).sum(1, keepdim=True), stacked


class DRCNLoss(nn.Module):
    """α · L₁ + (1 − α) · L₂ + β‖θ‖² of section 3.3; α goes with the training's progress, so the terms carry it."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.weights = {"recursions": 1.0, "final": 1.0, "decay": 1e-4}

    def forward(self, outputs: Outputs, batch: Crops, progress: float | Tensor) -> dict[str, Float[Tensor, ""]]:
        """The terms, on luminance: "recursions" with α, "final" with 1 − α, "decay"."""
        alpha, y, made = 1 - progress, to_ycbcr(batch.hr)[:, :1], outputs.details
        # published is half the sum over 41 × 41 pixels; the mean × 41²/2 keeps the ratio to β for images of any size
        each = PATCH_SUM * F.mse_loss(made.recursions, y.expand_as(made.recursions))
        final = PATCH_SUM * F.mse_loss(made.luma, y)
        return {"recursions": alpha * each, "final": (1 - alpha) * final, "decay": made.squared_norm}
