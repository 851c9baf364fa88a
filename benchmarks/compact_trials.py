"""Trials of the compact size at equal short time: what each width, depth, crop, batch and start gives.

Every trial trains `sisr` and then `e2ent2-mse` for the same seconds on one core, and is measured on pairs of views of
scenes that are never trained on, with the next view as reference and with an unrelated photograph. The table is
`benchmarks/compact_trials.jsonl`, a line a trial; notebook 04 shows it.

    python benchmarks/compact_trials.py --names "base;cold"
"""

import json
import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
import tyro

from e2ent2lib.config import COMPACT, Profile
from e2ent2lib.crops import Crops
from e2ent2lib.data.pairs import dataset
from e2ent2lib.data.training import CropTwice, training_images
from e2ent2lib.measure.evaluate import measure
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.runs.run import RunOptions, make_fabric, players_for, train
from e2ent2lib.systems import SYSTEMS, recipe_of
from e2ent2lib.train import training_step

TABLE = Path(__file__).with_suffix(".jsonl")


@dataclass(frozen=True)
class Trial:
    """What differs from the compact profile, and from the recipe of the second stage."""

    profile: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)


SECOND = "e2ent2-mse"  # the model of the second stage
BASE = {"channels": 32, "encoder_blocks": 4, "res1_blocks": 1, "res2_blocks": 4, "crop": 128, "batch": 4, "lr": 4e-4}
BASE |= {"max_offset": 64}  # as the stored lines had it, wherever the profile has gone since
CHOSEN = {"lr": 1e-3, "max_offset": 32}
TRIALS = {
    "base": Trial(),
    "cold": Trial(recipe={"start_synthesis": False}),
    "lr 1e-3": Trial({"lr": 1e-3}),
    "crop 96, batch 7": Trial({"crop": 96, "batch": 7}),
    "crop 160, batch 3": Trial({"crop": 160, "batch": 3}),
    "batch 2": Trial({"batch": 2}),
    "as chosen": Trial(CHOSEN),
    "as chosen, all references related": Trial(CHOSEN | {"unrelated": 0.0}),
    "boxes at most 32 pixels apart": Trial({"max_offset": 32}),
    "lr 1e-3, boxes at most 32 pixels apart": Trial({"lr": 1e-3, "max_offset": 32}),
    "lr 1e-3, batch 2": Trial({"lr": 1e-3, "batch": 2}),
    "lr 2e-3": Trial({"lr": 2e-3}),
    "boxes at most 32 pixels apart, 15 % unrelated": Trial({"max_offset": 32, "unrelated": 0.15}),
    "encoder 2, Res2 6": Trial({"encoder_blocks": 2, "res2_blocks": 6}),
    "encoder 6, Res2 2": Trial({"encoder_blocks": 6, "res2_blocks": 2}),
    "encoder 8, Res2 4": Trial({"encoder_blocks": 8, "res2_blocks": 4}),
    "24 channels, 6 + 6": Trial({"channels": 24, "encoder_blocks": 6, "res2_blocks": 6}),
    "48 channels, 3 + 2": Trial({"channels": 48, "encoder_blocks": 3, "res2_blocks": 2}),
    "boxes anywhere": Trial({"max_offset": None}),
    "all references related": Trial({"unrelated": 0.0}),
    "L1": Trial(recipe={"rec": "l1"}),
    "float32": Trial({"precision": "32-true"}),
}


def seconds_a_step(name: str, profile: Profile, images: list) -> float:
    """Measured over 12 steps after 4, while whatever else runs on the machine runs."""
    fabric = make_fabric(profile, "cpu", 1)
    players = players_for(fabric, build_model(name, profile), recipe_of(name), profile)
    crops = CropTwice(images, profile, length=16 * profile.batch)
    for step in range(16):
        if step == 4:
            start = time.perf_counter()
        samples = [crops[step * profile.batch + i] for i in range(profile.batch)]
        training_step(fabric, players, Crops(*map(torch.stack, zip(*samples))))
    return (time.perf_counter() - start) / 12


def views(model: torch.nn.Module | str, reference: str, every: int) -> float:
    """Mean PSNR in dB on the validation views."""
    pairs = dataset("views", reference=reference or None).pairs()[::every]
    return sum(measure(model, pair, Protocol())["psnr"] for pair in pairs) / len(pairs)


def run(name: str, seconds: tuple[int, int], data: str, every: int) -> dict:
    """One trial, as a line of the table."""
    trial = TRIALS[name]
    profile = replace(COMPACT, **BASE | trial.profile)
    usual = SYSTEMS[SECOND]
    SYSTEMS[SECOND] = replace(usual, recipe=replace(usual.recipe, **trial.recipe))
    images = training_images(data, profile, progress=False).train
    steps, cost = {}, {}
    for stage, model, share in (("steps_sisr", "sisr", seconds[0]), (usual.recipe.steps, SECOND, seconds[1])):
        cost[model] = seconds_a_step(model, profile, images)
        steps[stage] = max(1, round(share / cost[model]))
    profile = replace(profile, **steps, steps_pretraining=steps["steps_sisr"], checkpoint_every=10**9)
    with tempfile.TemporaryDirectory() as folder:
        first = RunOptions(data=data, out=f"{folder}/sisr", progress=False)
        train("sisr", profile, first)
        second = RunOptions(data=data, out=f"{folder}/ref", start_from=f"{folder}/sisr")
        model, history = train(SECOND, profile, second)
    SYSTEMS[SECOND] = usual
    row = {
        "trial": name,
        "profile": trial.profile,
        "recipe": trial.recipe,
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": seconds,
        "seconds_a_step": cost,
        "steps": {"steps_sisr": steps["steps_sisr"], "steps_joint": steps[usual.recipe.steps]},
        "bicubic": views("bicubic", "", every),
        "sisr_branch": views(model.sisr, "", every),
        "related": views(model, "", every),
        "unrelated": views(model, "unrelated", every),
        "crops": history[-1],
        "pairs": f"every {every}th of the validation views",
        "threads": torch.get_num_threads(),
    }
    return row | provenance.here() | {"settings": asdict(profile)}


def main(names: str = ";".join(TRIALS), seconds: tuple[int, int] = (90, 300), data: str = "train", every: int = 2):
    """Run trials, names separated by ";", and add a line for each."""
    for name in names.split(";"):
        row = run(name, seconds, data, every)
        with TABLE.open("a", encoding="utf-8") as table:
            table.write(json.dumps(row) + "\n")
        print(name, {k: round(row[k], 3) for k in ("bicubic", "sisr_branch", "related", "unrelated")}, row["steps"])


if __name__ == "__main__":
    tyro.cli(main)
