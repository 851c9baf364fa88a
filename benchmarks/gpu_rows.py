"""The trained rows of Tables 1 and 2, one budget for all, then the ablations of Tables 3 and 4 with three seeds.

The budget is core-hours: steps × what a step costs on one core, ``step_cost.json``.
"""

import json
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu_steps import Training
from e2ent2lib.config import Profile
from e2ent2lib.systems import recipe_of

COST = json.loads(Path(__file__).with_name("step_cost.json").read_text())["compact"]["rows"]
HOURS = 2.5
"""Core-hours of a row; 0.4 of them are the shared pre-training's."""
ABLATION = 0.5
"""Core-hours of an ablation."""
PHOTO = "e2ent2-photo"
"""Outside the budget: it goes on from the shipped one, with twice the batch, for as long as there is time."""
ABLATIONS = ("e2ent2-ablation", "feature-vgg", "feature-presisr", "e2ent2-alpha-100", "e2ent2-alpha-010")
ABLATIONS += ("e2ent2-alpha-001", "e2ent2-error-sum", "e2ent2-noresidual", "e2ent2-plain-gan")
FIRST = 0.4
"""Share of the budget that pre-training has."""
ROWS = {
    "sisr": (1.0, 100), "srresnet": (FIRST, 99), "srgan": (1 - FIRST, 97), "srntt": (1 - FIRST, 96),
    "passrnet": (1.0, 95), "e2ent2-mse": (1 - FIRST, 94), "e2ent2": (1 - FIRST, 93), "sisr-gan": (1 - FIRST, 90),
    "stereosr": (1.0, 80), "enhancenet": (1.0, 70), "e2ent2-mse-related": (1 - FIRST, 40), "drcn": (1.0, 30),
}  # fmt: skip
"""The share of the budget that is a row's own, and how early it is begun."""


def plan(profile: Profile, bundle: Path, hours: float = HOURS) -> list[Training]:
    """All trainings of this budget."""
    made, smoke = [], profile.name == "smoke"
    form = recipe_of(PHOTO).profile(profile)
    made.append(
        Training(
            name=PHOTO,
            model=PHOTO,
            profile=replace(form, batch=form.batch if smoke else 2 * form.batch),
            steps=12 if smoke else 60_000,
            fills=True,
            file=PHOTO,
            priority=89,
            views=True,
            probes=12,
        )
    )
    pretrained = "sisr"
    for row, (share, priority) in ROWS.items():
        steps = 12 if smoke else round(3600 * hours * share / COST[row]["least"])
        after = {"srgan": "srresnet", "srntt": "srgan"}.get(row)
        after = pretrained if row.startswith("e2ent2") or row == "sisr-gan" else after
        made.append(
            Training(
                name=row,
                model=row,
                profile=profile,
                steps=steps,
                priority=priority,
                after=after,
                views=True,
                keep_at=round(FIRST * steps) if row == "sisr" else None,
                budget=hours * share,
            )
        )
    dearest = max(COST[a]["least"] for a in ABLATIONS)
    for seed in range(3):
        for row in ABLATIONS:
            steps = 12 if smoke else round(3600 * ABLATION / dearest)
            after = None if row == "feature-vgg" else pretrained
            made.append(
                Training(
                    name=f"{row}_seed{seed}",
                    model=row,
                    profile=profile,
                    steps=steps,
                    seed=seed,
                    priority=60 - seed,
                    after=after,
                    views=True,
                    probes=5,
                    budget=ABLATION,
                    form="bfloat16",
                )
            )
    return made
