"""Whether a data set is what it should be: every image decoded, sizes, pairings, levels, duplicates, leaks."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm.auto import tqdm

from e2ent2lib.data import pairs as sets
from e2ent2lib.data.fetch import read_record
from e2ent2lib.data.pairs import DataSet, Pair
from e2ent2lib.data.training import Mark, evaluation_marks, leaks, mark
from e2ent2lib.photos.images import as_rgb

SMALLEST = 12  # a patch of 3×3 at a quarter of the size
Decoded = dict[Path, tuple[tuple[int, int], Mark]]
"""(width, height) and mark of each image that can be read."""


class Findings(NamedTuple):
    """What a check found: ``errors`` must be put right, ``warnings`` looked at, ``notes`` are for information."""

    errors: list[str]
    warnings: list[str]
    notes: list[str]


def check(name: str, *, progress: bool = True) -> Findings:
    """Decode and compare the images of a set or folder. Raises FileNotFoundError, or ValueError for no known set."""
    if len(names := sets.names_of(name)) > 1:
        parts = [check(one, progress=progress) for one in names]
        return Findings(*([line for lines in kind for line in lines] for kind in zip(*parts)))
    known = sets.TRAINING_SETS.get(name) or sets.dataset(name)
    folder, here = known.here(), known.lister()
    paths = sets.image_files(folder)
    if not here and not paths:
        raise FileNotFoundError(f"{known.title} is not here: {known.steps}")
    decoded, errors = _decode(paths, progress)
    if not known.reference:
        warnings = [f"{same} have the same pixels; one is enough" for same in _twins(decoded)]
        notes = [f"{known.title}: {len(paths)} of {known.total} photographs are here"]
    else:
        spoilt, warnings = _check_pairs(known, here, folder, decoded) if folder else ([], [])
        errors += spoilt
        notes = [f"{known.label(len(here))}: {len(here)} pairs, {len(decoded) or 2 * len(here)} images decoded"]
        if not errors and len(here) == known.total and known.pixels:
            if sets.fingerprint(x for p in here for x in (p.hr(), *p.refs())) != known.pixels:
                errors.append(f"{folder}: other pixels than {known.title} is known by; move it away, then fetch again")
    if len(here) > known.total:
        errors.append(f"{len(here)} are here, but the set has {known.total}; something else lies in its folder")
    for root in sets.data_roots():
        noted = {root / p: pixels for one in read_record(root).values() for p, pixels in one["pixels"].items()}
        changed = [p for p, (_, m) in decoded.items() if noted.get(p, m.pixels) != m.pixels]
        errors += [f"{p}: is not what was fetched; delete it, then fetch again" for p in changed]
    training = [(str(p), m) for p, (_, m) in decoded.items()]
    if known.for_evaluation:  # then all that is trained on, but what is damaged
        folders = [root / part for root in sets.data_roots() for part in ("train", "CUFED")]
        others = _decode([path for folder in folders for path in sets.image_files(folder)], progress)[0]
        training = [(f"embedded {name}", mark(image)) for name, image in sets.embedded_photographs().items()]
        training += [(str(p), m) for p, (_, m) in others.items()]
    evaluation = evaluation_marks(progress=progress)
    leaked = leaks(training, evaluation)
    errors += [f"{line}; delete it from the training photographs" for line in leaked]
    if not leaked:
        notes.append(f"none of {len(training)} training photographs is one of {len(evaluation)} evaluation images")
    return Findings(errors, warnings, notes)


def _decode(paths: list[Path], progress: bool) -> tuple[Decoded, list[str]]:
    """What can be read, and an error for each file that cannot, or is too small."""
    decoded, errors = {}, []
    for path in tqdm(paths, desc="decoding", unit="image", disable=not progress or None, leave=False):
        try:
            image = as_rgb(path)
            with Image.open(path) as file:
                file.verify()  # a PNG's checksums up to its end, which decoding does not need
        except Exception as error:  # Pillow's verify raises SyntaxError and more
            errors.append(str(error) if str(path) in str(error) else f"{path}: damaged ({error}); get it again")
            continue
        decoded[path] = image.shape[1::-1], mark(image)
        if min(image.shape[:2]) < SMALLEST:
            errors.append(f"{path}: {_by(image.shape[1::-1])} is less than {SMALLEST} in a side; replace it")
    return decoded, errors


def _twins(decoded: Decoded) -> Iterator[str]:
    """The names of files that share their pixels, a line for each set of twins."""
    by_pixels = defaultdict(list)
    for path, (_, m) in decoded.items():
        by_pixels[m.pixels].append(str(path))
    return (" and ".join(paths) for paths in by_pixels.values() if len(paths) > 1)


def _check_pairs(known: DataSet, pairs: list[Pair], folder: Path, decoded: Decoded) -> tuple[list, list]:
    """Errors: partners that are missing, files of another set, wrong sizes, and pictures that come twice; and
    warnings: views that look exchanged, and photographs without a reference.
    """
    errors, warnings = [], []
    for name, files in sorted(sets.grouped(folder, known.layout).items()):
        there = ", ".join(p.relative_to(folder).as_posix() for p in files.values())
        for pattern in (p for place, p in enumerate(known.layout) if place not in files):
            lacking = folder / pattern.replace("*", name, 1).replace(".*", ".png")
            errors.append(f"{lacking}: is missing, its partner is here ({there}); get it, or delete the others")
    if known.views:
        pixels = {view.name: view.pixels for pair in sets.view_pairs(known.views) for view in pair}
        for path in (p for p in decoded if p.parent == folder):
            if path.name not in pixels:
                errors.append(f"{path}: is not of {known.title}, perhaps of another level; move it away")
            elif decoded[path][1].pixels != pixels[path.name]:
                errors.append(f"{path}: other pixels than listed; move it away, then fetch again")
    for pair in pairs:
        sources = [s for s in (pair.hr_source, *pair.ref_sources) if not callable(s)]
        if not sources or not all(s in decoded for s in sources):
            continue  # they are computed, or one is damaged, which is told already
        sizes, pixels = zip(*((decoded[s][0], decoded[s][1].pixels) for s in sources))
        if len(set(pixels)) < len(pixels):
            same = " and ".join(str(s) for s, p in zip(sources, pixels) if pixels.count(p) > 1)
            errors.append(f"{same} are of one pair and have the same pixels; get them again")
        for source, size, (least, most) in zip(sources, sizes, known.sides):
            if min(size) < least or max(size) > most:
                errors.append(f"{source}: is {_by(size)}, expected {most}×{most}; get it again")
        if known.reference == "right view" and sizes[0] != sizes[1]:
            left, right = map(_by, sizes)
            errors.append(f"{sources[0]}: left is {left}, right {right}; they must be of one size, get them again")
        elif known.reference == "right view" and looks_swapped(*map(as_rgb, sources)):
            warnings.append(f"{sources[0]}: left and right look swapped; compare them, and exchange their names if so")
    for same in _twins({p.hr_source: decoded[p.hr_source] for p in pairs if p.hr_source in decoded}):
        errors.append(f"{same} have the same pixels and would count twice; delete all but one")
    if without := sum(not p.ref_sources for p in pairs):
        warnings.append(f"{without} of {len(pairs)} have no reference: bicubic and SISR models only")
    return errors, warnings


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def looks_swapped(left: UInt8[np.ndarray, "h w 3"], right: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether what both views of a rectified pair show lies further right in the right one, where it cannot lie.

    Sixteen bands of both, at 256 pixels width, are laid over each other by phase correlation: most must be shifted so
    by more than one pixel, and hardly one the other way.
    """
    from skimage.registration import phase_cross_correlation  # slow to import, and `data list` does without

    size = (256, max(64, round(256 * left.shape[0] / left.shape[1])))
    views = (Image.fromarray(view).convert("L").resize(size, Image.Resampling.BOX) for view in (left, right))
    bands = zip(*(np.array_split(np.asarray(view, float), 16) for view in views))
    shifts = np.array([phase_cross_correlation(*band)[0][1] for band in bands if all(map(np.ptp, band))])
    return bool(sum(shifts < -1) > 0.5 * len(shifts) and sum(shifts > 1) < 0.1 * len(shifts))
