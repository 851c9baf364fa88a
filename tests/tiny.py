"""Networks of the smoke profile with random weights that count as trained, and pictures for them."""

import numpy as np
import torch
from torch import nn

from e2ent2lib.config import SMOKE
from e2ent2lib.crops import Crops
from e2ent2lib.photos import tiles
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.systems import SYSTEMS
from e2ent2lib.systems.parts import shrink

RECIPES = {name: system.recipe for name, system in SYSTEMS.items() if system.recipe}
MODELS = [name for name, system in SYSTEMS.items() if system.trained_as]
"""The systems that have weights."""


def images(*shape, seed=0, dtype=torch.float32):
    """Noise in [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def crops(h, w, batch=2, seed=0):
    """A batch of noise as training gives it, of inputs of h×w: each photograph, and another one as its reference."""
    hr, ref = images(2, batch, 3, 4 * h, 4 * w, seed=seed)
    return Crops(hr, *(x.clamp(0, 1) for x in (shrink(hr, 4), ref, shrink(ref, 4))))


def picture(height, width, seed=0):
    """Smooth enough that no two scores are within rounding of each other."""
    coarse = np.random.default_rng(seed).normal(size=(height, width, 3)).cumsum(0).cumsum(1)
    return np.uint8(np.clip(128 + 12 * coarse, 0, 255))


def maps(*sizes, channels=4, seed=0):
    """Feature maps of batch one and these heights and widths."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(1, channels, h, w, generator=generator) for h, w in sizes]


def interrupt_third_band(monkeypatch):
    """Ctrl-C in the third band of matches from now on; the bands, a list that grows."""
    original, bands = tiles.match, []

    def stops(*args, **options):
        bands.append(options["rows"])
        if len(bands) == 3:
            raise KeyboardInterrupt
        return original(*args, **options)

    monkeypatch.setattr(tiles, "match", stops)
    return bands


def untrained(name, seed=0):
    """A network with its first weights."""
    torch.manual_seed(seed)
    return build_model(name, SMOKE)


def for_loss(hr):
    """Crops for a loss that looks at HR alone."""
    return Crops(hr, hr, hr, hr)


def network(name, seed=0):
    """Weights large enough that each branch makes its own image."""
    model = untrained(name, seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    model.card = {"model": name, "sha256": f"{name} {seed}"}
    return model.eval()
