"""Two inner loops, compiled by numba; without it ``search`` and ``photos.coarse`` take several passes."""

import numba
import numpy as np
import torch


def take_best(products, inverse, best, second, index, first) -> np.ndarray:  # noqa: ANN001
    """``search._take_best`` on arrays, with as many threads as torch uses where there is work for them."""
    small = inverse.size * best.shape[1] < 1 << 15  # waking and waiting for threads would take longer
    threads = torch.get_num_threads()
    numba.set_num_threads(1 if small else min(threads, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(threads)  # the first call above makes it numba's, and with it the bits of later convolutions
    return _take_best(*products, inverse, best, second, index, first)


@numba.njit(parallel=True, error_model="numpy", cache=True)
def _take_best(top, middle, bottom, inverse, best, second, index, first):  # noqa: ANN001, ANN202
    """Products (b, key rows + 2, W, w+2), inverse (b, key rows, W−2), the next three (b, w) → (b, key rows, w)."""
    samples, key_rows, count = inverse.shape
    w = best.shape[1]
    row_best = np.empty((samples, key_rows, w), best.dtype)
    row_second = np.empty((samples, key_rows, w), best.dtype)
    row_index = np.empty((samples, key_rows, w), np.int32)
    for job in numba.prange(samples * key_rows):
        i, v = job // key_rows, job % key_rows
        high, next_high, where = row_best[i, v], row_second[i, v], row_index[i, v]
        high[:] = -np.inf
        next_high[:] = -np.inf
        where[:] = 0
        for u in range(count):
            # one slice for each of the nine shifts, so that the loop over x becomes vector instructions
            a0, a1, a2 = top[i, v, u, :w], top[i, v, u + 1, 1 : w + 1], top[i, v, u + 2, 2:]
            b0, b1, b2 = middle[i, v + 1, u, :w], middle[i, v + 1, u + 1, 1 : w + 1], middle[i, v + 1, u + 2, 2:]
            c0, c1, c2 = bottom[i, v + 2, u, :w], bottom[i, v + 2, u + 1, 1 : w + 1], bottom[i, v + 2, u + 2, 2:]
            factor, here = inverse[i, v, u], np.int32(u)
            for x in range(w):
                s = (a0[x] + a1[x] + a2[x] + b0[x] + b1[x] + b2[x] + c0[x] + c1[x] + c2[x]) * factor
                next_high[x] = max(next_high[x], min(s, high[x]))
                where[x] = here if s > high[x] else where[x]
                high[x] = max(s, high[x])
    for i in range(samples):
        for v in range(key_rows):
            for x in range(w):
                if row_best[i, v, x] > best[i, x]:
                    best[i, x], second[i, x] = row_best[i, v, x], row_second[i, v, x]
                    index[i, x] = (first + v) * count + row_index[i, v, x]
    return row_best


@numba.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"}, cache=True)
def best_around(y, x, row, column, query, key, inverse, step, around) -> tuple[np.ndarray, ...]:  # noqa: ANN001
    """``coarse.Lookup._best`` on float32 arrays: query (h+2, w+2, C), key (H, W, C), 1/lengths of patches (H, W)."""
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
