"""VGG19's convolutions, frozen: what SRNTT and Feature-VGG match with, and what perceptual losses measure.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, configuration
E, with torchvision's ImageNet weights.

Own layers in place of torchvision's feature extractor: its network would need names for the keys of the shipped
weights and for the short file of five layers all the same, and torchvision to load a model.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.runs.files import file_sha256

STAGES = {1: 2, 2: 2, 3: 4, 4: 4, 5: 4}
"""How many convolutions each stage has; all end in max-pooling."""
LAYERS = [
    name
    for stage, count in STAGES.items()
    for name in (*(f"{kind}{stage}_{i + 1}" for i in range(count) for kind in ("conv", "relu")), f"pool{stage}")
]
"""In their order, which is that of torchvision's ``features`` too."""
LAST_OF_FILE = "relu3_1"
"""The deepest layer of the short weight file of five convolutions."""
FILE = "vgg19-dcbb9e9d.pth"
"""What torchvision calls its weights; the digits begin the file's SHA-256."""
KNOWN = {"dcbb9e9d": "torchvision's vgg19-dcbb9e9d.pth", "04beb56b": "its first five convolutions"}
"""Weight files by the first digits of their SHA-256."""
_MISSING = (
    "no VGG19 weights here. Set E2ENT2_VGG_WEIGHTS to torchvision's vgg19-dcbb9e9d.pth, or put that file there, or "
    "connect to the network once"
)
LICENCE = (
    "VGG19's layers, frozen: K. Simonyan and A. Zisserman, ICLR 2015; weights of torchvision (IMAGENET1K_V1), "
    "BSD-3-Clause as torchvision, trained on ImageNet, whose terms are non-commercial research"
)


class VGG19(nn.Module):
    """Frozen features of the named layers, such as "relu1_2" or "pool2".

    A new one has random weights of a fixed seed (``source`` says so); ``load`` puts torchvision's in their place.
    Raises ValueError for a layer that VGG19 does not have.
    """

    def __init__(self, *layers: str):
        super().__init__()
        self.layers = layers
        self.source = "random, seed 0"
        self.autocast: Callable[[], AbstractContextManager] = nullcontext  # the trainer puts in its own
        self.body, inputs = nn.ModuleDict(), 3
        generator = torch.Generator().manual_seed(0)
        self.names = LAYERS[: 1 + max(_order(layer) for layer in layers)]
        for name in self.names:
            if name.startswith("conv"):
                outputs = 64 * 2 ** min(int(name[4]) - 1, 3)
                self.body[name] = conv = nn.utils.skip_init(nn.Conv2d, inputs, outputs, 3, padding=1)
                nn.init.kaiming_normal_(conv.weight, generator=generator)
                nn.init.zeros_(conv.bias)
                inputs = outputs
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> dict[str, Float[Tensor, "b c H W"]]:
        """The features of each layer by its name, float32, a pool's at half the size; image in [0, 1], RGB."""
        x, found = (image - self.mean) / self.std, {}
        with self.autocast():
            for name in self.names:
                if name.startswith("conv"):
                    x = self.body[name](x)
                else:
                    x = x.relu() if name.startswith("relu") else nn.functional.max_pool2d(x, 2)
                if name in self.layers:
                    found[name] = x.float()
        return found

    def load(self) -> "VGG19":
        """Torchvision's weights in place of the random ones, from ``find_weights``; returns itself.

        With E2ENT2_VGG_WEIGHTS=random, for tests, they stay; a model trained so can be measured nowhere.
        Raises FileNotFoundError if there is no file, ValueError if it is another file than those of ``KNOWN``, or holds
        fewer layers than are asked for; both say what to do.
        """
        if os.environ.get("E2ENT2_VGG_WEIGHTS") == "random":
            return self
        path, what = find_weights(download=True)
        weights = torch.load(path, weights_only=True, map_location="cpu")
        for name, conv in self.body.items():
            prefix = name if f"{name}.weight" in weights else f"features.{LAYERS.index(name)}"
            if f"{prefix}.weight" not in weights:
                raise ValueError(
                    f"{path}: {what}, holds no {name}; set E2ENT2_VGG_WEIGHTS to torchvision's vgg19-dcbb9e9d.pth, or "
                    "leave it unset where the network can be reached"
                )
            conv.load_state_dict({k: weights[f"{prefix}.{k}"] for k in ("weight", "bias")})
        self.source = f"torchvision IMAGENET1K_V1, SHA-256 {file_sha256(path)[:8]}… ({what})"
        return self


def load_vgg(network: nn.Module, loss: nn.Module) -> dict | None:
    """Give all VGG19 parts of a network and its loss their weights; returns what a card says of them, None if none.

    Raises FileNotFoundError or ValueError if the weights are not at hand.
    """
    inside, outside = ([m.load() for m in part.modules() if isinstance(m, VGG19)] for part in (network, loss))
    if not inside + outside:
        return None
    stored = sorted({layer for part in inside for layer in part.body})
    measured = sorted({layer for part in outside for layer in part.layers})
    source = (inside + outside)[0].source
    return {"weights": source, "stored": stored, "layers_of_the_loss": measured, "licence": LICENCE}


def find_weights(*, download: bool = False) -> tuple[Path, str]:
    """The weight file and what it is: the one that E2ENT2_VGG_WEIGHTS names, else torchvision's in its cache.

    ``download`` fetches it into the cache if it is not there. Raises FileNotFoundError, or ValueError for an unknown
    file.
    """
    named = os.environ.get("E2ENT2_VGG_WEIGHTS")
    path = Path(named or Path(torch.hub.get_dir(), "checkpoints", FILE))
    if not path.is_file() and download and not named:
        url = f"https://download.pytorch.org/models/{FILE}"
        try:
            torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
        except OSError as error:
            raise FileNotFoundError(f"{path}: {_MISSING} ({url}: {error})") from error
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {_MISSING}")
    sha = file_sha256(path)
    if sha[:8] not in KNOWN:
        known = " or ".join(f"{digits}… ({what})" for digits, what in KNOWN.items())
        raise ValueError(f"{path}: its SHA-256 begins with {sha[:8]}, expected {known}; fetch it again")
    return path, KNOWN[sha[:8]]


def deepest(published: str, profile_name: str) -> str:
    """The layer a loss uses for a published one: itself, but ``LAST_OF_FILE`` where only the short file is at hand.

    At profile "paper" always the published one. Without any weights it is the short file's, too.
    """
    if profile_name == "paper" or _order(published) <= _order(LAST_OF_FILE):
        return published
    try:
        whole = find_weights()[1] == KNOWN["dcbb9e9d"]
    except (FileNotFoundError, ValueError):
        whole = False
    return published if whole else LAST_OF_FILE


def _order(layer: str) -> int:
    if layer not in LAYERS:
        raise ValueError(f"VGG19 has no layer {layer!r}; it has conv1_1, relu1_1, … pool5")
    return LAYERS.index(layer)
