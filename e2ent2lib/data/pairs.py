"""The data sets: pairs of a high-resolution photograph and its reference(s), in the owners' own layout.

Photographs are read when asked for; degradation is ``images.downscale``'s. Data sets are looked for in ``data/`` of the
project, then in the folder that the variable ``E2ENT2_DATA`` names. Only "motorcycle" needs neither: it is the stereo
pair inside scikit-image's wheel.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import skimage.data
from jaxtyping import UInt8

from e2ent2lib.images import EXTENSIONS, Picture, as_rgb
from e2ent2lib.provenance import ROOT


@dataclass(frozen=True)
class Pair:
    """One high-resolution photograph and its references, best first."""

    name: str
    hr_source: Picture
    ref_sources: tuple[Picture, ...]

    def hr(self) -> UInt8[np.ndarray, "h w 3"]:
        """The ground truth."""
        return as_rgb(self.hr_source, self.name)

    def refs(self) -> list[UInt8[np.ndarray, "h w 3"]]:
        """The references."""
        return [as_rgb(r, f"reference of {self.name}") for r in self.ref_sources]


@dataclass(frozen=True)
class DataSet:
    """What is known of a data set of pairs, and how to list the pairs that are here."""

    name: str
    title: str
    total: int
    what: str
    terms: str
    citation: str
    steps: str
    lister: Callable[[], list[Pair]]

    def pairs(self) -> list[Pair]:
        """The pairs that are here. Raises FileNotFoundError with what to do if there are none."""
        pairs = self.lister()
        if not pairs:
            raise FileNotFoundError(f"{self.title} is not here: {self.steps}")
        return pairs

    def label(self, here: int) -> str:
        """The title, with "(n of N)" where it is not whole."""
        return self.title if here == self.total else f"{self.title} ({here} of {self.total})"


def data_folder(name: str) -> Path | None:
    """The folder ``name`` in ``data/`` or in ``E2ENT2_DATA``, or None."""
    roots = [ROOT / "data"] + ([Path(os.environ["E2ENT2_DATA"])] if os.environ.get("E2ENT2_DATA") else [])
    return next((root / name for root in roots if (root / name).is_dir()), None)


def _motorcycle() -> list[Pair]:
    left, right, _ = skimage.data.stereo_motorcycle()
    return [Pair("motorcycle_left", left, (right,))]


def _matching(folder: str, pattern: str, refs: Callable[[Path], Iterable[Path]]) -> list[Pair]:
    root = data_folder(folder)
    found = sorted(root.glob(pattern)) if root else []
    pairs = (Pair(hr.stem, hr, tuple(r for r in refs(hr) if r.is_file())) for hr in found)
    return [p for p in pairs if p.ref_sources]


def _cufed5() -> list[Pair]:
    levels = range(1, 6)
    found = _matching("CUFED5", "*_0.png", lambda hr: (hr.with_name(f"{hr.stem[:-2]}_{level}.png") for level in levels))
    return [p for p in found if p.ref_sources[0].stem.endswith("_1")]  # what is measured is said to be level 1


def _stereo(folder: str) -> list[Pair]:
    return _matching(folder, "*_L.png", lambda hr: [hr.with_name(f"{hr.stem[:-2]}_R.png")])


def _cufed() -> list[Pair]:
    return _matching("CUFED/input", "*.png", lambda hr: [hr.parents[1] / "ref" / hr.name])


_PUT = "put its files into data/{0} or into {0} of the folder that E2ENT2_DATA names (data/README.md)"
DATASETS = {
    d.name: d
    for d in (
        DataSet(
            "motorcycle", "motorcycle", 1, "stereo pair in scikit-image's wheel, 741×500; held out, never trained on",
            "Middlebury: use and publication permitted, citation asked", "Scharstein et al., GCPR 2014",
            "it comes with scikit-image; install that again", _motorcycle,
        ),
        DataSet(
            "cufed5", "CUFED5", 126, "groups of an input NNN_0.png and references NNN_1.png (most similar) to _5.png",
            "research", "Zhang et al., CVPR 2019 (SRNTT)", _PUT.format("CUFED5"), _cufed5,
        ),
        DataSet(
            "flickr1024", "Flickr1024", 112, "stereo pairs of the test set, NNNN_L.png and NNNN_R.png",
            "non-commercial", "Wang et al., ICCVW 2019", _PUT.format("Flickr1024/Test"),
            lambda: _stereo("Flickr1024/Test"),
        ),
        DataSet(
            "middlebury", "Middlebury", 15, "stereo pairs v3, quarter size, NAME_L.png and NAME_R.png",
            "use and publication permitted, citation asked", "Scharstein et al., GCPR 2014",
            _PUT.format("Middlebury"), lambda: [p for p in _stereo("Middlebury") if p.name != "Motorcycle_L"],
        ),
        DataSet(
            "cufed", "CUFED", 11_871, "training pairs 160×160, input/ and ref/ with the same names",
            "research", "Zhang et al., CVPR 2019 (SRNTT)", _PUT.format("CUFED"), _cufed,
        ),
    )
}  # fmt: skip


def dataset(name: str) -> DataSet:
    """The data set of that name. Raises ValueError for a name that does not exist."""
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]


def photographs(folder: str | os.PathLike) -> list[Path]:
    """All image files of a folder and its sub-folders, sorted. Raises FileNotFoundError if there are none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder of photographs, or 'embedded'")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not found:
        raise FileNotFoundError(f"{folder}: holds no images ({', '.join(e[1:] for e in EXTENSIONS)})")
    return found


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
