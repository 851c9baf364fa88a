"""How far two images are apart in the features of a network that was trained to classify: less is better. Notebook 11.

Both need weights that do not ship: of VGG19 (``systems.vgg``), and for LPIPS of AlexNet's five convolutions, beside the
package torchmetrics, which has LPIPS's own linear layers. Without them the scores are None. Nothing is downloaded.
"""

import hashlib
import os
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from e2ent2lib.photos.images import to_tensor
from e2ent2lib.runs.files import file_sha256
from e2ent2lib.systems.vgg import VGG19, find_weights

LAYER = "relu3_1"
ALEXNET = "alexnet-owt-7be5be79.pth"
"""What torchvision calls AlexNet's weights, on which LPIPS stands; the digits begin the file's SHA-256."""
CONVOLUTIONS = [f"features.{i}.{kind}" for i in (0, 3, 6, 8, 10) for kind in ("weight", "bias")]
"""Torchvision's names of all that LPIPS takes of AlexNet; the linear layers that classify are not needed."""
KNOWN = "2b566cc3"
"""The first digits of the SHA-256 of AlexNet's ``CONVOLUTIONS`` in that order, as float32, in whatever file."""
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
    """LPIPS 0.1 with AlexNet (Zhang et al., CVPR 2018), by torchmetrics; images of one size, 32×32 or larger.

    Raises FileNotFoundError or ValueError without AlexNet's weights.
    """
    return _lpips(*_settings())(to_tensor(a), to_tensor(b), normalize=True).item()


SCORES = {"vgg_distance": vgg_distance, "lpips": lpips}
"""By the names they have in result files."""
NEEDS = {
    "vgg_distance": "VGG19's weights",
    "lpips": "AlexNet's weights (E2ENT2_ALEXNET_WEIGHTS) and the package torchmetrics",
}
"""What a score takes that does not ship."""


def computed_with(score: str) -> str:
    """Which weights, and for LPIPS whose code, give a score of ``SCORES``, as result files say it; "" if none here."""
    return _computed_with(score, *_settings())


def perceptual_scores(a: Image, b: Image) -> dict[str, float | None]:
    """All of ``SCORES`` of two images; None for one that cannot be measured here."""
    return {name: score(a, b) if computed_with(name) else None for name, score in SCORES.items()}


def _settings() -> tuple[str | None, str | None, str]:
    """All that says where weights are looked for, so that a large file is read and hashed once for each."""
    return os.environ.get("E2ENT2_VGG_WEIGHTS"), os.environ.get("E2ENT2_ALEXNET_WEIGHTS"), torch.hub.get_dir()


@lru_cache
def _computed_with(score: str, vgg: str | None, alexnet: str | None, cache: str) -> str:
    with suppress(FileNotFoundError, ValueError):
        if score == "vgg_distance":
            return f"{LAYER} of VGG19, SHA-256 {file_sha256(find_weights()[0])[:8]}…"
        if score == "lpips" and find_spec("torchmetrics") and find_spec("torchvision"):
            _alexnet(alexnet, cache)
            return f"AlexNet, SHA-256 {KNOWN}…; torchmetrics {version('torchmetrics')}"
    return ""


@lru_cache(maxsize=1)
def _vgg(named: str | None) -> VGG19:
    """The network with the weights that the variable of this value names."""
    return VGG19(LAYER).load()


@lru_cache(maxsize=1)
def _lpips(vgg: str | None, alexnet: str | None, cache: str) -> nn.Module:
    """Torchmetrics' network with the weights that these settings name.

    Its public function would load torchvision's whole AlexNet for each pair of images, and knows no other file.
    """
    from torchmetrics.functional.image.lpips import _LPIPS

    weights = _alexnet(alexnet, cache)
    with torch.random.fork_rng(devices=[]):  # the weights below take the place of random ones
        network = _LPIPS(net="alex", pnet_rand=True)
    network.net.load_state_dict({k: weights[f"features.{k.split('.', 1)[1]}"] for k in network.net.state_dict()})
    return network


def _alexnet(named: str | None, cache: str) -> dict[str, Tensor]:
    """The ``CONVOLUTIONS``. Raises FileNotFoundError, or ValueError for other weights."""
    path = Path(named or Path(cache, "checkpoints", ALEXNET))
    advice = f"set E2ENT2_ALEXNET_WEIGHTS to torchvision's {ALEXNET}, or to a .safetensors or .pth of its convolutions"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no AlexNet weights here; {advice}")
    try:
        if path.suffix == ".safetensors":
            weights = load_file(path)
        else:
            weights = torch.load(path, weights_only=True, map_location="cpu")
        weights = {name: weights[name].float().contiguous() for name in CONVOLUTIONS}
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: holds no weights of AlexNet's convolutions ({error}); {advice}") from error
    digits = hashlib.sha256(b"".join(w.numpy().tobytes() for w in weights.values())).hexdigest()[:8]
    if digits != KNOWN:
        raise ValueError(f"{path}: the SHA-256 of its convolutions begins with {digits}, expected {KNOWN}; {advice}")
    return weights
