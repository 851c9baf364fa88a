"""How far two images are apart in the features of a network that was trained to classify: less is better. Notebook 11.

Both need weights that do not ship: of VGG19 (``systems.vgg``), and for LPIPS of AlexNet, beside the package
torchmetrics. Where they are not at hand the scores are None, and ``why_not`` says what to do.
"""

import os
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from e2ent2lib.photos.images import to_tensor
from e2ent2lib.systems.vgg import VGG19, find_weights

LAYER = "relu3_1"
ALEXNET = "alexnet-owt-7be5be79.pth"
"""What torchvision calls AlexNet's weights, on which LPIPS stands."""
Image = UInt8[np.ndarray, "h w 3"]


@torch.inference_mode()
def vgg_distance(a: Image, b: Image) -> float:
    """The mean squared difference of VGG19's relu3_1 of two images of one size; SRGAN's perceptual similarity (3.5).

    SRGAN (Ledig et al., CVPR 2017, Eq. 5) takes a deeper layer; this one is that of the five convolutions that SRNTT
    matches with. Raises FileNotFoundError or ValueError without VGG19's weights.
    """
    x, y = (_vgg(os.environ.get("E2ENT2_VGG_WEIGHTS"))(to_tensor(image))[LAYER] for image in (a, b))
    return (x - y).square().mean().item()


@torch.inference_mode()
def lpips(a: Image, b: Image) -> float:
    """LPIPS 0.1 with AlexNet (Zhang et al., CVPR 2018), by torchmetrics; images of one size, 64×64 or larger."""
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as measure

    return measure(to_tensor(a), to_tensor(b), net_type="alex", normalize=True).item()


SCORES = {"vgg_distance": vgg_distance, "lpips": lpips}
"""By the names they have in result files."""
NEEDS = {"vgg_distance": "VGG19's weights", "lpips": "AlexNet's weights in torch's cache, and the package torchmetrics"}
"""What a score takes that does not ship."""


def why_not(score: str) -> str:
    """Why a score of ``SCORES`` cannot be measured here, and what to do; "" if it can. Nothing is downloaded."""
    return _why_not(score, os.environ.get("E2ENT2_VGG_WEIGHTS"), torch.hub.get_dir())


@lru_cache
def _why_not(score: str, named: str | None, cache: str) -> str:
    """``why_not`` for these weights and this cache; a large file is hashed once."""
    if score == "vgg_distance":
        if named == "random":
            return "E2ENT2_VGG_WEIGHTS=random is for tests; name a file of VGG19's weights"
        try:
            find_weights()
        except (FileNotFoundError, ValueError) as error:
            return str(error)
        return ""
    if find_spec("torchmetrics") is None:
        return 'LPIPS needs torchmetrics: pip install "e2ent2lib[perceptual]"'
    path = Path(cache, "checkpoints", ALEXNET)
    return "" if path.is_file() else f"{path.name}: no AlexNet weights in torch's cache; torchvision fetches them there"


def perceptual_scores(a: Image, b: Image) -> dict[str, float | None]:
    """All of ``SCORES`` of two images; None for one that cannot be measured here."""
    return {name: None if why_not(name) else score(a, b) for name, score in SCORES.items()}


@lru_cache(maxsize=1)
def _vgg(named: str | None) -> VGG19:
    """The network with the weights that the variable of this value names."""
    return VGG19(LAYER).load()
