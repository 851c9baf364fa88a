"""The check behind the notebooks' exercises: it takes the reader's function, and names the mistakes it knows."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch


def check(
    attempt: Callable,
    cases: Sequence[tuple[tuple, object]],
    tolerance: float = 1e-5,
    mistakes: Mapping[str, Callable] = {},
) -> str:
    """Call ``attempt(*arguments)`` for each (arguments, expected) of ``cases`` and say in one line how it went.

    Numbers, arrays and tensors are compared by value within ``tolerance``. An attempt that answers as one of
    ``mistakes`` does, functions of the same arguments, is called by that one's name. A function that returns None (as
    an unsolved exercise does) is "not solved yet"; nothing is raised, so that a notebook runs through unsolved.
    """
    before = []
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
        if not _same(result, wanted, tolerance):
            known = (name for name, wrong in mistakes.items() if _agree(attempt, wrong, cases, tolerance))
            return f"{case} {next(known, None) or _kind(result, wanted, before, tolerance)}"
        before.append(result)
    return f"solved: all {len(cases)} cases pass"


def _as_array(value: object) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _same(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=tolerance, atol=tolerance))


def _agree(one: Callable, other: Callable, cases: Sequence[tuple[tuple, object]], tolerance: float) -> bool:
    try:
        pairs = [[_as_array(function(*arguments)) for function in (one, other)] for arguments, _ in cases]
    except Exception:  # the attempt's: of another case
        return False
    return all(_same(*pair, tolerance) for pair in pairs)


def _kind(result: np.ndarray, wanted: np.ndarray, before: list[np.ndarray], tolerance: float) -> str:
    """What is wrong with an answer, whatever the exercise."""
    if result.shape != wanted.shape:
        return f"expected shape {wanted.shape}, got {result.shape}"
    if not np.isfinite(result).all():
        return "your answer is not finite"
    if before and all(_same(result, one, tolerance) for one in before):
        return "the same answer as in the cases before: it does not depend on what changed"
    result, wanted = result.astype(float), wanted.astype(float)
    if _same(result, -wanted, tolerance):
        return "the sign is turned round"
    if _same(np.sort(result, axis=None), np.sort(wanted, axis=None), tolerance):
        return "the right numbers in another order"
    if result.ndim > 1 and min(wanted.shape[-2:]) > 2:
        if _same(result[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1], tolerance):
            return "right inside, wrong at the border"
    ratio = (result * wanted).sum() / max((wanted * wanted).sum(), 1e-300)
    times = max(abs(ratio), 1 / max(abs(ratio), 1e-300))
    telling = result.size > 1 or (times < 300 and abs(times - round(times)) < 1e-6)  # two numbers always have a ratio
    if telling and _same(result, ratio * wanted, tolerance):
        return f"{ratio:.4g} times the expected"
    return f"right shape, but off by up to {np.abs(result - wanted).max():.3g}"
