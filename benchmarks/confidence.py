"""From which agreement of matches on a reference helps: a threshold for each checkpoint, and how often it is right.

    python benchmarks/confidence.py [MODEL ...]

Writes e2ent2lib/photos/confidence.json, which ``e2ent2 upscale`` reads. A threshold is chosen on views of the training
scenes, each with the next view (related) and with a photograph of BSDS500 (unrelated): the one with the fewest
mistakes, of a range of equals the middle. It is tested on the pairs of all available data sets, none of which was
trained on, each with its reference and with a photograph of something else. Gain is the PSNR over the same network's
result without a reference. Where a network tries a reference that does not register, that counts too. Needs the
training photographs (data/README.md).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from tqdm.auto import tqdm

from e2ent2lib import available_models, load_model
from e2ent2lib.data.pairs import DATASETS, TRAINING_SETS, VALIDATION_SCENES, dataset, fingerprint
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models.network import Network
from e2ent2lib.photos import tiles
from e2ent2lib.photos.confidence import ADDS, FAR, FILE, mean
from e2ent2lib.photos.images import as_rgb, crop_to_multiple, downscale
from e2ent2lib.photos.inference import enlarge
from e2ent2lib.photos.options import Matching, Options
from e2ent2lib.runs import provenance
from e2ent2lib.runs.files import whole_file
from e2ent2lib.systems import SYSTEMS

PROFILE = "compact"
SIDE = 512  # pixels of a view or a test picture, from its top left
EVERY = 6  # so many views apart
MOST = 5  # pairs of a data set
SETTINGS = {"side": SIDE, "every": EVERY, "most": MOST, "apart": FAR, "seed": 0}
Case = tuple[str, bool, UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]


def training_cases() -> Iterator[Case]:
    """(set, whether related, ground truth, reference) of the training photographs."""
    views, others = ([p.hr_source for p in TRAINING_SETS[name].lister()] for name in ("scenes", "bsds500"))
    random = np.random.default_rng(0)
    for view, following in list(pairwise(views))[::EVERY]:
        if view.parent == following.parent and view.parent.name not in VALIDATION_SCENES:
            hr = start_of(view)
            yield view.parent.name, True, hr, start_of(following)
            yield view.parent.name, False, hr, start_of(others[random.integers(len(others))])


def start_of(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """A photograph's top left part."""
    return crop_to_multiple(as_rgb(path)[:SIDE, :SIDE])


def test_cases() -> Iterator[Case]:
    """The same of the available pairs."""
    for name in (n for n, data in DATASETS.items() if data.in_tables or n == "views"):
        for related in (True, False):
            data = dataset(name) if related else dataset(name, reference="unrelated")
            for pair in data.lister()[:MOST]:
                if pair.ref_sources:
                    hr, reference, *_ = prepared(pair)
                    yield name, related, hr[:SIDE, :SIDE], reference


def measure(model: Network, cases: Sequence[Case]) -> pd.DataFrame:
    """Agreement and gain of each case under each matching."""
    rows, alone = [], {}
    measurements = [*product(cases, get_args(Matching))]
    for (data, related, hr, ref), matching in tqdm(measurements, desc=model.card["model"]):
        lr, options, picture = downscale(hr), Options(matching=matching, always=True), fingerprint([hr])
        made, row = enlarge(model, lr, [ref], options), {"set": data, "related": related, "matching": matching}
        row |= {"agreement": mean(made.agreement), "registered": made.registered, "gain": np.nan, "tried": np.nan}
        if model.single_image:
            if picture not in alone:
                alone[picture] = psnr(enlarge(model, lr).image, hr)
            row["gain"] = psnr(made.image, hr) - alone[picture]
        if hasattr(model, "tried") and not made.registered:
            row["tried"] = model.tried(lr, made.references)
        rows.append(row)
    return pd.DataFrame(rows)


def best_threshold(agreement: pd.Series, related: pd.Series) -> float:
    """Of those between neighbouring values the one with the least mistakes; of equals the middle of the longest run."""
    values = np.sort(agreement.unique())
    between = np.sqrt(values[1:] * values[:-1])  # they differ by factors
    mistakes = np.array([((agreement > t) != related).sum() for t in between])
    best = between[mistakes == mistakes.min()]
    return float(best[len(best) // 2])


def summary(measured: pd.DataFrame, threshold: float) -> dict:
    """How often a threshold is right, and what was gained on either side of it."""
    says, counts = (measured.agreement > threshold) & ~(measured.tried < ADDS) | measured.registered, {}
    for name, kind in (("related", measured.related), ("unrelated", ~measured.related)):
        counts |= {name: int(kind.sum()), f"{name}, right": int((says[kind] == (name == "related")).sum())}
    counts["of which with a gain"] = int(measured.gain.notna().sum())
    gains = {
        f"gain when it says {name} / dB": {
            "mean": round(float(measured.gain[part].mean()), 3),
            "least": round(float(measured.gain[part].min()), 3),
            "most": round(float(measured.gain[part].max()), 3),
        }
        for name, part in (("helps", says), ("does not", ~says))
        if measured.gain[part].notna().any()
    }
    shares = {
        f"agreement, {name}": [round(float(q), 4) for q in measured.agreement[kind].quantile([0, 0.5, 1])]
        for name, kind in (("related", measured.related), ("unrelated", ~measured.related))
    }
    return counts | gains | shares


def main() -> None:
    """Measure the models named, or all that match cell by cell, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names of models that ship; default: all that match cell by cell")
    given = parser.parse_args()
    named = given.models or [n for n in available_models(PROFILE) if not SYSTEMS[n].card]
    chosen, tested = list(training_cases()), list(test_cases())
    written = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    if written.get("settings") != SETTINGS:
        written = {"checkpoints": {}, "settings": SETTINGS}
    written["pictures"] = {
        f"{use} on": fingerprint(x for c in cases for x in c[2:])
        for use, cases in (("chosen", chosen), ("tested", tested))
    }
    for name in named:
        model = load_model(name, PROFILE)
        if model.references == "none" or not tiles.can_tile(model, references=True):
            continue
        entry = {"model": name, "profile": PROFILE}
        measured = [measure(model, cases) for cases in (chosen, tested)]
        for matching in get_args(Matching):
            train, test = (rows[rows.matching == matching] for rows in measured)
            unsure = train[~train.registered]  # of the others it is known that they show the same
            threshold = best_threshold(unsure.agreement, unsure.related)
            entry[matching] = {
                "threshold": round(threshold, 4),
                "chosen on": summary(train, threshold),
                "tested on": summary(test, threshold),
            }
            print(name, matching, round(threshold, 4), entry[matching]["tested on"])
        others = {sha: e for sha, e in written["checkpoints"].items() if (e["model"], e["profile"]) != (name, PROFILE)}
        written["checkpoints"] = others | {model.card["sha256"]: entry | provenance.here()}
        with whole_file(FILE) as temporary:
            temporary.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
