"""What an import loads: the paper's files only torch, numpy and jaxtyping; the public names are lazy."""

import subprocess
import sys

import pytest

import e2ent2lib
from e2ent2lib.measure import metrics

NEW = """
import sys
import jaxtyping, numpy.random, torch

before = {name.split(".")[0] for name in sys.modules}
import e2ent2lib
from e2ent2lib import config, crops, losses, matching, models

print(*sorted({name.split(".")[0] for name in sys.modules} - before - sys.stdlib_module_names))
"""


def test_the_papers_files_load_only_torch_numpy_and_jaxtyping():
    run = subprocess.run([sys.executable, "-c", NEW], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["e2ent2lib"]


FIRST_USE = """
import sys, torch
from e2ent2lib import matching

assert not [name for name in sys.modules if name.startswith(("numba", "e2ent2lib.exact"))]
query, key = torch.rand(2, 1, 2, 4, 4)
matches = matching.plain_match(query, key)
matching.plain_swap_adjoint(matching.plain_swap(key, matches, 1), matches, [(4, 4)], 1)
assert "e2ent2lib.exact" not in sys.modules  # the readable forms stand alone
matching.match(query, key)
assert "e2ent2lib.exact.search" in sys.modules
"""


def test_what_is_exact_and_fast_is_imported_on_first_use():
    subprocess.run([sys.executable, "-c", FIRST_USE], check=True)


def test_every_public_name_is_there_and_no_other():
    for name in e2ent2lib.__all__:
        assert getattr(e2ent2lib, name) is not None and name in dir(e2ent2lib)
    assert e2ent2lib.metrics is metrics
    assert callable(e2ent2lib.load_model) and callable(e2ent2lib.super_resolve)
    with pytest.raises(AttributeError, match="'no_such_name'"):
        _ = e2ent2lib.no_such_name
