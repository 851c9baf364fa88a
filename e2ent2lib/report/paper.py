"""The numbers that the paper prints (Tables 1 to 4), as data. They are the paper's; none was measured here."""

from typing import NamedTuple


class Printed(NamedTuple):
    """One row of one of the paper's tables on one data set."""

    table: int
    method: str
    model: str
    """Our name of the system."""
    dataset: str
    psnr: float | None
    """dB; None where the paper prints "–"."""
    ssim: float | None
    feature_distance: float | None = None


def _rows(table: int, datasets: tuple[str, ...], rows: tuple) -> list[Printed]:
    return [
        Printed(table, method, model, data, *scores)
        for method, model, *columns in rows
        for data, scores in zip(datasets, columns)
    ]


_NONE = (None, None)
PRINTED = [
    *_rows(
        1,
        ("cufed5", "sunhays"),
        (
            ("Bicubic", "bicubic", (22.64, 0.646), (27.25, 0.742)),
            ("DRCN", "drcn", (23.56, 0.692), _NONE),
            ("EnhanceNet", "enhancenet", (22.58, 0.651), (25.46, 0.669)),
            ("SRGAN", "srgan", (22.93, 0.656), (26.42, 0.696)),
            ("Ours-SISR", "sisr-gan", (23.75, 0.697), (26.72, 0.712)),
            ("Landmark", "landmark", (23.23, 0.674), _NONE),
            ("SRNTT", "srntt", (23.64, 0.684), (26.79, 0.727)),
            ("E2ENT²-MSE (ours)", "e2ent2-mse", (24.24, 0.724), (28.50, 0.789)),
            ("E2ENT² (ours)", "e2ent2", (24.01, 0.705), (28.13, 0.765)),
        ),
    ),
    *_rows(
        2,
        ("flickr1024",),
        (
            ("StereoSR", "stereosr", (21.77, 0.617)),
            ("PASSRnet", "passrnet", (21.31, 0.600)),
            ("SRGAN", "srgan", (21.67, 0.567)),
            ("SRNTT", "srntt", (22.02, 0.637)),
            ("E2ENT² (ours)", "e2ent2", (22.89, 0.680)),
        ),
    ),
    *_rows(
        3,
        ("cufed5",),
        (
            ("Feature-VGG", "feature-vgg", (22.85, 0.647, 106.77)),
            ("Feature-preSISR", "feature-presisr", (23.46, 0.678, 58.94)),
            ("E2ENT² (ours)", "e2ent2-ablation", (24.01, 0.705, 25.77)),
        ),
    ),
    *_rows(
        4,
        ("cufed5",),
        (
            ("(1, 0, 0)", "e2ent2-alpha-100", (23.75, 0.697)),
            ("(0, 1, 0)", "e2ent2-alpha-010", (23.67, 0.672)),
            ("(0, 0, 1)", "e2ent2-alpha-001", (23.83, 0.695)),
            ("(0.25, 0.25, 0.5)", "e2ent2-ablation", (24.01, 0.705)),
        ),
    ),
]

TITLES = {
    1: "Table 1. CUFED5 and Sun Hays, ×4",
    2: "Table 2. Flickr1024 test set, ×4",
    3: "Table 3. Feature encoding, ×4",
    4: "Table 4. Gradient allocation (α1, α2, α3), ×4",
}
DATASET_TITLES = {"cufed5": "CUFED5", "sunhays": "Sun Hays 80", "flickr1024": "Flickr1024"}
