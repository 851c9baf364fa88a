"""Many trainings at once on one GPU: each a CUDA graph of its whole step, replayed in turn until the minutes are over.

Photographs lie on the device; a step draws its crops from a table of boxes, reduces them, and updates critics and
generator without asking anything of the host. On a CPU the same steps run one after another.

    python -m benchmarks.gpu --make-bundle data/train --bundle runs/gpu-bundle
    python -m benchmarks.gpu --bundle runs/gpu-bundle --minutes 9
    python -m benchmarks.gpu --bundle runs/gpu-bundle --minutes 1 --profile smoke

A training that is finished is in ``--out``, weights and card; a second call goes on with those that are not.
"""

import argparse
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from itertools import accumulate, pairwise
from pathlib import Path

os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")  # streams that do not wait for each other

import torch

from benchmarks.gpu_checks import costs
from benchmarks.gpu_schedule import Schedule
from benchmarks.gpu_steps import Photographs
from benchmarks.gpu_views import Lpips, Views
from e2ent2lib.config import COMPACT, PROFILES
from e2ent2lib.exact import capturable
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import shipped_folder
from e2ent2lib.systems.vgg import find_weights

SHARES = {"CID22": 1, "gb82": 1, "CLIC2025": 4, "Unsplash": 5, "BSDS500/train": 8, "BSDS500/test": 8, "T91": 7}
"""Of each folder of photographs every n-th file by name goes into the bundle."""
SCENES = 2
"""Of every second training scene the first so many views."""
STARTS = ("sisr-pretrained", "srresnet", "srgan", "e2ent2-photo")
"""Shipped weights that trainings start from if nothing better is trained before."""
OTHERS = 13 << 20
"""Bytes kept free for all that isn't a photograph."""
VGG = "vgg19_conv1_1-conv3_1.pth"
"""What VGG19's five convolutions are called in the bundle."""


def make_bundle(source: Path, out: Path, most: int = 60 << 20) -> None:
    """Copy all that trainings need into one folder: a varied part of the photographs of ``source``, with a list of what
    is trained on and what validates, the code with its tests, VGG19's weights, and those that trainings start from.

    LPIPS on the validation views is measured if ``alexnet_features.safetensors`` and ``lpips_lin.safetensors`` are put
    beside them. Raises ValueError if the folder is then larger than ``most`` bytes.
    """
    from e2ent2lib.data.pairs import VALIDATION_SCENES  # only here: they need packages that a GPU machine may lack
    from e2ent2lib.data.training import registered_views, training_images

    chosen = [p for folder, n in SHARES.items() for p in sorted((source / folder).iterdir())[::n] if p.is_file()]
    scenes = sorted(p for p in (source / "scenes").iterdir() if p.is_dir() and p.name not in VALIDATION_SCENES)
    chosen += [p for s in scenes[::2] for p in sorted(s.iterdir())[:SCENES]]
    views = []
    for name, step in zip(VALIDATION_SCENES, (6, 3)):
        views += list(pairwise(sorted((source / "scenes" / name).iterdir())))[::step]
    chosen += sorted({p for pair in views for p in pair})

    def part(files: list[Path]) -> dict:
        for p in files:
            target = out / p.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(p, target)
        images = training_images(out, replace(COMPACT, cache=False), progress=False)
        names = [Path(p).relative_to(out).as_posix() for p in images.train]
        size = sum((out / name).stat().st_size for name in names) / 2**20
        facts = images.facts | {"source": f"train (a part of {size:.1f} MiB)", "trained_on": names}
        views = [(i, j, to.tolist()) for i, j, to in registered_views(images.train, images.scenes)]
        return {"train": names, "validation": facts["validation"], "other_views": views, "data": facts}

    rest = [p for p in source.rglob("*.*") if p.is_file() and p.parent.name not in VALIDATION_SCENES]
    order = {p: n for s in scenes for n, p in enumerate(sorted(s.iterdir()))}  # the first views of each scene first
    rest = sorted(set(rest) - set(chosen), key=lambda p: (order.get(p, 99), hashlib.sha256(p.name.encode()).digest()))
    room = most - OTHERS - sum(p.stat().st_size for p in chosen)
    more = [p for p, total in zip(rest, accumulate(p.stat().st_size for p in rest)) if total < room]
    manifest = {"views": [[p.relative_to(source).as_posix() for p in pair] for pair in views]}
    manifest |= {"commit": provenance.commit()} | part(chosen)
    manifest["whole"] = part(more) | {"validation": manifest["validation"]}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    root = Path(__file__).parents[1]
    for folder in ("e2ent2lib", "benchmarks", "tests"):  # so that the bundle runs where there is no checkout
        without = shutil.ignore_patterns("__pycache__", "*.png", "*.jsonl")
        shutil.copytree(root / folder, out / folder, ignore=without, dirs_exist_ok=True)
    (out / "starts" / "compact").mkdir(parents=True, exist_ok=True)
    for name in STARTS:
        shutil.copy(shipped_folder() / "compact" / f"{name}.safetensors", out / "starts" / "compact")
    shutil.copyfile(find_weights()[0], out / VGG)
    whole = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    if whole > most:
        raise ValueError(f"{out}: {whole / 2**20:.1f} MiB, at most {most >> 20} are meant; see E2ENT2_VGG_WEIGHTS")
    counts = [len(m["train"]) for m in (manifest, manifest["whole"])]
    print(f"{counts[0]} photographs for the rows, {counts[1]} for e2ent2-photo; {whole / 2**20:.1f} MiB in all")


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--bundle", type=Path, default=Path("runs/gpu-bundle"), help="folder of photographs and weights")
    ask.add_argument("--make-bundle", type=Path, help="make the bundle from these photographs, and end")
    ask.add_argument("--out", type=Path, default=Path("runs/gpu"))
    ask.add_argument("--plan", default="rows", help="rows or trials: benchmarks/gpu_*.py")
    ask.add_argument("--profile", default="compact", choices=list(PROFILES))
    ask.add_argument("--minutes", type=float, default=9)
    ask.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    ask.add_argument("--slots", type=int, default=10, help="trainings side by side")
    ask.add_argument("--hours", type=float, help="core-hours of a row, if not those of the plan")
    ask.add_argument("--checks", action="store_true", help="first test the library on the card, and measure it there")
    ask.add_argument("--only", default="", help="names of trainings, or patterns of them, separated by commas")
    given = ask.parse_args(arguments)
    if given.make_bundle:
        make_bundle(given.make_bundle, given.bundle)
        return
    begun = time.perf_counter()
    device = torch.device(given.device)
    torch.backends.cudnn.benchmark = True
    if device.type == "cpu":
        torch.set_num_threads(1)
    if (given.bundle / VGG).is_file():
        os.environ.setdefault("E2ENT2_VGG_WEIGHTS", str((given.bundle / VGG).resolve()))
    results = tested() | costs(device) if given.checks and device.type == "cuda" else {}
    photographs = Photographs(given.bundle, device)
    plans = importlib.import_module(f"benchmarks.gpu_{given.plan}")
    trainings = plans.plan(PROFILES[given.profile], given.bundle, *([given.hours] if given.hours else []))
    if given.only:
        trainings = [t for t in trainings if any(fnmatch(t.name, only) for only in given.only.split(","))]
    views = None
    if device.type == "cuda" and (given.bundle / Lpips.FILES[0]).is_file():
        views = Views(given.bundle, photographs, device)
    print(f"{time.perf_counter() - begun:.1f} s: {len(trainings)} trainings on {device}", flush=True)
    deadline = begun + 60 * given.minutes - 3
    schedule = Schedule(trainings, photographs, given.bundle, given.out, device, deadline, given.slots, views)
    schedule.log["_device"] = provenance.here() | {"checks": results}
    with capturable():
        schedule.go()


def tested() -> dict[str, str]:
    """What pytest says of tests/test_cuda.py; in a process of its own, for it needs other settings."""
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-o", "addopts=", "tests/test_cuda.py"]
    run = subprocess.run(command, cwd=root, capture_output=True, text=True)
    print(run.stdout[-3000:], run.stderr[-1000:], flush=True)
    return {"tests": (run.stdout.strip() or run.stderr.strip()).splitlines()[-1]}


if __name__ == "__main__":
    main()
