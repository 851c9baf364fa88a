"""The check behind the notebooks' exercises: it takes the reader's function."""

from collections.abc import Callable, Sequence

import numpy as np
import torch


def check(attempt: Callable, cases: Sequence[tuple[tuple, object]], tolerance: float = 1e-5) -> str:
    """Call ``attempt(*arguments)`` for each (arguments, expected) of ``cases`` and say in one line how it went.

    Numbers, arrays and tensors are compared by value within ``tolerance``. A function that returns None (as an unsolved
    exercise does) is "not solved yet"; nothing is raised, so that a notebook runs through unsolved.
    """
    for number, (arguments, expected) in enumerate(cases, 1):
        case = f"case {number} of {len(cases)}:"
        try:
            answer = attempt(*arguments)
        except Exception as error:
            return f"{case} your function raised {type(error).__name__}: {error}"
        if answer is None:
            return "not solved yet: your function returned None"
        try:
            result, wanted = _as_array(answer), _as_array(expected)
            if result.dtype.kind not in "biufc":
                raise TypeError
        except (ValueError, TypeError):
            return f"{case} expected numbers, your function returned {type(answer).__name__}"
        if result.shape != wanted.shape:
            return f"{case} expected shape {wanted.shape}, got {result.shape}"
        if not np.allclose(result, wanted, rtol=tolerance, atol=tolerance):
            return f"{case} right shape, but off by up to {np.abs(result.astype(float) - wanted).max():.3g}"
    return f"solved: all {len(cases)} cases pass"


def _as_array(value: object) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
