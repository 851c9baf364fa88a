"""Write pyproject.toml's public address where readers need it, or take it out: `make address`.

README.md gets links to Binder and Colab; every notebook gets a cell with which Colab fetches the rest of the project.
"""

import re
import tomllib
from pathlib import Path

import nbformat

BADGES = """
[![Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab/tree/{first})
[![Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/{name}/blob/HEAD/{first})
"""
CELL = """import importlib.util
import sys

if importlib.util.find_spec("e2ent2lib") is None:  # on Colab there is only this notebook
    !git clone -q --depth 1 {address} /content/e2ent2 && pip install -q -e /content/e2ent2
    %cd /content/e2ent2/notebooks
    sys.path.insert(0, "..")"""


def write_address(root: Path) -> None:
    """Badges in README.md, a cell after each notebook's title; none of them if the address is empty."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    address = settings["tool"]["e2ent2"]["public-address"]
    name = address.removeprefix("https://github.com/")
    if address and not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise SystemExit(f"pyproject.toml: public-address is {address!r}; expected https://github.com/OWNER/NAME")
    badges = BADGES.format(name=name, first="notebooks/00_start_here.ipynb") if address else ""
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    marks = r"(<!-- address[^>]*-->).*?(<!-- /address -->)"
    readme.write_text(re.sub(marks, rf"\g<1>{badges}\g<2>", text, flags=re.DOTALL), encoding="utf-8")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [cell for cell in notebook.cells if cell.id != "colab"]
        if address:
            cell = nbformat.v4.new_code_cell(CELL.format(address=address), id="colab")
            cell.metadata["tags"] = ["remove-cell", "notebook-only"]  # neither on the website nor in Voilà
            notebook.cells.insert(1, cell)
        for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
            cell.execution_count = count
            for output in cell.outputs:
                output.update({"execution_count": count} if output.output_type == "execute_result" else {})
        nbformat.write(notebook, path)


if __name__ == "__main__":
    write_address(Path(__file__).parents[1])
