"""The networks of the paper, in the order of its sections."""

from torch import Tensor, nn

from e2ent2lib.models.discriminator import Critic
from e2ent2lib.models.e2ent2 import E2ENT2, Outputs, Synthesis
from e2ent2lib.models.sisr import FeatureEncoder, SISRBranch

__all__ = [
    "E2ENT2",
    "Critic",
    "FeatureEncoder",
    "Outputs",
    "SISRBranch",
    "Synthesis",
    "branches",
    "image_of",
]


def image_of(outputs: Tensor | tuple) -> Tensor:
    """I_sr of what a network returns: the image itself, or the field ``sr`` of its outputs."""
    return outputs if isinstance(outputs, Tensor) else outputs.sr


def branches(model: nn.Module) -> tuple[str, ...]:
    """Whose images are trained: "sisr", "ref", or both in E2ENT², whose SISR branch learns with the rest."""
    if model.references == "none":
        return ("sisr",)
    joint = model.sisr is not None and any(p.requires_grad for p in model.sisr.parameters())
    return ("sisr", "ref") if joint else ("ref",)
