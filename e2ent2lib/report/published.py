"""Numbers that papers print for ×4, each with its source and what is known of its protocol. None was measured here.

published.csv holds the numbers (this paper's are in paper.csv), sources.csv what is known of each column of a source:
``channel``, ``border`` and ``resize`` as ``Protocol`` has them, and ``how`` they are known: said by the source,
measured (bicubic measured again gives the printed digits), or inferred from the numbers. What nobody says cannot be
compared with another source. Notebook 05 reads these numbers, ``compare`` subtracts them.
"""

from typing import NamedTuple

import pandas as pd

from e2ent2lib.report.paper import DATASET_TITLES, PRINTED, literals


class Published(NamedTuple):
    """One printed number."""

    source: str
    method: str
    dataset: str
    psnr: float
    """dB."""
    ssim: float | None
    known: dict[str, object]
    """Fields of the protocol that are known."""
    how: str
    """"said", "measured", "inferred" or "unknown"."""
    why: str


def _read() -> list[Published]:
    ours = [
        ("E2ENT²", DATASET_TITLES[p.dataset], None, p.method, p.psnr, p.ssim)
        for p in PRINTED
        if p.table in (1, 2) and p.psnr is not None
    ]
    numbers = literals("published.csv")
    numbers = pd.concat([pd.DataFrame(ours, columns=numbers.columns, dtype=object), numbers])
    result = []
    for row in numbers.itertuples(index=False):
        about = _COLUMNS.loc[row.source, row.dataset]
        known = {"channel": row.channel or about["channel"], "border": about["border"], "resize": about["resize"]}
        known = {field: value for field, value in known.items() if value is not None}
        result.append(
            Published(row.source, row.method, row.dataset, row.psnr, row.ssim, known, about["how"], about["why"])
        )
    return result


_COLUMNS = literals("sources.csv").set_index(["source", "dataset"])
SOURCES = {source: citation for (source, _), citation in _COLUMNS["citation"].items()}
PUBLISHED = _read()


def published(source: str, method: str, dataset: str) -> Published:
    """The number a source prints for a method on a data set. Raises ValueError unless there is exactly one."""
    numbers = [p for p in PUBLISHED if (p.source, p.method, p.dataset) == (source, method, dataset)]
    if len(numbers) != 1:
        raise ValueError(f"{source} prints {len(numbers)} numbers of {method} on {dataset}")
    return numbers[0]
