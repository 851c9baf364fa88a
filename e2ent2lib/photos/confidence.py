"""Whether a reference helps: a threshold on how far its matches agree, measured on pairs whose answer is known.

Eq. 4 always finds a best patch, however bad. What tells a reference that shows the same things from one that does not
is whether cells keep their offset: the share of cells whose best patch lies as far from that of another cell as the
cells do. Adjacent cells often do so by chance, since their patches overlap; cells four apart hardly ever.
The cosine of patch and match tells less, for it is also high where nothing is to be seen. ``confidence.json`` holds a
threshold for each checkpoint, as ``benchmarks/confidence.py`` measured it, with how often it is right on pictures it
was not chosen on. Notebook 14.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.matching import Matches
from e2ent2lib.photos.coarse import places_of

FAR = 4
"""Cells between those that are compared."""
ADDS = 0.6
"""dB that a reference should add where it is tried; mirrored views of training scenes add up to 0.3."""
FILE = Path(__file__).with_name("confidence.json")


class Verdict(NamedTuple):
    """What may be said of a reference."""

    agreement: float
    """``mean`` of ``agreement``, in [0, 1]."""
    threshold: float | None
    """Above it a reference helped, below it not; None if none was measured for the network."""
    helps: bool | None
    """None if that is hard to tell, if something else costs it its gain, or no threshold was measured."""
    text: str
    """For the user."""


def agreement(matches: Matches, key_widths: Sequence[int]) -> Float[Tensor, "b h w"]:
    """For each cell the share of those ``FAR`` above, below, left and right whose best patch is as far from its own.

    Of several references only cells that took the same one are compared, so that references that show the same don't
    count against each other. ``key_widths`` are the keys' widths in cells, W of Eq. 3. In [0, 1], or NaN.
    """
    place = torch.stack(places_of(matches, key_widths)[:3])
    agreeing, neighbours = torch.zeros(2, *matches.index.shape, device=place.device)
    for axis, step in ((1, (0, FAR, 0)), (2, (0, 0, FAR))):
        count = max(0, place.shape[axis + 1] - FAR)
        apart = place.narrow(axis + 1, place.shape[axis + 1] - count, count) - place.narrow(axis + 1, 0, count)
        same = (apart == place.new_tensor(step).view(3, 1, 1, 1)).all(0)
        for first in (0, agreeing.shape[axis] - count):  # what holds between two cells counts for both of them
            agreeing.narrow(axis, first, count).add_(same)
            neighbours.narrow(axis, first, count).add_(apart[0] == 0)
    return agreeing / neighbours  # 0/0 is NaN


def mean(agreement: Float[Tensor | np.ndarray, "*shape"]) -> float:
    """Over the cells that have an agreement; 0 if none has."""
    return float(torch.as_tensor(agreement).nanmean().nan_to_num())


def judge(
    model: nn.Module,
    agreement: float,
    matching: str = "exact",
    *,
    registered: bool = False,
    tried: float | None = None,
    costly: bool = False,
) -> Verdict:
    """What a mean ``agreement`` means for this network. Never raises: without a measured threshold it says so.

    A network that was not measured is judged by another's limit, and the text says whose; they hardly differ. Coarse
    matching has a threshold of its own, for it takes places from neighbours. ``registered``: key points agree on how a
    reference lies over the input, so that it shows the same, even if in another size. ``tried``: the dB that the
    references add to the input, reduced and enlarged again (``systems.photo``). ``costly``: another problem, reported
    separately, keeps all references from helping, whatever they show.
    """
    share = f"{100 * agreement:.1f} % of patch pairs keep their offset in the reference"
    own = thresholds().get((model.card or {}).get("sha256"), {})
    other = next((one for one in thresholds().values() if matching in one), {})
    if (known := own.get(matching) or other.get(matching)) is None:
        text = f"{share}; the limit above which a reference helps was not measured for this network"
        return Verdict(agreement, None, None, text)
    threshold, tested = known["threshold"], known["tested on"]
    # Where it was chosen, unrelated pairs stay below the limit by some factor. As far above it is no clear case either.
    chance = max(1e-4, known["chosen on"]["agreement, unrelated"][-1])
    unclear, clear = sorted((chance, threshold**2 / chance))
    related, unrelated = (f"{tested[f'{kind}, right']} of {tested[kind]}" for kind in ("related", "unrelated"))
    limit = f"the limit is {100 * threshold:.1f} %, right on {related} related test pairs and on {unrelated} unrelated"
    if matching not in own:
        limit = f"with {other['model']} {limit}"
    share, helps = f"{share} ({limit} ones)", None
    if registered:
        share = f"key points agree on how it lies over the input; {share}"
    if agreement <= unclear and not registered:
        helps, text = False, f"the reference does not seem to help: only {share}"
    elif tried is not None and tried < ADDS:
        helps, text = False, f"the reference does not seem to help: it adds {tried:+.2f} dB to the input, reduced by 4"
    elif agreement <= clear and not registered and tried is None:
        text = f"it is hard to tell whether the reference helps: {share}"
    elif costly:
        text = f"the reference shows the same things, but adds little or nothing for the reason below: {share}"
    else:
        helps, text = True, f"the reference shows the same things: {share}"
        if gain := tested.get("gain when it says helps / dB"):
            gained = "; test pairs with this verdict gained {mean:+.2f} dB on average, {least:+.2f} to {most:+.2f}"
            text += gained.format(**gain)
    return Verdict(agreement, threshold, helps, text)


@lru_cache(maxsize=1)
def thresholds() -> dict[str, dict]:
    """What ``benchmarks/confidence.py`` measured, by a checkpoint's SHA-256; empty if it was not run."""
    return json.loads(FILE.read_text(encoding="utf-8"))["checkpoints"] if FILE.is_file() else {}
