"""Which pictures of the data sets show one scene, and how much of it the photographs of a pair share.

Pictures of one scene gain or lose together, so that intervals resample scenes (``measure.verdicts``).
"""

import re
from functools import lru_cache
from pathlib import Path

import pandas as pd

ENDINGS = {"cufed": r"_raw_\d+$", "middlebury": r"[LP]?_L$"}
"""What the names of one scene differ by: crops of one photograph in CUFED, a room in another light in Middlebury."""


@lru_cache
def graded_pairs() -> pd.DataFrame:
    """The pairs of ViewPairs by (data set, picture): ``scene``, and ``coverage`` of the input, from 0 to 1.

    Two pairs show one scene if a photograph of one looks like one of the other (or is the same): up to 10 of 64 bits of
    their looks differ, and the next pairs, at 16, were seen to be of other places; or if their photographs lie in one
    folder and their names end in the same word, numbers aside: british-museum-2 and -3. A scene has its first pair's
    name.
    """
    rows = pd.read_csv(Path(__file__).with_name("viewpairs.csv"), dtype={"level": str})
    keys = ["viewpairs-" + rows["level"], rows["name"] + "_0"]
    return rows[["scene", "coverage"]].set_index(pd.MultiIndex.from_arrays(keys, names=["dataset", "image"]))


def scene(data: str, image: str) -> str:
    """The scene that a picture of a data set shows; a picture of which nothing is known is a scene of its own."""
    known = graded_pairs()["scene"]
    return known[data, image] if (data, image) in known else f"{data} {re.sub(ENDINGS.get(data, '$^'), '', image)}"
