"""When a result should be made to give the input again: ``PhotoE2ENT2.corrected`` and its limit ``TAKEN_OUT``.

    python -m benchmarks.consistency

On validation photographs without a reference, and validation views with the next one as theirs, reduced cleanly, by
the mean, as JPEG and with noise: what back-projection gains in dB, and what the network left out of the input over the
input's own detail. Writes benchmarks/consistency.json: for each kind of input the quantiles of that ratio, and by limit
the mean gain if results below it alone are corrected.
"""

import json
from pathlib import Path

import numpy as np

from benchmarks.photographs import box, noisy
from e2ent2lib import load_model
from e2ent2lib.data.degraded import as_jpeg, rounded
from e2ent2lib.data.pairs import data_folder, dataset
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models.network import Network, Pixels
from e2ent2lib.photos.images import as_rgb, crop_to_multiple, downscale
from e2ent2lib.photos.inference import enlarge
from e2ent2lib.photos.options import Options
from e2ent2lib.runs import provenance
from e2ent2lib.systems.landmark import back_project
from e2ent2lib.systems.photo import CORRECTIONS, unexplained

LIMITS = (0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 1.0)


INPUTS = {
    "clean": downscale,
    "reduced by the mean": box,
    "JPEG 95": lambda hr: as_jpeg(downscale(hr), 95),
    "JPEG 75": lambda hr: as_jpeg(downscale(hr), 75),
    "noise, σ 2": lambda hr: noisy(hr, 2),
    "noise, σ 5": noisy,
}


def pictures(names: list[str]) -> dict[str, list[tuple[Pixels, list[Pixels]]]]:
    """Ground truths and their references, none or one."""
    alone = [(crop_to_multiple(as_rgb(data_folder("train") / name))[:600, :800], []) for name in names]
    views = [prepared(pair)[:2] for pair in dataset("views").lister()[::2]]
    return {"no reference": alone, "another view": [(hr, [ref]) for hr, ref in views]}


def measured(model: Network, hr: Pixels, refs: list[Pixels], low: Pixels) -> tuple[float, float]:
    """The ratio, and what back-projection gains."""
    result = enlarge(model, low, refs, Options(consistent=False, rounded=False)).image
    corrected = back_project(result.astype(np.float32), low, CORRECTIONS)
    left = low - downscale(rounded(result)).astype(np.float32)
    return unexplained(left, low), psnr(rounded(corrected), hr) - psnr(rounded(result), hr)


def main() -> None:
    """As the module says."""
    model, table = load_model("e2ent2-photo", "compact"), {}
    shown = pictures([name for name in model.card["data"]["validation"] if not name.startswith("scenes")])
    for kind, make in INPUTS.items():
        for which, given in shown.items():
            ratios, gains = np.array([measured(model, hr, refs, make(hr)) for hr, refs in given]).T
            table[f"{kind}, {which}"] = {
                "ratio": {f"{q:.0%}": round(float(np.quantile(ratios, q)), 4) for q in (0, 0.1, 0.5, 0.9, 1)},
                "gain by limit": {str(limit): round(float((gains * (ratios < limit)).mean()), 4) for limit in LIMITS},
            }
            print(f"{kind}, {which}", table[f"{kind}, {which}"], flush=True)
    facts = {"pictures": {which: len(given) for which, given in shown.items()}, "weights": model.card["sha256"]}
    facts |= {"inputs": table} | provenance.here()
    Path(__file__).with_suffix(".json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
