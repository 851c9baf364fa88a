"""Which pictures of the data sets show one scene, and how much of it the photographs of a pair share.

Pictures of one scene gain or lose together, so that intervals resample scenes (``measure.verdicts``).
"""

import re
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

ENDINGS = {"cufed": r"_raw_\d+$", "middlebury": r"[LP]?_L$"}
"""What the names of one scene differ by: crops of one photograph in CUFED, a room in another light in Middlebury."""
ALIKE = 10
"""Bits of 64 in which the looks of two photographs of one place may differ. Looked at: up to 10 are of one place, and
the next pairs of ``viewpairs.csv``, at 16, are not."""


@lru_cache
def graded_pairs() -> pd.DataFrame:
    """The pairs of ViewPairs by (data set, picture): ``scene``, and ``coverage`` of the input, from 0 to 1.

    Two pairs show one scene if a photograph of one looks like one of the other (or is the same), or if their
    photographs lie in one folder and their names end in the same word, numbers aside: british-museum-2 and -3. A scene
    has its first pair's name.
    """
    rows = pd.read_csv(Path(__file__).with_name("viewpairs.csv"), dtype=str)
    looks = rows[["input_look", "reference_look"]].map(lambda digits: int(digits, 16)).to_numpy(np.uint64)
    folders = rows["input"].map(lambda path: Path(path).parent.name)
    places = list(zip(folders, rows["name"].str.extract(r"([^\W\d]*)-?\d*$")[0]))
    same = np.array([[one == other for other in places] for one in places])
    for one, other in product((0, 1), repeat=2):
        same |= np.bitwise_count(looks[:, None, one] ^ looks[None, :, other]) <= ALIKE
    scenes = rows["name"].groupby(connected_components(same)[1]).transform("first")
    index = pd.MultiIndex.from_arrays(["viewpairs-" + rows["level"], rows["name"] + "_0"], names=["dataset", "image"])
    return pd.DataFrame({"scene": scenes.to_numpy(), "coverage": rows["coverage"].astype(float).to_numpy()}, index)


def scene(data: str, image: str) -> str:
    """The scene that a picture of a data set shows; a picture of which nothing is known is a scene of its own."""
    known = graded_pairs()["scene"]
    return known[data, image] if (data, image) in known else f"{data} {re.sub(ENDINGS.get(data, '$^'), '', image)}"
