"""Running the notebooks and keeping their committed outputs clean: ``make notebooks``, ``make reproduce``."""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm.auto import tqdm

from e2ent2lib.runs.files import whole_file


def run_notebook(source: Path, target: Path | None = None, *, results: Path | None = None, timeout: int = 600) -> float:
    """Execute a notebook top to bottom in a fresh kernel and write it; returns the seconds it took.

    The kernel works in the notebook's folder, and reads the scores of the folder ``results`` if one is given. What
    changes from run to run and says nothing is left out: times, the version of Python, widget states. Raises nbclient's
    CellExecutionError, which names the cell, and writes nothing.
    """
    start = time.perf_counter()
    notebook = nbformat.read(source, as_version=4)
    resources = {"metadata": {"path": str(source.parent)}}
    options = {"store_widget_state": False, "record_timing": False, "timeout": timeout, "kernel_name": "python3"}
    environment = os.environ | ({"E2ENT2_RESULTS": str(results.resolve())} if results else {})
    NotebookClient(notebook, resources=resources, **options).execute(env=environment)
    notebook.metadata["language_info"] = {"name": "python"}
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        # without its state a widget would be an empty frame on a page
        output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    with whole_file(target or source) as temporary:
        nbformat.write(notebook, temporary)
    return time.perf_counter() - start


if __name__ == "__main__":
    paths = [Path(name) for name in sys.argv[1:]] or sorted(Path("notebooks").glob("*.ipynb"))
    for path in (bar := tqdm(paths, unit="notebook")):
        bar.set_postfix_str(path.name)
        tqdm.write(f"{path}: {run_notebook(path):.0f} s")
