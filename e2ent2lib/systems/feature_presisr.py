"""The row "Feature-preSISR" of Table 3: E2ENT² with the pre-trained SISR's φ, frozen (4.3).

The idea: features made for super-resolution, but not trained end to end: no gradient passes match and swap.

Kept: all of E2ENT², its losses, its RefSR critic. Scaled: nothing beside the profile. Not known: whether the authors
kept training the SISR branch's tail; here the whole pre-trained branch stays as it is, so it has no loss and no critic.
"""

from e2ent2lib.config import Profile
from e2ent2lib.models.e2ent2 import E2ENT2


class FeaturePreSISR(E2ENT2):
    """E2ENT² whose SISR branch, φ included, is frozen; Eq. 5 has nothing to train."""

    def __init__(self, profile: Profile):
        super().__init__(profile, alphas=(0.0, 0.0, 0.0))
        self.sisr.requires_grad_(False)

    def reconstruct(self, phi_in, lr) -> None:  # noqa: ANN001
        """Nothing of the branch is trained, so its image is not needed."""
