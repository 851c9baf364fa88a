"""SRNTT: Zhang, Wang, Lin and Qi, "Image super-resolution by neural texture transfer", CVPR 2019.

The idea: match the input with the reference in VGG19's features, swap the reference's in at three scales, and let a
network merge them with the input's content; nothing before the swap learns.

Kept: matching at relu3_1, where input and shrunken reference are both enlarged bicubically; the texture transfer of 16,
8 and 4 blocks, without a skip from the input; the losses of the published code with its weights (back-projection, of
which the weight is 0 and which its README leaves out, is not here) and in its units: images in [−1, 1], VGG's input in
0 to 255; an opening of 5 in 55 epochs with the reconstruction loss alone.

Scaled: with the profile, width and blocks. The content comes from SRResNet (1.55 M parameters); the published
extractor has 1.52 M (ReLU, 3×3 and 1×1 at its ends). With biases before batch norms that is 4.42 M against 4.38 M. VGG
is torchvision's; the network takes its features in that unit. Left out: weights for reliable matches, off in the code.
Where only the short VGG file is at hand, relu3_1 stands in for relu5_1 at the same weight, and then leads the loss,
since its features are larger. The discriminator is ``models.Critic``, without dense layers.

Not known: what E2ENT²'s authors count as SRNTT's "five loss functions", and whether they trained it again.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.matching import Map, as_list, match, swap
from e2ent2lib.models.blocks import conv3, upsampling
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.systems.parts import enlarge, gram
from e2ent2lib.systems.srgan import NormalisedBlock, SRResNet
from e2ent2lib.systems.vgg import VGG19, deepest

Maps = list[Map]
LAYERS = {"relu3_1": 1, "relu2_1": 2, "relu1_1": 4}
"""VGG19's layers by their scale against the low-resolution grid; matching is at the first."""
TEXTURE, BLOCKS = (256, 128, 64), (16, 8, 4)
"""Channels of those layers, and residual blocks at each scale."""
OPENING = 5 / 55
"""Share of the training with the reconstruction loss alone."""
VGG_UNIT = 255 * 0.226
"""From features of inputs divided by ImageNet's standard deviation to those of inputs in 0 to 255, but for biases."""


class TextureTransfer(nn.Module):
    """One scale of section 3.2: what the reference adds to the content."""

    def __init__(self, channels: int, texture: int, blocks: int):
        super().__init__()
        self.merge = nn.Sequential(conv3(channels + texture, channels), nn.ReLU(inplace=True))
        stack = (NormalisedBlock(channels, nn.ReLU) for _ in range(blocks))
        self.body = nn.Sequential(*stack, conv3(channels, channels), nn.BatchNorm2d(channels))

    def forward(self, x: Float[Tensor, "b c h w"], swapped: Float[Tensor, "b t h w"]) -> Float[Tensor, "b c h w"]:
        """x with the swapped features merged in."""
        return x + self.body(self.merge(torch.cat([x, swapped], dim=1)))


class SRNTT(Network):
    """Content extractor and VGG, both frozen, and the texture transfer, which is trained."""

    references = "any"

    def __init__(self, profile: Profile):
        """Raises ValueError for a scale other than 4."""
        super().__init__()
        if profile.scale != 4:
            raise ValueError(f"scale {profile.scale}: SRNTT swaps at the three scales of VGG19, up to 4; use scale 4")
        self.profile, c = profile, profile.channels
        self.content = SRResNet(profile).requires_grad_(False)
        self.vgg = VGG19(*LAYERS)
        self.transfer = nn.ModuleList(TextureTransfer(c, t, profile.blocks(n)) for t, n in zip(TEXTURE, BLOCKS))
        self.up = nn.ModuleList([upsampling(c, 2), upsampling(c, 2), nn.Identity()])
        self.head = nn.Sequential(conv3(c, c // 2), nn.Conv2d(c // 2, 3, 1), nn.Tanh())
        self.train()

    @property
    def single_image(self) -> SRResNet:
        """The network without a reference."""
        return self.content

    def train(self, mode: bool = True) -> "SRNTT":
        """As of every module, but the frozen parts stay in eval mode."""
        super().train(mode)
        self.content.eval(), self.vgg.eval()
        return self

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """The image, and as its details VGG's features of the reference where they match the input.

        Those are (b 256 h w), (b 128 2h 2w), (b 64 4h 4w); images in [0, 1], lists for several references.

        Raises ValueError if a reference is not four times as large as its ``ref_down``.
        """
        with torch.no_grad():
            swapped, x = self.swapped_features(lr, ref, ref_down), self.content.features(lr)
        for transfer, up, texture in zip(self.transfer, self.up, swapped):
            x = up(transfer(x, texture))
        sr = (self.head(x) + 1) / 2  # from tanh's [−1, 1], the range of the published images
        return Outputs(sr, details=swapped)

    @torch.no_grad()
    def swapped_features(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Maps:
        """Section 3.1: one match at relu3_1, by which all three layers of the reference are swapped in."""
        refs, downs = as_list(ref), as_list(ref_down)
        if [x.shape[2:] for x in refs] != [tuple(4 * n for n in x.shape[2:]) for x in downs]:
            sizes = ([tuple(x.shape[2:]) for x in maps] for maps in (refs, downs))
            raise ValueError("references of {} are not ref_down of {} ×4; crop to a multiple of 4".format(*sizes))
        query, *keys = (self.vgg(enlarge(x, 4).clamp(0, 1))["relu3_1"] for x in (lr, *downs))
        matches, values = match(query, keys), [self.vgg(x) for x in refs]
        return [swap([v[layer] for v in values], matches, scale) for layer, scale in LAYERS.items()]


class SRNTTLoss(nn.Module):
    """Section 3.3, with the weights and the units of the published code; the adversary is WGAN-GP."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.weights = {"rec": 1.0, "perceptual": 1e-4, "texture": 1e-4, "adv_ref": 1e-6}
        self.layer = deepest("relu5_1", profile.name)
        self.vgg = VGG19(*LAYERS, self.layer)

    def forward(self, outputs: Outputs, batch: Crops, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The terms of ``weights`` but the adversary's; before ``OPENING`` only "rec"."""
        sr = outputs.sr.float()
        if progress < OPENING:
            return {"rec": F.l1_loss(2 * sr, 2 * batch.hr)}
        with torch.no_grad():
            wanted = self.vgg(batch.hr)[self.layer]
        found = self.vgg(sr)
        return {
            "rec": F.l1_loss(2 * sr, 2 * batch.hr),
            "perceptual": F.mse_loss(VGG_UNIT * found[self.layer], VGG_UNIT * wanted),
            "texture": texture_loss([found[layer] for layer in LAYERS], outputs.details),
        }


def texture_loss(found: Maps, swapped: Maps) -> Float[Tensor, ""]:
    """Section 3.2: the squared difference of the Gram matrices over (2 · numbers in the map)², its mean over entries.

    Both lists as the details of ``SRNTT.forward``; the mean over the three layers. The means are the published code's.
    """
    differences = (VGG_UNIT**2 * (gram(x) - gram(y)) / x[0].numel() for x, y in zip(found, swapped))
    return torch.stack([difference.square().mean() / 4 for difference in differences]).mean()
