"""How a picture is resized and enlarged: choices alone, with no heavy import, as the command line needs them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

Kernel = Literal["pillow-bicubic", "matlab-bicubic", "opencv-bicubic", "pillow-bicubic-bilinear"]
"""How a picture is shrunk and enlarged: ``images.resize``."""
Precision = Literal["float32", "bfloat16"]
"""Of the convolutions; matching is float32 always."""
Matching = Literal["exact", "coarse"]
"""Eq. 4's, or ``coarse.match_coarse``: much faster for large pictures, and a little less exact."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a picture is enlarged. Raises ValueError for a precision or matching that does not exist."""

    precision: Precision = "float32"
    matching: Matching = "exact"
    progress: bool = False
    """Show bars."""
    rounded: bool = True
    """To 8 bits; off, the result is from 0 to 255 before rounding, for protocols that measure so."""
    kernel: Kernel = "pillow-bicubic"
    """What the system "bicubic" enlarges with."""
    consistent: bool = True
    """Correct the result until it gives the input when reduced; of networks that can (``Network.finished``)."""
    always: bool = False
    """Use references that don't seem to help, too, which a network may else do without (``Network.finished``)."""
    saved: Path | None = None
    """A file for the matches so far, from which an interrupted call resumes; removed at the end."""

    def __post_init__(self) -> None:
        for what, value, known in (("precision", self.precision, Precision), ("matching", self.matching, Matching)):
            if value not in get_args(known):
                raise ValueError(f"unknown {what} {value!r}; choose one of {', '.join(get_args(known))}")
