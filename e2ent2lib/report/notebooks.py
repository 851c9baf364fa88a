"""Running the notebooks and keeping their committed outputs clean: ``make notebooks``, ``make reproduce``."""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm.auto import tqdm

from e2ent2lib.runs.files import whole_file

LARGEST = 500_000
LONGEST_CELL = 25


def run_notebook(source: Path, target: Path | None = None, timeout: int = 600) -> float:
    """Execute a notebook top to bottom in a fresh kernel and write it, normalised; returns the seconds it took.

    The kernel works in the notebook's folder. Raises nbclient's CellExecutionError, which names the cell, and
    ValueError if the result breaks the rules of ``problems``; then nothing is written.
    """
    start = time.perf_counter()
    notebook = nbformat.read(source, as_version=4)
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": str(source.parent)}}
    )
    client.execute()
    normalise(notebook)
    wrong = problems(notebook)
    if wrong:
        raise ValueError(f"{source}: " + "; ".join(wrong))
    with whole_file(target or source) as temporary:
        nbformat.write(notebook, temporary)
    return time.perf_counter() - start


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Drop what changes from run to run and says nothing: widget states, timings, the kernel's version, random ids."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata.pop("execution", None)
        # widget states are dropped, so a view without one would be an empty frame on a page
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    """What keeps a notebook from being committed: errors, cells not run or out of order, long cells, size."""
    found = []
    code = [c for c in notebook.cells if c.cell_type == "code"]
    if [c.execution_count for c in code] != list(range(1, len(code) + 1)):
        found.append("its cells were not run top to bottom in a fresh kernel")
    for number, cell in enumerate(code, 1):
        lines = len(cell.source.splitlines())
        if lines > LONGEST_CELL:
            found.append(f"code cell {number} has {lines} lines, at most {LONGEST_CELL} are readable")
        raises = "raises-exception" in cell.metadata.get("tags", [])
        if not raises and any(o.output_type == "error" for o in cell.outputs):
            found.append(f"code cell {number} holds an error")
    size = len(nbformat.writes(notebook).encode())
    if size > LARGEST:
        found.append(f"{size:,} bytes, at most {LARGEST:,} show well on the web")
    return found


def main(names: list[str]) -> None:
    """Execute the notebooks named, or all, in place."""
    paths = [Path(n) for n in names] or sorted(Path("notebooks").glob("*.ipynb"))
    for path in (bar := tqdm(paths, unit="notebook")):
        bar.set_postfix_str(path.name)
        tqdm.write(f"{path}: {run_notebook(path):.0f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
