"""Trials at equal steps that say why E2ENT² uses its reference so little, and whether a larger compact network pays."""

from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

from benchmarks.gpu_steps import Training
from e2ent2lib.config import PAPER, Profile

STEPS = 1500
"""Steps of a trial of the joint stage."""
SIZES = {
    "compact": {},
    "32 channels, 8 + 4": {"encoder_blocks": 8},
    "48 channels, 4 + 4": {"channels": 48},
    "48 channels, 8 + 4": {"channels": 48, "encoder_blocks": 8},
    "40 channels, 8 + 4": {"channels": 40, "encoder_blocks": 8},
}
"""Sizes that were tried; of the others than "compact" only the two rows that decide."""
COST = {"compact": (0.0329, 0.305), "48 channels, 8 + 4": (0.0672, 0.582)}
"""Seconds a step of `sisr` and of `e2ent2-mse`, from benchmarks/step_cost.json."""
PRETRAINING = 700
"""Core-seconds of pre-training of the trials of the size."""
MSE = {
    "mse": {},
    "mse, F drawn": {"start": "mixed"},
    "mse, all drawn": {"start": "cold"},
    "mse, half aligned": {"profile": {"aligned": 0.5}},
    "mse, all aligned": {"profile": {"aligned": 1.0}},
    "mse, 10 % unrelated": {"profile": {"unrelated": 0.1}},
    "mse, lr 5e-4": {"profile": {"lr": 5e-4}},
    "mse, lr 2e-3": {"profile": {"lr": 2e-3}},
    "mse, 30 % views": {"profile": {"views": 0.3}},
    "mse, 4 times as long": {"longer": 4},
}
GAN = {
    "gan": {},
    "gan, adversary x3": {"profile": {"weight_adv": 3e-5}},
    "gan, adversary x10": {"profile": {"weight_adv": 1e-4}},
    "gan, adversary x30": {"profile": {"weight_adv": 3e-4}},
    "gan, adversary x10, F drawn": {"profile": {"weight_adv": 1e-4}, "start": "mixed"},
    "gan, adversary x10, half aligned": {"profile": {"weight_adv": 1e-4, "aligned": 0.5}},
    "gan, adversary x10, 10 % unrelated": {"profile": {"weight_adv": 1e-4, "unrelated": 0.1}},
    "gan, adversary x10, critic 32, 4 stages": {
        "profile": {"weight_adv": 1e-4, "critic_channels": 32, "critic_stages": 4}
    },
    "gan, adversary x10, critic lr x0.3": {"profile": {"weight_adv": 1e-4}, "critic_lr": 0.3},
    "gan, adversary x10, F drawn, half aligned, 10 % unrelated": {
        "profile": {"weight_adv": 1e-4, "unrelated": 0.1, "aligned": 0.5},
        "start": "mixed",
    },
    "gan, adversary x10, 3 times as long": {"profile": {"weight_adv": 1e-4}, "longer": 3},
}


def plan(profile: Profile, starts: Path, steps: int = STEPS) -> list[Training]:
    """All trials; the joint stage starts from the shipped pre-training, those of the size from their own."""
    made = []
    profile = replace(profile, aligned=0.0, weight_adv=PAPER.weight_adv)  # `compact` before these trials
    smoke = profile.name == "smoke"
    steps = 12 if smoke else steps

    def add(name: str, model: str, given: dict, count: int, **more) -> None:
        given = dict(given)
        model, longer = given.pop("model", model), given.pop("longer", 1)
        form = replace(profile, **given.pop("profile", {}))
        safe = name.replace(",", "").replace(" ", "_").replace("%", "pct").replace("+", "and")
        given |= more | {"views": True, "form": "float16"}
        made.append(Training(name=safe, model=model, profile=form, steps=longer * count, **given))

    for size, (sisr, joint) in COST.items():
        form = {"profile": {} if smoke else SIZES[size]}
        count = 12 if smoke else round(PRETRAINING / sisr)
        add(f"size {size} sisr", "sisr", form, count, priority=9, probes=3)
        made[-1].after = None
        count = 12 if smoke else round(2 * steps * COST["compact"][1] / joint)
        add(f"size {size} mse", "e2ent2-mse", form, count, priority=8, after=made[-1].name)
    both = [x for two in zip_longest(MSE.items(), GAN.items()) for x in two if x]
    longest = sorted(both, key=lambda x: -x[1].get("longer", 1))
    for name, given in longest:
        model = "e2ent2-mse" if name in MSE else "e2ent2"
        add(name, model, given, steps, priority=5 if "longer" in given else 1)
    add("srntt", "srntt", {}, steps // 2, priority=5)
    return made
