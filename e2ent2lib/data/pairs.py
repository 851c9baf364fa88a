"""The data sets: pairs of a high-resolution photograph and its reference(s), in the owners' own layout.

Photographs are read when asked for; degradation is ``images.downscale``'s. Data sets are looked for in ``data/`` of the
project, then in the folder that the variable ``E2ENT2_DATA`` names. Only "motorcycle" needs neither: it is the stereo
pair inside scikit-image's wheel.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import skimage.data
from jaxtyping import UInt8

from e2ent2lib.photos.images import as_rgb, crop_to_multiple, downscale, resize
from e2ent2lib.photos.photograph import EXTENSIONS, Picture
from e2ent2lib.runs.provenance import ROOT


@dataclass(frozen=True)
class Pair:
    """One high-resolution photograph and its references, best first; a function stands for one that is computed."""

    name: str
    hr_source: Picture | Callable[[], Picture]
    ref_sources: tuple[Picture | Callable[[], Picture], ...]

    def hr(self) -> UInt8[np.ndarray, "h w 3"]:
        """The ground truth."""
        return as_rgb(_made(self.hr_source), self.name)

    def refs(self) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The references. Raises ValueError if there are none; ``ref_sources`` tells beforehand."""
        if not self.ref_sources:
            raise ValueError(f"{self.name}: no reference of it is here; bicubic and SISR models need none")
        return [as_rgb(_made(r), f"reference of {self.name}") for r in self.ref_sources]


def _made(source: Picture | Callable[[], Picture]) -> Picture:
    return source() if callable(source) else source


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What is known of a data set of pairs, and how to list the pairs that are here."""

    name: str
    title: str
    total: int
    what: str
    terms: str
    citation: str
    origin: str
    steps: str
    lister: Callable[[], list[Pair]]
    folder: str | None = None
    """Its place in ``data/`` or in ``E2ENT2_DATA``; None if it comes with a package."""
    reference: str = "right view"
    """Which reference a pair has, as the protocol of a result names it."""
    usual: bool = True
    """Whether ``reference`` is the choice that the data set's plain title stands for."""
    for_evaluation: bool = True
    """Never trained on."""
    for_choice: bool = False
    """Sizes and settings are chosen on it, so it never stands in a table."""

    @property
    def stereo(self) -> bool:
        """Whether its references are right views of rectified pairs; of a folder of one's own that is not known."""
        return self.reference in ("right view", "same name")

    def pairs(self) -> list[Pair]:
        """The pairs that are here. Raises FileNotFoundError with what to do if there are none."""
        pairs = self.lister()
        if not pairs:
            raise FileNotFoundError(f"{self.title} is not here: {self.steps}")
        return pairs

    def label(self, here: int) -> str:
        """The title; behind it another reference than the usual, and "(n of N)" where it is not whole."""
        title = self.title if self.usual else f"{self.title}, {self.reference}"
        return title if here == self.total else f"{title} ({here} of {self.total})"


VALIDATION_SCENES = ("Herz-Jesus-P25", "kermit")
"""Scenes below ``train/`` that are never trained on; sizes and settings are chosen on pairs of their views."""
OTHER_NAMES = {"SunHays80": ("Sun-Hays80", "Sun_Hays80", "Sun80")}
"""What else a data set's folder is called by those who pass it on."""


def data_roots() -> list[Path]:
    """Where data sets are looked for: ``data/`` of the project, then ``E2ENT2_DATA`` if set."""
    return [ROOT / "data"] + ([Path(os.environ["E2ENT2_DATA"])] if os.environ.get("E2ENT2_DATA") else [])


def data_folder(name: str) -> Path | None:
    """The folder ``name``, or one of its other names, in ``data/`` or in ``E2ENT2_DATA``, or None."""
    names = (name, *OTHER_NAMES.get(name, ()))
    return next((root / n for root in data_roots() for n in names if (root / n).is_dir()), None)


def _motorcycle() -> list[Pair]:
    left, right, _ = skimage.data.stereo_motorcycle()
    return [Pair("motorcycle_left", left, (right,))]


def _matching(folder: str, pattern: str, refs: Callable[[Path], Iterable[Path]]) -> list[Pair]:
    root = data_folder(folder)
    found = sorted(root.glob(pattern)) if root else []
    pairs = (Pair(hr.stem, hr, tuple(r for r in refs(hr) if r.is_file())) for hr in found)
    return [p for p in pairs if p.ref_sources]


def _cufed5(level: int | str = 1) -> list[Pair]:
    levels = (level,) if level not in (1, "all") else range(1, 6)
    found = _matching("CUFED5", "*_0.png", lambda hr: (hr.with_name(f"{hr.stem[:-2]}_{n}.png") for n in levels))
    if level == "all":
        return [p for p in found if len(p.ref_sources) == 5]
    return [p for p in found if p.ref_sources[0].stem.endswith(f"_{level}")]  # a score must be of the level it names


def _stereo(folder: str) -> list[Pair]:
    return _matching(folder, "*_L.png", lambda hr: [hr.with_name(f"{hr.stem[:-2]}_R.png")])


def _cufed() -> list[Pair]:
    return _matching("CUFED/input", "*.png", lambda hr: [hr.parents[1] / "ref" / hr.name])


def _numbered(root: Path | None) -> list[Path]:
    """Files img_001.png or img_001_SRF_4_HR.png, one of a number: without a ratio in the name, else of the lowest."""
    best = {}
    for path in root.rglob("img_*.png") if root else ():
        if parts := re.fullmatch(r"(img_\d+)(?:_SRF_(\d+)_HR)?", path.stem):
            best.setdefault(parts[1], []).append((int(parts[2] or 0), path))
    return [min(best[name])[1] for name in sorted(best)]


def _sunhays(reference: str = "first", seed: int = 0) -> list[Pair]:
    root = data_folder("SunHays80")
    official = _images(root / "Sun_Hays_SR_groundtruth") if root else []
    pairs = []
    for hr in official or _numbered(root):
        scenes = root / "Sun_Hays_SR_scenematches"
        refs = _images(scenes / hr.name) or _images(scenes / hr.stem)
        if refs and reference == "random":  # drawn from the name, so that a partial set draws the same
            chosen = np.random.default_rng([seed, *hr.stem.encode()]).integers(len(refs))
            refs = [refs[chosen]]
        pairs.append(Pair(hr.stem, hr, tuple(refs)))
    return pairs


def _urban100(reference: str = "input", seed: int = 0) -> list[Pair]:
    make = {"input": _own_input, "mirrored": _mirrored}[reference]
    return [Pair(hr.stem, hr, (partial(make, hr),)) for hr in _numbered(data_folder("Urban100"))]


def _own_input(hr: Path) -> UInt8[np.ndarray, "h w 3"]:
    return downscale(crop_to_multiple(as_rgb(hr)))


def _mirrored(hr: Path) -> UInt8[np.ndarray, "h w 3"]:
    return as_rgb(hr)[:, ::-1]


def _views() -> list[Pair]:
    pairs = []
    for scene in VALIDATION_SCENES:
        root = data_folder(f"train/scenes/{scene}")
        shots = _images(root) if root else []
        for first, second in list(pairwise(shots))[::3]:
            pairs.append(Pair(f"{scene}_{first.stem}", partial(_reduced, first), (partial(_reduced, second),)))
    return pairs


def _reduced(path: Path, longest: int = 512) -> UInt8[np.ndarray, "h w 3"]:
    image = as_rgb(path)
    ratio = longest / max(image.shape[:2])
    height, width = (round(n * ratio) for n in image.shape[:2])
    return resize(image, height, width).round().astype(np.uint8)


def _own_folder(folder: Path) -> list[Pair]:
    if (folder / "input").is_dir() and (folder / "ref").is_dir():
        hrs, refs = ({p.stem: p for p in _images(folder / part)} for part in ("input", "ref"))
    else:
        views = {p.stem: p for p in _images(folder)}
        hrs, refs = ({k: p for k, p in views.items() if k.endswith(end)} for end in ("_L", "_R"))
        refs = {f"{k[:-2]}_L": p for k, p in refs.items()}
    if not hrs.keys() & refs.keys():
        found = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir())
        raise FileNotFoundError(
            f"{folder}: holds no pairs; expected input/NAME.png with ref/NAME.png, or NAME_L.png with NAME_R.png "
            f"(any of {', '.join(e[1:] for e in EXTENSIONS)}); found {', '.join(found[:6]) or 'nothing'}"
            + (f" and {len(found) - 6} more" if len(found) > 6 else "")
        )
    return [Pair(k, hrs[k], (refs[k],)) for k in sorted(hrs.keys() & refs.keys())]


def _images(folder: Path) -> list[Path]:
    """The image files of a folder itself, sorted; none if there is no such folder."""
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())


_PUT = "put its files into data/{0} or into {0} of the folder that E2ENT2_DATA names (data/README.md)"
_FETCH = "e2ent2 data fetch {1}, or " + _PUT
DATASETS = {
    d.name: d
    for d in (
        DataSet(
            name="motorcycle", title="motorcycle", total=1,
            what="stereo pair in scikit-image's wheel, 741×500; held out, never trained on",
            terms="Middlebury: use and publication permitted, citation asked",
            citation="Scharstein et al., GCPR 2014", origin="comes with scikit-image",
            steps="it comes with scikit-image; install that again", lister=_motorcycle,
        ),
        DataSet(
            name="cufed5", title="CUFED5", total=126, folder="CUFED5",
            what="groups of an input NNN_0.png and references NNN_1.png (most similar) to _5.png",
            terms="research", citation="Zhang et al., CVPR 2019 (SRNTT)", origin="owners' drive; group 001 by fetch",
            steps=_PUT.format("CUFED5"), lister=_cufed5, reference="level 1",
        ),
        DataSet(
            name="flickr1024", title="Flickr1024", total=112, folder="Flickr1024/Test",
            what="stereo pairs of the test set, NNNN_L.png and NNNN_R.png",
            terms="non-commercial", citation="Wang et al., ICCVW 2019", origin="owners' page; pair 0026 by fetch",
            steps=_PUT.format("Flickr1024/Test"), lister=lambda: _stereo("Flickr1024/Test"),
        ),
        DataSet(
            name="middlebury", title="Middlebury", total=13, folder="Middlebury",
            what="stereo pairs v3, quarter size, NAME_L.png and NAME_R.png; without the two of the motorcycle",
            terms="use and publication permitted, citation asked", citation="Scharstein et al., GCPR 2014",
            origin="fetch, from a mirror", steps=_FETCH.format("Middlebury", "middlebury"),
            lister=lambda: [p for p in _stereo("Middlebury") if not p.name.startswith("Motorcycle")],
        ),
        DataSet(
            name="sunhays", title="Sun Hays 80", total=80, folder="SunHays80",
            what="photographs in Sun_Hays_SR_groundtruth/, references in Sun_Hays_SR_scenematches/NAME.jpg/; or "
            "img_NNN_SRF_4_HR.png without references",
            terms="not stated", citation="Sun and Hays, ICCP 2012", origin="fetch, from a mirror, without references",
            steps=_FETCH.format("SunHays80", "sunhays"), lister=_sunhays, reference="first by file name",
        ),
        DataSet(
            name="urban100", title="Urban100", total=100, folder="Urban100",
            what="buildings, img_NNN.png or img_NNN_SRF_4_HR.png; no references: the input is its own",
            terms="not stated", citation="Huang et al., CVPR 2015", origin="owners' page",
            steps=_PUT.format("Urban100"), lister=_urban100, reference="own LR input",
        ),
        DataSet(
            name="cufed", title="CUFED", total=11_871, folder="CUFED",
            what="training pairs 160×160, input/ and ref/ with the same names",
            terms="research", citation="Zhang et al., CVPR 2019 (SRNTT)", origin="owners' drive",
            steps=_PUT.format("CUFED"), lister=_cufed, reference="same name in ref/", for_evaluation=False,
        ),
        DataSet(
            name="views", title="validation views", total=12, folder="train/scenes",
            what="views of the scenes Herz-Jesus-P25 and kermit, reduced to 512 pixels, each with the next one; to "
            "choose sizes and settings by, so never in a table",
            terms="citation asked", citation="Strecha et al., CVPR 2008; Snavely's Bundler",
            origin="fetch scenes, from a mirror", steps=_FETCH.format("train/scenes", "scenes"), lister=_views,
            reference="next view", for_evaluation=False, for_choice=True,
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class TrainingSet:
    """What is known of a folder of training photographs below ``train/`` of the data folder."""

    name: str
    title: str
    folder: str
    total: int
    what: str
    terms: str
    citation: str
    origin: str = "fetch, from a mirror"

    def paths(self) -> list[Path]:
        """The photographs that are here, sorted."""
        folder = data_folder(self.folder)
        return image_files(folder) if folder else []


TRAINING_SETS = {
    s.name: s
    for s in (
        TrainingSet(
            "bsds500", "BSDS500, train and test", "train/BSDS500", 400,
            "photographs 481×321; its val split is BSD100, for evaluation, and left out",
            "citation asked", "Arbelaez et al., TPAMI 2011",
        ),
        TrainingSet(
            "t91", "T91", "train/T91", 91, "photographs, 78×78 to 508×233", "not stated", "Yang et al., TIP 2010",
        ),
        TrainingSet(
            "scenes", "multi-view scenes", "train/scenes", 133,
            "several views of one place each: castle-P19, castle-P30, entry-P10, Herz-Jesus-P25, lund, ET, kermit",
            "citation asked (Strecha); repository licences (lund: BSD-style)",
            "Strecha et al., CVPR 2008; Mapillary OpenSfM; Snavely's Bundler",
        ),
    )
}  # fmt: skip


def dataset(
    name: str | os.PathLike, *, level: int | str | None = None, reference: str | None = None, seed: int = 0
) -> DataSet:
    """The data set of that name, or a folder of own pairs: input/ and ref/ with the same stems, or NAME_L and NAME_R.

    ``level`` (CUFED5) is a similarity level, 1 to 5, or "all" for groups that have all five; by default level 1 comes
    first. ``reference``: Sun Hays "first" by file name or "random" with ``seed``; Urban100 "input", the LR input itself
    as in TTSR, or "mirrored", the mirrored ground truth; any set "unrelated", as ``unrelated`` gives it. A choice that
    is not the usual one is named in the label.
    Raises ValueError for a name or a choice that does not exist.
    """
    name = str(name)
    if name not in DATASETS and Path(name).is_dir():
        chosen = _folder_dataset(Path(name))
    elif name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(DATASETS)}, or a folder of pairs")
    else:
        chosen = DATASETS[name]
    if level is not None:
        if name != "cufed5" or level not in (1, 2, 3, 4, 5, "all"):
            raise ValueError(f"{name} has no reference level {level!r}; cufed5 has 1 to 5 and 'all'")
        said = "all levels" if level == "all" else f"level {level}"  # as Protocol.reference says it
        return replace(chosen, lister=partial(_cufed5, level), reference=said, usual=level == 1)
    if reference == UNRELATED:
        return replace(chosen, lister=lambda: unrelated(chosen.lister()), reference=UNRELATED, usual=False)
    if reference is not None:
        if reference not in _CHOICES.get(name, {}):
            known = "; ".join(f"{n}: {', '.join(c)}" for n, c in _CHOICES.items())
            raise ValueError(f"{name} has no references {reference!r} to choose; there are {known}")
        lister, said = _CHOICES[name][reference]
        said = said.format(seed)
        return replace(chosen, lister=partial(lister, reference, seed), reference=said, usual=said == chosen.reference)
    return chosen


def unrelated(pairs: list[Pair]) -> list[Pair]:
    """The same inputs, the references replaced by photographs of other things, which come with scikit-image."""
    others = [embedded_photographs()[name] for name in ("astronaut", "coffee", "chelsea", "rocket")]
    return [replace(pair, ref_sources=(others[i % len(others)],)) for i, pair in enumerate(pairs)]


UNRELATED = "unrelated"
_CHOICES = {
    "sunhays": {"first": (_sunhays, "first by file name"), "random": (_sunhays, "random, seed {}")},
    "urban100": {"input": (_urban100, "own LR input"), "mirrored": (_urban100, "mirrored ground truth")},
}


def _folder_dataset(folder: Path) -> DataSet:
    title = f"folder {folder.resolve().name}"  # never the title of a known set, whatever the folder is called
    return DataSet(
        name=title.replace(" ", "-"), title=title, total=len(_own_folder(folder)), what="a folder of pairs",
        terms="its owner's", citation="none", origin="your own", steps="see data/README.md",
        lister=partial(_own_folder, folder), reference="same name",
    )  # fmt: skip


def photographs(folder: str | os.PathLike) -> list[Path]:
    """All image files of a folder and its sub-folders, sorted. Raises FileNotFoundError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder of photographs, or 'embedded'")
    found = image_files(folder)
    if not found:
        raise FileNotFoundError(f"{folder}: holds no images ({', '.join(e[1:] for e in EXTENSIONS)})")
    return found


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder and its sub-folders, sorted; none if there are none."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())


@lru_cache
def embedded_photographs() -> dict[str, UInt8[np.ndarray, "h w 3"]]:
    """The training photographs in scikit-image's wheel, by name. The motorcycle pair is not one of them."""
    names = (
        "astronaut",
        "chelsea",
        "coffee",
        "hubble_deep_field",
        "immunohistochemistry",
        "retina",
        "rocket",
    )
    return {name: getattr(skimage.data, name)() for name in names}


def fingerprint(images: Iterable[UInt8[np.ndarray, "h w 3"]]) -> str:
    """SHA-256 over shapes and decoded pixels, in order: the same pictures give the same mark whatever their files."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(repr(image.shape).encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()
