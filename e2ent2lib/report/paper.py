"""The numbers that the paper prints (Tables 1 to 4), from paper.csv. They are the paper's; none was measured here."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd


class Printed(NamedTuple):
    """One row of one of the paper's tables on one data set: a line of paper.csv."""

    table: int
    method: str
    model: str
    """Our name of the system."""
    dataset: str
    psnr: float | None
    """dB; None where the paper prints "–"."""
    ssim: float | None
    feature_distance: float | None


def literals(name: str) -> pd.DataFrame:
    """A CSV file of this folder as Python values; None where a cell is empty."""
    frame = pd.read_csv(Path(__file__).with_name(name)).convert_dtypes().astype(object)
    return frame.where(frame.notna(), None)


PRINTED = [Printed(*row) for row in literals("paper.csv").itertuples(index=False)]
TITLES = {
    1: "Table 1. CUFED5 and Sun Hays, ×4",
    2: "Table 2. Flickr1024 test set, ×4",
    3: "Table 3. Feature encoding, ×4",
    4: "Table 4. Gradient allocation (α1, α2, α3), ×4",
}
DATASET_TITLES = {"cufed5": "CUFED5", "sunhays": "Sun Hays 80", "flickr1024": "Flickr1024"}
