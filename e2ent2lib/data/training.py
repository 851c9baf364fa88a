"""Photographs to train on, and the crop-twice pairs (4.1) cut from them. Notebook 01."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from e2ent2lib.config import Profile
from e2ent2lib.crops import Box, Crops, crop_beside, crop_near, crop_twice
from e2ent2lib.data.leaks import Mark, evaluation_marks, leaks, mark
from e2ent2lib.data.pairs import EVALUATION_FOLDERS, VALIDATION_SCENES, data_folder, embedded_photographs, photographs
from e2ent2lib.photos.images import as_rgb, downscale, read_image, to_tensor


class CropTwice(Dataset):
    """A reproducible series of crop-twice pairs, ``Crops``; item i depends on the seed and i alone.

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
        return Crops(*(to_tensor(x)[0] for x in (hr, downscale(hr, r), ref, downscale(ref, r))))

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
    usable, marks, pixel_count = {}, [], 0
    for name, image in tqdm(named.items(), desc="reading photographs", disable=not progress, leave=False):
        pixels = as_rgb(image, name)
        if min(pixels.shape[:2]) >= profile.crop:
            usable[name] = pixels if profile.cache else image
            pixel_count += pixels.size // 3
            marks.append(mark(pixels))
    _refuse_leaks(zip(usable, marks), progress)
    held = held_out(list(usable))
    names = [name for name in usable if name not in held]
    train = [usable[name] for name in names]
    scenes = [str(p.parent) if p.parent.parent.name == "scenes" else str(p) for p in map(Path, names)]
    if not train:
        raise ValueError(f"{source}: none of its {len(named)} images has sides of at least {profile.crop} pixels")
    facts = {
        "source": "embedded" if str(source) == "embedded" else Path(source).name,
        "images": len(named),
        "used": len(usable),
        "left_out_smaller_than_a_crop": len(named) - len(usable),
        "megapixels": round(pixel_count / 1e6, 1),
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
    leaked = leaks(training, evaluation_marks(progress=progress))
    if leaked:
        shown = "\n  ".join(leaked[:10] + [f"and {len(leaked) - 10} more"] * (len(leaked) > 10))
        raise ValueError(f"a model trained on these could not be measured; move them elsewhere:\n  {shown}")


def held_out(names: Sequence[str]) -> set[str]:
    """The names kept for validation, as ``training_images`` says."""
    folders = Counter(os.path.dirname(name) for name in names)
    large = [name for name in names if folders[os.path.dirname(name)] >= 50]
    scenes = {n for n in names if os.path.basename(os.path.dirname(n)) in VALIDATION_SCENES}
    one_in_20 = {n for n in large if hashlib.sha256(n.encode()).digest()[0] < 13}
    return {n for n in names if n == "chelsea"} | scenes | one_in_20
