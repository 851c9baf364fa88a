"""The whole of E2ENT² (Fig. 2): encoder φ, match and swap ψ, synthesis ζ, and the SISR branch that shares φ."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.matching import Map, as_list, match_and_swap
from e2ent2lib.models.blocks import conv3, output_conv, residual_blocks, upsampling
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.models.sisr import SISRBranch, bilinear


class Synthesis(nn.Module):
    """ζ of Eq. 2 and 7 (Fig. 6): I_sr = I_in↑ + Res2([F ⊕ Res1(φ(I_in))])."""

    def __init__(self, profile: Profile, features: int | None = None, residual: bool = True):
        """``features`` are φ's channels, if they are not the profile's; a convolution then leads into Res1.

        Without ``residual`` I_in↑ is left out, so that Res2 has to make the whole image.
        """
        super().__init__()
        self.residual = residual
        c, features = profile.channels, features or profile.channels
        self.scale = profile.scale
        self.res1 = nn.Sequential(residual_blocks(c, profile.res1_blocks), upsampling(c, profile.scale))
        if features != c:
            self.res1.insert(0, conv3(features, c))
        self.res2 = nn.Sequential(conv3(features + c, c), residual_blocks(c, profile.res2_blocks), output_conv(c))

    @torch.no_grad()
    def start_from(self, sisr: SISRBranch) -> None:
        """Start as the SISR branch, so that I_sr is its image until training makes use of F.

        Res1 and the last convolution take its tail's weights; all other layers start as the identity. The paper does
        not say how ζ starts; notebook 04 shows what this gives.
        """
        tail, last = sisr.tail
        self.res1[-1].load_state_dict(tail.state_dict())
        self.res2[-1].load_state_dict(last.state_dict())
        fuse = self.res2[0]
        nn.init.zeros_(fuse.bias)
        nn.init.zeros_(fuse.weight)
        nn.init.dirac_(fuse.weight[:, -fuse.out_channels :])
        for block in (*self.res1[-2], *self.res2[1]):
            nn.init.zeros_(block.body[-1].weight)
            nn.init.zeros_(block.body[-1].bias)

    def forward(self, swapped: Float[Tensor, "b c R*h R*w"], phi_in: Float[Tensor, "b c h w"], lr: Images) -> Images:
        """I_sr, not clipped, from F, φ(I_in) and I_in."""
        fused = torch.cat([swapped, self.res1(phi_in)], dim=1)  # Eq. 7: F ⊕ Res1(φ(I_in))
        detail = self.res2(fused)  # Eq. 7: Res2([F ⊕ Res1(φ(I_in))])
        return bilinear(lr, self.scale) + detail if self.residual else detail  # Eq. 7: I_in↑ + Res2(…)


class E2ENT2(Network):
    """The network of Fig. 2. ``alphas`` are Eq. 5's; they change the gradients, never the output."""

    references = "any"
    encodes, swaps = True, "cells"

    def __init__(
        self,
        profile: Profile,
        *,
        alphas: tuple[float, float, float] = (0.25, 0.25, 0.5),
        norm: str = "l2",
        error_down: str = "mean",
        residual: bool = True,
    ):
        super().__init__()
        self.profile, self.alphas, self.norm, self.error_down = profile, alphas, norm, error_down
        self.sisr = SISRBranch(profile)
        self.synthesis = Synthesis(profile, residual=residual)

    @property
    def encoder(self) -> nn.Module:
        """φ, shared with the SISR branch (3.2)."""
        return self.sisr.encoder

    @property
    def single_image(self) -> SISRBranch:
        """The SISR branch."""
        return self.sisr

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """Eq. 1 and 2 on images in [0, 1]: lr I_in, ref I_ref, ref_down I_ref↓ (lists for several references)."""
        phi_in, phi_ref_down, phi_ref = features(self.encoder, lr, ref_down, ref)  # φ of 3.2
        swapped, confidence = self.psi(phi_in, phi_ref_down, phi_ref)  # Eq. 1: F = ψ(φ(I_in), φ(I_ref↓), φ(I_ref))
        return self.compose(swapped, phi_in, lr, confidence)  # Eq. 2: I_sr = ζ(F, φ(I_in)), and the SISR image

    def psi(self, phi_in: Map, phi_ref_down: list[Map], phi_ref: list[Map]) -> tuple[Map, Float[Tensor, "b h w"]]:
        """Match and swap (3.3): F of Eq. 1, and the confidence of the match."""
        swapped, matches, *_ = match_and_swap(
            phi_in,
            phi_ref_down,
            phi_ref,
            self.alphas,
            self.profile.scale,
            self.norm,
            error_down=self.error_down,
            return_matches=True,
        )
        return swapped, matches.confidence

    def compose(self, swapped: Tensor, phi_in: Tensor, lr: Images, confidence: Tensor) -> Outputs:
        """ζ of Eq. 2, and the SISR branch beside it: all that comes after the swap; shapes as in ``Outputs``."""
        return Outputs(self.synthesis(swapped, phi_in, lr), self.reconstruct(phi_in, lr), swapped, confidence)

    def reconstruct(self, phi_in: Float[Tensor, "b c h w"], lr: Images) -> Images | None:
        """The SISR branch after φ, which is trained together with the rest (4.1)."""
        return self.sisr.reconstruct(phi_in, lr)


def features(
    encoder: nn.Module, lr: Images, ref_down: Images | Sequence[Images], ref: Images | Sequence[Images]
) -> tuple[Map, list[Map], list[Map]]:
    """φ(I_in), φ(I_ref↓) and φ(I_ref), the last two a list with one map for each reference.

    φ has the same weights for all of them, so autograd adds up their gradients: the three terms of Eq. 6.
    """
    return encoder(lr), [encoder(image) for image in as_list(ref_down)], [encoder(image) for image in as_list(ref)]
