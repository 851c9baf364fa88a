"""Whether a data set is what it should be: every image decoded, sizes, pairings, levels, duplicates, leaks."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from tqdm.auto import tqdm

from e2ent2lib.data.fetch import read_record
from e2ent2lib.data.leaks import Mark, evaluation_marks, leaks, mark
from e2ent2lib.data.pairs import (
    DATASETS,
    TRAINING_SETS,
    DataSet,
    TrainingSet,
    data_folder,
    data_roots,
    dataset,
    embedded_photographs,
    image_files,
)
from e2ent2lib.photos.images import as_rgb, read_image

CUFED_SIDE = 160
SMALLEST = 12  # a patch of 3×3 at a quarter of the size


@dataclass
class Findings:
    """What a check found: ``wrong`` must be put right, ``warnings`` looked at, ``said`` is for information."""

    wrong: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def check(name: str, *, progress: bool = True) -> Findings:
    """Decode and compare all images of a set, or of a folder of one's own pairs.

    Raises FileNotFoundError if nothing of it is here, ValueError if there is no such set.
    """
    found = Findings()
    if name in TRAINING_SETS:
        _check_training(TRAINING_SETS[name], found, progress)
    else:
        _check_pairs(dataset(name), Path(name), found, progress)
    return found


def _check_training(known: TrainingSet, found: Findings, progress: bool) -> None:
    paths = known.paths()
    if not paths:
        raise FileNotFoundError(f"{known.title} is not here: e2ent2 data fetch {known.name} (data/README.md)")
    marks = _decode(paths, found, progress)
    found.said.append(f"{known.title}: {len(paths)} of {known.total} photographs are here")
    _too_many(len(paths), known.total, found)
    for same in _groups({p: m.pixels for p, (_, m) in marks.items()}):
        found.warnings.append(f"{' and '.join(map(str, same))} have the same pixels; one is enough")
    _check_record(marks, found)
    _check_leaks([(str(p), m) for p, (_, m) in marks.items()], found, progress)


def _check_pairs(known: DataSet, own: Path, found: Findings, progress: bool) -> None:
    if known.name in DATASETS:  # even if a folder here is called the same
        folder = data_folder(known.folder) if known.folder else None
    else:
        folder = own
    paths = image_files(folder) if folder else []
    pairs = known.lister()
    if not pairs and not paths:
        raise FileNotFoundError(f"{known.title} is not here: {known.steps}")
    marks = _decode(paths, found, progress)
    if folder:
        found.wrong += [f"{folder / a}: {b}" for a, b in _unpaired(known.name, folder, paths)]
    for pair in pairs:
        sources = [pair.hr_source, *(r for r in pair.ref_sources if not callable(r))]
        if all(not isinstance(s, Path) or s in marks for s in sources):  # else a damaged one has been named
            _check_pair(known, pair.name, sources, marks, found)
    hrs = {p.hr_source: marks[p.hr_source][1].pixels for p in pairs if p.hr_source in marks} if folder else {}
    for same in _groups(hrs):
        found.wrong.append(
            f"{' and '.join(map(str, same))} have the same pixels and would count twice; delete all but one"
        )
    found.said.append(f"{known.label(len(pairs))}: {len(pairs)} pairs, {len(marks) or 2 * len(pairs)} images decoded")
    without = sum(not p.ref_sources for p in pairs)
    if without:
        found.warnings.append(f"{without} of {len(pairs)} have no reference: bicubic and SISR models only")
    _too_many(len(pairs), known.total, found)
    _check_record(marks, found)
    if known.for_evaluation:
        _check_leaks(_training_marks(progress), found, progress)
    else:
        _check_leaks([(str(p), m) for p, (_, m) in marks.items()], found, progress)


def _too_many(here: int, total: int, found: Findings) -> None:
    if here > total:
        found.wrong.append(f"{here} are here, but the set has {total}; something else lies in its folder")


def _decode(paths: list[Path], found: Findings, progress: bool) -> dict[Path, tuple[tuple[int, int], Mark]]:
    """Size (width, height) and mark of each image that can be read; the others go to ``found.wrong``."""
    marks = {}
    for path in tqdm(paths, desc="decoding", unit="image", disable=not progress or None, leave=False):
        try:
            image = read_image(path)
            with Image.open(path) as file:
                file.verify()  # a PNG's checksums up to its end, which decoding does not need
        except Exception as error:  # Pillow's verify raises SyntaxError and more
            named = str(error) if str(path) in str(error) else f"{path}: damaged ({error}); get it again"
            found.wrong.append(named)
            continue
        marks[path] = image.shape[1::-1], mark(image)
        if min(image.shape[:2]) < SMALLEST:
            found.wrong.append(
                f"{path}: {image.shape[1]}×{image.shape[0]} is less than {SMALLEST} in a side; replace it"
            )
    return marks


def _unpaired(name: str, folder: Path, paths: list[Path]) -> list[tuple[str, str]]:
    """(file, what is wrong) for files that lack their partner."""
    here = {p.relative_to(folder).as_posix() for p in paths}
    if name == "cufed5":
        groups = defaultdict(set)
        for stem in (Path(p).stem for p in here if p.count("_") == 1):
            group, level = stem.split("_")
            if level in set("012345"):
                groups[group].add(level)
        lacking = {g: [n for n in "012345" if n not in levels] for g, levels in sorted(groups.items())}
        say = "is missing from its group, whose other levels keep their numbers; get the group again"
        return [(f"{g}_{n}.png", say) for g, levels in lacking.items() for n in levels]
    if name == "cufed" or (folder / "input").is_dir():
        ends = [("input/", "ref/"), ("ref/", "input/")]
        stems = {str(Path(p).with_suffix("")): p for p in here}
        return [
            (p, f"has no partner in {b}; get it, or delete this one")
            for a, b in ends
            for stem, p in sorted(stems.items())
            if stem.startswith(a) and b + stem.removeprefix(a) not in stems
        ]
    stems = {str(Path(p).with_suffix("")): p for p in here}
    return [
        (p, f"has no partner {stem[:-1]}{other}{Path(p).suffix}; get it, or delete this one")
        for one, other in ("LR", "RL")
        for stem, p in sorted(stems.items())
        if stem.endswith(f"_{one}") and stem[:-1] + other not in stems
    ]


def _check_pair(known: DataSet, name: str, sources: list, marks: dict, found: Findings) -> None:
    facts = [marks[s] if isinstance(s, Path) else (s.shape[1::-1], mark(s)) for s in sources]
    sizes, pixels = [size for size, _ in facts], [m.pixels for _, m in facts]
    said = [f"{width}×{height}" for width, height in sizes]
    first = sources[0] if isinstance(sources[0], Path) else name
    if len(set(pixels)) < len(pixels):
        same = [str(s) for s, p in zip(sources, pixels) if pixels.count(p) > 1]
        found.wrong.append(f"{' and '.join(same)} are of one pair and have the same pixels; get them again")
    if known.name == "cufed":  # of the owners' references some are 159 wide
        least = CUFED_SIDE, CUFED_SIDE - 1
        for source, size, text, small in zip(sources, sizes, said, least):
            if not small <= min(size) <= max(size) <= CUFED_SIDE:
                found.wrong.append(f"{source}: is {text}, expected {CUFED_SIDE}×{CUFED_SIDE}; get it again")
    if known.reference == "right view":
        if len(set(sizes)) > 1:
            found.wrong.append(
                f"{first}: left is {said[0]}, right {said[1]}; views of a pair are of one size, get it again"
            )
        elif looks_swapped(*(as_rgb(s) for s in sources)):
            found.warnings.append(f"{first}: left and right look swapped; compare them, and exchange their names if so")


def looks_swapped(left: UInt8[np.ndarray, "h w 3"], right: UInt8[np.ndarray, "h w 3"]) -> bool:
    """Whether what both views of a rectified pair show lies further right in the right one, where it cannot lie.

    Rows at 256 pixels width are cross-correlated in 16 bands; most bands must agree, for more than one pixel.
    """
    rows, others = _slopes(left), _slopes(right)
    spectrum = np.fft.rfft(rows, 512, axis=1) * np.fft.rfft(others, 512, axis=1).conj()
    reach = np.r_[0:65, -64:0]  # a quarter of the width
    correlation = np.fft.irfft(spectrum, 512, axis=1)[:, reach]
    shifts = [reach[band.sum(0).argmax()] for band in np.array_split(correlation, 16) if len(band)]
    return float(np.mean(np.array(shifts) < -1)) > 0.7


def _slopes(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "H 255"]:
    grey = Image.fromarray(image).convert("L")
    small = grey.resize((256, max(16, round(256 * grey.height / grey.width))), Image.Resampling.BOX)
    slopes = np.diff(np.asarray(small, float), axis=1)
    return slopes / (np.abs(slopes).mean(1, keepdims=True) + 1e-3)


def _groups(marks: dict[Path, str]) -> list[list[Path]]:
    """The files that share their pixels, a list for each set of twins."""
    by_pixels = defaultdict(list)
    for path, pixels in marks.items():
        by_pixels[pixels].append(path)
    return [paths for paths in by_pixels.values() if len(paths) > 1]


def _check_record(marks: dict[Path, tuple[tuple[int, int], Mark]], found: Findings) -> None:
    """Compare with what a fetch noted."""
    for root in data_roots():
        noted = {root / p: m for one in read_record(root).values() for p, m in one["pixels"].items()}
        changed = [p for p, (_, m) in marks.items() if noted.get(p, m.pixels) != m.pixels]
        found.wrong += [f"{p}: is not what was fetched; delete it, then fetch again" for p in changed]


def _training_marks(progress: bool) -> list[tuple[str, Mark]]:
    """The training photographs that are here: scikit-image's, train/ and CUFED of the data folders."""
    marks = [(f"embedded {name}", mark(image)) for name, image in embedded_photographs().items()]
    folders = [f for f in (root / part for root in data_roots() for part in ("train", "CUFED")) if f.is_dir()]
    paths = [p for folder in folders for p in image_files(folder)]
    ignored = Findings()  # checking the training set itself names what is damaged
    return marks + [(str(p), m) for p, (_, m) in _decode(paths, ignored, progress).items()]


def _check_leaks(training: list[tuple[str, Mark]], found: Findings, progress: bool) -> None:
    evaluation = evaluation_marks(progress=progress)
    lines = leaks(training, evaluation)
    found.wrong += [f"{line}; delete it from the training photographs" for line in lines]
    if not lines:
        found.said.append(f"none of {len(training)} training photographs is one of {len(evaluation)} evaluation images")
