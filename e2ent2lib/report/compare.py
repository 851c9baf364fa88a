"""The one way to subtract two numbers: only if both were measured alike, on the same pictures. Notebook 05."""

from collections.abc import Iterable
from dataclasses import asdict, fields

import numpy as np

from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.report.published import Published

Measured = dict | list[dict] | Published | tuple[float, Protocol]
"""A stored row, the rows of a result file, a printed number, or a number with its protocol."""
_UNKNOWN = "not stated"


def compare(a: Measured, b: Measured, metric: str = "psnr") -> float:
    """``a`` less ``b`` in the metric's unit (PSNR in dB), over images the mean of the differences.

    Raises ValueError that names what differs: a field of the protocol, the data set, its pixels or its images. What a
    source does not state agrees only with other numbers of that source.
    """
    left, right = conditions(a), conditions(b)
    both = {n: (left.get(n, _UNKNOWN), right.get(n, _UNKNOWN)) for n in left | right}
    apart = {n: pair for n, pair in both.items() if pair[0] != pair[1]}
    if apart:
        unknown = [n for n, pair in apart.items() if any(str(v).startswith(_UNKNOWN) for v in pair)]
        told = [f"{n}: {x} and {y}" for n, (x, y) in apart.items() if n not in unknown]
        told += [f"not stated: {', '.join(unknown)}"] if unknown else []
        raise ValueError("these numbers must not be compared; " + "; ".join(told))
    x, y = _scores(a, metric), _scores(b, metric)
    return float(np.mean([x[name] - y[name] for name in x]))


def conditions(measured: Measured) -> dict[str, object]:
    """Under what a number was measured: the protocol's fields, and the data set where it is known."""
    if isinstance(measured, Published):
        unknown = {f.name: f"{_UNKNOWN} by {measured.source}" for f in fields(Protocol)}
        return {"data set": measured.dataset} | unknown | measured.known
    if isinstance(measured, tuple):
        return asdict(measured[1])
    rows = _rows(measured)
    where = {
        "data set": _one(row["label"] for row in rows),
        "pixels": _one(row["data_fingerprint"] for row in rows),
        "images": ", ".join(sorted(row["image"] for row in rows)),
    }
    return where | asdict(_one(Protocol(**row["protocol"]) for row in rows))


def _rows(measured: dict | list[dict]) -> list[dict]:
    rows = [measured] if isinstance(measured, dict) else measured
    if not rows:
        raise ValueError("no rows to compare: nothing has been measured")
    return rows


def _one(values: Iterable[object]) -> object:
    found = set(values)
    if len(found) > 1:
        raise ValueError("rows of one side differ: " + " and ".join(sorted(str(v) for v in found)))
    return found.pop()


def _scores(measured: Measured, metric: str) -> dict[str, float]:
    if isinstance(measured, Published):
        if getattr(measured, metric) is None:
            raise ValueError(f"{measured.source} prints no {metric} of {measured.method} on {measured.dataset}")
        return {"": getattr(measured, metric)}
    if isinstance(measured, tuple):
        return {"": measured[0]}
    return {row["image"]: row[metric] for row in _rows(measured)}
