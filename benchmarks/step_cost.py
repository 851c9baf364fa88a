"""What a step of each row's training costs: processor seconds on one core, the least of several; the unit of budgets.

python -m benchmarks.step_cost --data train
"""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
import tyro

from benchmarks.gpu_trials import SIZES
from e2ent2lib.config import COMPACT, Profile
from e2ent2lib.crops import Crops
from e2ent2lib.data.training import CropTwice, training_images
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.runs.run import make_fabric, players_for
from e2ent2lib.systems import SYSTEMS, recipe_of
from e2ent2lib.systems.vgg import load_vgg
from e2ent2lib.train import training_step

TABLE = Path(__file__).with_suffix(".json")
LEFT_OUT = ("photo-base", "e2ent2-photo")


def seconds_a_step(name: str, profile: Profile, images: list, steps: int) -> dict[str, float]:
    """Processor seconds of a step after the recipe's opening, crops included, after two steps that do not count."""
    torch.manual_seed(0)
    fabric, model, recipe = make_fabric(profile, "cpu", 1), build_model(name, profile), recipe_of(name)
    players = players_for(fabric, model, recipe, profile)
    load_vgg(model, players.loss)
    crops = CropTwice(images, recipe.profile(profile), length=(steps + 2) * profile.batch)
    length, spent = getattr(profile, recipe.steps), []
    for step in range(steps + 2):
        start = time.process_time()
        samples = [crops[step * profile.batch + i] for i in range(profile.batch)]
        training_step(fabric, players, Crops(*map(torch.stack, zip(*samples))), length - 1, length)
        spent.append(time.process_time() - start)
    return {"least": round(min(spent[2:]), 4), "median": round(median(spent[2:]), 4)}


def main(names: str = "", sizes: str = ";".join(SIZES), data: str = "train", steps: int = 8):
    """Measure rows (all, or those named, separated by ",") at the sizes named, and write the table."""
    torch.set_num_threads(1)
    table = json.loads(TABLE.read_text()) if TABLE.is_file() else {}
    for size in sizes.split(";"):
        profile = replace(COMPACT, **SIZES[size])
        images = training_images(data, profile, progress=False).train[::20]
        every = (
            [s.name for s in SYSTEMS.values() if s.recipe and s.name not in LEFT_OUT]
            if size == "compact"
            else ["sisr", "e2ent2-mse", "e2ent2"]
        )
        for name in names.split(",") if names else every:
            row = seconds_a_step(name, profile, images, steps) | {"load": round(os.getloadavg()[0], 2)}
            table.setdefault(size, {"settings": SIZES[size], "rows": {}})["rows"][name] = row
            print(size, name, row, flush=True)
            TABLE.write_text(json.dumps(table | {"measured": provenance.here()}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    tyro.cli(main)
