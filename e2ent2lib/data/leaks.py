"""Training photographs that are also in an evaluation set: by decoded pixels, or alike to the eye (perceptual hash)."""

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from tqdm.auto import tqdm

from e2ent2lib.data import viewpairs
from e2ent2lib.data.pairs import DATASETS, data_roots, fingerprint, image_files
from e2ent2lib.photos.images import as_rgb

# Bits of 64 that may differ. Saving as JPEG or halving the size moves at most 4 on photographs, and the nearest of 634
# training photographs is 14 from CUFED5's, Flickr1024's and Middlebury's that were looked at.
NEAR = 4


class Mark(NamedTuple):
    """What a picture is recognised by."""

    pixels: str
    look: int


def mark(image: UInt8[np.ndarray, "h w 3"]) -> Mark:
    """SHA-256 of the decoded pixels, and the perceptual hash (phash, 64 bits) as a number."""
    import imagehash  # it loads scipy and PyWavelets, which only this needs

    return Mark(fingerprint([image]), int(str(imagehash.phash(Image.fromarray(image))), 16))


def evaluation_marks(*, progress: bool = False) -> dict[Mark, str]:
    """The marks of all pictures of evaluation sets that are here, each with its name; what cannot be read is left out.

    The whole of KITTI has no loader, but every folder of that name counts. Those of ViewPairs are known from its list.
    """
    sets = [data for data in DATASETS.values() if data.views]
    views = [(data, view) for data in sets for pair in viewpairs.pairs_of(data.views) for view in pair]
    marks = {Mark(view.pixels, view.look): f"{data.title}: {view.name}" for data, view in views}
    pictures = list(_evaluation())
    for name, picture in tqdm(pictures, desc="hashing evaluation sets", disable=not progress or None, leave=False):
        try:
            marks.setdefault(_marked(picture), name)
        except (OSError, ValueError):  # `e2ent2 data check` says which file is damaged; it cannot leak
            continue
    return marks


def _evaluation() -> Iterator[tuple[str, object]]:
    for data in DATASETS.values():
        if data.for_evaluation and not data.views:
            for pair in data.lister():
                yield f"{data.title}: {pair.name}", pair.hr_source
                for ref in (r for r in pair.ref_sources if not callable(r)):
                    yield f"{data.title}: reference of {pair.name}", ref
    for folder in (f for root in data_roots() if root.is_dir() for f in root.iterdir() if f.is_dir()):
        if folder.name.upper().startswith("KITTI"):
            yield from ((f"KITTI: {p.relative_to(folder).as_posix()}", p) for p in image_files(folder))


def _marked(picture: object) -> Mark:
    if isinstance(picture, np.ndarray):
        return mark(picture)
    status = os.stat(picture)
    return _marked_file(Path(picture), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=100_000)
def _marked_file(path: Path, changed: int, size: int) -> Mark:  # a file is hashed once, again only if it changes
    return mark(as_rgb(path))


def leaks(training: Iterable[tuple[str, Mark]], evaluation: dict[Mark, str]) -> list[str]:
    """One line for each training photograph that equals, or looks like, a picture of an evaluation set."""
    names = list(evaluation.values())
    exact = {m.pixels: name for m, name in evaluation.items()}
    looks = np.array([m.look for m in evaluation], np.uint64)
    found = []
    for name, one in training:
        bits = np.bitwise_count(looks ^ np.uint64(one.look))
        if one.pixels in exact:
            found.append(f"{name} has the pixels of {exact[one.pixels]}")
        elif len(bits) and bits.min() <= NEAR:
            found.append(f"{name} looks like {names[int(bits.argmin())]} ({bits.min()} of 64 bits differ)")
    return found
