"""What the match explorer shows, computed: a place's match, the runners-up, the similarity map, who else chose it.

No widgets here. Notebook 12.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import nn

from e2ent2lib.exact.search import similarity_map, top_matches
from e2ent2lib.matching import Choosers, Matches, Norm, chosen_count, match, swap
from e2ent2lib.photos.images import to_image, to_tensor
from e2ent2lib.photos.inference import prepare_reference
from e2ent2lib.runs.checkpoints import load_model

FEATURES = {
    "RGB": None,
    "VGG19 relu1_2": "feature-vgg",
    "SISR, pre-trained": "sisr-pretrained",
    "end-to-end": "e2ent2",
}
"""The kinds of features, and the shipped model whose encoder makes them."""
RUNNERS_UP = 4


class Place(NamedTuple):
    """A place of the input and everything that Eq. 3 and 4 say of it; places are (row, column) in cells."""

    query: tuple[int, int]
    best: tuple[int, int]
    """The middle cell of the best patch, in I_ref↓."""
    score: float
    """Eq. 3."""
    confidence: float
    """The cosine; NaN for the norm L1."""
    runners_up: list[tuple[tuple[int, int], float]]
    """The next best patches and their scores, best first."""
    similarity: Float[np.ndarray, "H-2 W-2"]
    """Eq. 3 of all patches."""
    choosers: Int[np.ndarray, "k 2"]
    """Q: the places that chose the same patch; K is how many."""
    swapped: UInt8[np.ndarray, "12 12 3"]
    """The reference's pixels that Eq. 4 puts there."""


class MatchedPair:
    """A low-resolution picture and a reference, matched by one kind of features and one norm.

    ``features`` is one of ``FEATURES``. Raises ValueError for another, and for a reference that is too small.
    """

    def __init__(
        self,
        lr: UInt8[np.ndarray, "h w 3"],
        ref: UInt8[np.ndarray, "H W 3"],
        features: str = "end-to-end",
        norm: Norm = "l2",
        profile: str = "compact",
    ):
        self.lr, self.features, self.norm = lr, features, norm
        phi = encoder(features, profile)
        full, down = prepare_reference(ref)
        self.ref, self.ref_down = to_image(full), to_image(down)
        with torch.inference_mode():
            self._query, self._key = phi(to_tensor(lr)), phi(down)
        self.matches: Matches = match(self._query, self._key, norm)
        self.chosen = chosen_count(self.matches, self._key.shape[2:])[0].numpy()
        """K of every patch of the reference, (H−2, W−2)."""
        self.pixels = to_image(swap(full, self.matches))
        """The reference's own pixels, swapped: what the matches alone would make of the input."""

    def at(self, row: int, column: int) -> Place:
        """The place (row, column) of the input, in cells. Raises IndexError outside of it."""
        similarity = similarity_map(self._query, self._key, (row, column), self.norm)[0]
        index, score, _ = top_matches(self._query, self._key, (row, column), RUNNERS_UP + 1, self.norm)
        best = int(self.matches.index[0, row, column])
        (y, x), *others = (self._middle(int(i)) for i in (best, *index[0, 1:]))
        return Place(
            query=(row, column),
            best=(y, x),
            score=float(self.matches.score[0, row, column]),
            confidence=float(self.matches.confidence[0, row, column]) if self.norm == "l2" else float("nan"),
            runners_up=list(zip(others, score[0, 1:].tolist())),
            similarity=similarity.numpy(),
            choosers=Choosers(self.matches)(best).numpy(),
            swapped=self.ref[4 * y - 4 : 4 * y + 8, 4 * x - 4 : 4 * x + 8],
        )

    def choosers(self, row: int, column: int) -> Int[np.ndarray, "k 2"]:
        """Q of Eq. 5: the places of the input that chose the patch around (row, column) of I_ref↓; K is how many.

        A cell of the border stands for the patch nearest to it.
        """
        height, width = self._key.shape[2:]
        v, u = min(max(row - 1, 0), height - 3), min(max(column - 1, 0), width - 3)
        return Choosers(self.matches)(v * (width - 2) + u).numpy()

    def _middle(self, index: int) -> tuple[int, int]:
        """The middle cell of a patch."""
        v, u = divmod(index, self._key.shape[3] - 2)
        return v + 1, u + 1

    def summary(self, place: Place) -> str:
        """The place in one sentence."""
        sure = f", cosine {place.confidence:.2f}" if self.norm == "l2" else ""
        return (
            f"patch around row {place.query[0]}, column {place.query[1]} → row {place.best[0]}, column {place.best[1]} "
            f"of the reference ({self.features}, {self.norm.upper()}): similarity {place.score:.3g}{sure}, "
            f"chosen {len(place.choosers)} times"
        )


@lru_cache(maxsize=len(FEATURES))
def encoder(features: str, profile: str = "compact") -> nn.Module:
    """The encoder of a kind of features, from the shipped models; loaded once."""
    if features not in FEATURES:
        raise ValueError(f"unknown features {features!r}; choose one of {', '.join(FEATURES)}")
    name = FEATURES[features]
    return nn.Identity() if name is None else load_model(name, profile).encoder
