"""Every score that the tables, verdicts and figures need: what can be measured here, and what is stale."""

import tomllib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

from e2ent2lib.data.pairs import DATASETS, UNRELATED, DataSet, dataset
from e2ent2lib.measure.evaluate import code_fingerprint, columns_of, data_fingerprint, evaluate, sound_pairs
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import read_rows, result_file, write_rows
from e2ent2lib.measure.verdicts import CLAIMS, SCORES, USUAL, Claim, Comparison
from e2ent2lib.runs.checkpoints import available_models, shipped_card
from e2ent2lib.systems import system_of

_WAITING = tomllib.loads(Path(__file__).with_name("retraining.toml").read_text(encoding="utf-8"))


def available_data() -> list[str]:
    """Names of the data sets for the tables of which at least one pair is here."""
    return [name for name, data in DATASETS.items() if data.in_tables and data.lister()]


def to_be_retrained(name: str, data: str) -> bool:
    """Whether a score waits for the next training: retraining.toml, without which none does."""
    return data in _WAITING["data"] and name not in _WAITING["measured"]


def can_measure(name: str, data: DataSet) -> bool:
    """Whether a data set's references suit a system: Sun Hays may have none, and a stereo method takes true pairs.

    Nor is measured what is to be retrained first.
    """
    use = system_of(name).references
    if to_be_retrained(name, data.name):
        return False
    if use == "stereo" and not data.stereo:
        return False
    return use == "none" or all(pair.ref_sources for pair in data.lister())


def reference_choices(name: str, data: DataSet) -> list[str]:
    """The references a system is measured with on a data set, as ``Protocol.reference`` names them; the usual first.

    Ablations are compared with each other, with the usual reference alone.
    """
    if system_of(name).ablation:
        return ["level 1"]
    levels = [f"level {n}" for n in range(1, 6)] if data.name == "cufed5" else ["level 1"]
    return [*levels, UNRELATED] if system_of(name).references == "any" else levels[:1]


def up_to_date(rows: list[dict], name: str, data: str, profile: str, protocol: Protocol) -> bool:
    """Whether stored rows are what ``evaluate`` would measure now: same code, weights, pictures and protocol."""
    if not rows:
        return False
    chosen = dataset(data, reference=protocol.reference)
    pairs, left_out = sound_pairs(chosen)
    now = {
        "checkpoint_sha256": shipped_card(name, profile)["sha256"],
        "code": code_fingerprint(),
        "protocol": protocol,
        "data_fingerprint": data_fingerprint(pairs, protocol),
        "columns": columns_of(chosen, protocol),
        "left_out": left_out,
    }
    rows = [{"columns": {}, "left_out": []} | row | {"protocol": Protocol(**row["protocol"])} for row in rows]
    for row in rows:
        row["columns"] = {name: Protocol(**column["protocol"]) for name, column in row["columns"].items()}
    return len(rows) == len(pairs) and all(row.get(k) == v for row in rows for k, v in now.items())


def measure_all(
    folder: Path, profile: str, datasets: Iterable[str], *, processes: int = 1, progress: bool = True
) -> None:
    """Measure every model that has a checkpoint on the data sets, unless ``folder`` holds it already.

    RefSR models with an unrelated reference too, and on CUFED5 with all five levels. With several ``processes`` each
    measures a model with one thread, which is faster than one model with several threads. What is done stays done when
    it is interrupted.
    """
    work = [
        (folder, profile, model, data, reference)
        for data in datasets
        for model in available_models(profile)
        if can_measure(model, dataset(data))
        for reference in reference_choices(model, dataset(data))
    ]
    with tqdm(total=len(work), desc="measuring", unit="result file", disable=not progress) as bar:
        if processes == 1:
            for job in work:
                bar.set_postfix_str(f"{job[2]} on {job[3]}, {job[4]}")
                _measure_file(*job)
                bar.update()
            return
        pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,))
        try:
            for done in as_completed([pool.submit(_measure_file, *job) for job in work]):
                done.result()
                bar.update()
        finally:
            pool.shutdown(cancel_futures=True)


def _measure_file(folder: Path, profile: str, model: str, data: str, reference: str) -> None:
    path, protocol = result_file(folder, profile, data, model, reference), Protocol(reference=reference)
    if not up_to_date(read_rows(path), model, data, profile, protocol):
        models = {name for name, _, part in _sides(CLAIMS) if part.metric in SCORES}
        perceptual = model in models and reference == USUAL
        rows = evaluate(model, data, profile=profile, protocol=protocol, perceptual=perceptual, progress=False)
        write_rows(path, rows)


def measured_again(claims: Iterable[Claim], results: pd.DataFrame, profile: str, data: Iterable[str]) -> pd.DataFrame:
    """``results`` after measuring, on these data sets, the shipped checkpoints that the claims compare.

    Scores of other seeds, whose weights do not ship, and of other data sets stay as they are stored.
    """
    needed = {
        (model, reference, name, part.metric in SCORES)
        for model, reference, part in _sides(claims)
        for name in set(part.data) & set(data)
        if can_measure(model, dataset(name))
    }
    for model, reference, name, perceptual in sorted(needed):
        protocol = Protocol(reference=reference)
        rows = evaluate(model, name, profile=profile, protocol=protocol, perceptual=perceptual)
        fresh = pd.DataFrame([row | {"reference": reference, "training": 0, "file": "measured now"} for row in rows])
        keys = {"model": model, "reference": reference, "dataset": name, "training": 0}
        stale = np.logical_and.reduce([results[key] == value for key, value in keys.items()])
        results = pd.concat([results[~stale], fresh], ignore_index=True)
    return results


def _sides(claims: Iterable[Claim]) -> list[tuple[str, str, Comparison]]:
    """The networks that the claims compare, each with its reference and the comparison."""
    parts = [part for claim in claims for part in claim.parts if isinstance(part, Comparison)]
    return [(*side, part) for part in parts for side in part.sides]
