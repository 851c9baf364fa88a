"""Every printed number: this paper's Tables 1 to 4 and other papers' for ×4, and what is odd.

None of them was measured here. paper.csv holds this paper's numbers, published.csv the others', sources.csv what is
known of each column of a source: ``channel``, ``border``, ``resize`` and ``stereo`` as ``Protocol`` has them, and
``how`` they are known: said by the source, measured (bicubic measured again gives the printed digits), or inferred from
the numbers. What nobody says cannot be compared with another source. Notebooks 05 and 11.
"""

import tomllib
from pathlib import Path
from typing import NamedTuple

import pandas as pd

TITLES = {
    1: "Table 1. CUFED5 and Sun Hays, ×4",
    2: "Table 2. Flickr1024 test set, ×4",
    3: "Table 3. Feature encoding, ×4",
    4: "Table 4. Gradient allocation (α1, α2, α3), ×4",
}
DATASET_TITLES = {"cufed5": "CUFED5", "sunhays": "Sun Hays 80", "flickr1024": "Flickr1024"}


class Published(NamedTuple):
    """One number that some paper prints."""

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


class Oddity(NamedTuple):
    """What is seen, the numbers it is seen in, what may explain it, and whether the printed numbers bear it out."""

    what: str
    numbers: str
    may_be: str
    holds: bool


def _literals(name: str) -> pd.DataFrame:
    """A CSV file of this folder as Python values; None where a cell is empty."""
    return pd.read_csv(Path(__file__).with_name(name)).convert_dtypes().astype(object).where(pd.notna, None)


def _published(source: str, dataset: str, channel: str | None, method: str, *scores: float | None) -> Published:
    """A line of published.csv, with what sources.csv knows of its column."""
    about = _COLUMNS.loc[source, dataset]
    known = {"channel": channel or about["channel"]} | {name: about[name] for name in ("border", "resize", "stereo")}
    known = {field: value for field, value in known.items() if value is not None}
    return Published(source, method, dataset, *scores, known, about["how"], about["why"])


_COLUMNS = _literals("sources.csv").set_index(["source", "dataset"])
SOURCES = {source: citation for (source, _), citation in _COLUMNS["citation"].items()}
PRINTED = list(_literals("paper.csv").itertuples(index=False, name="Printed"))
"""This paper's Tables 1 to 4, a named tuple a row and data set: table, its name of the method, ours (model), dataset,
psnr (dB), ssim and feature_distance; None where the paper prints "–"."""
PUBLISHED = [
    _published("E2ENT²", DATASET_TITLES[p.dataset], None, p.method, p.psnr, p.ssim)
    for p in PRINTED
    if p.table in (1, 2) and p.psnr is not None
] + [_published(*row) for row in _literals("published.csv").itertuples(index=False)]


def published(source: str, method: str, dataset: str) -> Published:
    """The number a source prints for a method on a data set. Raises ValueError unless there is exactly one."""
    numbers = [p for p in PUBLISHED if (p.source, p.method, p.dataset) == (source, method, dataset)]
    if len(numbers) != 1:
        raise ValueError(f"{source} prints {len(numbers)} numbers of {method} on {dataset}")
    return numbers[0]


def oddities() -> list[Oddity]:
    """What is odd in the paper's own numbers, computed from them as printed, in the order of the paper's sections.

    None of it is a reproach: a table can be right and odd. The texts, with places for the numbers, are oddities.toml's.
    """
    cells = {(p.table, p.dataset, p.model): p for p in PRINTED}
    one, sun = ({m: p for (n, d, m), p in cells.items() if (n, d) == (1, data)} for data in ("cufed5", "sunhays"))
    passr, stereo, ours = (cells[2, "flickr1024", m].psnr for m in ("passrnet", "stereosr", "e2ent2"))
    bicubic, trained = (published("iPASSR", m, "Flickr1024").psnr for m in ("Bicubic", "PASSRnet"))
    frozen, row = cells[3, "cufed5", "feature-presisr"], cells[4, "cufed5", "e2ent2-alpha-100"]
    alone, mse = one["sisr-gan"], [x["e2ent2-mse"].psnr - x["srntt"].psnr for x in (one, sun)]
    below = [{m: p for m, p in x.items() if p.psnr and p.psnr < x["bicubic"].psnr} for x in (one, sun)]
    values = {
        "one": one, "sun": sun, "frozen": frozen, "row": row, "alone": alone, "mse": mse, "passr": passr,
        "stereo": stereo, "ours": ours, "bicubic": bicubic, "trained": trained,
        "full": [x["e2ent2"].psnr - x["srntt"].psnr for x in (one, sun)],
        "ssim": [x["e2ent2-mse"].ssim - x["srntt"].ssim for x in (one, sun)],
        "below": [", ".join(f"{p.method} {p.psnr:.2f}" for p in x.values()) for x in below],
    }  # fmt: skip
    holds = {
        "images": True,  # the one that no number shows: 4.1 says so in words
        "gains": [round(gain, 2) for gain in mse] == [0.60, 1.71],
        "below bicubic": {"srgan", "sisr-gan", "srntt"} <= below[1].keys(),
        "stereo": max(passr, stereo) < bicubic < ours < trained,
        "frozen": frozen.psnr < alone.psnr and frozen.ssim < alone.ssim,
        "equal rows": (row.psnr, row.ssim) == (alone.psnr, alone.ssim),
    }
    texts = tomllib.loads(Path(__file__).with_name("oddities.toml").read_text(encoding="utf-8"))
    return [Oddity(t["what"], t["numbers"].format_map(values), t["may_be"], holds[n]) for n, t in texts.items()]
