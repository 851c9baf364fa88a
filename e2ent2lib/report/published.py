"""Numbers that papers print for ×4, as data, each with its source and with what is known of its protocol.

None was measured here. ``Column.known`` holds the fields of ``Protocol`` that are known of a column, and ``how``: said
by the source, measured (bicubic measured again gives the printed digits), or inferred from the numbers. What nobody
says cannot be compared with another source. Notebook 05 reads these numbers, ``compare`` subtracts them.
"""

from typing import Literal, NamedTuple

from e2ent2lib.report.paper import DATASET_TITLES, PRINTED

Scores = tuple[float, float] | None


class Column(NamedTuple):
    """What is known of one data set's column in one source."""

    known: dict[str, object]
    how: Literal["said", "measured", "inferred", "unknown"]
    why: str


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
    why: str


SOURCES = {
    "E2ENT²": "Xie et al., 2020, Tables 1 and 2 (the paper that is reproduced here)",
    "SRNTT": "Zhang et al., CVPR 2019, Table 1",
    "WTRN": "WTRN (TIP 2022), the table in its repository zskuang58/WTRN-TIP; baselines trained again by its authors",
    "AMSA": "AMSA (AAAI 2022), the table in its repository Zj-BinXia/AMSA",
    "C2 rerun": "log of a rerun of C2-Matching's weights, repository mile-zhang/C2-Matching-1.7.0",
    "mmagic": "TTSR trained again, README of OpenMMLab's mmagic",
    "DATSR issue": "a user's rerun of DATSR's weights, issue 6 of its repository",
    "HiTSR": "abstract of arXiv 2408.16959",
    "iPASSR": "iPASSR (CVPRW 2021), the table in its repository YingqianWang/iPASSR; mean of left and right view",
}

_Y, _RGB = {"channel": "y"}, {"channel": "rgb"}
_PLAIN = {"border": 0, "resize": "pillow-bicubic"}
COLUMNS = {
    ("E2ENT²", "Sun Hays 80"): Column(
        _RGB | _PLAIN,
        "inferred",
        "bicubic printed 27.25, 0.742; measured RGB 27.30, 0.744 and Y 28.65",
    ),
    ("E2ENT²", "CUFED5"): Column(_RGB | _PLAIN, "inferred", "1.54 dB under SRNTT's bicubic: the gap from Y to RGB"),
    ("E2ENT²", "Flickr1024"): Column({}, "unknown", "the table has no bicubic row"),
    ("SRNTT", "CUFED5"): Column(_Y, "inferred", "within 0.04 dB of WTRN's Y column"),
    ("SRNTT", "Sun Hays 80"): Column(_RGB, "inferred", "1.41 dB under WTRN's Y column, within 0.06 dB of RGB"),
    ("SRNTT", "Urban100"): Column(_Y, "inferred", "bicubic 23.14 dB, measured in Y 23.13 (but SSIM 0.674 and 0.659)"),
    ("WTRN", "CUFED5"): Column(_Y | _PLAIN, "inferred", "one protocol a table"),
    ("WTRN", "Sun Hays 80"): Column(_Y | _PLAIN, "measured", "bicubic measured in Y: 28.65 dB, 0.767, as printed"),
    ("WTRN", "Urban100"): Column(_Y | _PLAIN, "measured", "bicubic measured in Y: 23.13 dB, 0.659, as printed"),
    **{
        ("AMSA", data): Column(_Y, "inferred", "TTSR's authors say Y (issue 6 of TTSR); one protocol a table")
        for data in ("CUFED5", "Sun Hays 80", "Urban100")
    },
    ("mmagic", "CUFED5"): Column(_RGB | {"border": 4}, "said", "its README"),
    ("DATSR issue", "CUFED5"): Column({}, "unknown", "not said"),
    ("HiTSR", "Sun Hays 80"): Column({}, "unknown", "not said in the abstract"),
    ("iPASSR", "Flickr1024"): Column(_RGB, "said", "its table"),
}
"""What is known, by source and data set; the two columns of "C2 rerun" are named in its log."""

_SETS = ("CUFED5", "Sun Hays 80", "Urban100")


def _table(source: str, datasets: tuple[str, ...], rows: dict[str, tuple[Scores, ...]]) -> list[Published]:
    return [
        Published(source, method, data, *scores, *COLUMNS[source, data])
        for method, columns in rows.items()
        for data, scores in zip(datasets, columns)
        if scores
    ]


def _rerun(method: str, data: str, y: tuple[float, float], rgb: float) -> list[Published]:
    said = ("said", "both are in the log")
    return [
        Published("C2 rerun", method, data, *y, _Y, *said),
        Published("C2 rerun", method, data, rgb, None, _RGB, *said),
    ]


PUBLISHED = [
    *(
        Published("E2ENT²", p.method, title, p.psnr, p.ssim, *COLUMNS["E2ENT²", title])
        for p in PRINTED
        for title in [DATASET_TITLES[p.dataset]]
        if p.table in (1, 2) and p.psnr is not None
    ),
    *_table(
        "SRNTT",
        _SETS,
        {
            "Bicubic": ((24.18, 0.684), (27.24, 0.739), (23.14, 0.674)),
            "SRCNN": ((25.33, 0.745), (28.26, 0.781), (24.41, 0.738)),
            "DRCN": ((25.26, 0.734), (27.84, 0.785), (25.14, 0.760)),
            "MDSR": ((25.93, 0.777), (28.52, 0.792), (25.51, 0.783)),
            "EnhanceNet": ((24.24, 0.695), (26.24, 0.702), (23.63, 0.711)),
            "SRGAN": ((24.40, 0.702), (26.76, 0.725), (24.07, 0.729)),
            "Landmark": ((24.91, 0.718), (27.68, 0.776), None),
            "CrossNet": ((25.48, 0.764), (28.52, 0.793), (25.11, 0.764)),
            "SRNTT": ((25.61, 0.764), (27.59, 0.756), (25.09, 0.774)),
            "SRNTT-ℓ2": ((26.24, 0.784), (28.54, 0.793), (25.50, 0.783)),
        },
    ),
    *_table(
        "WTRN",
        _SETS,
        {
            "Bicubic": ((24.22, 0.684), (28.65, 0.767), (23.13, 0.659)),
            "EDSR": ((26.45, 0.781), (30.08, 0.815), (25.91, 0.782)),
            "RCAN": ((26.43, 0.780), (30.10, 0.815), (25.94, 0.783)),
            "SRGAN": ((23.87, 0.695), (26.65, 0.700), (23.29, 0.697)),
            "ESRGAN": ((23.88, 0.694), (26.53, 0.694), (23.56, 0.707)),
            "SRNTT": ((25.35, 0.741), (28.47, 0.762), (24.27, 0.733)),
            "SRNTT-rec": ((26.17, 0.769), (29.70, 0.806), (25.23, 0.761)),
            "WTRN": ((25.98, 0.761), (28.46, 0.756), (24.88, 0.747)),
            "WTRN-rec": ((27.33, 0.810), (30.11, 0.816), (26.00, 0.787)),
        },
    ),
    *_table(
        "AMSA",
        _SETS,
        {
            "RCAN": ((26.06, 0.769), (29.86, 0.810), (25.42, 0.768)),
            "ESRGAN": ((21.90, 0.633), (24.18, 0.651), (20.91, 0.620)),
            "SSEN": ((25.35, 0.742), None, None),
            "SSEN-rec": ((26.78, 0.791), None, None),
            "CIMR": ((26.16, 0.781), (29.67, 0.806), (25.24, 0.778)),
            "CIMR-rec": ((26.35, 0.789), (30.07, 0.813), (25.77, 0.792)),
            "TTSR": ((25.53, 0.765), (28.59, 0.774), (24.62, 0.747)),
            "TTSR-rec": ((27.09, 0.804), (30.02, 0.814), (25.87, 0.784)),
            "MASA": ((24.92, 0.729), (27.12, 0.708), (23.78, 0.712)),
            "MASA-rec": ((27.54, 0.814), (30.15, 0.815), (26.09, 0.786)),
            "C2-Matching": ((27.16, 0.805), (29.75, 0.799), (25.52, 0.764)),
            "C2-Matching-rec": ((28.24, 0.841), (30.18, 0.817), (26.03, 0.785)),
            "AMSA": ((27.31, 0.809), (29.83, 0.803), (25.60, 0.770)),
            "AMSA-rec": ((28.50, 0.849), (30.29, 0.819), (26.18, 0.789)),
        },
    ),
    *_rerun("C2-Matching", "CUFED5", (27.155, 0.805), 25.485),
    *_rerun("C2-Matching-rec", "CUFED5", (28.242, 0.841), 26.456),
    *_rerun("C2-Matching", "Sun Hays 80", (29.62, 0.795), 28.31),
    *_rerun("C2-Matching-rec", "Sun Hays 80", (30.12, 0.816), 28.74),
    *_table("mmagic", ("CUFED5",), {"TTSR": ((24.61, 0.723),), "TTSR-rec": ((25.24, 0.749),)}),
    *_table("DATSR issue", ("CUFED5",), {"DATSR": ((27.76, 0.828),), "DATSR-rec": ((28.50, 0.851),)}),
    *_table("HiTSR", ("Sun Hays 80",), {"HiTSR": ((30.24, 0.821),)}),
    *_table(
        "iPASSR",
        ("Flickr1024",),
        {"Bicubic": ((21.82, 0.629),), "PASSRnet": ((23.31, 0.720),), "EDSR": ((23.46, 0.729),)},
    ),
]


def published(source: str, method: str, dataset: str) -> Published:
    """The number a source prints for a method on a data set. Raises ValueError unless there is exactly one."""
    found = [p for p in PUBLISHED if (p.source, p.method, p.dataset) == (source, method, dataset)]
    if len(found) != 1:
        raise ValueError(f"{source} prints {len(found)} numbers of {method} on {dataset}")
    return found[0]
