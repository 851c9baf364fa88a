"""Every score that the tables, verdicts and figures need: what can be measured here, and what is stale."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from e2ent2lib.data.pairs import DATASETS, UNRELATED, DataSet, Pair, dataset
from e2ent2lib.measure.evaluate import Pictures, current, measure
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import read_rows, result_file, write_rows
from e2ent2lib.measure.verdicts import CLAIMS, SCORES, Comparison
from e2ent2lib.models.network import Network
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import available_models, load_model, shipped_card
from e2ent2lib.runs.files import check_folder
from e2ent2lib.systems import DEFAULT, system_of

_WAITING = tomllib.loads(Path(__file__).with_name("retraining.toml").read_text(encoding="utf-8"))


def available_data() -> list[str]:
    """Names of the data sets for the tables of which at least one pair is here."""
    return [name for name, data in DATASETS.items() if data.in_tables and data.lister()]


def waits(name: str, data: str) -> bool:
    """Whether a score waits, for the next training or measurement: retraining.toml, without which none does."""
    return data in _WAITING["data"] and name not in _WAITING["measured"]


def can_measure(name: str, data: DataSet) -> bool:
    """Whether the pairs have the references that a system needs, and its score does not wait (``waits``)."""
    use = system_of(name).references
    if waits(name, data.name) or (use == "stereo" and not data.stereo):
        return False
    return use == "none" or all(pair.ref_sources for pair in data.lister())


def reference_choices(name: str, data: DataSet) -> list[str]:
    """The references a system is measured with on a data set, as ``Protocol.reference`` names them; the usual first."""
    if system_of(name).ablation or system_of(name).references != "any":
        return ["level 1"]  # ablations are compared with each other alone
    return [f"level {n}" for n in range(1, 6 if data.name == "cufed5" else 2)] + [UNRELATED]


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """A result file to be measured: where it goes, whose it is, which pictures of it are still to do."""

    path: Path
    facts: dict
    rows: dict[str, dict]
    """What is measured, by picture."""
    pairs: list[Pair]

    @property
    def missing(self) -> list[Pair]:
        """The pairs still to be measured."""
        return [pair for pair in self.pairs if pair.name not in self.rows]

    def add(self, row: dict) -> None:
        """Keep a row: the file appears with its last one, so that no table is made of a part of a set."""
        self.rows[row["image"]] = row
        part = self.path.with_suffix(".part")
        if self.missing:
            write_rows(part, self.rows.values())
            return
        write_rows(self.path, [self.rows[pair.name] for pair in self.pairs])
        part.unlink(missing_ok=True)


def measure_all(folder: Path, profile: str, datasets: Iterable[str], *, processes: int = 1) -> None:
    """Measure every model that has a checkpoint on the data sets, unless ``folder`` holds it already.

    RefSR models with an unrelated reference too, and on CUFED5 with all five levels; ablations last. What is done stays
    done: an interruption loses the pictures in flight.
    Raises OSError if nothing can be written to ``folder``, and at the end ValueError if pictures could not be measured.

    Each of several ``processes`` measures one picture at a time, with one thread: two threads of one process wait for
    each other, and took more than three times as long on two cores that other programs kept busy too.
    """
    check_folder(folder)
    files, here, failed = _result_files(folder, profile, list(datasets)), provenance.here(), []
    work = [(file, pair) for file in files for pair in file.missing]
    several = {"num_workers": processes, "multiprocessing_context": "spawn", "prefetch_factor": 1, "in_order": False}
    tasks = [(i, file.facts, pair) for i, (file, pair) in enumerate(work)]
    # The loader's workers measure: a sample is a task, what it is collated to are the scores.
    scores = DataLoader(tasks, batch_size=None, collate_fn=_measure, **several if processes > 1 else {})
    try:
        for place, row in (bar := tqdm(scores, total=len(work), desc="measuring", unit="picture", smoothing=0)):
            file, pair = work[place]
            if isinstance(row, Exception):
                failed.append(f"{file.path.stem} on {file.path.parent.name}, {pair.name}: {row}")
            else:
                file.add(file.facts | here | row)
            bar.set_postfix_str(f"{file.path.stem} on {file.path.parent.name}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; what was measured is kept, and the same command goes on") from None
    if failed:
        raise ValueError(f"{len(failed)} could not be measured; the others are kept:\n  " + "\n  ".join(failed))


def _result_files(folder: Path, profile: str, datasets: list[str]) -> list[ResultFile]:
    """All that can be measured, with what ``folder`` holds of it; ablations last."""
    compared = (part for claim in CLAIMS for part in claim.parts if isinstance(part, Comparison))
    perceptual = {(DEFAULT, "level 1"), *(side for part in compared if part.metric in SCORES for side in part.sides)}
    models, pictures, files = available_models(profile), {}, []
    for model in sorted(models, key=lambda name: system_of(name).ablation):
        card = shipped_card(model, profile)
        for data in (d for d in datasets if can_measure(model, dataset(d))):
            for reference in reference_choices(model, dataset(data)):
                if (data, reference) not in pictures:
                    chosen = dataset(data, reference=reference)
                    pictures[data, reference] = Pictures(chosen, Protocol(reference=reference))
                here = pictures[data, reference]
                facts = here.facts(model, profile, card, (model, reference) in perceptual)
                path = result_file(folder, profile, data, model, reference)
                rows = current(read_rows(path), facts) | current(read_rows(path.with_suffix(".part")), facts)
                files.append(ResultFile(path=path, facts=facts, rows=rows, pairs=here.pairs))
    return files


def _measure(task: tuple[int, dict, Pair]) -> tuple[int, dict | Exception]:
    """(The task's place, the scores of its picture, or why it has none), in whichever process."""
    place, facts, pair = task
    model = _loaded(facts["model"], facts["profile"], facts["checkpoint_sha256"])
    columns = {name: Protocol(**column["protocol"]) for name, column in facts["columns"].items()}
    try:
        return place, measure(model, pair, Protocol(**facts["protocol"]), bool(facts["perceptual"]), columns)
    except (ValueError, RuntimeError) as error:
        return place, error


@lru_cache(maxsize=2)
def _loaded(name: str, profile: str, sha256: str | None) -> Network:
    model = load_model(name, profile)
    if model.card["sha256"] != sha256:
        raise ValueError(f"{name}: its checkpoint changed while it was being measured; measure again")
    return model
