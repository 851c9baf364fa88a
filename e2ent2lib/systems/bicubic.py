"""Bicubic enlargement by Pillow, as most papers' tables have it for comparison.

The idea: none; a cubic polynomial through the pixels of the input, which every system has to beat.
"""

import torch

from e2ent2lib.config import Profile
from e2ent2lib.models.network import Images, Network, Outputs
from e2ent2lib.photos.images import resize, to_pixels


class Bicubic(Network):
    """It has no weights, and uses no reference."""

    kernel = "pillow"
    """As in ``images.resize``."""
    receptive_field = None  # Pillow takes a picture whole

    def __init__(self, profile: Profile):
        super().__init__()
        self.profile = profile

    def forward(self, lr: Images, *references: Images) -> Outputs:
        """The enlarged image of a batch of one, before rounding; lr in [0, 1]."""
        height, width = (self.profile.scale * n for n in lr.shape[2:])
        pixels = resize(to_pixels(lr), height, width, self.kernel)
        return Outputs(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
