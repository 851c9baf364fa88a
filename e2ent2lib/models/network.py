"""What every network promises, the paper's and those of ``systems``: what goes in, what comes out, how far it sees."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from e2ent2lib.config import Profile

if TYPE_CHECKING:
    from e2ent2lib.photos.options import Options
    from e2ent2lib.photos.tiles import Enlarged

Images = Float[Tensor, "b 3 h w"]
Pixels = UInt8[np.ndarray, "H W 3"]
SKIPS = 3
"""Pixels that a bilinear or bicubic skip sees."""


class Outputs(NamedTuple):
    """What one forward pass gives; images at high resolution in [0, 1], not clipped."""

    sr: Images
    """I_sr, Eq. 2."""
    sisr: Images | None = None
    """The SISR branch's image; None where there is no such branch, or nothing of it is trained."""
    swapped: Float[Tensor, "b c h w"] | None = None
    """F, Eq. 1; None where nothing is swapped."""
    confidence: Float[Tensor, "b h w"] | None = None
    """``Matches.confidence`` of the match of Eq. 3 and 4; None where there is no such match."""
    details: Sequence | None = None
    """What only the loss of this network looks at."""


class Offered(NamedTuple):
    """What a network makes of the references given for a photograph (``Network.offered``)."""

    matched: list[Pixels]
    """Those that are matched: a cell looks for its like everywhere in them."""
    in_place: Sequence[Pixels] = ()
    """Those that lie over the result, of its size: a cell looks around its own place alone."""


class Network(nn.Module):
    """A network that enlarges by ``profile.scale``: ``forward(lr, refs, ref_downs) -> Outputs``, images in [0, 1].

    ``refs`` is a batch of references (b 3 H W), or a list of several; ``ref_downs`` are the same, shrunk by the scale.
    A network that makes no use of them may be called without them.
    """

    references: ClassVar[Literal["none", "any", "stereo"]] = "none"
    """What use it makes of references; "stereo" is the right view of a rectified pair, of the input's size ×scale."""
    encodes: ClassVar[bool] = False
    """Whether it has an ``encoder`` φ, whose features can be matched and compared (Table 3)."""
    swaps: ClassVar[Literal["", "cells", "pixels"]] = ""
    """How it matches and swaps: by whole cells as in Eq. 4, or refined to the pixel. A picture can then be made in
    tiles, of ``encoder``, ``of_input``, ``compose`` and ``synthesis``; else it is made as a whole."""
    profile: Profile
    card: dict | None = None
    """How it was trained; None if it was not."""

    @property
    def single_image(self) -> "Network | None":
        """What it is without a reference: itself, or its SISR branch; None if it needs one."""
        return self if self.references == "none" else None

    def of_input(self, lr: Images) -> Float[Tensor, "b c h w"]:
        """What ``compose`` takes of I_in: φ(I_in), and perhaps more channels after it; if there is an encoder."""
        return self.encoder(lr)

    def offered(self, lr: Pixels, refs: list[Pixels]) -> Offered:
        """The references that are used for a photograph: those given, and perhaps more that are made of them."""
        return Offered(refs)

    def finished(self, result: "Enlarged", lr: Pixels, options: "Options") -> "Enlarged":
        """What ``inference.enlarge`` returns for a photograph: what the network made, or what is better by a test."""
        return result

    @property
    def branches(self) -> tuple[str, ...]:
        """Which branches are trained: "sisr", "ref", or both in E2ENT², whose SISR branch learns with the rest."""
        if self.references == "none":
            return ("sisr",)
        branch = self.single_image
        return ("sisr", "ref") if branch and any(p.requires_grad for p in branch.parameters()) else ("ref",)

    @property
    def receptive_field(self) -> int | None:
        """How many pixels of the input around its own a pixel of the output sees; None if it may see all of them."""
        return receptive_field(self) if self.references == "none" else None


def receptive_field(*modules: nn.Module) -> int:
    """How many pixels around its own a pixel sees through modules in sequence; never too few, and hardly too many.

    Half of each kernel, at the resolution it works at, and ``SKIPS``. Layers count in order of definition, once each.
    """
    scale, seen = 1.0, 0.0
    for layer in (layer for module in modules for layer in module.modules()):
        if isinstance(layer, nn.Conv2d):
            seen += max(layer.kernel_size) // 2 * max(layer.dilation) / scale
        elif isinstance(layer, nn.PixelShuffle):
            scale *= layer.upscale_factor
        elif isinstance(layer, nn.Upsample):
            scale *= layer.scale_factor
    return math.ceil(seen) + SKIPS


def trained_images(outputs: Outputs, branches: tuple[str, ...]) -> dict[str, Images]:
    """The image of each of ``Network.branches``."""
    return {"sisr": outputs.sisr, "ref": outputs.sr} if len(branches) == 2 else {branches[0]: outputs.sr}
