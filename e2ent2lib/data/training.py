"""Photographs to train on, none of an evaluation set, and the crop-twice pairs (4.1) cut from them. Notebook 01."""

import hashlib
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from e2ent2lib.config import Profile
from e2ent2lib.crops import Box, Crops, crop_beside, crop_twice
from e2ent2lib.data import pairs as sets
from e2ent2lib.photos.images import as_rgb, downscale, to_tensor

Homography = Float[np.ndarray, "3 3"]
CACHE = 4 << 30
"""Bytes of decoded photographs that are kept in memory at most; the others are decoded again for each crop."""


class CropTwice(Dataset):
    """A reproducible series of crop-twice pairs, ``Crops``; item i depends on the seed and i alone.

    ``images`` are uint8 (H, W, 3) arrays or paths. No augmentation but translation (4.1). ``profile.unrelated`` is the
    fraction of references cut from another photograph, ``profile.views`` of those cut from the next view of a scene
    where it shows the same, two in three laid over the input; ``scenes`` names the scene of each image, and without it
    none has another view. Of the others ``profile.aligned`` are shifted by multiples of the scale.
    """

    def __init__(
        self, images: Sequence, profile: Profile, *, length: int, seed: int = 0, start: int = 0, scenes: Sequence = ()
    ):
        self.images, self.profile, self.length, self.seed, self.start = images, profile, length, seed, start
        self._views = registered_views(images, scenes) if profile.views else []
        self._recent: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.length - self.start

    def boxes(self, item: int) -> tuple[int, Box, int, Box | Homography]:
        """(input image, its box, reference image, its box or a homography from the crop's pixels) of ``item``."""
        rng = np.random.default_rng([self.seed, item + self.start])
        crop = self.profile.crop
        i = j = int(rng.integers(len(self.images)))
        draw = crop_beside if self.profile.stereo else crop_twice
        first, second = draw(self._size(i), crop, rng, self.profile.max_offset)
        lot = rng.random()
        if lot < self.profile.unrelated and len(self.images) > 1:
            j = (i + int(rng.integers(1, len(self.images)))) % len(self.images)
            second = crop_twice(self._size(j), crop, rng)[0]
        elif lot < self.profile.unrelated + self.profile.views and self._views:
            return self._other_view(rng)
        elif self.profile.aligned and rng.random() < self.profile.aligned:
            r = self.profile.scale
            second = tuple(a + int((b - a) / r) * r for a, b in zip(first, second))  # towards the first: still inside
        return i, first, j, second

    def _other_view(self, rng: np.random.Generator) -> tuple[int, Box, int, Box | Homography]:
        crop = self.profile.crop
        for _ in range(20):  # until a crop's middle is in both; the last one stays
            i, j, to = self._views[int(rng.integers(len(self._views)))]
            first, (y, x) = crop_twice(self._size(i), crop, rng, crop // 8)
            to = to @ np.array([[1, 0, x], [0, 1, y], [0, 0, 1]])
            *place, depth = (to @ (crop / 2, crop / 2, 1))[[1, 0, 2]]
            box = [int(a / depth - crop / 2) for a in place]
            if depth > 0 and all(-crop / 4 < a < n - 3 / 4 * crop for a, n in zip(box, self._size(j))):
                break
        box = tuple(min(max(a, 0), n - crop) for a, n in zip(box, self._size(j)))
        return i, first, j, box if rng.random() < 1 / 3 else to

    def __getitem__(self, item: int) -> Crops:
        i, first, j, second = self.boxes(item)
        hr, ref = self._cut(i, first), self._cut(j, second)
        r = self.profile.scale
        return Crops(*(to_tensor(x)[0] for x in (hr, downscale(hr, r), ref, downscale(ref, r))))

    def _size(self, i: int) -> tuple[int, int]:
        return self._image(i).shape[:2]

    def _image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        if i not in self._recent:  # an item asks for its one or two photographs several times; decode each once
            if len(self._recent) == 2:
                del self._recent[next(iter(self._recent))]
            image = self.images[i]
            self._recent[i] = image if isinstance(image, np.ndarray) else as_rgb(image)
        return self._recent[i]

    def _cut(self, i: int, place: Box | Homography) -> UInt8[np.ndarray, "c c 3"]:
        crop, image = self.profile.crop, self._image(i)
        if len(place) == 2:
            y, x = place
            return image[y : y + crop, x : x + crop]
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # Pillow counts from a pixel's corner
        matrix = half @ place @ np.linalg.inv(half)
        to = (matrix / matrix[2, 2]).ravel()[:8]
        perspective, bicubic = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(image).transform((crop, crop), perspective, to, bicubic))


def registered_views(images: Sequence, scenes: Sequence[str]) -> list[tuple[int, int, Homography]]:
    """(i, j, homography from i's pixels to j's) of images one or two apart in a scene, where they register."""
    from e2ent2lib.photos.registered import registered  # it needs seconds

    shots = defaultdict(list)
    for i, scene in enumerate(scenes):
        shots[scene].append(i)
    found, pairs = [], [pair for s in shots.values() for apart in (1, 2) for pair in zip(s, s[apart:])]
    for i, j in tqdm(pairs, desc="registering views", disable=None, leave=False):
        to = registered(as_rgb(images[i]), as_rgb(images[j]))
        found += [] if to is None else [(i, j, to), (j, i, np.linalg.inv(to))]
    return found


class TrainingImages(NamedTuple):
    """Photographs for training, and for validation, with what a model card says of them."""

    train: list
    validation: list
    facts: dict
    scenes: list[str]
    """Of which scene each of ``train`` is a view: its folder if that lies in one called "scenes", else its name."""


def training_images(source: str | os.PathLike, profile: Profile, *, progress: bool = True) -> TrainingImages:
    """The photographs of ``source``: "embedded", a name in ``data/`` or ``E2ENT2_DATA``, or a folder.

    Images smaller than a crop are left out and counted. About one in 20, chosen by the hash of its name, is kept for
    validation ("embedded": chelsea), but none of a folder of fewer than 50, which may be views of one scene; of scenes
    ``VALIDATION_SCENES`` are kept as a whole. Without any, the training photographs serve. Raises FileNotFoundError or
    ValueError if nothing usable is left, and ValueError for photographs that are in an evaluation set: by the folder's
    name, by their pixels, or by their look.
    """
    if str(source) == "embedded":
        named = sets.embedded_photographs()
    else:
        folder = Path(source) if Path(source).is_dir() else sets.data_folder(str(source)) or Path(source)
        named = {p.relative_to(folder).as_posix(): p for p in sets.photographs(folder)}
        for path in named.values():
            parts = {part.upper() for part in path.resolve().parts}
            if forbidden := [name for name in sets.EVALUATION_FOLDERS if name.upper() in parts]:
                raise ValueError(f"{path}: {forbidden[0]} is for evaluation; what trains on it could not be measured")
    usable, marks, pixel_count = {}, [], 0
    for name, image in tqdm(named.items(), desc="reading photographs", disable=not progress, leave=False):
        pixels = as_rgb(image, name)
        if min(pixels.shape[:2]) >= profile.crop:
            pixel_count += pixels.size // 3
            usable[name] = pixels if profile.cache and 3 * pixel_count < CACHE else image
            marks.append(mark(pixels))
    if leaked := leaks(zip(usable, marks), evaluation_marks(progress=progress)):
        shown = "\n  ".join(leaked[:10] + [f"and {len(leaked) - 10} more"] * (len(leaked) > 10))
        raise ValueError(f"a model trained on these could not be measured; move them elsewhere:\n  {shown}")
    if progress and (small := [name for name in named if name not in usable]):
        shown = ", ".join(small[:3]) + ", …" * (len(small) > 3)
        tqdm.write(f"left out, with a side under {profile.crop} pixels: {len(small)} photographs ({shown})", sys.stderr)
    held = held_out(list(usable))
    names = [name for name in usable if name not in held]
    train = [usable[name] for name in names]
    scenes = [str(p.parent) if p.parent.parent.name == "scenes" else str(p) for p in map(Path, names)]
    if not train:
        raise ValueError(f"{source}: none of its {len(named)} images has sides of at least {profile.crop} pixels")
    facts = {
        "source": Path(source).name,
        "images": len(named),
        "used": len(usable),
        "left_out_smaller_than_a_crop": len(named) - len(usable),
        "megapixels": round(pixel_count / 1e6, 1),
        "validation": sorted(held),
        "fingerprint": hashlib.sha256("".join(m.pixels for m in marks).encode()).hexdigest(),
    }
    return TrainingImages(train, [usable[n] for n in sorted(held)] or train, facts, scenes)


def held_out(names: Sequence[str]) -> set[str]:
    """The names kept for validation, as ``training_images`` says."""
    folders = Counter(os.path.dirname(name) for name in names)
    large = [name for name in names if folders[os.path.dirname(name)] >= 50]
    scenes = {n for n in names if os.path.basename(os.path.dirname(n)) in sets.VALIDATION_SCENES}
    one_in_20 = {n for n in large if hashlib.sha256(n.encode()).digest()[0] < 13}
    return {n for n in names if n == "chelsea"} | scenes | one_in_20


# ---- training photographs that are also in an evaluation set ----

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

    return Mark(sets.fingerprint([image]), int(str(imagehash.phash(Image.fromarray(image))), 16))


def evaluation_marks(*, progress: bool = False) -> dict[Mark, str]:
    """The marks of all pictures of evaluation sets that are here, each with its name; what cannot be read is not."""
    marks = {}
    for data in (data for data in sets.DATASETS.values() if data.views):
        views = [view for pair in sets.view_pairs(data.views) for view in pair]
        marks |= {Mark(view.pixels, view.look): f"{data.title}: {view.name}" for view in views}
    pictures = list(_evaluation())
    for name, picture in tqdm(pictures, desc="hashing evaluation sets", disable=not progress or None, leave=False):
        with suppress(OSError, ValueError):  # `e2ent2 data check` says which file is damaged; it cannot leak
            of_array = isinstance(picture, np.ndarray)
            marks.setdefault(mark(picture) if of_array else _marked_file(picture, os.stat(picture).st_mtime_ns), name)
    return marks


def _evaluation() -> Iterator[tuple[str, object]]:
    listed = [known for known in sets.DATASETS.values() if known.for_evaluation and not known.views]
    for title, pair in ((known.title, pair) for known in listed for pair in known.lister()):
        yield f"{title}: {pair.name}", pair.hr_source
        yield from ((f"{title}: reference of {pair.name}", r) for r in pair.ref_sources if not callable(r))
    for folder in (f for root in sets.data_roots() if root.is_dir() for f in root.iterdir() if f.is_dir()):
        if folder.name.upper().startswith("KITTI"):
            yield from ((f"KITTI: {p.relative_to(folder).as_posix()}", p) for p in sets.image_files(folder))


@lru_cache(maxsize=100_000)
def _marked_file(path: Path, changed: int) -> Mark:  # a file is hashed once, again only if it changes
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
