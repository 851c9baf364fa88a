"""The inner loop of ``coarse.Lookup`` compiled by numba: seven times as fast as copying each cell's surroundings."""

from collections.abc import Callable
from functools import cache

import numpy as np


@cache
def compiled() -> Callable | None:
    """``best_around``, compiled on first use; None without numba, or with nowhere to keep what it compiled."""
    try:
        import numba

        compiler = numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"}, cache=True)
        return compiler(best_around)
    except (ImportError, RuntimeError):
        return None


def best_around(y, x, row, column, query, key, inverse, step, around) -> tuple[np.ndarray, ...]:  # noqa: ANN001
    """``Lookup._best`` on arrays: query (h+2, w+2, C), key (H, W, C) and 1/lengths of its patches (H, W), float32."""
    rows, columns, scores = np.empty_like(row), np.empty_like(column), np.empty(len(row), np.float32)
    last_row, last_column = key.shape[0] - 1 - 2 * step, key.shape[1] - 1 - 2 * step
    for n in range(len(row)):
        rows[n] = min(max(row[n] - around, 0), last_row)
        columns[n] = min(max(column[n] - around, 0), last_column)
        scores[n] = -np.inf
        for v in range(max(row[n] - around, 0), min(row[n] + around, last_row) + 1):
            for u in range(max(column[n] - around, 0), min(column[n] + around, last_column) + 1):
                total = np.float32(0)
                for i in range(3):
                    for j in range(3):
                        own, there = query[y[n] + i, x[n] + j], key[v + i * step, u + j * step]
                        for c in range(own.size):
                            total += own[c] * there[c]
                if total * inverse[v, u] > scores[n]:
                    rows[n], columns[n], scores[n] = v, u, total * inverse[v, u]
    return rows, columns, scores
