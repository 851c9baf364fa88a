"""What test_two_processes.py does in one process, and under ``torchrun`` in two: steps on a batch, and whole runs.

python tests/two_process_run.py FOLDER does what ``torchrun --nproc_per_node=2`` would do with ``main``, but imports
PyTorch once; it writes FOLDER/compared-RANK.pt and FOLDER/stopped-RANK.pt.
"""

import faulthandler
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch.distributed.launcher import LaunchConfig, elastic_launch

import e2ent2lib.train
from e2ent2lib.config import SMOKE
from e2ent2lib.crops import Crops
from e2ent2lib.data.training import CropTwice
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.runs.run import RunOptions, make_fabric, players_for, train
from e2ent2lib.systems import recipe_of

# equal weights, so that the adversarial part of the gradient shows; float64, so that the order of a sum does not
PROFILE = replace(SMOKE, crop=32, batch=4, weight_rec=1.0, weight_adv=1.0, steps_joint=4, checkpoint_every=2)


def images(count=4, side=48):
    """Pictures with coarse detail, one brighter than the other, the same in every process."""
    rng, cells = np.random.default_rng(0), side // 4
    pictures = [rng.integers(0, 64 * (i + 1), (cells, cells, 3)) for i in range(count)]
    return [np.kron(picture, np.ones((4, 4, 1))).astype(np.uint8) for picture in pictures]


def steps(*, gathered=True):
    """Two training steps by plain gradient descent on this process's share of a batch of 4: all weights after them."""
    profile = replace(PROFILE, precision="64-true")
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    torch.set_default_dtype(torch.float64)  # or Fabric hands on float32 between the networks
    fabric = make_fabric(profile, "cpu", "auto")
    assert fabric.world_size == world
    if not gathered:  # losses.batch_mean in place of the mean over all processes
        fabric.all_gather = lambda scores, sync_grads: scores
    torch.manual_seed(0)
    with patch("torch.optim.Adam", lambda parameters, lr, **_: torch.optim.SGD(parameters, lr=0.01)):
        players = players_for(fabric, build_model("e2ent2", profile), recipe_of("e2ent2"), profile)
    for critic in players.critics:  # untrained ones score all images alike, and then the means would not matter
        for weight in critic.net.parameters():
            weight.data *= 4 if weight.ndim == 4 else 1
    crops = CropTwice(images(), profile, length=8)
    for first in (0, 4):
        mine = [crops[i] for i in range(first, first + 4)][rank::world]
        batch = Crops(*(torch.stack(x).double() for x in zip(*mine)))
        e2ent2lib.train.training_step(fabric, players, batch)
    torch.set_default_dtype(torch.float32)
    nets = [players.generator, *players.critics]
    return [torch.cat([p.detach().flatten() for p in player.net.parameters()]) for player in nets]


def whole_run(folder, out="whole"):
    """``train`` itself: its history and its weights."""
    out = folder / f"{out}-{os.environ.get('WORLD_SIZE', 1)}"
    options = RunOptions(
        data=folder / "photographs", out=out, start_from=folder / "first", accelerator="cpu", progress=False
    )
    model, history = train("e2ent2", PROFILE, options)
    return history, torch.cat([p.flatten() for p in model.parameters()])


def stopped_run(folder):
    """A run of which one process alone is told to stop, in its third step: after which step each process stopped."""
    taken, original = [], e2ent2lib.train.training_step

    def step(*args):
        taken.append(1)
        if len(taken) == 3 and os.environ["RANK"] == "1":
            signal.raise_signal(signal.SIGTERM)
        return original(*args)

    try:
        with patch.object(e2ent2lib.train, "training_step", step):
            whole_run(folder, "stopped")
    except KeyboardInterrupt:
        return len(taken)


def main(folder):
    folder, rank = Path(folder), os.environ["RANK"]
    faulthandler.dump_traceback_later(150, exit=True)  # processes that wait for each other end here, and show where
    compared = {"gathered": steps(), "local": steps(gathered=False), "run": whole_run(folder)}
    torch.save(compared, folder / f"compared-{rank}.pt")
    torch.save(stopped_run(folder), folder / f"stopped-{rank}.pt")


if __name__ == "__main__":
    rendezvous = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "two"}
    elastic_launch(LaunchConfig(1, 1, 2, start_method="fork", max_restarts=0, **rendezvous), main)(sys.argv[1])
