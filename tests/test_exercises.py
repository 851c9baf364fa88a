"""The check behind the notebooks' exercises (exercises.py): what it says of a right, a wrong and an odd function."""

import numpy as np
import pytest
import torch

from e2ent2lib.explore.exercises import check

CASES = [((1,), 2), ((2,), 4), ((5,), 10)]
ANSWERS = {
    "right": (lambda x: 2 * x, "solved: all 3 cases pass"),
    "a stub": (lambda x: None, "not solved yet: your function returned None"),
    "some cases only": (lambda x: 2 * x if x < 5 else None, "not solved yet"),
    "wrong value": (lambda x: x * x + 1, "case 2 of 3: right shape, but off by up to 1"),
    "wrong shape": (lambda x: np.zeros(x), "case 1 of 3: expected shape (), got (1,)"),
    "raises": (lambda x: 2 if x < 2 else 1 / 0, "case 2 of 3: your function raised ZeroDivisionError"),
    "no argument": (lambda: 1, "case 1 of 3: your function raised TypeError"),
}
NUMBERS = [float, np.float32, lambda x: torch.tensor(float(x)), lambda x: torch.tensor(float(x), requires_grad=True)]


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_said_of_a_function(name):
    attempt, words = ANSWERS[name]
    assert check(attempt, CASES).startswith(words)


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_arrays_and_tensors_are_compared_by_value(kind):
    assert check(lambda x: kind(2 * x), CASES).startswith("solved")
    assert check(lambda x: kind(2 * x + 1), CASES).startswith("case 1 of 3")


def test_lists_and_tuples_and_truth_values_are_compared_too():
    assert check(lambda x: [x, 2 * x], [((1,), (1, 2))]).startswith("solved")
    assert check(lambda x: x > 1, [((1,), False), ((2,), True)]).startswith("solved")
    assert check(lambda x: x > 1, [((1,), True)]).startswith("case 1 of 1")


def test_the_tolerance_decides():
    near = [((1.0,), 1.0)]
    assert check(lambda x: x + 1e-3, near).startswith("case 1 of 1: right shape, but off by up to 0.001")
    assert check(lambda x: x + 1e-3, near, tolerance=1e-2).startswith("solved")


@pytest.mark.parametrize("answer", ["two", "2", {"a": 2}, [[1], [2, 3]], object(), float("nan"), {2}], ids=repr)
def test_an_answer_that_is_no_number_is_wrong_and_raises_nothing(answer):
    assert check(lambda x: answer, CASES).startswith("case 1 of 3")
