"""Match and swap, exact to rounding and fast: what ``matching.match``, ``swap`` and ``swap_adjoint`` hand over to.

search.py: the match in blocks, near ties settled in float64, and all scores of one query patch; kernel.py: its inner
loop, compiled; gather.py: swap and its adjoint as weighted sums of cells. Not needed to understand the paper.

Inside ``capturable`` they take forms that never wait for the device instead, for a CUDA graph of a training step.
"""

from collections.abc import Iterator
from contextlib import contextmanager

_capturable = False


@contextmanager
def capturable() -> Iterator[None]:
    """Inside, match is ``matching.plain_match``, swap and its adjoint are matrix products, in all threads.

    All in float32, with no check of values, since that asks the device. For training, where maps are small: memory goes
    with the number of similarities, and ties go either way.
    """
    global _capturable
    before, _capturable = _capturable, True
    try:
        yield
    finally:
        _capturable = before


def is_capturable() -> bool:
    """Whether ``capturable`` holds."""
    return _capturable
