"""Crop-twice pairs (4.1): two random boxes of one photograph, one the input, one the reference. Notebook 01."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from e2ent2lib.config import Profile
from e2ent2lib.data.leaks import Mark, evaluation_marks, leaks, mark
from e2ent2lib.data.pairs import EVALUATION_FOLDERS, VALIDATION_SCENES, data_folder, embedded_photographs, photographs
from e2ent2lib.photos.images import as_rgb, downscale, read_image

Box = tuple[int, int]


class Crops(NamedTuple):
    """One training sample: the four images of 3.1, each (3, height, width) float32 in [0, 1]."""

    hr: Tensor
    lr: Tensor
    ref: Tensor
    ref_down: Tensor


def crop_twice(
    size: tuple[int, int], crop: int, rng: np.random.Generator, max_offset: int | None = None
) -> tuple[Box, Box]:
    """Top-left corners (y, x) of two random boxes of side ``crop`` in an image of ``size`` (height, width).

    Uniform over the image as in 4.1; with ``max_offset`` the second is at most so many pixels from the first in each
    direction. Raises ValueError if the image is smaller than the crop.
    """
    if min(size) < crop:
        raise ValueError(f"an image of {size[1]}×{size[0]} is smaller than a crop of {crop}×{crop}")
    first = tuple(int(rng.integers(n - crop + 1)) for n in size)
    return first, crop_near(size, crop, first, rng, max_offset)


def crop_near(
    size: tuple[int, int], crop: int, place: Box, rng: np.random.Generator, max_offset: int | None = None
) -> Box:
    """A random box of an image of ``size``, at most ``max_offset`` pixels from ``place`` in each direction."""
    reach = max(size) if max_offset is None else max_offset
    place = tuple(min(a, n - crop) for a, n in zip(place, size))
    low = [max(0, a - reach) for a in place]
    high = [min(n - crop, a + reach) for a, n in zip(place, size)]
    return tuple(int(rng.integers(a, b + 1)) for a, b in zip(low, high))


def crop_beside(size: tuple[int, int], crop: int, rng: np.random.Generator, max_offset: int) -> tuple[Box, Box]:
    """Boxes as those of a rectified stereo pair: the second in the same rows, 0 to ``max_offset`` pixels to the right.

    What is at column x of the first crop is at x − d of the second, as in the right view of a scene at disparity d.
    Raises ValueError if the image is smaller than the crop.
    """
    if min(size) < crop:
        raise ValueError(f"an image of {size[1]}×{size[0]} is smaller than a crop of {crop}×{crop}")
    shift = int(rng.integers(min(max_offset, size[1] - crop) + 1))
    y, x = int(rng.integers(size[0] - crop + 1)), int(rng.integers(size[1] - crop - shift + 1))
    return (y, x), (y, x + shift)


def overlap(first: Box, second: Box, crop: int) -> float:
    """The share of the input box that the reference box also covers, 0 to 1."""
    height, width = (max(0, crop - abs(a - b)) for a, b in zip(first, second))
    return height * width / crop**2


class CropTwice(Dataset):
    """An endless, reproducible series of crop-twice pairs; item i depends on the seed and i alone.

    ``images`` are uint8 (H, W, 3) arrays or paths. No augmentation but translation (4.1). ``profile.unrelated`` is the
    fraction of references cut from another photograph, ``profile.views`` of those cut from another view of the same
    scene, near the same place; ``scenes`` names the scene of each image, and without it none has another view.
    """

    def __init__(
        self,
        images: Sequence,
        profile: Profile,
        *,
        length: int,
        seed: int = 0,
        start: int = 0,
        scenes: Sequence[str] | None = None,
    ):
        self.images, self.profile, self.length, self.seed, self.start = images, profile, length, seed, start
        self._view = other_views(scenes or [])
        self._recent: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.length - self.start

    def boxes(self, item: int) -> tuple[int, Box, int, Box]:
        """(input image, its box, reference image, its box) of item ``item``, counted from ``start``."""
        rng = np.random.default_rng([self.seed, item + self.start])
        crop = self.profile.crop
        i = j = int(rng.integers(len(self.images)))
        draw = crop_beside if self.profile.stereo else crop_twice
        first, second = draw(self._size(i), crop, rng, self.profile.max_offset)
        lot = rng.random()
        if lot < self.profile.unrelated and len(self.images) > 1:
            j = (i + int(rng.integers(1, len(self.images)))) % len(self.images)
            second = crop_twice(self._size(j), crop, rng)[0]
        elif lot < self.profile.unrelated + self.profile.views and i in self._view:
            j = self._view[i]
            second = crop_near(self._size(j), crop, first, rng, self.profile.max_offset)
        return i, first, j, second

    def __getitem__(self, item: int) -> Crops:
        i, first, j, second = self.boxes(item)
        hr, ref = self._cut(i, first), self._cut(j, second)
        r = self.profile.scale
        return Crops(*(_to_chw(x) for x in (hr, downscale(hr, r), ref, downscale(ref, r))))

    def _size(self, i: int) -> tuple[int, int]:
        return self._image(i).shape[:2]

    def _image(self, i: int) -> UInt8[np.ndarray, "h w 3"]:
        if i not in self._recent:  # an item asks for its one or two photographs several times; decode each once
            if len(self._recent) == 2:
                del self._recent[next(iter(self._recent))]
            image = self.images[i]
            self._recent[i] = image if isinstance(image, np.ndarray) else read_image(image)
        return self._recent[i]

    def _cut(self, i: int, box: Box) -> UInt8[np.ndarray, "c c 3"]:
        y, x = box
        return self._image(i)[y : y + self.profile.crop, x : x + self.profile.crop]


def other_views(scenes: Sequence[str]) -> dict[int, int]:
    """For each image that has one, the next image of the same scene; of the last, the one before it."""
    shots = defaultdict(list)
    for i, scene in enumerate(scenes):
        shots[scene].append(i)
    return {i: j for s in shots.values() if len(s) > 1 for i, j in zip(s, [*s[1:], s[-2]])}


def _to_chw(image: UInt8[np.ndarray, "h w 3"]) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


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
        named = dict(embedded_photographs())
    else:
        folder = Path(source) if Path(source).is_dir() else data_folder(str(source)) or Path(source)
        named = {p.relative_to(folder).as_posix(): p for p in photographs(folder)}
        _refuse_evaluation_sets(named.values())
    found, usable = len(named), {}
    sizes, marks = 0, []
    for name, image in tqdm(named.items(), desc="reading photographs", disable=not progress, leave=False):
        pixels = as_rgb(image, name)
        if min(pixels.shape[:2]) >= profile.crop:
            usable[name] = pixels if profile.cache else image
            sizes += pixels.size // 3
            marks.append(mark(pixels))
    _refuse_leaks(zip(usable, marks), progress)
    held = held_out(list(usable))
    names = [name for name in usable if name not in held]
    train = [usable[name] for name in names]
    scenes = [str(p.parent) if p.parent.parent.name == "scenes" else str(p) for p in map(Path, names)]
    if not train:
        raise ValueError(f"{source}: none of its {found} images has sides of at least {profile.crop} pixels")
    facts = {
        "source": "embedded" if str(source) == "embedded" else Path(source).name,
        "images": found,
        "used": len(usable),
        "left_out_smaller_than_a_crop": found - len(usable),
        "megapixels": round(sizes / 1e6, 1),
        "validation": sorted(held),
        "fingerprint": hashlib.sha256("".join(m.pixels for m in marks).encode()).hexdigest(),
    }
    return TrainingImages(train, [usable[n] for n in sorted(held)] or train, facts, scenes)


def _refuse_evaluation_sets(paths: Iterable[Path]) -> None:
    for path in paths:
        parts = {part.upper() for part in path.resolve().parts}
        forbidden = [name for name in EVALUATION_FOLDERS if name.upper() in parts]
        if forbidden:
            raise ValueError(f"{path}: {forbidden[0]} is for evaluation, a model trained on it could not be measured")


def _refuse_leaks(training: Iterable[tuple[str, Mark]], progress: bool) -> None:
    found = leaks(training, evaluation_marks(progress=progress))
    if found:
        shown = "\n  ".join(found[:10] + [f"and {len(found) - 10} more"] * (len(found) > 10))
        raise ValueError(f"a model trained on these could not be measured; move them elsewhere:\n  {shown}")


def held_out(names: Sequence[str]) -> set[str]:
    """The names kept for validation, as ``training_images`` says."""
    folders = Counter(os.path.dirname(name) for name in names)
    large = [name for name in names if folders[os.path.dirname(name)] >= 50]
    scenes = {n for n in names if os.path.basename(os.path.dirname(n)) in VALIDATION_SCENES}
    one_in_20 = {n for n in large if hashlib.sha256(n.encode()).digest()[0] < 13}
    return {n for n in names if n == "chelsea"} | scenes | one_in_20
