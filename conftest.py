"""How `make test` runs tests and notebooks in one go, two files at a time."""

from collections.abc import Generator
from pathlib import Path

import pytest

LONGEST = """test_browser.py 12_explore.ipynb 09_table4_gradient_allocation.ipynb 10_figures.ipynb test_explorers.py
14_your_own_photographs.ipynb 00b_from_scratch.ipynb 04b_your_own_variant.ipynb test_matching.py test_two_processes.py
test_survival.py test_train.py""".split()
"""First, so that at the end no core waits for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of ``LONGEST`` first."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path) -> Generator:
    """Compare every output of the table notebooks; of the others see that they run."""
    files = yield
    for file in files:
        if file_path.suffix == ".ipynb":
            file.compare_outputs = "_table" in file_path.name
    return files
