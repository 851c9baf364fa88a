"""Every trained system of the tables learns: 30 steps of the one trainer lower its loss on a crop of a photograph."""

from dataclasses import fields, replace

import numpy as np
import pytest
import skimage.data
import torch
from tiny import RECIPES

from e2ent2lib.config import SMOKE
from e2ent2lib.crops import Crops
from e2ent2lib.data.training import CropTwice
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.runs.run import make_fabric, players_for
from e2ent2lib.systems.vgg import find_weights, load_vgg
from e2ent2lib.train import training_step

# critics stand still (their own learning rate is 0), so that the generator's loss is one function
STEPS = {field.name: 1000 for field in fields(SMOKE) if field.name.startswith("steps_")}
LIVE = replace(SMOKE, crop=64, batch=1, lr=5e-4, **STEPS)


@pytest.fixture(autouse=True)
def vgg(monkeypatch):
    """VGG19's weights where they are at hand, else its random ones."""
    try:
        find_weights()
    except FileNotFoundError:
        monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")


@pytest.mark.parametrize(
    "name", [name for name in RECIPES if "alpha" not in name and name not in ("e2ent2-ablation", "e2ent2-error-sum")]
)
def test_thirty_steps_lower_the_loss_on_a_real_crop(name):
    recipe = RECIPES[name]
    torch.manual_seed(0)
    fabric = make_fabric(LIVE, "cpu", 1)
    model = build_model(name, LIVE)
    players = players_for(fabric, model, recipe, LIVE)
    load_vgg(model, players.loss)
    for critic in players.critics:
        critic.adam.param_groups[0]["lr"] = 0.0
    photograph = np.asarray(skimage.data.astronaut())[:200, 100:330]
    crops = CropTwice([photograph], recipe.profile(LIVE), length=1, seed=1)
    batch = Crops(*(x[None] for x in crops[0]))
    totals = []
    for _ in range(31):
        losses = training_step(fabric, players, batch, 500, 1000)  # in the middle: every term is on
        totals.append(sum(players.loss.weights[k] * v.item() for k, v in losses.items() if k in players.loss.weights))
    assert np.isfinite(totals).all()
    assert np.mean(totals[-5:]) < 0.995 * totals[0]
