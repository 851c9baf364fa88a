"""The notebooks' exercises: their checkers take right answers of two forms, refuse wrong ones and say what is wrong.

An exercise is a cell that calls ``check``. Only what its cell needs of the notebook is run: the statements before it
that make the names it uses. What the checker is asked is caught, so that each is also tried with mistakes that every
exercise can be tried with: a constant, an argument not looked at, a wrong sign, twice the answer.
"""

import ast
import contextlib
import io
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from exercise_answers import ANSWERS, SAME

from e2ent2lib.explore import exercises
from e2ent2lib.runs.provenance import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
UNSOLVED = "not solved yet: your function returned None\n"


@lru_cache
def cells(path: Path) -> list:
    return nbformat.read(path, as_version=4).cells


def exercise_cells() -> Iterator[tuple[Path, int, str]]:
    """(notebook, number of the cell, name of the function to be written)."""
    for path in NOTEBOOKS:
        for number, cell in enumerate(cells(path)):
            if cell.cell_type == "code" and re.search(r"\bprint\(check\(", cell.source):
                yield path, number, written(cell.source)


def written(source: str) -> str:
    """The function that a reader is to write."""
    return re.search(r"\bprint\(check\((\w+)", source)[1]


EXERCISES = {f"{path.name.split('_')[0]} {name}": (path, number) for path, number, name in exercise_cells()}


def names(statement: ast.AST) -> tuple[set[str], set[str], set[str]]:
    """The names that a statement makes or changes, those that it makes whatever they were, and what it uses."""
    changed, used, own, loops = set(), set(), set(), set()
    for part in ast.walk(statement):
        if isinstance(part, ast.Name):
            (used if isinstance(part.ctx, ast.Load) else changed).add(part.id)
        elif isinstance(part, ast.arg):
            own.add(part.arg)  # of a function: not the notebook's
        elif isinstance(part, ast.comprehension):
            own |= {name.id for name in ast.walk(part.target) if isinstance(name, ast.Name)}
        elif isinstance(part, ast.For):
            loops |= {name.id for name in ast.walk(part.target) if isinstance(name, ast.Name)}
        elif isinstance(part, ast.FunctionDef | ast.ClassDef):
            changed.add(part.name)
            own |= {n.id for n in ast.walk(part) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        elif isinstance(part, ast.alias):
            changed.add((part.asname or part.name).split(".")[0])
        elif isinstance(part, ast.AugAssign) and isinstance(part.target, ast.Name):
            used.add(part.target.id)
        elif isinstance(part, ast.Subscript) and isinstance(part.ctx, ast.Store) and isinstance(part.value, ast.Name):
            changed.add(part.value.id)  # scores["x"] = …
        elif (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and isinstance(part.func.value, ast.Name)
        ):
            changed |= {part.func.value.id} if part.func.attr in ("append", "update", "pop") else set()
    whole = isinstance(statement, ast.Assign | ast.FunctionDef | ast.Import | ast.ImportFrom)
    made = changed - used - own if whole else set()
    return changed - own - loops, made, used - own - loops


def needed(path: Path, number: int) -> str:
    """The source of the statements before a cell that it depends on, in order."""
    sources = [
        cell.source for cell in cells(path)[: number + 1] if cell.cell_type == "code" and cell.source[:2] != "%%"
    ]
    earlier = [statement for source in sources[:-1] for statement in ast.parse(source).body]
    kept, wanted, name = [], set(), written(sources[-1])
    for statement in reversed(earlier + ast.parse(sources[-1]).body):
        changed, made, used = names(statement)
        if statement not in earlier or changed & wanted:
            kept += [statement] if statement in earlier else []
            wanted = wanted - made | used
        if statement not in earlier and isinstance(statement, ast.FunctionDef) and statement.name == name:
            wanted |= set().union(*(names(part)[2] for part in ast.parse(solution(path, number, name)).body))
    return "\n".join(ast.unparse(statement) for statement in reversed(kept))


@lru_cache(maxsize=1)
def before(path: Path, number: int) -> dict:
    """What a reader's kernel holds when the exercise begins."""
    space: dict = {"np": np, "torch": torch, "F": torch.nn.functional}  # for the answers
    matplotlib.use("agg")
    with contextlib.chdir(path.parent), contextlib.redirect_stdout(io.StringIO()):
        exec(needed(path, number), space)
    return space


def answered(path: Path, number: int, answer: str | None) -> tuple[str, tuple]:
    """What the exercise's cell prints with ``answer`` in place of its stub, and what ``check`` was given."""
    source, asked = cells(path)[number].source, []
    space = dict(before(path, number))
    body = ast.parse(source).body
    name = written(source)
    if answer is not None:
        stub = next(i for i, s in enumerate(body) if isinstance(s, ast.FunctionDef) and s.name == name)
        text = answer if re.search(rf"^def {name}\b", answer, re.M) else f"{name} = {answer}"
        del body[stub]
        body[-1:-1] = ast.parse(text).body

    def caught(*arguments, **options):
        asked.append((arguments, options))
        return exercises.check(*arguments, **options)

    space["check"] = caught
    body = [s for s in body if not (isinstance(s, ast.ImportFrom) and s.module == exercises.__name__)]
    said = io.StringIO()
    with contextlib.chdir(path.parent), contextlib.redirect_stdout(said):
        exec(compile(ast.Module(body, []), f"{path.name}, cell {number}", "exec"), space)
    return said.getvalue(), asked[0]


def solution(path: Path, number: int, name: str) -> str:
    """The solution that the notebook shows below the exercise."""
    for cell in cells(path)[number + 1 :]:
        for code in re.findall(r"```python\n(.*?)```", cell.source, re.DOTALL) if cell.cell_type == "markdown" else ():
            if f"def {name}(" in code:
                return code
    raise AssertionError(f"{path.name} shows no solution of {name}")


def test_answers_are_of_exercises_that_exist_and_three_at_least_are_wrong():
    assert ANSWERS.keys() <= EXERCISES.keys()
    assert all(len(wrong) >= 3 for _, wrong in ANSWERS.values())


@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_checker_takes_right_answers_and_names_what_is_wrong(exercise: str):
    path, number = EXERCISES[exercise]
    shown = solution(path, number, exercise.split()[1])
    other_form, wrong = ANSWERS.get(exercise, (shown, {}))
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    stored = "".join(output.get("text", "") for output in cells(path)[number].outputs)
    assert answered(path, number, None)[0] == stored == UNSOLVED
    for right in (shown, other_form):
        said, ((attempt, cases, *more), options) = answered(path, number, right)
        assert said.startswith("solved: all"), (right, said)
        right_answer = attempt
    for answer, words in wrong.items():
        said = answered(path, number, answer)[0]
        assert words in said and "solved" not in said, (answer, said)

    def refused(attempt) -> None:
        assert not exercises.check(attempt, cases, *more, **options).startswith(("solved", "not solved")), exercise

    assert len(cases) > 1
    for _, expected in cases:
        refused(lambda *_, expected=expected: expected)  # a constant
    refused(lambda *arguments: -2 * np.asarray(exercises._as_array(right_answer(*arguments))) - 1)
    for place in set(range(len(cases[0][0]))) - SAME.get(exercise, set()):
        for one, _ in cases:

            def does_not_look(*arguments, place=place, one=one):
                return right_answer(*arguments[:place], one[place], *arguments[place + 1 :])

            refused(does_not_look)
