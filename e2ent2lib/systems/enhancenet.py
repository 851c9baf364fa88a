"""EnhanceNet-PAT: M. S. M. Sajjadi, B. Schölkopf, M. Hirsch, "EnhanceNet: single image super-resolution through
automated texture synthesis", ICCV 2017.

The idea: do not ask for the right pixels but for the right texture; small patches of VGG features must have the Gram
matrix of the same patch of the original, which says which features occur together and not where.

Kept: the network, without batch norm, nearest-neighbour enlarging, bicubic skip; the losses of PAT (perceptual,
adversarial, texture; none on pixels), their layers and weights, Gram matrices of 16 × 16 positions, not divided.

Scaled: width and blocks with the profile; at ``compact``, without the whole VGG19, relu3_1 stands in for pool5. The
discriminator is ``models.Critic``, without dense layers. The last convolution starts near zero, so that training
begins at the bicubic image.

Not known: how the features were brought to a mean of one. Here each layer of both images is divided by the mean of the
original's, one number an image; public code divides each image by its own, which hides a difference in strength. A
patch that the border cuts sums the positions it has (the published crop of 128 has none).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.matching import Map
from e2ent2lib.models.blocks import conv3, doublings, output_conv, residual_blocks
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.systems.parts import enlarge, gram
from e2ent2lib.systems.vgg import VGG19, deepest

PATCH = 16
"""Side of the patches whose textures are compared, in positions of the feature map."""


class EnhanceNet(Network):
    """The network of Table 1: 10 residual blocks at low resolution. It uses no reference."""

    def __init__(self, profile: Profile):
        """Raises ValueError if the scale is not a power of two."""
        super().__init__()
        self.profile, c = profile, profile.channels
        self.head = nn.Sequential(conv3(3, c), nn.ReLU(inplace=True), residual_blocks(c, profile.blocks(10)))
        times = range(doublings(profile.scale))  # each pixel repeated, then a convolution and ReLU
        stages = ((nn.Upsample(scale_factor=2), conv3(c, c), nn.ReLU(inplace=True)) for _ in times)
        self.enlarging = nn.Sequential(*(layer for stage in stages for layer in stage))
        self.tail = nn.Sequential(conv3(c, c), nn.ReLU(inplace=True), output_conv(c))

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The enlarged image; lr in [0, 1]."""
        return Outputs(enlarge(lr, self.profile.scale) + self.tail(self.enlarging(self.head(lr))))


class EnhanceNetLoss(nn.Module):
    """L_P, L_T and L_A of section 4.2 as PAT combines them, on VGG19 features scaled to a mean of one."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.weights = {
            "perceptual_pool2": 0.2,
            "perceptual_pool5": 0.02,
            "texture_conv1_1": 3e-7,
            "texture_conv2_1": 1e-6,
            "texture_conv3_1": 1e-6,
            "adv_sisr": 2.0,
        }
        self.perceptual = {"perceptual_pool2": "pool2", "perceptual_pool5": deepest("pool5", profile.name)}
        # after the ReLU: before it the mean, by which features are divided, may be zero
        self.texture = {f"texture_conv{i}_1": f"relu{i}_1" for i in (1, 2, 3)}
        self.vgg = VGG19(*self.perceptual.values(), *self.texture.values())

    def forward(self, outputs: Outputs, batch: Crops, progress: float) -> dict[str, Float[Tensor, ""]]:
        """The terms but "adv_sisr"; images in [0, 1]. ``progress`` changes nothing."""
        with torch.no_grad():
            real = self.vgg(batch.hr)
        fake = self.vgg(outputs.sr)
        # any unit of the features, 0–255 or torchvision's, cancels here
        mean = {layer: x.mean((1, 2, 3), keepdim=True).clamp(min=1e-6) for layer, x in real.items()}
        pairs = {layer: (fake[layer] / mean[layer], real[layer] / mean[layer]) for layer in real}
        perceptual = {term: F.mse_loss(*pairs[layer]) for term, layer in self.perceptual.items()}
        return perceptual | {term: texture_loss(*pairs[layer]) for term, layer in self.texture.items()}


def texture_loss(fake: Map, real: Map) -> Float[Tensor, ""]:
    """L_T: the mean squared difference of the Gram matrices of corresponding patches."""
    return F.mse_loss(patch_grams(fake), patch_grams(real))


def patch_grams(features: Map, side: int = PATCH) -> Float[Tensor, "b n c c"]:
    """The Gram matrix of each patch of ``side`` × ``side`` positions, without overlap, row by row from the top left."""
    height, width = features.shape[2:]
    padded = F.pad(features, (0, -width % side, 0, -height % side))  # zeros add nothing to a Gram matrix
    cut = padded.unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5)
    return gram(cut.flatten(0, 2)).unflatten(0, (len(features), -1))
