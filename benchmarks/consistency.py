"""When a result should be made to give the input again: ``PhotoE2ENT2.corrected`` and its limit ``TAKEN_OUT``.

    python -m benchmarks.consistency

On validation photographs, without a reference, reduced cleanly, by the mean, as JPEG and with noise: what
back-projection gains in dB, and what the network left out of the input over the input's own detail. Writes
benchmarks/consistency.json: for each kind of input the quantiles of that ratio, and by limit the mean gain if results
below it alone are corrected.
"""

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import laplace

from benchmarks.photographs import box
from e2ent2lib import load_model
from e2ent2lib.data.degraded import as_jpeg, rounded
from e2ent2lib.data.pairs import data_folder
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models.network import Pixels
from e2ent2lib.photos.images import as_rgb, crop_to_multiple, downscale
from e2ent2lib.photos.inference import enlarge
from e2ent2lib.photos.options import Options
from e2ent2lib.runs import provenance
from e2ent2lib.systems.landmark import back_project
from e2ent2lib.systems.photo import CORRECTIONS, TAKEN_OUT

LIMITS = sorted({TAKEN_OUT, 0.022, 0.025, 0.028, 0.031, 0.034, 0.04, 0.05, 1.0})


def noisy(deviation: float, hr: Pixels) -> Pixels:
    """Reduced, with noise."""
    low = downscale(hr)
    return rounded(low + np.random.default_rng(0).normal(0, deviation, low.shape))


INPUTS = {
    "clean": downscale,
    "reduced by the mean": box,
    "JPEG 95": lambda hr: as_jpeg(downscale(hr), 95),
    "JPEG 75": lambda hr: as_jpeg(downscale(hr), 75),
    "noise, σ 2": lambda hr: noisy(2, hr),
    "noise, σ 5": lambda hr: noisy(5, hr),
}


def main() -> None:
    """As the module says."""
    model = load_model("e2ent2-photo", "compact")
    names = [name for name in model.card["data"]["validation"] if not name.startswith("scenes")]
    shown, table = data_folder("train"), {}
    for kind, make in INPUTS.items():
        rows = []
        for name in names:
            hr = crop_to_multiple(as_rgb(shown / name))[:600, :800]
            low = make(hr)
            result = enlarge(model, low, [], Options(consistent=False, rounded=False)).image
            left = low - downscale(rounded(result)).astype(np.float32)
            ratio = left.std() / laplace(low.astype(np.float32), axes=(0, 1)).std()
            gain = psnr(rounded(back_project(result.astype(np.float32), low, CORRECTIONS)), hr) - psnr(
                rounded(result), hr
            )
            rows.append((ratio, gain))
        ratios, gains = np.array(rows).T
        table[kind] = {
            "ratio": {f"{q:.0%}": round(float(np.quantile(ratios, q)), 4) for q in (0, 0.1, 0.5, 0.9, 1)},
            "gain by limit": {str(limit): round(float((gains * (ratios < limit)).mean()), 4) for limit in LIMITS},
        }
        print(kind, table[kind], flush=True)
    facts = {"pictures": len(names), "weights": model.card["sha256"], "inputs": table} | provenance.here()
    Path(__file__).with_suffix(".json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
