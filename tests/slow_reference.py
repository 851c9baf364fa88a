"""Section 3.3 in plain loops over float64 arrays: an oracle that shares no code and no trick with the library.

Maps are arrays (B, C, height, width); patch i of a key of width W starts at row i // (W−2), column i % (W−2).
"""

import numpy as np

ROUNDING = 1e-12  # similarities closer than this (for a query patch of length 1) are a tie


def match(query, keys, norm="l2", dtype=np.float64):
    """Eq. 3 and 4: index, score, source and length of the query patch, each (B, h, w).

    Of all scores that equal the best one when rounded to ``dtype`` the first wins.
    """
    batch, _, h, w = query.shape
    index, source = np.zeros((2, batch, h, w), dtype=np.int64)
    score, length = np.zeros((2, batch, h, w))
    for b, y, x in np.ndindex(batch, h, w):
        scores = [
            (similarity, s, i)
            for s, key in enumerate(keys)
            for i, similarity in enumerate(similarities(query[b], key[b], y, x, norm))
        ]
        length[b, y, x] = np.linalg.norm(query_patch(query[b], y, x))
        least = dtype(max(scores)[0] - ROUNDING * length[b, y, x])
        score[b, y, x], source[b, y, x], index[b, y, x] = next(one for one in scores if dtype(one[0]) >= least)
    return index, score, source, length


def similarities(query, key, y, x, norm="l2"):
    """S of Eq. 3 of every key patch for the query patch at (y, x); query and key (C, height, width)."""
    patch, scores = query_patch(query, y, x), []
    for v, u in np.ndindex(key.shape[1] - 2, key.shape[2] - 2):
        other = key[:, v : v + 3, u : u + 3]
        length = np.sqrt((other**2).sum()) if norm == "l2" else np.abs(other).sum()
        scores.append((patch * other).sum() / length if length > 0 else 0.0)
    return scores


def query_patch(query, y, x):
    """The 3×3 patch around (y, x) of a (C, h, w) map, the border replicated."""
    return np.pad(query, ((0, 0), (1, 1), (1, 1)), mode="edge")[:, y : y + 3, x : x + 3]


def covered_cells(index, source, widths):
    """For every patch and every cell of it that lies inside F: (b, cell of F, source, cell of the reference)."""
    batch, h, w = index.shape
    for b, y, x in np.ndindex(batch, h, w):
        s = source[b, y, x]
        v, u = divmod(int(index[b, y, x]), widths[s] - 2)
        for oy, ox in np.ndindex(3, 3):
            cell = (y - 1 + oy, x - 1 + ox)
            if 0 <= cell[0] < h and 0 <= cell[1] < w:
                yield b, cell, s, (v + oy, u + ox)


def patches_over(h, w, scale):
    """How many patches cover each pixel of F: 9 inside, 6 at a border, 4 in a corner (of a map of at least 2×2)."""
    count = np.zeros((h, w))
    for y, x in np.ndindex(h, w):
        count[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] += 1
    return count.repeat(scale, 0).repeat(scale, 1)


def block(cell, scale):
    """The pixels of a cell, as the last two indices of a map."""
    y, x = cell
    return (..., slice(y * scale, (y + 1) * scale), slice(x * scale, (x + 1) * scale))


def swap(values, index, source, scale):
    """F of Eq. 4, the mean where patches overlap."""
    batch, h, w = index.shape
    out = np.zeros((batch, values[0].shape[1], h * scale, w * scale))
    for b, cell, s, origin in covered_cells(index, source, [v.shape[3] // scale for v in values]):
        out[b][block(cell, scale)] += values[s][b][block(origin, scale)]
    return out / patches_over(h, w, scale)


def swap_adjoint(error, index, source, sizes, scale):
    """Each cell of F hands the mean's share of its error to every reference cell it averaged: the sums of Eq. 5."""
    shares = error / patches_over(*index.shape[1:], scale)
    out = [np.zeros((*error.shape[:2], h * scale, w * scale)) for h, w in sizes]
    for b, cell, s, origin in covered_cells(index, source, [w for _, w in sizes]):
        out[s][b][block(origin, scale)] += shares[b][block(cell, scale)]
    return out
