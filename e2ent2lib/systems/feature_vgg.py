"""The row "Feature-VGG" of Table 3: E2ENT² with VGG19's features in place of φ (4.3).

The idea: match, swap and synthesise with features that were made for classification, and frozen.

Kept: all of E2ENT² after φ, its losses, its RefSR critic. VGG replaces φ everywhere, Res1's input included.

Scaled: with fewer than 64 channels in the profile, one convolution leads from VGG's 64 into Res1.

Not known: which layer the authors used. Here relu1_2, the deepest at full resolution, since the paper wants feature
maps of the image's size (3.1). There is no SISR branch, for it would share φ: the network needs a reference.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.matching import match_and_swap
from e2ent2lib.models.e2ent2 import Synthesis, features
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.systems.vgg import VGG19

LAYER, CHANNELS = "relu1_2", 64


class VGGEncoder(nn.Module):
    """φ of Feature-VGG, frozen."""

    def __init__(self):
        super().__init__()
        self.vgg = VGG19(LAYER)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 64 h w"]:
        """relu1_2 of VGG19; image in [0, 1]."""
        return self.vgg(image)[LAYER]


class FeatureVGG(Network):
    """E2ENT² whose φ is VGG19; Eq. 5 has nothing to train."""

    references = "any"
    encodes, swaps = True, "cells"
    norm = "l2"

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        self.encoder = VGGEncoder()
        self.synthesis = Synthesis(profile, CHANNELS)

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """Eq. 1 and 2 on images in [0, 1]; lists for several references."""
        phi_in, *phi_refs = features(self.encoder, lr, ref_down, ref)
        alphas = (0.0, 0.0, 0.0)
        swapped, matches, *_ = match_and_swap(phi_in, *phi_refs, alphas, self.profile.scale, return_matches=True)
        return self.compose(swapped, phi_in, lr, matches.confidence)

    def compose(self, swapped: Tensor, phi_in: Tensor, lr: Images, confidence: Tensor) -> Outputs:
        """As ``E2ENT2.compose``; there is no SISR branch."""
        return Outputs(self.synthesis(swapped, phi_in, lr), None, swapped, confidence)
