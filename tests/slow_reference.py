"""Section 3.3 of the paper in plain loops over float64 arrays: slow, and easy to check against the equations by eye.

Maps are arrays (B, C, height, width). A patch is 3×3 cells; patch i of a key of width W starts at row i // (W−2),
column i % (W−2). Only tests use this.
"""

import numpy as np

ROUNDING = 1e-12  # similarities closer than this (for a query patch of length 1) are a tie, which the lowest index wins


def match(query, keys, norm="l2"):
    """Eq. 3 and the argmax of Eq. 4: index, score and source, each (B, h, w)."""
    batch, _, h, w = query.shape
    index, source = np.zeros((2, batch, h, w), dtype=np.int64)
    score = np.full((batch, h, w), -np.inf)
    for b, y, x in np.ndindex(batch, h, w):
        for s, key in enumerate(keys):
            for i, similarity in enumerate(similarities(query[b], key[b], y, x, norm)):
                if similarity > score[b, y, x] + ROUNDING:
                    index[b, y, x], score[b, y, x], source[b, y, x] = i, similarity, s
    return index, score, source


def match_rounded(query, keys, norm="l2", dtype=np.float32):
    """Like ``match``, but of all scores that equal the best one when rounded to ``dtype`` the first wins."""
    batch, _, h, w = query.shape
    index, source = np.zeros((2, batch, h, w), dtype=np.int64)
    score = np.zeros((batch, h, w))
    for b, y, x in np.ndindex(batch, h, w):
        all_keys = [
            (similarity, s, i)
            for s, key in enumerate(keys)
            for i, similarity in enumerate(similarities(query[b], key[b], y, x, norm))
        ]
        best = max(similarity for similarity, _, _ in all_keys)
        least = dtype(best - ROUNDING * np.linalg.norm(query_patch(query[b], y, x)))
        first = next(one for one in all_keys if dtype(one[0]) >= least)
        score[b, y, x], source[b, y, x], index[b, y, x] = first
    return index, score, source


def similarities(query, key, y, x, norm="l2"):
    """S of Eq. 3 of every key patch for the query patch at (y, x); query and key (C, height, width)."""
    patch, found = query_patch(query, y, x), []
    for other in patches(key):
        length = np.sqrt((other**2).sum()) if norm == "l2" else np.abs(other).sum()
        found.append((patch * other).sum() / length if length > 0 else 0.0)
    return found


def query_patch(query, y, x):
    """The 3×3 patch around (y, x) of a (C, h, w) map, the border replicated."""
    return np.pad(query, ((0, 0), (1, 1), (1, 1)), mode="edge")[:, y : y + 3, x : x + 3]


def patches(maps):
    """All valid 3×3 patches of one (C, H, W) map, in the order of their index."""
    _, height, width = maps.shape
    return [maps[:, v : v + 3, u : u + 3] for v in range(height - 2) for u in range(width - 2)]


def query_norms(query):
    """|query patch| in L2, the border replicated; (B, h, w)."""
    padded = np.pad(query, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    norms = np.zeros((len(query), *query.shape[2:]))
    for b, y, x in np.ndindex(norms.shape):
        norms[b, y, x] = np.sqrt((padded[b, :, y : y + 3, x : x + 3] ** 2).sum())
    return norms


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


def overlap(h, w):
    """How many patches cover each cell of F: 9 inside, 6 at a border, 4 in a corner (of a map of at least 2×2)."""
    count = np.zeros((h, w))
    for y, x in np.ndindex(h, w):
        for oy, ox in np.ndindex(3, 3):
            count[y, x] += 0 <= y - 1 + oy < h and 0 <= x - 1 + ox < w
    return count


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
    return out / enlarge(overlap(h, w), scale)


def swap_adjoint(error, index, source, sizes, scale):
    """Each cell of F hands the mean's share of its error to every reference cell it averaged."""
    shares = error / enlarge(overlap(*index.shape[1:]), scale)
    out = [np.zeros((*error.shape[:2], h * scale, w * scale)) for h, w in sizes]
    for b, cell, s, origin in covered_cells(index, source, [w for _, w in sizes]):
        out[s][b][block(origin, scale)] += shares[b][block(cell, scale)]
    return out


def accumulate_and_average(error, index, size, scale):
    """3.3 to the letter: add up the errors of the matched patches, then divide by the patch positions over a place."""
    out = np.zeros((*error.shape[:2], size[0] * scale, size[1] * scale))
    for b, cell, _, origin in covered_cells(index, np.zeros_like(index), [size[1]]):
        out[b][block(origin, scale)] += error[b][block(cell, scale)]
    positions = np.zeros(size)
    for v, u in np.ndindex(size[0] - 2, size[1] - 2):
        positions[v : v + 3, u : u + 3] += 1
    return out / enlarge(positions, scale)


def down(error, scale):
    """E↓: the mean of E over each cell."""
    b, c, height, width = error.shape
    return error.reshape(b, c, height // scale, scale, width // scale, scale).mean((3, 5))


def enlarge(cells, scale):
    """One number a cell, repeated over the cell's pixels."""
    return cells.repeat(scale, -2).repeat(scale, -1)


def gradients(error, index, source, sizes, alphas, scale):
    """Eq. 5: the errors of φ(I_in), of each φ(I_ref↓) and of each φ(I_ref)."""
    small = down(error, scale)
    return (
        alphas[0] * small,
        [alphas[1] * e for e in swap_adjoint(small, index, source, sizes, 1)],
        [alphas[2] * e for e in swap_adjoint(error, index, source, sizes, scale)],
    )
