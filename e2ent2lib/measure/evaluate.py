"""Measuring: one row an image, each with all that is needed to measure it again."""

import ast
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from e2ent2lib.config import get_profile
from e2ent2lib.data.pairs import DataSet, Pair, dataset, fingerprint, unsound
from e2ent2lib.measure.metrics import Protocol, psnr, ssim
from e2ent2lib.measure.perceptual import SCORES, computed_with, perceptual_scores
from e2ent2lib.measure.results import read_rows, write_rows
from e2ent2lib.models.network import Network
from e2ent2lib.photos.images import crop_to_multiple, downscale, resize
from e2ent2lib.photos.inference import enlarge, feature_distance
from e2ent2lib.photos.options import Options
from e2ent2lib.photos.photograph import Pixels
from e2ent2lib.photos.tiles import Enlarged
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import load_model
from e2ent2lib.systems import system_of

SMALLEST = 12
"""Pixels of a side: a reference needs three cells, and SSIM a window of 11."""
SCORING = (
    *("matching.py", "exact", "models", "systems/bicubic.py", "systems/vgg.py", "runs/checkpoints.py"),
    *(f"photos/{name}.py" for name in ("coarse", "images", "inference", "options", "tiles")),
    *(f"measure/{name}.py" for name in ("evaluate", "metrics", "perceptual")),
)
"""The files and folders of the library that compute the scores of every system. The profile is a checkpoint's, and the
pictures are known by ``data_fingerprint``."""


def evaluate(
    name: str,
    data: str,
    *,
    profile: str | None = None,
    folder: str | os.PathLike | None = None,
    protocol: Protocol = Protocol(),
    perceptual: bool = False,
    progress: bool = True,
    kept: Path | None = None,
) -> list[dict]:
    """PSNR, SSIM and feature distance of a model on each pair of a data set, with provenance.

    ``name`` is a system without weights, or with a checkpoint of the profile (in ``folder`` if it is one of your own);
    ``data`` a data set's name. The input is the HR image by ``downscale``; kernel and reference are the
    protocol's. ``perceptual`` adds the scores of ``e2ent2lib.measure.perceptual``, for which weights must be at hand.
    Where the data set has ``columns``, a row has them too: of each its protocol, PSNR and SSIM. Pairs that cannot be
    measured are left out, and each row says which and why. ``kept`` is a file for the rows so far, from which an
    interrupted call resumes.
    Raises as ``load_model``, ``dataset`` and ``Pictures`` do, and ValueError for a reference level that a data set does
    not have, a stereo method or protocol on other pairs, a model trained with random VGG features, or no usable pair.
    """
    profile = get_profile(profile).name
    chosen = dataset(data, reference=protocol.reference)
    if system_of(name).references == "stereo" and not chosen.stereo:
        raise ValueError(f"{name} takes rectified stereo pairs only; {chosen.title} has other references")
    if protocol.stereo != Protocol().stereo and not chosen.stereo:
        raise ValueError(f"{protocol.stereo!r} is of rectified stereo pairs only; {chosen.title} has other references")
    model = load_model(name, profile, folder)
    pictures = Pictures(chosen, protocol)
    facts, failed = pictures.facts(name, profile, model.card, perceptual), []
    rows, shared = current(read_rows(kept), facts) if kept else {}, facts | provenance.here()
    for pair in tqdm(pictures.pairs, desc=f"{name} on {data}", unit="image", disable=not progress, leave=False):
        if pair.name in rows:
            continue
        try:
            rows[pair.name] = shared | measure(model, pair, protocol, perceptual, pictures.columns)
        except (ValueError, RuntimeError) as error:  # the rest need not be lost for it
            failed.append(f"{pair.name}: {error}")
        if kept and rows:
            write_rows(kept, rows.values())
    if not rows:
        raise ValueError("; ".join(failed[:3]))
    label, rows = chosen.label(len(rows)), [rows[pair.name] for pair in pictures.pairs if pair.name in rows]
    return [row | {"left_out": pictures.left_out + failed, "label": label} for row in rows]


def current(rows: Iterable[dict], facts: dict) -> dict[str, dict]:
    """The rows, by picture, that measuring now would give again: same code, weights, pictures and protocol.

    ``facts`` are ``Pictures.facts``; of perceptual scores a row may have more than can be measured here.
    """
    found = {}
    for row in rows:
        perceptual = {name: row.get("perceptual", {}).get(name) for name in facts["perceptual"]}
        columns = {name: {"protocol": column["protocol"]} for name, column in row.get("columns", {}).items()}
        now = row | {"perceptual": perceptual, "columns": columns}
        if all(now.get(name) == value for name, value in facts.items()):
            found[row["image"]] = row
    return found


class Pictures:
    """The pairs of a data set that are here, as a protocol measures them, and what is wrong with the others.

    Their decoding and fingerprint take a while; all systems share them.
    Raises FileNotFoundError if there are none, ValueError if all are left out.
    """

    def __init__(self, data: DataSet, protocol: Protocol):
        self.data, self.protocol, self.columns = data, protocol, columns_of(data, protocol)
        self.pairs: list[Pair] = []
        self.left_out: list[str] = []
        self.fingerprint = fingerprint(self._sound())
        if not self.pairs:
            advice = f"e2ent2 data check {data.folder if data.own else data.name} tells what to do"
            raise ValueError(f"{data.title}: {'; '.join(self.left_out)}; {advice}")

    def _sound(self) -> Iterator[Pixels]:
        wrong, here = unsound(self.data), f"{self.data.here()}{os.sep}"
        self.left_out += wrong.values()
        for pair in (pair for pair in self.data.pairs() if pair.name not in wrong):
            try:
                images = prepared(pair, self.protocol)
            except (ValueError, OSError) as error:
                self.left_out.append(str(error).replace(here, ""))  # no row holds a path of this machine
                continue
            self.pairs.append(pair)
            yield from images

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
            "perceptual": {score: how for score in SCORES if perceptual and (how := computed_with(score))},
            "code": code_fingerprint(name),
            "left_out": self.left_out,
            "columns": {column: {"protocol": asdict(protocol)} for column, protocol in self.columns.items()},
            **({"folder": self.data.own} if self.data.own else {}),
        }


def columns_of(data: DataSet, protocol: Protocol) -> dict[str, Protocol]:
    """The protocols of a data set's own columns, measured beside the usual one; none beside others."""
    return {n: replace(protocol, **c) for n, c in data.columns.items()} if protocol == Protocol() else {}


def measure(
    model: Network, pair: Pair, protocol: Protocol, perceptual: bool = False, columns: Mapping[str, Protocol] = {}
) -> dict:
    """The scores of one pair; under the protocols of ``columns`` too, which differ in how a result is scored.

    "seconds" and "processor_seconds", of all threads, are of the enlarging of one view.
    """
    hr, *refs = prepared(pair, protocol)
    lr = downscale(hr, kernel=protocol.resize)
    start, processor = time.perf_counter(), time.process_time()
    if not refs and model.references != "none":
        pair.refs()  # says which pair lacks one
    result = enlarge_for(protocol, model, lr, refs)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    distance = feature_distance(model, lr, refs, hr, result) if refs and model.encodes else (None, None)
    views = [(result.image, hr)]
    if any(p.stereo == "mean of both views" for p in (protocol, *columns.values())):
        views.append(_right_view(model, hr, refs, protocol))
    own = {name: {"protocol": asdict(p)} | _scores(views, p) for name, p in columns.items()}
    return {
        "image": pair.name,
        **_scores(views, protocol),
        "feature_distance": distance[0],
        "feature_distance_relative": distance[1],
        **(perceptual_scores(result.image, hr) if perceptual else {}),
        "seconds": round(seconds, 3),
        "processor_seconds": round(processor, 3),
        **({"columns": own} if own else {}),
    }


def _scores(views: list[tuple[Pixels, Pixels]], protocol: Protocol) -> dict[str, float]:
    """PSNR and SSIM of the views, each a result and its truth, that the protocol scores."""
    scored = views if protocol.stereo == "mean of both views" else views[:1]
    means = (float(np.mean([metric(*view, protocol) for view in scored])) for metric in (psnr, ssim))
    return dict(zip(("psnr", "ssim"), means))


def _right_view(model: Network, left: Pixels, refs: list[Pixels], protocol: Protocol) -> tuple[Pixels, Pixels]:
    """The right view's result and truth, with the left view as its reference.

    A stereo method gets both mirrored: then they are a left and a right view again, as it was made for.
    """
    if [ref.shape for ref in refs] != [left.shape]:
        raise ValueError("the mean of both views needs the right view, of the left one's size, as the only reference")
    turn = -1 if model.references == "stereo" else 1
    hr, ref = (np.ascontiguousarray(view[:, ::turn]) for view in (refs[0], left))
    return enlarge_for(protocol, model, downscale(hr, kernel=protocol.resize), [ref]).image, hr


def enlarge_for(protocol: Protocol, model: Network, lr: Pixels, refs: Sequence[Pixels]) -> Enlarged:
    """What ``e2ent2 upscale`` makes of a picture, rounded if the protocol rounds; bicubic by the protocol's kernel."""
    return enlarge(model, lr, refs, Options(rounded=protocol.rounding != "none", kernel=protocol.resize))


def prepared(pair: Pair, protocol: Protocol = Protocol()) -> tuple[Pixels, ...]:
    """(HR, reference, …), sides multiples of 4 as the protocol says: what is measured, and what is fingerprinted.

    Raises as ``Pair.hr``, and ValueError for one under 12×12.
    """
    refs = pair.refs() if pair.ref_sources else []
    used = refs if protocol.reference == "all levels" else refs[:1]
    for source, image in zip((pair.hr_source, *pair.ref_sources), (pair.hr(), *used)):
        if min(image.shape[:2]) < SMALLEST:
            name = source if isinstance(source, Path) else pair.name
            raise ValueError(f"{name}: {image.shape[1]}×{image.shape[0]} pixels are too few; it takes 12×12 to measure")
    return tuple(_even(image, protocol) for image in (pair.hr(), *used))


def _even(image: Pixels, protocol: Protocol) -> Pixels:
    height, width = (n - n % 4 for n in image.shape[:2])
    if protocol.odd_size.startswith("crop") or (height, width) == image.shape[:2]:
        return crop_to_multiple(image)
    return resize(image, height, width).round().astype(np.uint8)


def code_fingerprint(name: str) -> str:
    """SHA-256 over the code that computes a system's scores: what all share, its own files, its network's options.

    A stored score is stale when one of these changed, and not when a docstring, training, reports, explorers, the
    command line or another system did.
    """
    record, library = system_of(name), provenance.LIBRARY
    sources = [p for part in SCORING for p in sorted((library / part).rglob("*.py")) or [library / part]]
    own = [record.network.partition(":")[0]]
    for module in own:  # and what it imports of these folders, which grows as it is read
        if module.startswith(("e2ent2lib.systems.", "e2ent2lib.photos.")):
            path = library.parent / (module.replace(".", "/") + ".py")
            sources += [path] * (path not in sources)
            imported = re.findall(r"^from (e2ent2lib\.\w+\.\w+) import", path.read_text(encoding="utf-8"), re.MULTILINE)
            own += [one for one in imported if one not in own]
    parts = [code_of(p.read_text(encoding="utf-8")) for p in sources] + [repr(sorted(record.options.items()))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def code_of(source: str) -> str:
    """Python's source without docstrings, blank lines and lines that are a comment; the same in every version."""
    lines = source.split("\n")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))
