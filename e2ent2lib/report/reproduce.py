"""From weights to every table and figure: measure, compare with the committed results, run the notebooks, draw.

``make reproduce``; run as a module, with names of notebooks or without, it executes them in place: ``make notebooks``.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm.auto import tqdm
from tqdm.contrib.concurrent import thread_map

from e2ent2lib.config import get_profile
from e2ent2lib.measure import verdicts
from e2ent2lib.measure.everything import available_data, measure_all
from e2ent2lib.measure.results import differences, read_results, read_rows
from e2ent2lib.report import claims_report, figures, studies
from e2ent2lib.report.tables import save_tables, short_table
from e2ent2lib.runs.files import whole_file
from e2ent2lib.runs.provenance import ROOT

QUICK = "Re-rendered from the stored results; nothing was measured in this run."


def reproduce(build: Path, *, quick: bool = False, all_data: bool = False) -> tuple[str, list[str]]:
    """Make tables, figures and (unless ``quick``) results and notebooks in folders of these names in ``build``.

    Scores are recomputed from the weights on the embedded pair, with ``all_data`` on every data set that is here; only
    what ``build`` holds already, of the same code, weights and pictures, is kept. Returns a one-screen summary, and the
    cells that differ from the committed results by more than 0.02 dB or 0.001 SSIM.
    """
    profile, stored = get_profile(None).name, ROOT / "data" / "results"
    wrong: list[str] = []
    folder = stored if quick else build / "results"
    if not quick:
        datasets = available_data() if all_data else ["motorcycle"]
        measure_all(folder, profile, datasets, processes=os.cpu_count() or 1)
        wrong = moved_cells(folder, stored, profile)
        (target := build / "notebooks").mkdir(parents=True, exist_ok=True)
        sources = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
        run = partial(run_notebook, results=folder)
        thread_map(run, sources, [target / source.name for source in sources], max_workers=2, unit="notebook")
    results = read_results(folder, profile)
    tables = save_tables(results, profile, build / "tables", QUICK if quick else "")
    scores, source = verdicts.scores_for_claims(folder, profile)
    findings = verdicts.judge_all(scores, profile, source)
    claims_report.save(findings, profile, build / "tables")
    shown, drawn = {f"fig{number}": partial(figure, profile) for number, figure in figures.FIGURES.items()}, []
    if quick or all_data:  # with fewer data sets it would not be the figure of the committed results
        shown["reference_effect"] = partial(studies.effect_figure, studies.effects(results), studies.EFFECT)
        shown["overlap"] = partial(studies.overlap_figure, results)
        shown["claims"] = partial(claims_report.forest, findings)
    for name, figure in tqdm(shown.items(), desc="drawing", unit="figure"):
        drawn += figures.draw(figure, name, build / "figures")
    lines = [f"profile {profile}; {QUICK if quick else f'scores in {folder}'}", short_table(results), ""]
    lines.append("tables   " + " ".join(str(p) for p in tables) + " (.md and .tex beside them)")
    lines.append("figures  " + " ".join(str(p) for p in drawn if p.suffix == ".png") + " (.pdf beside them)")
    lines += [f"         Fig. {number} is not drawn: {why}" for number, why in figures.MISSING.items()]
    lines += [] if quick else [f"notebooks, executed: {build / 'notebooks'}"]
    return "\n".join(lines), wrong


def moved_cells(measured: Path, stored: Path, profile: str) -> list[str]:
    """The cells of ``measured`` that differ from ``stored``; what is not stored is left out."""
    files = [path.relative_to(measured) for path in sorted((measured / profile).glob("*/*.jsonl"))]
    both = [(measured / file, stored / file, file.as_posix()) for file in files if (stored / file).is_file()]
    return [line for one, other, file in both for line in differences(read_rows(one), read_rows(other), file)]


def run_notebook(source: Path, target: Path, *, results: Path | None = None) -> None:
    """Execute a notebook top to bottom in a fresh kernel and write it to ``target``.

    The kernel works in the notebook's folder, and reads the scores of the folder ``results`` if one is given. What
    changes from run to run and says nothing is left out: times, the version of Python, widget states. Raises nbclient's
    CellExecutionError, which names the cell, and writes nothing.
    """
    notebook = nbformat.read(source, as_version=4)
    resources = {"metadata": {"path": str(source.parent)}}
    options = {"store_widget_state": False, "record_timing": False, "timeout": 600, "kernel_name": "python3"}
    # one thread: two notebooks at a time are two cores' work
    environment = os.environ | ({"E2ENT2_RESULTS": str(results.resolve()), "OMP_NUM_THREADS": "1"} if results else {})
    NotebookClient(notebook, resources=resources, **options).execute(env=environment)
    notebook.metadata["language_info"] = {"name": "python"}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        # without its state a widget would be an empty frame on a page
        output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    with whole_file(target) as temporary:
        nbformat.write(notebook, temporary)


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or sorted(Path("notebooks").glob("*.ipynb"))
    for path in (bar := tqdm(paths, unit="notebook")):
        bar.set_postfix_str(path.name)
        start = time.perf_counter()
        run_notebook(path, path)
        tqdm.write(f"{path}: {time.perf_counter() - start:.0f} s")
