"""Measuring: one row an image, each with all that is needed to measure it again."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from tqdm.auto import tqdm

from e2ent2lib.config import get_profile
from e2ent2lib.data.pairs import DataSet, Pair, dataset, fingerprint
from e2ent2lib.measure.metrics import Protocol, psnr, ssim
from e2ent2lib.measure.perceptual import SCORES, computed_with, perceptual_scores, why_not
from e2ent2lib.models.network import Network
from e2ent2lib.photos.images import crop_to_multiple, downscale, resize
from e2ent2lib.photos.inference import enlarge, feature_distance
from e2ent2lib.photos.options import Options
from e2ent2lib.photos.photograph import Pixels
from e2ent2lib.photos.tiles import Enlarged
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import load_model
from e2ent2lib.systems import system_of
from e2ent2lib.systems.bicubic import Bicubic

SCORING = (
    *("config.py", "matching.py", "exact", "models", "systems", "runs/checkpoints.py", "data/pairs.py"),
    *(f"photos/{name}.py" for name in ("images", "inference", "options", "photograph", "tiles")),
    *(f"measure/{name}.py" for name in ("evaluate", "metrics", "perceptual")),
)
"""The files and folders of the library that compute scores: a stored score is stale when one of these changed, and not
when training, reports, explorers or the command line did."""


def evaluate(
    name: str,
    data: str,
    *,
    profile: str | None = None,
    folder: str | os.PathLike | None = None,
    protocol: Protocol = Protocol(),
    perceptual: bool = False,
    progress: bool = True,
) -> list[dict]:
    """PSNR, SSIM and feature distance of a model on each pair of a data set, with provenance.

    ``name`` is a system without weights, or with a checkpoint of the profile (in ``folder`` if it is one of your own);
    ``data`` a data set's name. The input is the HR image by ``downscale``; kernel and reference are the
    protocol's. ``perceptual`` adds the scores of ``e2ent2lib.measure.perceptual``, for which weights must be at hand.
    Raises as ``load_model`` and ``dataset`` do, and ValueError for a reference level that a data set does not have, a
    stereo method on other pairs, and a model trained with random VGG features.
    """
    profile = get_profile(profile).name
    chosen = dataset(data, reference=protocol.reference)
    if system_of(name).references == "stereo" and not chosen.stereo:
        raise ValueError(f"{name} takes rectified stereo pairs only; {chosen.title} has other references")
    model = load_model(name, profile, folder)
    pictures = Pictures(chosen, protocol)
    shared = pictures.facts(name, profile, model.card, perceptual) | provenance.here()
    bar = tqdm(pictures.pairs, desc=f"{name} on {data}", unit="image", disable=not progress, leave=False)
    return [shared | measure(model, pair, protocol, perceptual) for pair in bar]


class Pictures:
    """The pairs of a data set that are here, as a protocol measures them. Raises FileNotFoundError if there are none.

    Their decoding and fingerprint take a while; all systems share them.
    """

    def __init__(self, data: DataSet, protocol: Protocol):
        self.data, self.protocol, self.pairs = data, protocol, data.pairs()
        self.fingerprint = data_fingerprint(self.pairs, protocol)

    def facts(self, name: str, profile: str, card: dict, perceptual: bool) -> dict:
        """What all rows of a system share, less where and when they were measured: with other facts they are stale.

        Raises ValueError for a model trained with random VGG features.
        """
        if "random" in (card.get("vgg") or {}).get("weights", ""):
            raise ValueError(f"{name} was trained with random VGG features, for tests; train it with VGG19's weights")
        return {
            "model": name,
            "dataset": self.data.name,
            "label": self.data.label(len(self.pairs)),
            "profile": profile,
            "checkpoint_sha256": card["sha256"],
            "data_fingerprint": self.fingerprint,
            "protocol": asdict(self.protocol),
            "seed": None,  # nothing in the measurement is drawn at random
            "training_seed": card.get("seed"),
            "perceptual": {score: computed_with(score) for score in SCORES if perceptual and not why_not(score)},
            "code": code_fingerprint(),
        }


def measure(model: Network, pair: Pair, protocol: Protocol, perceptual: bool = False) -> dict:
    """The scores of one pair; "seconds" and "processor_seconds", of all threads, are of the enlarging alone."""
    hr, *refs = prepared(pair, protocol)
    lr = downscale(hr, kernel=protocol.resize)
    start, processor = time.perf_counter(), time.process_time()
    if not refs and model.references != "none":
        pair.refs()  # says which pair lacks one
    result = enlarge_for(protocol, model, lr, refs)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    distance = feature_distance(model, lr, refs, hr, result) if refs and model.encodes else (None, None)
    return {
        "image": pair.name,
        "psnr": psnr(result.image, hr, protocol),
        "ssim": ssim(result.image, hr, protocol),
        "feature_distance": distance[0],
        "feature_distance_relative": distance[1],
        **(perceptual_scores(result.image, hr) if perceptual else {}),
        "seconds": round(seconds, 3),
        "processor_seconds": round(processor, 3),
    }


def enlarge_for(protocol: Protocol, model: Network, lr: Pixels, refs: Sequence[Pixels]) -> Enlarged:
    """What ``e2ent2 upscale`` makes of a picture, rounded if the protocol rounds; bicubic by the protocol's kernel."""
    rounded = protocol.rounding != "none"
    if isinstance(model, Bicubic):
        kernel, card = protocol.resize, model.card
        model = Bicubic(model.profile, kernel, rounded)
        model.card = card
    return enlarge(model, lr, refs, Options(rounded=rounded))


def prepared(pair: Pair, protocol: Protocol = Protocol()) -> tuple[Pixels, ...]:
    """(HR, reference, …), sides multiples of 4 as the protocol says: what is measured, and what is fingerprinted."""
    refs = pair.refs() if pair.ref_sources else []
    used = refs if protocol.reference == "all levels" else refs[:1]
    return tuple(_even(image, protocol) for image in (pair.hr(), *used))


def _even(image: Pixels, protocol: Protocol) -> Pixels:
    height, width = (n - n % 4 for n in image.shape[:2])
    if protocol.odd_size.startswith("crop") or (height, width) == image.shape[:2]:
        return crop_to_multiple(image)
    return resize(image, height, width).round().astype(np.uint8)


def data_fingerprint(pairs: list[Pair], protocol: Protocol = Protocol()) -> str:
    """SHA-256 over the decoded pixels of all pairs after preparation."""
    return fingerprint(image for pair in pairs for image in prepared(pair, protocol))


def code_fingerprint(parts: tuple[str, ...] = SCORING) -> str:
    """SHA-256 over the source of these parts of the library: a stored score is only as good as the code that made it.

    ``("",)`` is the whole library.
    """
    library = provenance.ROOT / "e2ent2lib"
    sources = [p for part in parts for p in sorted((library / part).rglob("*.py")) or [library / part]]
    return hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()
