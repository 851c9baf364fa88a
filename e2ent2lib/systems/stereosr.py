"""StereoSR: Jeon et al., "Enhancing the spatial resolution of stereo images using a parallax prior", CVPR 2018.

The idea: the network gets the right view 64 times, shifted by 0, 1, … 63 pixels, so that for every disparity one copy
lies on the left view, and convolutions can take what fits; disparity is never estimated.

Kept: both views enlarged bicubically first; a network of 16 layers for the luminance with a skip from the left view, a
second one of 16 and a joining convolution for the colour, trained together by the root of the mean square error;
always 64 shifts, rolled: the columns that a shift frees get those of the other border (the authors leave the first 64
columns out of their scores). The right view is taken at low resolution, as published; ``ref`` is not used.

Scaled: at ``compact`` 32 channels, all layers. The right view's luminance, where the released demonstration has its
blue channel. No batch norms: the released code calls them without training, so that they only scale. No rectifiers
behind the second network's last layers, so that colour can be corrected downwards. He's rule for the start, in place of
Xavier's, and training begins at the bicubic image. Whole crops in place of patches of 33 × 33 without freed columns.

Not known: whether E2ENT²'s authors gave it the right view at high resolution, and on what they trained it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.matching import as_list
from e2ent2lib.models.blocks import conv3
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.systems.parts import Luma, enlarge, to_rgb, to_ycbcr

SHIFTS = 64
"""Disparities, in pixels of the enlarged image, from 0."""
LAYERS = 16


def one_view(lr: Images, ref_down: Images | Sequence[Images], name: str) -> Images:
    """The right view of the stereo pair; ``name`` is the system that asks.

    Raises ValueError for several references, or a right view of another size than the left one.
    """
    views = as_list(ref_down)
    if [x.shape[2:] for x in views] != [lr.shape[2:]]:
        expected, *sizes = (f"{x.shape[-1]}×{x.shape[-2]}" for x in (lr, *views))
        raise ValueError(
            f"{name}: {len(views)} references ({', '.join(sizes)} at low resolution), expected one of {expected}, the "
            "right view of a rectified stereo pair; for any other references use e2ent2 or srntt"
        )
    return views[0]


def shifted_copies(right: Luma) -> Float[Tensor, "b 64 h w"]:
    """The right view moved to the right by 0 … 63 pixels: copy d lies on the left view where the disparity is d."""
    return torch.cat([right.roll(d, dims=-1) for d in range(SHIFTS)], dim=1)


def plain_network(inputs: int, outputs: int, channels: int) -> nn.Sequential:
    """``LAYERS`` convolutions with ReLUs between them, the last one near zero at the start."""
    layers = [conv3(inputs, channels), nn.ReLU(inplace=True)]
    for _ in range(LAYERS - 2):
        layers += [conv3(channels, channels), nn.ReLU(inplace=True)]
    layers.append(conv3(channels, outputs))
    for conv in layers[::2]:
        nn.init.kaiming_normal_(conv.weight)
        nn.init.zeros_(conv.bias)
    nn.init.normal_(layers[-1].weight, std=1e-3)
    return nn.Sequential(*layers)


class StereoSR(Network):
    """The two networks in a row. Without a right view there is no result."""

    references = "stereo"

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        self.luminance = plain_network(1 + SHIFTS, 1, profile.channels)
        self.colour = plain_network(3, 3, profile.channels)
        self.join = conv3(6, 3)
        with torch.no_grad():  # begin with the sum of the network's result and its input
            self.join.weight.copy_(nn.init.dirac_(torch.empty(3, 3, 3, 3)).repeat(1, 2, 1, 1))
            self.join.bias.zero_()

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """The left view ``lr`` enlarged with the help of the right one, ``ref_down``; images in [0, 1].

        Raises ValueError as ``one_view``.
        """
        view, scale = one_view(lr, ref_down, "StereoSR"), self.profile.scale
        with torch.autocast(lr.device.type, enabled=False):  # bfloat16 would round colours to 8 bits and less
            left, right = (to_ycbcr(enlarge(x, scale)) for x in (lr, view))
        y = self.super_resolve(left[:, :1], right[:, :1])
        ycbcr = torch.cat([y, left[:, 1:]], dim=1)
        residual = self.colour(ycbcr).float()
        with torch.autocast(lr.device.type, enabled=False):
            return Outputs(to_rgb(self.join(torch.cat([residual, ycbcr], dim=1))))

    def super_resolve(self, left: Luma, right: Luma) -> Luma:
        """The left view's luminance from both views', enlarged."""
        return left + self.luminance(torch.cat([left, shifted_copies(right)], dim=1))


class StereoSRLoss(nn.Module):
    """The root of the mean square error of luminance and colour, one loss for both networks."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.weights = {"rmse": 1.0}

    def forward(self, outputs: Outputs, batch: Crops, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The term, over Y, Cb and Cr of the whole batch."""
        mse = F.mse_loss(to_ycbcr(outputs.sr), to_ycbcr(batch.hr))
        return {"rmse": mse.clamp_min(1e-12).sqrt()}  # the root has no gradient at 0
