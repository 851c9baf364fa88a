"""Crop pairs a second from the loader, against what a training step of the profile consumes.

    python benchmarks/loading.py                       # the compact profile, the step of e2ent2 measured too
    python benchmarks/loading.py --step 0.34           # with a step that was measured before
    python benchmarks/loading.py --data FOLDER         # photographs of your own instead of the embedded ones

The ratio must be at least 5, or the loader holds training up; exit code 1 if it is less. Run it on a quiet machine.
"""

import sys
import time
from collections.abc import Iterator
from itertools import islice

import torch
import tyro
from torch.utils.data import DataLoader

from e2ent2lib.config import Profile, get_profile
from e2ent2lib.crops import Crops
from e2ent2lib.data import CropTwice, training_images
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.runs.run import make_fabric, players_for
from e2ent2lib.systems import recipe_of
from e2ent2lib.train import training_step

LEAST = 5.0


def batches(images: list, profile: Profile) -> Iterator:
    """Batches as the trainer loads them, without end."""
    crops = CropTwice(images, profile, length=10**6)
    return iter(DataLoader(crops, batch_size=profile.batch, num_workers=profile.workers))


def loaded_a_second(images: list, profile: Profile, count: int = 200) -> float:
    """Crop pairs a second, the best of three runs of ``count``."""
    loader, best = batches(images, profile), 0.0
    next(loader)
    for _ in range(3):
        start = time.perf_counter()
        for _ in islice(loader, count // profile.batch):
            pass
        best = max(best, count // profile.batch * profile.batch / (time.perf_counter() - start))
    return best


def step_seconds(images: list, profile: Profile, model: str) -> float:
    """The fastest of five training steps of ``model``, without loading."""
    fabric = make_fabric(profile)
    players = players_for(fabric, build_model(model, profile), recipe_of(model), profile)
    batch = fabric.to_device(Crops(*next(batches(images, profile))))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        losses = training_step(fabric, players, batch)
        torch.stack(list(losses.values())).cpu()  # waits for an accelerator
        times.append(time.perf_counter() - start)
    return min(times)


def main(data: str = "embedded", profile: str = "compact", model: str = "e2ent2", step: float | None = None) -> None:
    """Print both rates and their ratio.

    Args:
        data: "embedded", a name in data/ or E2ENT2_DATA, or a folder.
        profile: smoke, compact or paper.
        model: whose step is measured.
        step: seconds of a training step, if it is not to be measured.
    """
    chosen = get_profile(profile)
    images = training_images(data, chosen, progress=False).train
    loaded = loaded_a_second(images, chosen)
    step = step or step_seconds(images, chosen, model)
    consumed = chosen.batch / step
    ratio = loaded / consumed
    print(f"loader, {len(images)} photographs, {chosen.workers} workers: {loaded:.0f} crop pairs a second")
    print(f"a step of {model} ({chosen.name}, {chosen.batch} pairs) takes {step:.3f} s: {consumed:.1f} a second")
    print(f"ratio {ratio:.1f}, must be at least {LEAST:g}")
    sys.exit(ratio < LEAST)


if __name__ == "__main__":
    tyro.cli(main)
