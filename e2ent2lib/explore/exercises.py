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
        try:
            result = attempt(*arguments)
        except Exception as error:
            return f"case {number} of {len(cases)}: your function raised {type(error).__name__}: {error}"
        if result is None:
            return "not solved yet: your function returned None"
        try:
            result, wanted = _as_array(result), _as_array(expected)
            if result.dtype.kind not in "biufc":
                raise TypeError
        except (ValueError, TypeError):
            return f"case {number} of {len(cases)}: expected numbers, your function returned {type(result).__name__}"
        if result.shape != wanted.shape:
            return f"case {number} of {len(cases)}: expected shape {wanted.shape}, got {result.shape}"
        if not np.allclose(result, wanted, rtol=tolerance, atol=tolerance):
            worst = np.abs(result.astype(float) - wanted.astype(float)).max()
            return f"case {number} of {len(cases)}: right shape, but off by up to {worst:.3g}"
    return f"solved: all {len(cases)} cases pass"


def _as_array(value: object) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
