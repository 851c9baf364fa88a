"""What the feature-distance explorer shows, computed: |F − φ(HR)| over places, layers and encoders (Table 3).

No widgets here. Notebook 12.
"""

import re

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.explore.matches import FEATURES, encoder
from e2ent2lib.explore.photos import Photos
from e2ent2lib.matching import match, swap
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import read_results, results_folder
from e2ent2lib.models.blocks import ResidualBlock
from e2ent2lib.photos.images import downscale, to_image, to_tensor
from e2ent2lib.photos.inference import prepare_reference
from e2ent2lib.report.figures import largest

FORMS = ("as the paper has it", "scale-free")
"""Mean L1 norm over channels, of Table 3; and the same divided by the mean L1 norm of φ(HR)."""
OUTPUT = "φ"


class PairDistances:
    """One pair through one encoder: a map of distances for each of its layers, in cells of 4×4 pixels.

    F of a layer is that layer's features of the reference, put where the matches of φ (Eq. 3, L2) say.
    """

    def __init__(self, photos: Photos, features: str, profile: str = "compact"):
        phi, r = encoder(features, profile), 4
        full, down = prepare_reference(photos.ref)
        self.hr = photos.hr
        with torch.inference_mode():
            matches = match(phi(to_tensor(downscale(photos.hr))), phi(down))
            self.pixels = to_image(swap(full, matches))
            """The reference's pixels, swapped: what F is the features of, but for the borders of patches."""
            ref, hr = layers(phi, full), layers(phi, to_tensor(photos.hr))
            self.maps: dict[str, Float[np.ndarray, "h w"]] = {}
            self.norms: dict[str, float] = {}
            for name, target in hr.items():
                apart = (swap(ref[name], matches) - target).abs().sum(1, keepdim=True)
                self.maps[name] = nn.functional.avg_pool2d(apart, r)[0, 0].numpy()
                self.norms[name] = target.abs().sum(1).mean().item()

    def map(self, layer: str = OUTPUT, form: str = FORMS[0]) -> Float[np.ndarray, "h w"]:
        """The distance in each cell."""
        return self.maps[layer] / ((self.norms[layer] or 1.0) if form == FORMS[1] else 1.0)  # φ of black may be 0

    def mean(self, layer: str = OUTPUT, form: str = FORMS[0]) -> float:
        """Over the picture; of φ itself it is Table 3's feature distance."""
        return float(self.map(layer, form).mean(dtype=float))

    def largest(self, layer: str = OUTPUT, count: int = 6, apart: int = 5) -> list[tuple[int, int]]:
        """The (row, column) with the largest distances, ``apart`` cells or more from each other, largest first."""
        return largest(self.maps[layer], count, apart)


def layers(phi: nn.Module, image: Float[Tensor, "1 3 h w"]) -> dict[str, Float[Tensor, "1 c h w"]]:
    """What an encoder's convolutions outside of residual blocks, its blocks and φ make of an image, in order."""
    outputs: dict[str, Tensor] = {}
    parts = [(name, part) for name, part in phi.named_modules() if isinstance(part, nn.Conv2d | ResidualBlock)]
    blocks = [f"{name}." for name, part in parts if isinstance(part, ResidualBlock)]
    parts = [(name, part) for name, part in parts if not any(name.startswith(block) for block in blocks)]

    def keep(name: str) -> object:
        return lambda _, __, output: outputs.__setitem__(name, output)

    hooks = [part.register_forward_hook(keep(layer_name(name))) for name, part in parts]
    try:
        outputs[OUTPUT] = phi(image)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def layer_name(path: str) -> str:
    """What readers call a part of the encoder: "body.0.2" is block 3, "body.1" the convolution after the blocks."""
    if block := re.fullmatch(r"body\.0\.(\d+)(?:\.body\.([02]))?", path):
        return f"block {int(block[1]) + 1}" + (f", conv {int(block[2]) // 2 + 1}" if block[2] else "")
    return "last conv" if path == "body.1" else path.rsplit(".", 1)[-1]


def by_picture(features: str, form: str, profile: str = "compact") -> pd.Series:
    """The stored feature distance of every measured picture, usual reference, largest first; empty for RGB."""
    results = read_results(results_folder(), profile)
    column = "feature_distance" if form == FORMS[0] else "feature_distance_relative"
    if FEATURES[features] is None or column not in results:
        return pd.Series(dtype=float)
    mine = results[(results["model"] == FEATURES[features]) & (results["reference"] == Protocol().reference)]
    named = mine.assign(called=mine["dataset"] + " " + mine["image"]).dropna(subset=[column])
    return named.set_index("called")[column].sort_values(ascending=False)
