"""What systems make of people's photographs: other kernels, JPEG, noise, and references in another size or light.

    python benchmarks/photographs.py [--systems NAME ...] [--weights FOLDER] [--every N]

Writes data/results/photographs.csv, which notebook 14b shows: for each condition, system and pair the PSNR in dB (RGB),
that of bicubic from the same input, and by how much the result, reduced by 4, departs from a clean input: the largest
mean of 32×32 input pixels, in grey levels. Rows of systems that are not measured stay as they are.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import uniform_filter
from tqdm.auto import tqdm

from e2ent2lib import load_model
from e2ent2lib.data.degraded import as_jpeg, rounded
from e2ent2lib.data.pairs import dataset
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models.network import Pixels
from e2ent2lib.photos.images import crop_to_multiple, downscale, upscale_bicubic
from e2ent2lib.photos.inference import enlarge
from e2ent2lib.runs.files import whole_file
from e2ent2lib.runs.provenance import ROOT

FILE = ROOT / "data/results/photographs.csv"
SETS = ("kitti2012", "viewpairs-1", "viewpairs-2", "viewpairs-3")
NEAR = SETS[:2]
"""Sets whose references show the same things: the conditions beyond "as it is" are measured on these alone."""


def same(picture: Pixels) -> Pixels:
    """As it is."""
    return picture


def zoomed(factor: float) -> Callable[[Pixels], Pixels]:
    """In another size."""
    return lambda x: np.asarray(
        Image.fromarray(x).resize([round(factor * n) for n in x.shape[1::-1]], Image.Resampling.LANCZOS)
    )


def turned(ref: Pixels) -> Pixels:
    """By 10°, whole; the corners are black."""
    return np.asarray(Image.fromarray(ref).rotate(10, Image.Resampling.BICUBIC, expand=True))


def lit(*gains: float) -> Callable[[Pixels], Pixels]:
    """In other light: red, green and blue multiplied."""
    return lambda x: rounded(x * np.array(gains))


def box(hr: Pixels) -> Pixels:
    """Reduced by the mean of 4×4 pixels."""
    return np.asarray(Image.fromarray(hr).reduce(4))


def noisy(hr: Pixels, deviation: float = 5) -> Pixels:
    """Reduced, with noise of this σ."""
    low = downscale(hr)
    return rounded(low + np.random.default_rng(0).normal(0, deviation, low.shape))


CONDITIONS: dict[str, tuple[Callable[[Pixels], Pixels], Callable[[Pixels], Pixels] | None]] = {
    "as it is": (downscale, same),
    "no reference": (downscale, None),
    "reference ×0.7": (downscale, zoomed(0.7)),
    "reference ×1.5": (downscale, zoomed(1.5)),
    "reference turned by 10°": (downscale, turned),
    "reference exposed ×0.6": (downscale, lit(0.6, 0.6, 0.6)),
    "reference exposed ×1.5": (downscale, lit(1.5, 1.5, 1.5)),
    "reference red ×1.15, blue ×0.85": (downscale, lit(1.15, 1, 0.85)),
    "JPEG, quality 75": (lambda hr: as_jpeg(downscale(hr), 75), same),
    "JPEG, quality 75, no reference": (lambda hr: as_jpeg(downscale(hr), 75), None),
    "noise, σ 5": (noisy, same),
    "reduced by the mean": (box, same),
}
"""How the input is made of the ground truth, and what is done to the reference."""


def departure(result: Pixels, low: Pixels) -> float:
    """The largest mean difference of any 32×32 pixels between the input and the result reduced by 4."""
    difference = downscale(result).astype(float) - low
    side = min(32, *low.shape[:2])
    means = uniform_filter(difference, (side, side, 0), mode="nearest")
    half = side // 2
    return float(np.abs(means[half : len(means) - half + 1, half : means.shape[1] - half + 1]).max())


def measure(name: str, weights: Path | None, every: int) -> list[dict]:
    """The rows of one system."""
    model, rows = load_model(name, "compact", weights), []
    cases = [(data, "as it is") for data in (*SETS, "unrelated")]
    cases += [(data, condition) for condition in list(CONDITIONS)[1:] for data in NEAR]
    for data, condition in tqdm(cases, desc=name, leave=False):
        source = dataset("viewpairs-1", reference="unrelated") if data == "unrelated" else dataset(data)
        make, change = CONDITIONS[condition]
        for pair in source.lister()[::every]:
            hr, ref, *_ = prepared(pair)
            low, refs = make(hr), [crop_to_multiple(change(ref))] if change else []
            if not refs and model.single_image is None:
                continue
            result = enlarge(model, low, refs).image
            scores = {"psnr": psnr(result, hr), "bicubic": psnr(upscale_bicubic(low), hr)}
            row = {"condition": condition, "system": name, "set": data, "picture": pair.name, **scores}
            rows.append(row | {"departure": departure(result, low)})
    return rows


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=["landmark", "e2ent2-mse", "e2ent2-photo"])
    parser.add_argument("--weights", type=Path, help="folder of a checkpoint, for one system")
    parser.add_argument("--every", type=int, default=6, help="every which pair of a set; 6 if not given")
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    rows = pd.DataFrame([row for name in given.systems for row in measure(name, given.weights, given.every)])
    if given.out.is_file():
        old = pd.read_csv(given.out)
        rows = pd.concat([old[~old.system.isin(given.systems)], rows])
    with whole_file(given.out) as temporary:
        rows.round(4).to_csv(temporary, index=False)
    gains = rows.assign(gain=rows.psnr - rows.bicubic)
    print(gains.pivot_table(index=["condition", "set"], columns="system", values="gain", sort=False).round(2))


if __name__ == "__main__":
    main()
