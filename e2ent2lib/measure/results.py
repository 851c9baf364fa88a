"""Result files: one JSON line an image, one file a model and data set, in data/results/PROFILE/DATASET/MODEL.jsonl.

Measured with other references than the usual ones: data/results/PROFILE/DATASET-level-2, DATASET-unrelated. Of models
that were trained with other seeds: data/results/seed-1/PROFILE/DATASET/MODEL.jsonl, with their cards in seed-1/PROFILE.

A row of a data set with ``columns`` has its scores under their protocols too, in ``columns``; one of a set that is not
as listed names in ``left_out`` the pictures that were not measured. The PSNR of a result that equals the truth is
infinite, which JSON cannot say: it is null there.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from e2ent2lib.data.pairs import DataSet
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.runs.checkpoints import shipped_folder
from e2ent2lib.runs.files import write_text
from e2ent2lib.runs.provenance import ROOT

TOLERANCE = {"psnr": 0.02, "ssim": 0.001}


def results_folder() -> Path:
    """``E2ENT2_RESULTS`` if set, else the committed results."""
    return Path(os.environ.get("E2ENT2_RESULTS") or ROOT / "data" / "results")


def result_file(folder: Path, profile: str, data: str, model: str, reference: str = Protocol().reference) -> Path:
    """Where the rows of a model on a data set are, measured with the reference that the protocol names."""
    usual = reference == Protocol().reference
    return folder / profile / (data if usual else f"{data}-{reference.replace(' ', '-')}") / f"{model}.jsonl"


def check_whose(folder: Path, data: DataSet) -> None:
    """Raise ValueError if scores in the folder are of another folder of the user's that has the same name."""
    for path in sorted(folder.glob("*.jsonl")) if data.own else ():
        if any(row.get("folder", data.own) != data.own for row in read_rows(path)):
            raise ValueError(f"{path}: holds scores of another {data.title}; choose another place with --results")


def write_rows(path: Path, rows: Iterable[dict]) -> None:
    """Write a result file, whole or not at all."""
    rows = (_exchanged(row, math.inf, None) for row in rows)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def _exchanged(row: dict, old: float | None, new: float | None) -> dict:
    """The row with another PSNR where it is ``old``, in its columns too."""
    psnr = {"psnr": new} if "psnr" in row and row["psnr"] == old else {}
    columns = {name: _exchanged(column, old, new) for name, column in row.get("columns", {}).items()}
    return row | psnr | ({"columns": columns} if columns else {})


def read_rows(path: Path) -> list[dict]:
    """The rows of a result file; none if there is no such file. Raises ValueError for a damaged one."""
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [_exchanged(json.loads(line), None, math.inf) for line in lines if line]
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); delete it and measure again with e2ent2 evaluate") from error


def read_results(folder: Path, profile: str) -> pd.DataFrame:
    """All rows of a profile, with the ``file`` that each is from and its protocol's ``reference``; empty if none is."""
    paths = sorted((folder / profile).glob("*/*.jsonl"))
    rows = [row | {"file": p.relative_to(folder).as_posix()} for p in paths for row in read_rows(p)]
    rows = [row | {"reference": Protocol(**row["protocol"]).reference} for row in rows]
    named = ["model", "dataset", "label", "image", "psnr", "ssim", "reference", "file"]
    return pd.DataFrame(rows, columns=None if rows else named)


def seed_folders(folder: Path) -> dict[int, Path]:
    """Where the scores of other seeds' trainings are: seed-1, seed-2, … in ``folder``, else the committed ones."""
    for place in (folder, ROOT / "data" / "results"):
        if seeds := {int(p.name.removeprefix("seed-")): p for p in sorted(place.glob("seed-[0-9]*"))}:
            return seeds
    return {}


def read_seeds(folder: Path, profile: str) -> pd.DataFrame:
    """``read_results`` of all trainings; column ``training`` is the seed, 0 for the checkpoints that ship."""
    places = [(0, folder), *seed_folders(folder).items()]
    frames = [read_results(place, profile).assign(training=seed) for seed, place in places]
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)


def cards(model: str, profile: str, results: Path) -> dict[int, dict]:
    """The cards of a model's trainings by seed; 0 is the shipped one. Empty if there is none."""
    paths = {0: shipped_folder() / profile / f"{model}.json"}
    paths |= {seed: place / profile / f"{model}.json" for seed, place in seed_folders(results).items()}
    return {seed: json.loads(p.read_text(encoding="utf-8")) for seed, p in paths.items() if p.is_file()}


def differences(measured: list[dict], stored: list[dict], file: str) -> list[str]:
    """Cells in which a new measurement differs from the stored one by more than 0.02 dB or 0.001 SSIM."""
    new, old = ({row["image"]: row for row in rows} for rows in (measured, stored))
    lines = [f"{file}: {image} is measured, but not in the stored results" for image in new if image not in old]
    lines += [f"{file}: {image} is stored, but was not measured" for image in old if image not in new]
    for image, row in ((image, row) for image, row in new.items() if image in old):
        cells, stored_cells = ({"": r} | r.get("columns", {}) for r in (row, old[image]))
        for column, metric in ((c, m) for c in cells if c in stored_cells for m in TOLERANCE):
            now, then, tolerance = cells[column][metric], stored_cells[column][metric], TOLERANCE[metric]
            if not math.isclose(now, then, rel_tol=0, abs_tol=tolerance):
                cell = f"{file}: {metric} of {row['model']} on {image}" + f", column {column}" * bool(column)
                lines.append(f"{cell} is {now:.3f}, stored {then:.3f} (tolerance {tolerance})")
    return lines
