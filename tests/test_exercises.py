"""The check behind the notebooks' exercises (exercises.py)."""

import numpy as np
import pytest
import torch

from e2ent2lib.explore.exercises import check

CASES = [((1,), 2), ((2,), 4), ((5,), 10)]


def test_a_right_function_is_solved():
    assert check(lambda x: 2 * x, CASES) == "solved: all 3 cases pass"


def test_an_unsolved_stub_is_not_solved_yet():
    def stub(x):
        """To be filled in."""

    assert check(stub, CASES) == "not solved yet: your function returned None"


def test_a_wrong_function_is_told_the_case_and_by_how_much():
    assert check(lambda x: x * x + 1, CASES) == "case 2 of 3: right shape, but off by up to 1"


def test_a_wrong_shape_is_told():
    assert check(lambda x: np.zeros(x), [((3,), np.zeros((1, 3)))]) == "case 1 of 1: expected shape (1, 3), got (3,)"


def test_a_raising_function_is_told_what_it_raised():
    assert (
        check(lambda x: 1 / (x - 2), CASES[1:])
        == "case 1 of 2: your function raised ZeroDivisionError: division by zero"
    )


def test_a_function_of_the_wrong_number_of_arguments_is_told_so():
    assert "TypeError" in check(lambda: 1, CASES)


def test_a_function_that_solves_only_some_cases_is_not_solved():
    assert check(lambda x: 2 * x if x < 5 else None, CASES).startswith("not solved yet")


@pytest.mark.parametrize(
    "kind", [float, np.float32, lambda x: torch.tensor(float(x)), lambda x: torch.tensor(float(x), requires_grad=True)]
)
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


@pytest.mark.parametrize(
    "answer", ["two", "2", {"a": 2}, [[1], [2, 3]], object(), float("nan"), {2}], ids=lambda a: type(a).__name__
)
def test_an_answer_that_is_no_number_is_wrong_and_raises_nothing(answer):
    assert check(lambda x: answer, CASES).startswith("case 1 of 3")
