"""A departure from the paper, under a name of its own: the reference is used where the match may be trusted.

The idea: blend the RefSR image with the SISR branch's, by the confidence of the match.

Eq. 4 takes the best patch of the reference however bad it is, and what is left of it says nothing of how good it was;
ζ has to guess. Here the cosine of Eq. 3's match decides, as TTSR's soft attention does (Yang et al., CVPR 2020), but
on the image and with two numbers in all: I = I_sisr + g · (I_sr − I_sisr), 0 < g < 1. They are trained, the network of
`e2ent2-mse` is left as it is. Notebook 06 shows what it gives.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.models.e2ent2 import E2ENT2, Synthesis
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.models.sisr import FeatureEncoder, SISRBranch, bilinear

WINDOW = 5
"""Side in cells of the neighbourhood over which the confidence is averaged: one patch may match well by chance.
A tile sees so far in any case, ``network.SKIPS``."""
REACH = 100.0
"""Factor on the two numbers: Adam moves each by a step size of 1e-3, which would take them nowhere."""


class GatedE2ENT2(Network):
    """A trained E2ENT², frozen, and a gate between its two images."""

    references = "any"
    encodes, swaps = True, "cells"

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        self.inner = E2ENT2(profile).requires_grad_(False)
        self.norm = self.inner.norm
        self.gate = nn.Parameter(torch.zeros(2))

    @property
    def encoder(self) -> FeatureEncoder:
        """φ of the network."""
        return self.inner.encoder

    @property
    def synthesis(self) -> Synthesis:
        """ζ of the network."""
        return self.inner.synthesis

    @property
    def single_image(self) -> SISRBranch:
        """The SISR branch of the network."""
        return self.inner.sisr

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """As ``E2ENT2.forward``, with the gated image as ``sr``."""
        with torch.no_grad():
            out = self.inner(lr, ref, ref_down)
        return self._gated(out)

    def compose(self, swapped: Tensor, phi_in: Tensor, lr: Images, confidence: Tensor) -> Outputs:
        """As ``E2ENT2.compose``, gated."""
        return self._gated(self.inner.compose(swapped, phi_in, lr, confidence))

    def _gated(self, out: Outputs) -> Outputs:
        return out._replace(sr=out.sisr + self.opening(out.confidence) * (out.sr - out.sisr))

    def opening(self, confidence: Float[Tensor, "b h w"]) -> Float[Tensor, "b 1 r*h r*w"]:
        """g = σ(a + b · (1 + ``doubt``)), at high resolution."""
        a, b = REACH * self.gate  # the 1 is there so that a and b hardly depend on each other: doubt is near −1
        return torch.sigmoid(a + b * (1 + bilinear(doubt(confidence), self.profile.scale)))


def doubt(confidence: Float[Tensor, "b h w"]) -> Float[Tensor, "b 1 h w"]:
    """The mean of log(1 − cos) over the window around a cell; the surer the match, the lower."""
    single = torch.log(1.0001 - confidence[:, None].float())
    return F.avg_pool2d(single, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
