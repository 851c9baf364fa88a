"""From weights to every table and figure: measure, compare with the committed results, run the notebooks, draw."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from e2ent2lib.config import get_profile
from e2ent2lib.data.pairs import DATASETS, dataset
from e2ent2lib.measure import verdicts
from e2ent2lib.measure.claims import perceptual_models
from e2ent2lib.measure.evaluate import can_measure, code_fingerprint, evaluate, references, up_to_date
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.measure.results import differences, read_results, read_rows, result_file, write_rows
from e2ent2lib.report import claims_report, figures
from e2ent2lib.report.notebooks import run_notebook
from e2ent2lib.report.references import draw_effect, save_summary
from e2ent2lib.report.tables import METRICS, save_tables, table
from e2ent2lib.runs.checkpoints import available_models
from e2ent2lib.runs.files import file_sha256
from e2ent2lib.runs.provenance import ROOT

QUICK = "Re-rendered from the stored results; nothing was measured in this run."


def reproduce(
    build: Path, *, quick: bool = False, all_data: bool = False, progress: bool = True
) -> tuple[str, list[str]]:
    """Make ``build/tables``, ``figures/`` and (unless ``quick``) ``build/results`` and ``build/notebooks``.

    Scores are recomputed from the weights on the embedded pair, with ``all_data`` on every data set that is here; only
    what ``build`` holds already, of the same code, weights and pictures, is kept. Returns a one-screen summary, and the
    cells that differ from the committed results by more than 0.02 dB or 0.001 SSIM.
    """
    profile = get_profile(None).name
    stored = ROOT / "data" / "results"
    wrong: list[str] = []
    folder = stored
    if not quick:
        folder = build / "results"
        measure_all(folder, profile, data_here() if all_data else ["motorcycle"], progress=progress)
        wrong = compare(folder, stored, profile)
        run_all_notebooks(build / "notebooks", folder, progress=progress)
    results = read_results(folder, profile)
    tables = save_tables(results, profile, build / "tables", QUICK if quick else "")
    save_summary(results, build / "tables")
    scores, source = verdicts.scores_for_claims(folder, profile)
    found = verdicts.judge_all(scores, profile, source)
    claims_report.save(found, scores, build / "tables")
    pictures = figures.draw_all(profile, ROOT / "figures", progress=progress)
    if quick or all_data:  # with fewer data sets it would not be the figure of the committed results
        pictures += draw_effect(results, ROOT / "figures")
        pictures += claims_report.draw(found, ROOT / "figures")
    lines = [f"profile {profile}; {QUICK}" if quick else f"profile {profile}; scores in {folder}"]
    lines += [_summary(number, table(number, results, profile)) for number in range(1, 5)]
    lines.append("tables   " + " ".join(str(p) for p in tables) + " (.md and .tex beside them)")
    lines.append("figures  " + " ".join(str(p) for p in pictures if p.suffix == ".png") + " (.pdf beside them)")
    lines += [f"         Fig. {number} is not drawn: {why}" for number, why in figures.MISSING.items()]
    if not quick:
        lines.append(f"notebooks, executed: {build / 'notebooks'}")
    return "\n".join(lines), wrong


def data_here() -> list[str]:
    """Names of the data sets for the tables of which at least one pair is here."""
    return [name for name, data in DATASETS.items() if data.in_tables and data.lister()]


def measure_all(folder: Path, profile: str, datasets: list[str], *, progress: bool = True) -> None:
    """Measure every model that has a checkpoint on the data sets, unless ``folder`` holds it already.

    RefSR models with an unrelated reference too, and on CUFED5 with all five levels.
    """
    models, scored = available_models(profile), perceptual_models()
    work = [
        (model, data, reference)
        for data in datasets
        for model in models
        if can_measure(model, dataset(data))
        for reference in references(model, dataset(data))
    ]
    for model, data, reference in (bar := tqdm(work, unit="model", disable=not progress)):
        bar.set_description(f"measuring {model} on {data}, {reference}")
        path, protocol = result_file(folder, profile, data, model, reference), Protocol(reference=reference)
        if not up_to_date(read_rows(path), model, data, profile, protocol):
            perceptual = model in scored and reference == Protocol().reference
            options = {"protocol": protocol, "perceptual": perceptual, "progress": progress}
            write_rows(path, evaluate(model, data, profile=profile, **options))


def compare(measured: Path, stored: Path, profile: str) -> list[str]:
    """The cells of ``measured`` that differ from ``stored``; what is not stored is left out."""
    wrong = []
    for path in sorted((measured / profile).glob("*/*.jsonl")):
        file = path.relative_to(measured)
        if (stored / file).is_file():
            wrong += differences(read_rows(path), read_rows(stored / file), file.as_posix())
    return wrong


def run_all_notebooks(target: Path, results: Path, *, progress: bool = True) -> None:
    """Execute the notebooks in order into ``target``; those unchanged since they last ran there are skipped."""
    target.mkdir(parents=True, exist_ok=True)
    sources = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
    for source in (bar := tqdm(sources, unit="notebook", disable=not progress)):
        bar.set_description(source.stem)
        mark = target / f".{source.stem}.done"
        state = f"{file_sha256(source)} {code_fingerprint()} {_state_of(results)}"
        if mark.is_file() and mark.read_text() == state:
            continue
        with results_from(results):
            run_notebook(source, target / source.name)
        mark.write_text(state)


def _state_of(results: Path) -> str:
    """Hash of the scores the table notebooks read, so that a new measurement runs them again."""
    return " ".join(file_sha256(p)[:12] for p in sorted(results.rglob("*.jsonl")))


@contextmanager
def results_from(folder: Path) -> Iterator[None]:
    """Let notebooks read the results of ``folder``."""
    before = os.environ.get("E2ENT2_RESULTS")
    os.environ["E2ENT2_RESULTS"] = str(folder.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ["E2ENT2_RESULTS"]
        else:
            os.environ["E2ENT2_RESULTS"] = before


def _summary(number: int, long) -> str:  # noqa: ANN001
    """One line a measured system of a table, best columns only, so that a screen holds all four."""
    measured = long[long["images"] > 0]
    lines = [f"Table {number}: {len(measured)} of {len(long)} cells measured"]
    width = shutil.get_terminal_size().columns
    for (method, title), row in measured.set_index(["method", "data set"]).iterrows():
        numbers = " / ".join(f"{row[f'measured {m}']:.{3 if m == 'ssim' else 2}f}" for m in METRICS)
        lines.append(f"  {method} on {title}: {numbers}"[:width])
    return "\n".join(lines[:9])
