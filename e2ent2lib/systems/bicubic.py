"""Bicubic enlargement, as papers' tables have it for comparison.

The idea: a cubic polynomial through the pixels of the input, which every other system has to beat.
"""

import torch

from e2ent2lib.config import Profile
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.photos.images import resize, to_image, to_pixels
from e2ent2lib.photos.options import Kernel


class Bicubic(Network):
    """It has no weights, and uses no reference."""

    receptive_field = None  # the kernels take a picture whole

    kernel: Kernel = "pillow-bicubic"
    rounded = True
    """In 8 bits, between Pillow's two passes too, as pictures are enlarged outside of this project."""

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The enlarged image of a batch of one; lr in [0, 1]."""
        picture, r = (to_image if self.rounded else to_pixels)(lr), self.profile.scale
        pixels = resize(picture, *(r * n for n in picture.shape[:2]), self.kernel, rounded=self.rounded)
        return Outputs(torch.tensor(pixels).permute(2, 0, 1)[None] / 255)
