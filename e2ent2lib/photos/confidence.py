"""Whether a reference helps: a threshold on how far its matches agree, measured on pairs whose answer is known.

Eq. 4 always finds a best patch, however bad. What tells a reference that shows the same things from one that does not
is whether neighbours go to neighbours: the share of adjacent cells whose best patches are adjacent in the same way. The
cosine of patch and match tells less, for it is also high where nothing is to be seen. ``confidence.json`` holds a
threshold for each checkpoint, as ``benchmarks/confidence.py`` measured it, with how often it is right on pictures it
was not chosen on. Notebook 14.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.matching import Matches

FILE = Path(__file__).with_name("confidence.json")


class Verdict(NamedTuple):
    """What may be said of a reference."""

    agreement: float
    """Mean of ``agreement``, in [0, 1]."""
    threshold: float | None
    """Above it a reference helped, below it not; None if none was measured for the network."""
    helps: bool | None
    """None if that is hard to tell, or no threshold was measured."""
    text: str
    """For the user."""


def agreement(matches: Matches, key_widths: Sequence[int]) -> Float[Tensor, "b h w"]:
    """For each cell the share of its two to four neighbours whose best patch lies beside its own on the same side.

    ``key_widths`` are the keys' widths in cells, W of Eq. 3. In [0, 1]; 0 for a map of one cell.
    """
    across = torch.tensor(key_widths, device=matches.index.device)[matches.source] - 2
    place = torch.stack([matches.source, matches.index // across, matches.index % across])
    agreeing, neighbours = torch.zeros(2, *matches.index.shape, device=place.device)
    for axis, step in ((1, (0, 1, 0)), (2, (0, 0, 1))):
        same = (place.diff(dim=axis + 1) == place.new_tensor(step).view(3, 1, 1, 1)).all(0)
        for first in (0, 1):  # what holds between two cells counts for both of them
            agreeing.narrow(axis, first, same.shape[axis]).add_(same)
            neighbours.narrow(axis, first, same.shape[axis]).add_(1)
    return agreeing / neighbours.clamp(min=1)


def judge(model: nn.Module, agreement: float, matching: str = "exact") -> Verdict:
    """What a mean ``agreement`` means for this network. Never raises: without a measured threshold it says so.

    Coarse matching has a threshold of its own, for it takes places from neighbours.
    """
    share = f"{100 * agreement:.0f} % of neighbouring patches have neighbouring matches"
    known = thresholds().get((model.card or {}).get("sha256"), {}).get(matching)
    if known is None:
        text = f"{share}; how many it takes for a reference to help was not measured for this network"
        return Verdict(agreement, None, None, text)
    threshold, chosen, tested = known["threshold"], known["chosen on"], known["tested on"]
    related, unrelated = (f"{tested[f'{kind}, right']} of {tested[kind]}" for kind in ("related", "unrelated"))
    limit = f"the limit is {100 * threshold:.0f} %, right on {related} related test pairs and on {unrelated} unrelated"
    # How far apart the two kinds were where the limit was chosen: less than that above the limit is no clear case.
    gap = max(0.0, chosen["agreement, related"][0] - chosen["agreement, unrelated"][-1])
    if agreement > threshold + gap:
        helps, text = True, "the reference shows the same things: {}"
    elif agreement > threshold:
        helps, text = None, "it is hard to tell whether the reference helps: {}"
    else:
        helps = False
        text = (
            "the reference does not seem to help: only {}; what it added may be wrong, without --ref nothing is added"
        )
    return Verdict(agreement, threshold, helps, text.format(f"{share} ({limit} ones)"))


@lru_cache(maxsize=1)
def thresholds() -> dict[str, dict]:
    """By the SHA-256 of a checkpoint what ``benchmarks/confidence.py`` measured; empty if it was not run."""
    return json.loads(FILE.read_text(encoding="utf-8"))["checkpoints"] if FILE.is_file() else {}
