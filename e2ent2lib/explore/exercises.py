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
            found = attempt(*arguments)
        except Exception as error:
            return f"case {number} of {len(cases)}: your function raised {type(error).__name__}: {error}"
        if found is None:
            return "not solved yet: your function returned None"
        try:
            found, wanted = _as_array(found), _as_array(expected)
            if found.dtype.kind not in "biufc":
                raise TypeError
        except (ValueError, TypeError):
            return f"case {number} of {len(cases)}: expected numbers, your function returned {type(found).__name__}"
        if found.shape != wanted.shape:
            return f"case {number} of {len(cases)}: expected shape {wanted.shape}, got {found.shape}"
        if not np.allclose(found, wanted, rtol=tolerance, atol=tolerance):
            worst = np.abs(found.astype(float) - wanted.astype(float)).max()
            return f"case {number} of {len(cases)}: right shape, but off by up to {worst:.3g}"
    return f"solved: all {len(cases)} cases pass"


def _as_array(value: object) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
