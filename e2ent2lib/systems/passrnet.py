"""PASSRnet: Wang et al., "Learning parallax attention for stereo image super-resolution", CVPR 2019.

The idea: in a rectified stereo pair a point is in the same row of both views, so every pixel of the left view attends
to all pixels of its own row in the right one; however large the disparity, it need not be estimated or bounded.

Kept: one encoder for both low-resolution views with dilations 1, 4 and 8; the attention in both directions, unscaled;
the masks of what both views show, filtered as in the released code; fusion, pixel shuffle, no skip from the input; the
four losses; Xavier's rule for the start. The right view is taken at low resolution, as published; ``ref`` is not used.

Scaled: at ``compact`` 32 channels and one of the four last residual blocks; the encoder keeps all of its parts. No
flips of the training crops. The masks are filtered in each image alone; the released code lets the images of a batch
touch.

Not known: whether E2ENT²'s authors gave it the right view at high resolution, and on what they trained it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.matching import Map
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.systems.stereosr import one_view

Attention = Float[Tensor, "b h w w"]
Mask = Bool[Tensor, "b 1 h w"]
DILATIONS = (1, 4, 8)
LEAST_ATTENTION = 0.1
"""A pixel that gets less from the whole row of the other view has no counterpart there."""
SMALLEST_GAP, SMALLEST_ISLAND, CLOSING_RADIUS = 20, 10, 3
"""In the mask: pixels without counterpart in one piece, then with one, of fewer are noise; then gaps are closed."""


def parallax_attention(query: Map, key: Map) -> Attention:
    """For each column of ``query`` how much of each column of ``key`` it takes, row by row; sums to 1, float32."""
    with torch.autocast(query.device.type, enabled=False):
        scores = query.float().permute(0, 2, 3, 1) @ key.float().permute(0, 2, 1, 3)
        return scores.softmax(-1)


def warp(attention: Attention, image: Map) -> Map:
    """The image as the other view sees it: each pixel the attention's weighted sum over its row, float32."""
    with torch.autocast(image.device.type, enabled=False):
        return (attention @ image.float().permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def valid_mask(attention: Attention) -> Mask:
    """Where the view that is attended to has a counterpart in the other one; no gradients."""
    with torch.no_grad(), torch.autocast(attention.device.type, enabled=False):
        invalid = (attention.sum(2) <= LEAST_ATTENTION)[:, None]
        invalid = without_small(invalid, SMALLEST_GAP)
        invalid = ~without_small(~invalid, SMALLEST_ISLAND)
        return ~closed(invalid, CLOSING_RADIUS)


def without_small(mask: Mask, size: int) -> Mask:
    """The mask without its pieces of fewer than ``size`` pixels; pixels that touch at a corner are of one piece.

    Own code in place of scikit-image's, which would take every mask of a training step from the device and back. Pieces
    are found in so many rounds, whatever they look like, as it never asks the device whether more are needed.
    """
    inside = mask.float()
    labels = inside * torch.arange(1, mask.numel() + 1, device=mask.device).view_as(mask)
    for _ in range(2 * max(mask.shape[2:]).bit_length()):
        # the largest number of the neighbours; the pixel with that number is told of a larger one, and all follow it
        grown = (F.max_pool2d(labels, 3, 1, 1) * inside).flatten()
        told = F.pad(grown, (1, 0)).scatter_reduce(0, labels.flatten().long(), grown, "amax")
        labels = told[grown.long()].view_as(labels)
    numbers = labels.flatten().long()
    counts = labels.new_zeros(mask.numel() + 1).scatter_add_(0, numbers, inside.flatten())
    return mask & (counts[numbers].view_as(labels) >= size)


def closed(mask: Mask, radius: int) -> Mask:
    """Morphological closing with a disc, nothing beyond the border."""
    steps = torch.arange(-radius, radius + 1, device=mask.device)
    disc = (steps[:, None] ** 2 + steps**2 <= radius**2).float()[None, None]
    dilated = (F.conv2d(mask.float(), disc, padding=2 * radius) > 0.5).float()
    return F.conv2d(dilated, disc) > disc.sum() - 0.5


def bare_conv(inputs: int, outputs: int, dilation: int = 1) -> nn.Conv2d:
    """A 3×3 convolution without bias that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation, bias=False)


class ResB(nn.Module):
    """x + conv(LeakyReLU(conv(x)))."""

    def __init__(self, channels: int):
        super().__init__()
        leaky = nn.LeakyReLU(0.1, inplace=True)
        self.body = nn.Sequential(bare_conv(channels, channels), leaky, bare_conv(channels, channels))

    def forward(self, x: Map) -> Map:
        """Same shape out as in."""
        return x + self.body(x)


class ResASPP(nn.Module):
    """Three groups in a row, each dilated convolutions side by side; the sum of the input and all three results."""

    def __init__(self, channels: int):
        super().__init__()
        branches = [bare_conv(channels, channels, dilation) for _ in range(3) for dilation in DILATIONS]
        self.branches = nn.ModuleList(nn.Sequential(x, nn.LeakyReLU(0.1, inplace=True)) for x in branches)
        self.merges = nn.ModuleList(nn.Conv2d(len(DILATIONS) * channels, channels, 1, bias=False) for _ in range(3))

    def forward(self, x: Map) -> Map:
        """Same shape out as in."""
        total = x
        for i, merge in enumerate(self.merges):
            group = self.branches[i * len(DILATIONS) : (i + 1) * len(DILATIONS)]
            x = merge(torch.cat([branch(x) for branch in group], dim=1))
            total = total + x
        return total


class Parallax(NamedTuple):
    """What the loss looks at, at low resolution: ``Outputs.details``."""

    right_to_left: Attention
    """At [b, y, x]: where in row y of the right view the left view's column x is taken from."""
    left_to_right: Attention
    """The reverse."""
    valid_left: Mask
    """Pixels of the left view that the right one shows too."""
    valid_right: Mask
    """The reverse."""


class PASSRnet(Network):
    """Encoder, parallax attention, reconstruction (section 3). Without a right view there is no result."""

    references = "stereo"
    encodes = True

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile, c, r = profile, profile.channels, profile.scale
        self.encoder = nn.Sequential(
            bare_conv(3, c), nn.LeakyReLU(0.1, inplace=True), ResB(c), ResASPP(c), ResB(c), ResASPP(c), ResB(c)
        )
        self.to_match = ResB(c)
        self.query, self.key, self.value = (nn.Conv2d(c, c, 1) for _ in range(3))
        self.fusion = nn.Conv2d(2 * c + 1, c, 1)
        self.tail = nn.Sequential(
            *(ResB(c) for _ in range(profile.blocks(4))),
            *(nn.Conv2d(c, c * r**2, 1, bias=False), nn.PixelShuffle(r), bare_conv(c, 3), bare_conv(3, 3)),
        )
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            nn.init.xavier_normal_(conv.weight)

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """The left view ``lr`` enlarged with the help of the right one, ``ref_down``; images in [0, 1].

        Raises ValueError as ``one_view``.
        """
        left, right = self.encoder(lr), self.encoder(one_view(lr, ref_down, "PASSRnet"))
        match_left, match_right = self.to_match(left), self.to_match(right)
        right_to_left = parallax_attention(self.query(match_left), self.key(match_right))
        left_to_right = parallax_attention(self.query(match_right), self.key(match_left))
        valid_left, valid_right = valid_mask(left_to_right), valid_mask(right_to_left)
        warped = warp(right_to_left, self.value(right))
        fused = self.fusion(torch.cat([warped, left, valid_left.to(left.dtype)], dim=1))
        parallax = Parallax(right_to_left, left_to_right, valid_left, valid_right)
        return Outputs(self.tail(fused).float(), details=parallax)


class PASSRnetLoss(nn.Module):
    """L = L_SR + 0.005 · (L_photometric + L_smooth + L_cycle); means over pixels, each of the three for both views."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.weights = {"mse": 1.0, "photometric": 0.005, "smoothness": 0.005, "cycle": 0.005}

    def forward(self, outputs: Outputs, batch: Crops, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The terms: of the image, of the views warped onto each other, and of the attention itself."""
        there, back, valid_left, valid_right = outputs.details
        return {
            "mse": F.mse_loss(outputs.sr, batch.hr),
            "photometric": photometric(there, batch.lr, batch.ref_down, valid_left)
            + photometric(back, batch.ref_down, batch.lr, valid_right),
            "smoothness": smoothness(there) + smoothness(back),
            "cycle": cycle(there, back, valid_left) + cycle(back, there, valid_right),
        }


def photometric(attention: Attention, view: Images, other: Images, valid: Mask) -> Float[Tensor, ""]:
    """Mean |view − other warped onto it|, 0 where there is no counterpart."""
    return ((view - warp(attention, other)) * valid).abs().mean()


def smoothness(attention: Attention) -> Float[Tensor, ""]:
    """Mean differences from the pixel below at equal columns, and from the next column at equal disparity."""
    below = (attention[:, :-1] - attention[:, 1:]).abs().mean()
    return below + (attention[:, :, :-1, :-1] - attention[:, :, 1:, 1:]).abs().mean()


def cycle(there: Attention, back: Attention, valid: Mask) -> Float[Tensor, ""]:
    """Mean |there and back − identity|, 0 in the columns without counterpart."""
    identity = torch.eye(there.shape[-1], device=there.device)
    return ((there @ back - identity) * valid.transpose(1, 2)).abs().mean()
