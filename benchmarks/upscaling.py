"""What `e2ent2 upscale` costs: bfloat16 against plain float32 in one run, what it does to PSNR, and a large picture.

    python benchmarks/upscaling.py [--speed] [--quality] [--large] [--models NAME ...] [--every N]

Measures all three if none is named. Writes upscaling.json beside itself; run it on a quiet machine. *Speed*: a pair of
500×333 as in CUFED5, the network's own forward pass as it is written (float32, whole, NCHW), those of
``super_resolve``, and all that ``e2ent2-photo`` does, taking turns. *Quality*: what bfloat16 and coarse matching do to
the PSNR of available pairs. *Large*: a megapixel with a reference of twelve by the command line, in processes whose
data may not grow beyond 4 GiB (Linux); needs the training photographs.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image, ImageOps
from torch import nn
from tqdm.auto import tqdm

from e2ent2lib import load_model
from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.photos import inference, tiles
from e2ent2lib.photos.images import downscale
from e2ent2lib.photos.options import Options
from e2ent2lib.runs import provenance
from e2ent2lib.runs.files import whole_file

FILE = Path(__file__).with_suffix(".json")
MODELS = ("e2ent2-mse", "e2ent2", "e2ent2-photo")
LIMIT = 4 << 30  # bytes


def take_turns(calls: dict[str, Callable[[], object]], rounds: int = 15) -> dict[str, list[float]]:
    """Seconds of each call in each round; one round before does not count."""
    times = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number:
                times[name].append(time.perf_counter() - start)
    return times


def compiled() -> nn.Module:
    """The network with its convolutions through torch.compile; the match is compiled already, by numba."""
    model = tiles.channels_last(load_model("e2ent2-mse", "compact"))
    for part in (model.encoder, model.synthesis, *model.sisr.tail):
        part.compile(dynamic=False)
    return model


def speed() -> dict:
    """For each way the median seconds, and how many times faster than the plain one, by the rounds' median ratio."""
    left, right, _ = skimage.data.stereo_motorcycle()
    hr, ref = left[:332, :500], right[:332, :500]
    lr, model = downscale(hr), load_model("e2ent2-mse", "compact")
    fast, plain, half = compiled(), load_model("e2ent2-mse", "compact"), Options(precision="bfloat16")
    photo = load_model("e2ent2-photo", "compact")
    calls = {
        "plain: float32, NCHW, whole": lambda: inference.run(plain, lr, [ref]),
        "super_resolve: float32, channels_last": lambda: tiles.enlarge(model, lr, [ref]),
        "super_resolve: bfloat16, channels_last": lambda: tiles.enlarge(model, lr, [ref], half),
        "the same through torch.compile": lambda: tiles.enlarge(fast, lr, [ref], half),
        "e2ent2-photo: float32": lambda: inference.enlarge(photo, lr, [ref]),
        "e2ent2-photo: bfloat16": lambda: inference.enlarge(photo, lr, [ref], half),
    }
    start = time.perf_counter()
    calls["the same through torch.compile"]()
    first = time.perf_counter() - start
    times = take_turns(calls)
    slowest = times["plain: float32, NCHW, whole"]
    rows = [
        {
            "way": name,
            "seconds": round(statistics.median(seconds), 3),
            "times faster": round(statistics.median(a / b for a, b in zip(slowest, seconds)), 2),
        }
        for name, seconds in times.items()
    ]
    facts = {"rows": rows, "first call of torch.compile / s": round(first, 1), "threads": torch.get_num_threads()}
    return facts | provenance.here()


def quality(models: list[str], every: int) -> dict:
    """By model the mean PSNR of every so many available pairs, and what bfloat16 and coarse matching change of it."""
    summary, ways = {}, {"bfloat16": Options(precision="bfloat16"), "coarse": Options(matching="coarse")}
    tested = [data for data in DATASETS.values() if data.for_evaluation and data.in_tables]
    pairs = [pair for data in tested for pair in data.lister() if pair.ref_sources][::every]
    for name in models:
        model, scores = load_model(name, "compact"), []
        for pair in tqdm(pairs, desc=name, leave=False):
            hr, ref, *_ = prepared(pair)
            results = (tiles.enlarge(model, downscale(hr), [ref], options) for options in (Options(), *ways.values()))
            scores.append([psnr(result.image, hr) for result in results])
        plain, *others = np.array(scores).T
        summary[name] = {"pairs": len(pairs), "PSNR / dB": round(plain.mean(), 3)}
        for way, other in zip(ways, others):
            least, mean, most = (round(f(other - plain), 3) + 0.0 for f in (np.min, np.mean, np.max))  # no −0.0
            summary[name][f"{way}: change / dB"] = {"mean": mean, "least": least, "most": most}
        summary[name] |= provenance.here()
    return summary


def mosaics(folder: Path) -> tuple[Path, Path]:
    """Four views of two training scenes as a picture of 1000×1000, and four others of them as one of 4000×3000."""
    views = [pair.hr_source for pair in TRAINING_SETS["scenes"].lister()]
    views = [path for path in views if path.parent.name in ("castle-P30", "Herz-Jesus-P25")]
    small, large = Image.new("RGB", (1000, 1000)), Image.new("RGB", (4000, 3000))
    for number in range(4):
        x, y = number % 2, number // 2
        shown, other = (Image.open(views[number * len(views) // 4 + n]).convert("RGB") for n in (0, 1))
        small.paste(ImageOps.fit(shown, (2000, 2000)).reduce(4), (500 * x, 500 * y))
        large.paste(ImageOps.fit(other, (2000, 1500)), (2000 * x, 1500 * y))
    paths = folder / "low.png", folder / "ref.png"
    for path, image in zip(paths, (small, large)):
        image.save(path)
    return paths


def large(models: list[str]) -> dict:
    """Minutes and the peak of memory, by model, coarse and exact."""
    facts = {"input": "1000×1000", "reference": "4000×3000", "threads": torch.get_num_threads()} | provenance.here()
    return {name: facts | {way: enlarged(name, way) for way in ("coarse", "exact")} for name in models}


def enlarged(name: str, matching: str) -> dict:
    """The two pictures by the command line, in a process of its own; the peak is of all processes so far."""
    with tempfile.TemporaryDirectory() as folder:
        low, ref = mosaics(Path(folder))
        options = ["--model", name, "--matching", matching, "-o", str(Path(folder) / "out.png")]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "e2ent2lib.cli", "upscale", str(low), "--ref", str(ref), *options],
            check=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
        )
        minutes = (time.perf_counter() - start) / 60
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"minutes": round(minutes, 1), "peak GiB": round(peak, 2)}


def main() -> None:
    """Measure what is asked for and keep the rest of the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part in ("speed", "quality", "large"):
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--every", type=int, default=6, help="measure the quality of every so many pairs")
    asked = vars(parser.parse_args())
    models, every = asked.pop("models"), asked.pop("every")
    results = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    measures = {"speed": speed, "quality": partial(quality, models, every), "large": partial(large, models)}
    for part, measure in measures.items():
        if asked[part] or not any(asked.values()):
            kept = {name: facts for name, facts in results.get(part, {}).items() if name in MODELS}
            results[part] = kept | measure()
            print(json.dumps(results[part], indent=1, ensure_ascii=False))
            with whole_file(FILE) as temporary:
                temporary.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
