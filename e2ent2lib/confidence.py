"""Whether a reference helps, said honestly: a threshold on how sure the matches are, measured on pairs that are known.

Eq. 4 always finds a best patch, however bad. What tells a reference that shows the same things from one that does not is
how close the best patches are in angle: ``mean_doubt``. ``confidence.json`` holds a threshold for each checkpoint, as
``benchmarks/confidence.py`` measured it, with how often it is right on pictures it was not chosen on. Notebook 14.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

FILE = Path(__file__).with_name("confidence.json")


class Verdict(NamedTuple):
    """What may be said of a reference."""

    doubt: float
    """``mean_doubt`` of its matches."""
    threshold: float | None
    """Below it a reference helped, above it not; None if none was measured for the network."""
    text: str
    """For the user."""

    @property
    def helps(self) -> bool | None:
        """None if there is no threshold."""
        return None if self.threshold is None else self.doubt < self.threshold
