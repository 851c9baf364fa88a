"""The data sets: pairs of a high-resolution photograph and its reference(s), in the owners' own layout.

``sets.toml`` lists them. Photographs are read when asked for; degradation is ``images.downscale``'s. Data sets are
looked for in ``data/`` of the project, then in the folder that the variable ``E2ENT2_DATA`` names. Only "motorcycle"
needs neither: it is the stereo pair inside scikit-image's wheel.

ViewPairs, two photographs of one thing in three levels, has a line for each pair in ``viewpairs.csv``: where its
photographs come from, and what their decoded pixels are known by. Level 1 shares most: "coverage" is the share of a
16×16 grid over the input that holds geometrically verified matches (SIFT and MAGSAC at 800 pixels), at least 0.25 at
level 1, at least 0.08 with 25 matches at level 2, less at level 3.
"""

import csv
import hashlib
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from jaxtyping import UInt8

from e2ent2lib.photos.images import as_rgb, crop_to_multiple, downscale, resize
from e2ent2lib.photos.photograph import EXTENSIONS, Picture, listed
from e2ent2lib.runs.provenance import ROOT

_LISTED = tomllib.loads(Path(__file__).with_name("sets.toml").read_text(encoding="utf-8"))
OTHER_NAMES = {r["folder"]: r["other_names"] for r in _LISTED["pairs"].values() if "other_names" in r}
"""What else a data set's folder is called by those who pass it on."""
VALIDATION_SCENES = ("Herz-Jesus-P25", "kermit")
"""Scenes below ``train/`` that are never trained on; sizes and settings are chosen on pairs of their views."""
UNRELATED = "unrelated"


@dataclass(frozen=True)
class Pair:
    """One high-resolution photograph and its references, best first; a function stands for one that is computed."""

    name: str
    hr_source: Picture | Callable[[], Picture]
    ref_sources: tuple[Picture | Callable[[], Picture], ...]

    def hr(self) -> UInt8[np.ndarray, "h w 3"]:
        """The ground truth."""
        return as_rgb(self.hr_source() if callable(self.hr_source) else self.hr_source, self.name)

    def refs(self) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The references. Raises ValueError if there are none; ``ref_sources`` tells beforehand."""
        if not self.ref_sources:
            raise ValueError(f"{self.name}: no reference of it is here; bicubic and SISR models need none")
        return [as_rgb(r() if callable(r) else r, f"reference of {self.name}") for r in self.ref_sources]


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A repository on GitHub at one commit, and which of its files belong to a set."""

    repository: str
    commit: str
    files: dict[str, str]
    """{regular expression on the whole path in the repository: path below the data folder}."""
    sha256: str | None = None
    """Of the archive, where it is known."""

    def place(self, path: str) -> str | None:
        """Where a file goes below the data folder, by the first rule that fits; None if it is not of the set."""
        return next((m.expand(to) for rule, to in self.files.items() if (m := re.fullmatch(rule, path))), None)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A set as ``sets.toml`` lists it, where the keys are explained: pairs, or photographs to train on alone."""

    name: str
    title: str
    total: int
    what: str
    terms: str
    citation: str
    origin: str
    steps: str
    folder: str | None = None
    """Its place in ``data/`` or in ``E2ENT2_DATA``; None if it comes with a package."""
    other_names: Sequence[str] = ()
    part: str = ""
    by_hand: str = ""
    mirrors: Sequence[Mirror] = ()
    views: str | None = None
    """The level of ViewPairs that it is."""
    lister: Callable[[], list[Pair]]
    """The pairs that are here; a photograph to train on is one without references."""
    layout: Sequence[str] = ()
    leave_out: str = ""
    sides: Sequence[tuple[int, int]] = ()
    pixels: str | None = None
    """``fingerprint`` of the whole set, pair by pair, where it is known."""
    reference: str = ""
    """Which reference a pair has, as the protocol of a result names it; "" for photographs to train on alone."""
    choices: Mapping[str, str] = field(default_factory=dict)
    usual: bool = True
    """Whether ``reference`` is the choice that the data set's plain title stands for."""
    for_evaluation: bool = True
    """Never trained on."""
    in_tables: bool = True
    """Whether tables and claims have it: not if sizes and settings are chosen on it."""
    own: str = ""
    """Of a folder of the user's what tells it from others of its name: digits of its path's SHA-256."""
    tables: Sequence[int] = (1, 2, 3, 4)
    """The tables that have its columns."""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Its columns in them, where they are not of the tables' protocol: what differs, by the column's name."""

    @property
    def stereo(self) -> bool:
        """Whether its references are right views of rectified pairs; of a folder of one's own that is not known."""
        return self.own != "" or self.reference == "right view"

    def here(self) -> Path | None:
        """Its folder, if that exists."""
        return data_folder(self.folder) if self.folder else None

    def pairs(self) -> list[Pair]:
        """The pairs that are here. Raises FileNotFoundError with what to do if there are none."""
        if not (pairs := self.lister()):
            raise FileNotFoundError(f"{self.title} is not here: {self.steps}")
        return pairs

    def label(self, available: int) -> str:
        """The title; behind it another reference than the usual, and "(n of N)" where it is not whole."""
        title = self.title if self.usual else f"{self.title}, {self.reference}"
        return title if available == self.total else f"{title} ({available} of {self.total})"


# ---- folders ----


def data_roots() -> list[Path]:
    """Where data sets are looked for: ``data/`` of the project, then ``E2ENT2_DATA`` if set."""
    return [ROOT / "data"] + ([Path(os.environ["E2ENT2_DATA"])] if os.environ.get("E2ENT2_DATA") else [])


def data_folder(name: str) -> Path | None:
    """The folder ``name``, or one of its other names, in ``data/`` or in ``E2ENT2_DATA``, or None."""
    names = (name, *OTHER_NAMES.get(name, ()))
    return next((root / n for root in data_roots() for n in names if (root / n).is_dir()), None)


def photographs(folder: str | os.PathLike) -> list[Path]:
    """All image files of a folder and its sub-folders, sorted. Raises FileNotFoundError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder of photographs, or 'embedded'")
    if not (found := image_files(folder)):
        raise FileNotFoundError(f"{folder}: holds no images ({', '.join(e[1:] for e in EXTENSIONS)})")
    return found


def image_files(folder: Path | None, pattern: str = "**/*") -> list[Path]:
    """The image files of a folder and its sub-folders, or those that fit, sorted; none if there is no such folder."""
    return [path for path in (listed(folder, pattern)[0] if folder else ()) if path.suffix.lower() in EXTENSIONS]


# ---- loaders ----


def grouped(folder: Path, layout: Sequence[str]) -> dict[str, dict[int, Path]]:
    """{what the names of a pair's files share: {place in the layout: file}}, of the files that are here."""
    groups = defaultdict(dict)
    for place, pattern in enumerate(layout):
        shared = re.compile(re.escape(pattern).replace(r"\*", "([^/]+)", 1).replace(r"\*", "[^/.]+"))
        for path in image_files(folder, pattern):
            if match := shared.fullmatch(path.relative_to(folder).as_posix()):
                groups[match[1]][place] = path
    return groups


def _laid_out(
    folder: str, layout: Sequence[str], leave_out: str = "", views: str = "", reference: str = "level 1"
) -> list[Pair]:
    """The pairs that have a reference of that level, or of "all levels"; of ViewPairs those of the level ``views``."""
    root = data_folder(folder)
    wanted = range(1, len(layout)) if reference == "all levels" else [int(reference[-1])]
    listed = {view.name for pair in view_pairs(views) for view in pair} if views else None
    pairs = []
    for name, files in grouped(root, layout).items() if root else ():
        strange = (leave_out and name.startswith(leave_out)) or (listed and files[min(files)].name not in listed)
        if {0, *wanted} <= files.keys() and not strange:
            places = sorted(files)[1:] if reference in ("level 1", "all levels") else wanted
            pairs.append(Pair(files[0].stem, files[0], tuple(files[n] for n in places)))
    return sorted(pairs, key=lambda pair: pair.name)


def _to_train_on(folder: str) -> list[Pair]:
    return [Pair(path.stem, path, ()) for path in image_files(data_folder(folder))]


def _motorcycle() -> list[Pair]:
    import skimage.data

    left, right, _ = skimage.data.stereo_motorcycle()
    return [Pair("motorcycle_left", left, (right,))]


def _numbered(root: Path | None) -> list[Path]:
    """Files img_001.png or img_001_SRF_4_HR.png, one of a number: without a ratio in the name, else of the lowest."""
    best = defaultdict(list)
    for path in root.rglob("img_*.png") if root else ():
        if parts := re.fullmatch(r"(img_\d+)(?:_SRF_(\d+)_HR)?", path.stem):
            best[parts[1]].append((int(parts[2] or 0), path))
    return [min(best[name])[1] for name in sorted(best)]


def _sunhays() -> list[Pair]:
    root = data_folder("SunHays80")
    official = image_files(root / "Sun_Hays_SR_groundtruth", "*") if root else []
    pairs = []
    for hr in official or _numbered(root):
        scenes = root / "Sun_Hays_SR_scenematches"
        refs = image_files(scenes / hr.name, "*") or image_files(scenes / hr.stem, "*")
        pairs.append(Pair(hr.stem, hr, tuple(refs)))
    return pairs


def _urban100(reference: str = "input") -> list[Pair]:
    def ref(path: Path) -> UInt8[np.ndarray, "h w 3"]:
        hr = as_rgb(path)
        return hr[:, ::-1] if reference == "mirrored" else downscale(crop_to_multiple(hr))

    return [Pair(path.stem, path, (partial(ref, path),)) for path in _numbered(data_folder("Urban100"))]


def _views() -> list[Pair]:
    return [
        Pair(f"{scene}_{first.stem}", partial(_reduced, first), (partial(_reduced, second),))
        for scene in VALIDATION_SCENES
        for first, second in list(pairwise(image_files(data_folder(f"train/scenes/{scene}"), "*")))[::3]
    ]


def _reduced(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    image = as_rgb(path)
    ratio = 512 / max(image.shape[:2])
    return resize(image, *(round(n * ratio) for n in image.shape[:2])).round().astype(np.uint8)


# ---- the sets ----

_LOADERS = {"motorcycle": _motorcycle, "sunhays": _sunhays, "urban100": _urban100, "views": _views}
_PUT = "put its files into data/{0}, or into {0} in the folder that E2ENT2_DATA names (data/README.md)"


def _listed(name: str, record: dict) -> DataSet:
    facts = record | {"name": name, "mirrors": [Mirror(**m) for m in record.get("mirrors", ())]}
    facts["steps"] = record.get("steps", "{put}").format(put=_PUT.format(record.get("folder")))
    options = {key: facts[key] for key in ("folder", "layout", "leave_out", "views") if key in facts}
    other = _LOADERS.get(name) or partial(_to_train_on, facts.get("folder"))
    return DataSet(**facts, lister=partial(_laid_out, **options) if "layout" in facts else other)


DATASETS = {name: _listed(name, record) for name, record in _LISTED["pairs"].items()}
TRAINING_SETS = {name: _listed(name, record) for name, record in _LISTED["photographs"].items()}
EVALUATION_FOLDERS = (
    *(n for d in DATASETS.values() if d.for_evaluation and d.folder for n in (Path(d.folder).parts[0], *d.other_names)),
    *("KITTI", "KITTI2015"),
)
"""No photograph below a folder of such a name is trained on. The whole of KITTI has no loader."""


def names_of(name: str) -> list[str]:
    """The sets that a name stands for: its own, or of "viewpairs" all three levels; none if there is no such set."""
    names = [*DATASETS, *TRAINING_SETS]
    return [name] if name in names else [n for n in names if re.fullmatch(rf"{re.escape(name)}-\d", n)]


def dataset(name: str | os.PathLike, *, reference: str | None = None) -> DataSet:
    """The data set of that name, or a folder of own pairs: input/ and ref/ with the same stems, or NAME_L and NAME_R.

    ``reference``: of any set "level 1", the usual one, or "unrelated", as ``unrelated`` gives it; CUFED5 "level 2" to
    "level 5", or "all levels" for groups that have all five; Urban100 "input", the LR input itself as in TTSR, or
    "mirrored", the mirrored ground truth. A choice that is not the usual one is named in the label.
    Raises ValueError for a name or a choice that does not exist.
    """
    name = str(name)
    if name in DATASETS:
        chosen = DATASETS[name]
    elif Path(name).is_dir():
        chosen = _folder_dataset(Path(name).resolve())
    else:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(DATASETS)}, or a folder of pairs")
    if reference in (None, "level 1"):
        return chosen
    if reference == UNRELATED:
        return replace(chosen, lister=lambda: unrelated(chosen.lister()), reference=UNRELATED, usual=False)
    if reference not in chosen.choices:
        known = "; ".join(f"{d.name}: {', '.join(d.choices)}" for d in DATASETS.values() if d.choices)
        raise ValueError(f"{name} has no references {reference!r} to choose; there are {known}")
    named, lister = chosen.choices[reference], partial(chosen.lister, reference=reference)
    return replace(chosen, lister=lister, reference=named, usual=named == chosen.reference)


def unrelated(pairs: list[Pair]) -> list[Pair]:
    """The same inputs, the references replaced by photographs of other things, which come with scikit-image."""
    others = [embedded_photographs()[name] for name in ("astronaut", "coffee", "chelsea", "rocket")]
    return [replace(pair, ref_sources=(others[i % len(others)],)) for i, pair in enumerate(pairs)]


def _folder_dataset(folder: Path) -> DataSet:
    split = (folder / "input").is_dir() and (folder / "ref").is_dir()
    layout = ("input/*.*", "ref/*.*") if split else ("*_L.*", "*_R.*")
    lister = partial(_laid_out, str(folder), layout)
    if not (total := len(lister())):
        found = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
        raise FileNotFoundError(
            f"{folder}: holds no pairs; expected input/NAME.png with ref/NAME.png, or NAME_L.png with NAME_R.png "
            f"(any of {', '.join(e[1:] for e in EXTENSIONS)}); found {', '.join(found[:6]) or 'nothing'}"
            + (f" and {len(found) - 6} more" if len(found) > 6 else "")
        )
    title = f"folder {folder.name}"  # never the title of a known set, whatever the folder is called
    return DataSet(
        name=title.replace(" ", "-"), title=title, total=total, what="a folder of pairs", terms="its owner's",
        citation="none", origin="your own", steps="see data/README.md", folder=str(folder), layout=layout,
        lister=lister, reference="same name", own=hashlib.sha256(os.fsencode(folder)).hexdigest()[:12],
    )  # fmt: skip


@lru_cache
def embedded_photographs() -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """The training photographs in scikit-image's wheel, by name. The motorcycle pair is not one of them."""
    import skimage.data

    names = "astronaut chelsea coffee hubble_deep_field immunohistochemistry retina rocket".split()
    return {name: getattr(skimage.data, name)() for name in names}


def fingerprint(images: Iterable[UInt8[np.ndarray, "h w 3"]]) -> str:
    """SHA-256 over shapes and decoded pixels, in order: the same pictures give the same mark whatever their files."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


class View(NamedTuple):
    """One photograph of a pair of ViewPairs, as ``viewpairs.csv`` says."""

    name: str
    """Of its file below ViewPairs/LEVEL: NAME_0.webp is the input, NAME_1.webp the reference."""
    repository: str
    commit: str
    path: str
    """In the repository."""
    pixels: str
    """``fingerprint`` of it alone."""
    look: int
    """The perceptual hash, as ``training.Mark`` has it."""


@lru_cache
def view_pairs(level: str) -> list[tuple[View, View]]:
    """(input, reference) of each pair of a level, "1" to "3"."""
    with open(Path(__file__).with_name("viewpairs.csv"), encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["level"] == level]

    def view(row: dict[str, str], place: int, which: str) -> View:
        pixels, look = row[f"{which}_pixels"], int(row[f"{which}_look"], 16)
        return View(f"{row['name']}_{place}.webp", row["repository"], row["commit"], row[which], pixels, look)

    return [(view(row, 0, "input"), view(row, 1, "reference")) for row in rows]


def unsound(data: DataSet) -> dict[str, str]:
    """{pair: what is wrong} of pairs that are damaged or not as listed; ViewPairs alone lists its pictures singly."""
    wrong, folder = {}, data.here()
    for pair in view_pairs(data.views) if data.views and folder else ():
        for view in (view for view in pair if (folder / view.name).is_file()):
            try:
                other = fingerprint([as_rgb(folder / view.name)]) != view.pixels
                why = f"other pixels than listed, with Pillow {PIL.__version__}" if other else ""
            except ValueError:
                why = "damaged, it cannot be decoded"
            if why:
                wrong[Path(pair[0].name).stem] = f"{view.name}: {why}"
    return wrong


def overview() -> str:
    """The table of ``e2ent2 data list``: what each set is, and whether it is here, whole, in part or absent."""
    from tabulate import tabulate  # not there on every machine that trains

    rows = []
    for d in (*DATASETS.values(), *TRAINING_SETS.values()):
        size = f"{d.total:,} {'pairs' if d.reference else 'photographs'}"
        here = len(d.lister())
        whole = "whole" if here == d.total else f"partial, {here:,} of {d.total:,}" if here else "absent"
        rows.append((d.name, whole, size, d.what, d.terms, d.citation, d.origin))
    heads = ("name", "here", "size", "what", "terms", "cite", "from")
    return tabulate(rows, heads, tablefmt="simple_grid", maxcolwidths=[None, 22, 18, 34, 22, 20, 18])
