"""Measuring: one row an image, each with all that is needed to measure it again."""

import hashlib
import os
import time
from dataclasses import asdict

import numpy as np
from jaxtyping import UInt8
from torch import nn
from tqdm.auto import tqdm

from e2ent2lib import provenance
from e2ent2lib.checkpoints import load_model, read_card, shipped_folder
from e2ent2lib.config import get_profile
from e2ent2lib.data.pairs import Pair, dataset, fingerprint
from e2ent2lib.images import crop_to_multiple, downscale, to_image, upscale_bicubic
from e2ent2lib.inference import feature_distance, run, super_resolve_with
from e2ent2lib.metrics import Protocol, psnr, ssim
from e2ent2lib.models import E2ENT2


def evaluate(
    name: str,
    data: str,
    *,
    profile: str | None = None,
    folder: str | os.PathLike | None = None,
    protocol: Protocol = Protocol(),
    progress: bool = True,
) -> list[dict]:
    """PSNR, SSIM and feature distance of a model on each pair of a data set, with provenance.

    ``name`` is "bicubic" or a model with a checkpoint of the profile (in ``folder`` if it is one of your own); ``data``
    a data set's name. The input is the HR image by ``downscale``, the reference level 1. Raises as ``load_model`` and
    ``dataset`` do.
    """
    profile = get_profile(profile).name
    model = None if name == "bicubic" else load_model(name, profile, folder)
    pairs = dataset(data).pairs()
    shared = {
        "model": name,
        "dataset": data,
        "label": dataset(data).label(len(pairs)),
        "profile": profile,
        "checkpoint_sha256": model.card["sha256"] if model else None,
        "provisional": model.card["provisional"] if model else False,
        "data_fingerprint": data_fingerprint(pairs),
        "protocol": asdict(protocol),
        "seed": None,  # nothing in the measurement is drawn at random
        **provenance.here(),
        "code": code_fingerprint(),
    }
    bar = tqdm(pairs, desc=f"{name} on {data}", unit="image", disable=not progress, leave=False)
    return [shared | measure(model, pair, protocol) for pair in bar]


def measure(model: nn.Module | None, pair: Pair, protocol: Protocol) -> dict:
    """The scores of one pair; ``model`` None is bicubic."""
    hr, ref = prepared(pair)
    lr = downscale(hr)
    start = time.perf_counter()
    swapped = None
    if isinstance(model, E2ENT2):
        out = run(model, lr, [ref])
        sr, swapped = to_image(out.sr), out.swapped
    else:
        sr = upscale_bicubic(lr) if model is None else super_resolve_with(model, lr)
    seconds = time.perf_counter() - start
    distance, relative = (None, None) if model is None else feature_distance(model, lr, [ref], hr, swapped)
    return {
        "image": pair.name,
        "psnr": psnr(sr, hr, protocol),
        "ssim": ssim(sr, hr, protocol),
        "feature_distance": distance,
        "feature_distance_relative": relative,
        "seconds": round(seconds, 3),
    }


def prepared(pair: Pair) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w 3"]]:
    """(HR, reference of level 1), each cropped to a multiple of 4: what is measured, and what is fingerprinted."""
    return crop_to_multiple(pair.hr()), crop_to_multiple(pair.refs()[0])


def data_fingerprint(pairs: list[Pair]) -> str:
    """SHA-256 over the decoded pixels of all pairs after preparation."""
    return fingerprint(image for pair in pairs for image in prepared(pair))


def code_fingerprint() -> str:
    """SHA-256 over the library's source: a stored score is only as good as the code that made it."""
    sources = sorted((provenance.ROOT / "e2ent2lib").rglob("*.py"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in sources if "report" not in p.parts)).hexdigest()


def up_to_date(rows: list[dict], name: str, data: str, profile: str, protocol: Protocol) -> bool:
    """Whether stored rows are what ``evaluate`` would measure now: same code, weights, pictures and protocol."""
    if not rows:
        return False
    pairs = dataset(data).pairs()
    weights = shipped_folder() / profile / f"{name}.safetensors"
    sha = None if name == "bicubic" else read_card(weights, profile)["sha256"]
    now = {
        "checkpoint_sha256": sha,
        "code": code_fingerprint(),
        "protocol": asdict(protocol),
        "data_fingerprint": data_fingerprint(pairs),
    }
    return len(rows) == len(pairs) and all(row.get(k) == v for row in rows for k, v in now.items())
