"""E2ENT²-photo: a departure from the paper for people's own photographs, under a name of its own.

The idea: a deep SISR branch, a match refined to the pixel, and F used where the low-resolution features agree.

- φ is as lean as E2ENT²'s, since it also runs on the reference at high resolution. What follows it in the SISR branch
  sees the low resolution alone, so it may be wide and deep at little cost.
- Eq. 4 moves what it takes from the reference by whole cells, so that F is up to r/2 pixels off. Here each match of
  Eq. 3 is refined: φ(I_ref↓) is known at every pixel (``dense_features``), and a cell tries the shifts around its
  match, then those of its neighbours (``refine``). F is then at most half a pixel off.
- What registers with the input is laid over it in several ways, none right everywhere (``ways_over``). In each picture
  a cell looks around its own place, and F is the mean of all, weighted by how well they fit (``mixed``).
- What does not register is first tried on the input itself, reduced; if that gains little, the result is made without.
- F is scaled by a gate that compares φ(I_in) with the features found there, and added to the SISR branch's image.
- The SISR branch also enlarges the input mirrored in three ways. Where F changed little, the mean of the four is taken
  (geometric self-ensemble: Timofte et al., CVPR 2016).
- The gradient is that of Eq. 5 with α = (0, 0, 1), the true one.

Notebook 14b shows what each of these gives.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice, zip_longest

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Real
from scipy.ndimage import laplace, uniform_filter
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.matching import Map, as_list, match
from e2ent2lib.models.blocks import conv3, output_conv, residual_blocks
from e2ent2lib.models.network import Images, Network, Offered, Outputs, Pixels
from e2ent2lib.models.sisr import FeatureEncoder, bilinear
from e2ent2lib.photos.confidence import judge, mean
from e2ent2lib.photos.images import crop_to_multiple, downscale, resize, to_pixels, to_tensor
from e2ent2lib.photos.options import Options, Precision
from e2ent2lib.photos.refined import dense_features, look_up, refine, swap_at
from e2ent2lib.photos.registered import DETAIL, fine_detail, in_light_of, ways_over
from e2ent2lib.photos.tiles import Enlarged, enlarge
from e2ent2lib.systems.landmark import back_project

CORRECTIONS = 3
"""Back-projections of a result; more change it by less than a grey level."""
IN_PLACE = 8
"""Pictures laid over the result that are looked at, four of a reference; of an input beyond ``THOROUGH`` one."""
ALONE = 2.0
"""Grey levels that F changed a pixel by, where the SISR branch's own image and the mean of four have equal parts; of
0.5, 1, 2 and 4 on six validation views, the last two gave most."""
THOROUGH = 250_000
"""Pixels of the largest input that is also enlarged mirrored, with more than one picture laid over it; for larger ones
that takes too long, or much memory."""
TRIED = 32
"""Pixels of the smallest side of an input, and of a reference reduced, with which references are tried."""
TAKEN_OUT = 0.036
"""Of ``unexplained``; above it back-projection would bring back noise or a JPEG's blocks, below it gains
(`benchmarks/consistency.json`)."""


class PhotoBase(Network):
    """The SISR branch: φ, a body twice as wide and four times as deep, one pixel-shuffle stage, a bilinear skip."""

    encodes = True

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        c, wide, r = profile.channels, 2 * profile.channels, profile.scale
        self.encoder = FeatureEncoder(c, profile.encoder_blocks)
        self.head = conv3(c, wide)
        self.body = nn.Sequential(residual_blocks(wide, 4 * profile.encoder_blocks), conv3(wide, wide))
        self.up = nn.Sequential(conv3(wide, r * r * c), nn.PixelShuffle(r), nn.ReLU(inplace=True))
        self.last = output_conv(c)

    def of_input(self, lr: Images) -> Float[Tensor, "b 3*c h w"]:
        """φ(I_in), and what the body makes of it."""
        phi_in = self.encoder(lr)
        x = self.head(phi_in)
        return torch.cat([phi_in, x + self.body(x)], dim=1)

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The super-resolved image; lr in [0, 1]."""
        return Outputs(self.added(lr) + bilinear(lr, self.profile.scale))

    def added(self, lr: Images) -> Images:
        """What it adds to the bilinear image."""
        return self.last(self.up(self.of_input(lr)[:, self.profile.channels :]))

    def mirrored(self, lr: Images) -> Images:
        """The mean of what it adds to the input mirrored in three ways, each mirrored back."""
        return sum(self.added(lr.flip(axes)).flip(axes) for axes in ((2,), (3,), (2, 3))) / 3


class PhotoE2ENT2(Network):
    """The SISR branch, refined match, swap and gate, and a synthesis that adds what F tells to the branch's image."""

    references, swaps = "any", "pixels"  # ``encodes`` stays False: its F isn't that of Eq. 4, which Table 3 compares
    norm = "l2"

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile
        c = profile.channels
        self.base = PhotoBase(profile)
        self.gate = nn.Sequential(conv3(2 * c + 1, c), nn.ReLU(inplace=True), conv3(c, c))
        self.synthesis = nn.Sequential(conv3(2 * c, c), residual_blocks(c, profile.res2_blocks), output_conv(c))

    @property
    def encoder(self) -> FeatureEncoder:
        """φ, shared with the SISR branch."""
        return self.base.encoder

    @property
    def single_image(self) -> PhotoBase:
        """The SISR branch."""
        return self.base

    def offered(self, lr: Pixels, refs: list[Pixels]) -> Offered:
        """The references in the input's light, and what they show laid over the input.

        Those without fine detail are left out: they match well, and bring what is as blurred as the input.
        """
        refs = [in_light_of(lr, ref) for ref in refs if fine_detail(ref) > DETAIL]
        ways = [ways_over(lr, ref, self.profile.scale) for ref in refs]
        many = IN_PLACE if lr[..., 0].size <= THOROUGH else 1
        in_turn = (way for each in zip_longest(*ways) for way in each if way is not None)
        return Offered(refs, list(islice(in_turn, many)))

    def finished(self, result: Enlarged, lr: Pixels, options: Options) -> Enlarged:
        """As ``Network.finished``: made without references that don't seem to help, averaged, and back-projected."""
        if result.matches is not None and not (result.registered or options.always):
            says = partial(judge, self, mean(result.agreement), options.matching)
            if says().helps is not False:
                result = result._replace(tried=self.tried(lr, result.references))
            if says(tried=result.tried).helps is False:
                alone, unchanged = enlarge(self, lr, options=options), np.zeros_like(result.changed)
                result = result._replace(image=alone.image, changed=unchanged, used=False)
        if not options.consistent:
            return result
        image, own = result.image, result.sisr if result.matches and result.used else result.image
        if lr[..., 0].size <= THOROUGH:
            image = self.averaged(image, own, lr, options.precision)
        image = self.corrected(image, lr)
        return result._replace(image=np.rint(image).astype(np.uint8) if options.rounded else image)

    def tried(self, lr: Pixels, refs: Sequence[Pixels]) -> float | None:
        """dB that references add where the truth is known: to the input, reduced and enlarged again. None if too small.

        A mirrored reference, for one, has the same things and matches that agree, but nothing that fits.
        """
        r = self.profile.scale
        truth, *small = (
            crop_to_multiple(x, r) for x in (np.rint(lr).astype(np.uint8), *(downscale(x, r) for x in refs))
        )
        if min(n for image in (truth, *small) for n in image.shape[:2]) < TRIED:
            return None
        made = enlarge(self, downscale(truth, r), small)
        alone, helped = (np.square(x - truth.astype(np.float32)).mean() + 0.01 for x in (made.sisr, made.image))
        return float(10 * np.log10(alone / helped))

    def corrected(self, image: Real[np.ndarray, "H W 3"], lr: Pixels) -> Float32[np.ndarray, "H W 3"]:
        """The result, of 0 to 255, changed so that it is the input when reduced.

        So a reference's tone or colour can't tint it. What the network took for noise or for a JPEG's blocks is not
        brought back; then means alone are corrected.
        """
        result = image.astype(np.float32)
        left = lr - downscale(result.round().astype(np.uint8)).astype(np.float32)
        if unexplained(left, lr) < TAKEN_OUT:
            result = back_project(result, lr, CORRECTIONS)
        else:
            means = 128 + uniform_filter(left, (8, 8, 0), mode="nearest")
            result = (result + resize(means, *image.shape[:2]) - 128).clip(0, 255)
        return result

    @torch.inference_mode()
    def averaged(
        self, image: Real[np.ndarray, "H W 3"], own: Real[np.ndarray, "H W 3"], lr: Pixels, precision: Precision
    ) -> Float32[np.ndarray, "H W 3"]:
        """The result with the mean over mirrored inputs in place of the SISR branch's own image, where F did little."""
        r, device = self.profile.scale, next(self.parameters()).device
        low, result, own = (to_tensor(x).to(device) for x in (lr, image, own))
        change = (result - own).abs().mean(1, keepdim=True)
        weight = bilinear(1 / (1 + (255 * F.avg_pool2d(change, r) / ALONE) ** 2), r)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            added = self.base.mirrored(low)
        return to_pixels(result + weight * 3 / 4 * (added + bilinear(low, r) - own))

    def forward(self, lr: Images, ref: Images | Sequence[Images], ref_down: Images | Sequence[Images]) -> Outputs:
        """I_sr and the SISR branch's image, from images in [0, 1]; lists for several references."""
        r, refs = self.profile.scale, as_list(ref)
        inputs = self.of_input(lr)
        phi_in, downs = inputs[:, : self.profile.channels], [self.encoder(down) for down in as_list(ref_down)]
        with torch.no_grad():
            dense = [dense_features(self.encoder, image, r) for image in refs]
            places = refine(phi_in, dense, match(phi_in, downs, self.norm), r)
            found = look_up(dense, places)
        swapped = swap_at([self.encoder(image) for image in refs], places, r)  # F
        return self.compose(swapped, inputs, lr, torch.cat([found, places.score[:, None]], dim=1))

    def of_input(self, lr: Images) -> Map:
        """As the SISR branch's."""
        return self.base.of_input(lr)

    def compose(self, swapped: Map, inputs: Map, lr: Images, found: Float[Tensor, "b c+1 h w"]) -> Outputs:
        """What comes after the swap; ``inputs`` are of ``of_input``, ``found`` φ(I_ref↓) and cosine at the matches."""
        c, r = self.profile.channels, self.profile.scale
        phi_in, deep = inputs.tensor_split([c], dim=1)
        details = self.base.up(deep)
        gate = self.gate(torch.cat([phi_in, found.to(phi_in.dtype)], dim=1)).sigmoid()
        gated = bilinear(gate, r) * swapped
        sisr = self.base.last(details) + bilinear(lr, r)
        return Outputs(sisr + self.synthesis(torch.cat([gated, details], dim=1)), sisr, swapped, found[:, -1])


def unexplained(left: Float32[np.ndarray, "h w 3"], lr: Pixels) -> float:
    """What a result, reduced, leaves out of the input, ``left``, over the input's own detail."""
    return float(left.std() / max(laplace(lr.astype(np.float32), axes=(0, 1)).std(), 1e-9))
