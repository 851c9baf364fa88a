"""What distinguishes the training of one row of the tables from another's; all are trained by ``train``.

Photographs, crops, batch, optimiser and step size are the profile's for every row, not those of each paper, so that
rows differ in their networks and losses alone. The number of steps is one of the profile's.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from torch import nn

from e2ent2lib.config import Profile
from e2ent2lib.losses import PaperLoss
from e2ent2lib.systems.drcn import DRCNLoss
from e2ent2lib.systems.enhancenet import EnhanceNetLoss
from e2ent2lib.systems.passrnet import PASSRnetLoss
from e2ent2lib.systems.srgan import SRGANLoss, SRResNetLoss
from e2ent2lib.systems.srntt import SRNTTLoss
from e2ent2lib.systems.stereosr import StereoSRLoss

LARGEST_DISPARITY = 64
"""HR pixels by which the right crop of a stereo baseline's training pair is shifted at most."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a row of the tables is trained."""

    steps: str
    """The field of the profile that holds the number of steps."""
    loss: Callable[[Profile], nn.Module] | None = None
    """A baseline's own loss: its ``weights``, and its terms from (outputs, crops, progress). None: the paper's."""
    rec: str = "l1"
    """The paper's reconstruction loss: "l1" (Eq. 8) or "mse"."""
    adversarial: str | None = None
    """A name of ``adversaries.ADVERSARIES``; "ragan" is Eq. 9 and 10."""
    start_from: str | None = None
    """The model whose weights it starts from."""
    part: str = ""
    """The part of the network that takes those weights; "" is all of it."""
    keeps: str | None = None
    """The name under which it also saves its weights after ``steps_pretraining`` steps, for stage 2 to start from."""
    start_synthesis: bool = False
    """Whether ζ starts as the SISR branch's tail too, ``Synthesis.start_from``."""
    stereo: bool = False
    """Trained on crops that look like a rectified pair, since the method takes nothing else."""
    ablation: bool = False
    """A row of Tables 3 and 4: training looks at the encoder too (``probes.probe``, every ``probe_every`` steps), and
    its checkpoint is the last one: the best PSNR comes in the first steps, before the adversarial loss takes hold."""
    unrelated: float | None = None
    """Fraction of references cut from another photograph, in place of the profile's; 0 in the paper."""

    def make_loss(self, profile: Profile, branches: tuple[str, ...]) -> nn.Module:
        """The loss with its weights for this profile, and for the branches that ``models.branches`` names."""
        return self.loss(profile) if self.loss else PaperLoss(profile, self.rec, branches)

    def crops(self, profile: Profile) -> Profile:
        """The profile as this row's crops need it."""
        if self.stereo:
            return replace(profile, stereo=True, max_offset=LARGEST_DISPARITY, unrelated=0.0, views=0.0)
        return profile if self.unrelated is None else replace(profile, unrelated=self.unrelated)

    def facts(self, loss: nn.Module) -> dict:
        """What a model card says of it."""
        return asdict(self) | {"loss": type(loss).__name__, "weights": loss.weights}


_OURS = Recipe(
    steps="steps_joint", adversarial="ragan", start_from="sisr-pretrained", part="sisr", start_synthesis=True
)
_ABLATION = replace(_OURS, steps="steps_ablation", ablation=True)
_GATE = Recipe(steps="steps_gate", rec="mse", part="inner", unrelated=0.8)
RECIPES = {
    "drcn": Recipe(steps="steps_single", loss=DRCNLoss),
    "enhancenet": Recipe(steps="steps_single", loss=EnhanceNetLoss, adversarial="gan"),
    "srresnet": Recipe(steps="steps_srgan", loss=SRResNetLoss),
    "srgan": Recipe(steps="steps_srgan", loss=SRGANLoss, adversarial="gan", start_from="srresnet"),
    "sisr": Recipe(steps="steps_sisr", keeps="sisr-pretrained"),
    "sisr-gan": Recipe(steps="steps_gan", adversarial="ragan", start_from="sisr-pretrained"),
    "srntt": Recipe(steps="steps_reference", loss=SRNTTLoss, adversarial="wgan-gp", start_from="srgan", part="content"),
    "stereosr": Recipe(steps="steps_reference", loss=StereoSRLoss, stereo=True),
    "passrnet": Recipe(steps="steps_reference", loss=PASSRnetLoss, stereo=True),
    "feature-vgg": Recipe(steps="steps_ablation", adversarial="ragan", ablation=True),
    "feature-presisr": _ABLATION,
    "e2ent2-mse": replace(_OURS, rec="mse", adversarial=None),
    "e2ent2-mse-related": replace(_OURS, rec="mse", adversarial=None, unrelated=0.0),
    "e2ent2-mse-gated": replace(_GATE, start_from="e2ent2-mse"),
    "e2ent2-mse-subcell": replace(_OURS, rec="mse", adversarial=None, steps="steps_subcell"),
    "e2ent2-mse-subcell-gated": replace(_GATE, start_from="e2ent2-mse-subcell"),
    "e2ent2": _OURS,
    "e2ent2-alpha-100": _ABLATION,
    "e2ent2-alpha-010": _ABLATION,
    "e2ent2-alpha-001": _ABLATION,
    "e2ent2-ablation": _ABLATION,
    "e2ent2-error-sum": _ABLATION,
    "e2ent2-noresidual": _ABLATION,
    "e2ent2-plain-gan": replace(_ABLATION, adversarial="gan"),
}
