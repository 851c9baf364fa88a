"""The networks of the paper, in the order of its sections."""

from e2ent2lib.models.discriminator import Critic
from e2ent2lib.models.e2ent2 import E2ENT2, Synthesis
from e2ent2lib.models.network import Network, Outputs
from e2ent2lib.models.sisr import FeatureEncoder, SISRBranch

__all__ = ["E2ENT2", "Critic", "FeatureEncoder", "Network", "Outputs", "SISRBranch", "Synthesis"]
