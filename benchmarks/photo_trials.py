"""What each part of E2ENT²-photo's recipe is worth: trials of equal length, each with one part left out.

    python -m benchmarks.photo_trials --base FOLDER [--steps 150] [--names "the recipe;no JPEG"]

Every trial trains the joint network from the same SISR branch, with the same crops but for what is left out, and is
measured on views of scenes that are never trained on. A line a trial goes into `benchmarks/photo_trials.jsonl`, which
notebook 14b shows.
"""

import json
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import tyro

from benchmarks.photographs import CONDITIONS
from e2ent2lib.config import COMPACT
from e2ent2lib.data import degraded
from e2ent2lib.data.pairs import dataset
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models.network import Network
from e2ent2lib.photos.images import crop_to_multiple, downscale, upscale_bicubic
from e2ent2lib.photos.inference import enlarge
from e2ent2lib.photos.options import Options
from e2ent2lib.runs import provenance
from e2ent2lib.runs.run import RunOptions, train
from e2ent2lib.systems import SYSTEMS

NAME = "e2ent2-photo"
TABLE = Path(__file__).with_suffix(".jsonl")
WITHOUT = {
    "the recipe": {},
    "all clean": {"CLEAN": 1.0},
    "no other kernels": {"reduced": lambda hr, scale, rng: downscale(hr, scale)},
    "no noise": {"noisy": lambda lr, rng: lr},
    "no JPEG": {"as_jpeg": lambda picture, quality: picture},
    "no other light": {"lit": lambda ref, rng: ref},
    "no turned references": {"turned": lambda ref, rng: ref},
}
"""What is put in the place of parts of ``e2ent2lib.data.degraded``."""
CHANGED = {"no unrelated references": {"unrelated": 0.0}, "no other views": {"views": 0.0}}
"""What is changed of the recipe's profile."""


def scores(model: Network, every: int) -> dict[str, float]:
    """Mean gain over bicubic in dB on validation views, by condition."""
    gains = {}
    for condition, (make, change) in CONDITIONS.items():
        gains[condition] = [gain(model, pair, make, change) for pair in dataset("views").lister()[::every]]
    unrelated = dataset("views", reference="unrelated").lister()[::every]
    gains["unrelated"] = [gain(model, pair, *CONDITIONS["as it is"]) for pair in unrelated]
    return {condition: float(np.mean(values)) for condition, values in gains.items()}


def gain(model: Network, pair, make, change) -> float:
    """Over bicubic from the same input, dB; the quarter in the middle of a picture, so that a trial takes minutes."""
    hr, ref, *_ = prepared(pair)
    h, w = (n // 8 * 4 for n in hr.shape[:2])
    hr = hr[h // 2 : h // 2 + h, w // 2 : w // 2 + w]
    low, refs = make(hr), [crop_to_multiple(change(ref))] if change else []
    result = enlarge(model, low, refs, Options(consistent=False)).image
    return psnr(result, hr) - psnr(upscale_bicubic(low), hr)


def run(name: str, base: Path, steps: int, data: str, every: int) -> dict:
    """One trial, as a line of the table."""
    usual = SYSTEMS[NAME]
    changes = dict(usual.recipe.changes) | CHANGED.get(name, {})
    profile = replace(COMPACT, steps_photo=steps, checkpoint_every=10**9)
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        stack.enter_context(patch.dict(SYSTEMS, {NAME: replace(usual, recipe=replace(usual.recipe, changes=changes))}))
        for part, instead in WITHOUT.get(name, {}).items():
            stack.enter_context(patch.object(degraded, part, instead))
        model, history = train(NAME, profile, RunOptions(data=data, out=folder, start_from=base, progress=False))
    row = {"trial": name, "steps": steps, "base": model.card["started_from"]["sha256"], "crops": history[-1]}
    return row | {"gain": scores(model, every), "pairs": f"every {every}th of the validation views"} | provenance.here()


def main(
    base: Path, names: str = ";".join([*WITHOUT, *CHANGED]), steps: int = 150, data: str = "train", every: int = 4
):
    """Run trials, names separated by ";", and add a line for each."""
    for name in names.split(";"):
        row = run(name, base, steps, data, every)
        with TABLE.open("a", encoding="utf-8") as table:
            table.write(json.dumps(row, ensure_ascii=False) + "\n")
        print(name, {k: round(v, 2) for k, v in row["gain"].items()}, flush=True)


if __name__ == "__main__":
    tyro.cli(main)
