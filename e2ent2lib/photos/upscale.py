"""Files in, files out: what ``e2ent2 upscale`` does with a photograph, or with a folder of them.

A photograph walks one way: read (``photograph``), enlarge (``inference``, ``tiles``), judge (``confidence``), write
(``photograph``), report (``report``).
"""

import glob
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count, islice, repeat
from pathlib import Path

import numpy as np

from e2ent2lib.models.network import Network
from e2ent2lib.photos import FileOptions, photograph
from e2ent2lib.photos.confidence import Verdict, judge, mean
from e2ent2lib.photos.images import resize
from e2ent2lib.photos.inference import enlarge, usable_reference
from e2ent2lib.photos.options import Options
from e2ent2lib.photos.registered import DETAIL, fine_detail, ways_over
from e2ent2lib.photos.tiles import Enlarged
from e2ent2lib.photos.unlike import remarks, unlike_training
from e2ent2lib.runs.files import check_folder, check_free
from e2ent2lib.systems import SYSTEMS

SCALE = 4
REPORT = ("report.json", "side_by_side.png", "maps.png")
"""The files of a report."""
LAID_OVER = Path("one of these laid over the input")
"""What a report calls a reference that was made of another."""


@dataclass(frozen=True)
class Upscaled:
    """A photograph that was enlarged and written, with what its report says."""

    photo: photograph.Photograph
    """The input."""
    references: list[photograph.Photograph]
    """As they were used: in the input's colours, sides multiples of 4; then those that were laid over the input."""
    output: Path
    system: Network
    options: Options
    result: Enlarged
    verdict: Verdict | None
    """None where nothing was matched."""
    seconds: float
    notes: list[str]
    """What could not be kept, and what the reference is worth; for the user."""
    reports: Sequence[Path] = ()
    """The files of its report."""


def upscale_file(
    low: Path,
    refs: Sequence[Path],
    output: Path,
    system: Network,
    options: Options = Options(progress=True),
    files: FileOptions = FileOptions(),
) -> Upscaled:
    """Enlarge a photograph ×4, write it and its report; what else a ``Photograph`` holds is kept if the format can.

    What was matched before an interruption is kept beside ``output`` and used by the next call of the same.
    Raises FileNotFoundError or ValueError, which name the file; if only writing fails, OSError that says where it is.
    """
    reports = [files.report / name for name in REPORT] if files.report else []
    check_free([output, *reports], (low, *refs), files.again)
    photo, references = photograph.read_photograph(low, white=files.range), []
    notes, registers = list(photo.warnings), type(system).offered is not Network.offered
    photograph.check_output(output, tuple(SCALE * n for n in photo.pixels.shape[:2]))
    for ref in map(photograph.read_photograph, refs):
        pixels = photograph.in_colours_of(ref, photo)[ref.visible()]
        ref = ref._replace(pixels=usable_reference(pixels, SCALE, str(ref.path)))
        notes += ref.warnings
        if registers and fine_detail(ref.pixels, SCALE) < DETAIL:
            notes.append(f"{ref.path.name} holds no finer detail than the input does, and was left out")
        else:
            references.append(ref)
    recipe, (unlike, beyond) = SYSTEMS[system.card["model"]].recipe, unlike_training(photo)
    if unlike and (beyond or not (recipe and "degraded" in recipe.crops)):  # else it has seen such ones
        notes.append(unlike)
    deep = photo.deep is not None and output.suffix.lower() in photograph.DEEP
    saved = output.parent / f".{output.name[:40]}.matches"
    options, pixels = replace(options, saved=saved, rounded=not deep), photo.deep if deep else photo.pixels
    start, matched = time.perf_counter(), [ref.pixels for ref in references]
    if files.register and not registers:
        matched += [way for ref in references for way in islice(ways_over(photo.pixels, ref.pixels, SCALE), 1)]
    try:
        result = enlarge(system, pixels, matched, options)
    except KeyboardInterrupt:
        kept = "; what was matched is kept, the same command resumes from there" if options.saved.is_file() else ""
        raise KeyboardInterrupt(f"interrupted, {output} was not written{kept}") from None
    seconds, sharp, verdict = time.perf_counter() - start, result.image, None
    if refs and system.references == "none":
        notes.append("this system makes no use of a reference")
    if result.agreement is not None:
        lays = files.register or registers
        said = [remarks(photo.pixels, ref.pixels, ref.path.name, laid_over=lays) for ref in references]
        agreeing, costly = mean(result.agreement), all(costs for _, costs in said)
        verdict = judge(
            system, agreeing, options.matching, registered=result.registered, tried=result.tried, costly=costly
        )
    if not np.ptp(photo.pixels, axis=2).any():  # black and white stays so, in RGB too
        sharp = np.repeat(sharp @ np.float32((0.299, 0.587, 0.114))[:, None], 3, axis=2)
    result = result._replace(image=np.rint(sharp).astype(np.uint8))
    alpha = photo.alpha if photo.alpha is None else resize(photo.alpha[..., None], *sharp.shape[:2])[..., 0]
    made = photo._replace(pixels=result.image, alpha=alpha, deep=None if photo.deep is None else sharp)
    notes += _write(output, made)
    if verdict:
        unhelpful = "what it added may be wrong; leave out --ref" if result.used else "the result was made without it"
        text = f"{verdict.text}; {unhelpful}" if verdict.helps is False else verdict.text
        notes += [text, *(remark for told, _ in said for remark in told)]
        if reports and result.used:
            where = f"where {REPORT[2]} shows that the reference mattered"
            notes.append(f"small text, faces and numbers may be wrong {where}")
    used = chain(references, repeat(photograph.Photograph(photo.pixels, path=LAID_OVER)))
    references = [
        ref if ref.pixels.shape == pixels.shape else ref._replace(pixels=pixels)
        for pixels, ref in zip(result.references, used)
    ] or references
    done = Upscaled(photo, references, output, system, options, result, verdict, seconds, notes)
    if files.report:
        from e2ent2lib.photos.report import save_report  # matplotlib takes a while, and only a report needs it

        return replace(done, reports=save_report(files.report, done))
    return done


def _write(output: Path, photo: photograph.Photograph) -> list[str]:
    """Write the result; if there is no room, write it elsewhere and say where, for it may have taken an hour."""
    try:
        return photograph.write_photograph(output, photo)
    except (OSError, ValueError) as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="e2ent2-")) / f"{output.stem[:40]}.png"
        photograph.write_photograph(elsewhere, photo)
        raise OSError(f"{output}: cannot be written ({error}); the finished picture is in {elsewhere}") from error


def upscale_all(
    low: Path,
    refs: Sequence[Path],
    output: Path,
    system: Network,
    options: Options = Options(progress=True),
    files: FileOptions = FileOptions(),
) -> Iterator[Upscaled | str | Exception]:
    """``upscale_file`` of a file, or of all photographs in a folder into another folder, by the same names.

    One of a folder that fails does not hold up the rest: its error is yielded. Results that exist are left, unless
    ``files.again``, so that an interrupted call resumes; what is yielded says so, and what of the folder was skipped.
    Raises as ``upscale_file`` of a file, and as ``references_of``; of a folder ValueError or FileNotFoundError if it
    holds no photographs, or for a reference or an ``output`` that cannot be used.
    """
    refs = references_of(refs, files.max_refs)
    if not low.is_dir():
        yield upscale_file(low, refs, output, system, options, files)
        return
    if output.exists() and (not output.is_dir() or os.path.samefile(low, output)):
        raise ValueError(f"{output}: is {'the folder of the inputs' if output.is_dir() else 'a file'}; choose another")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent}: no such folder; create it, then try again")
    found, skipped = photograph.listed(low, "**/*" if files.recursive else "*")
    made, known = [p.resolve() for p in (output, files.report) if p], {ref.resolve() for ref in refs}
    found = [p for p in found if not any(p.resolve().is_relative_to(m) for m in made)]
    photographs = [p for p in found if p.resolve() not in known]
    skipped += [f"{p.relative_to(low)}, which is a reference" for p in found if p not in photographs]
    if not files.recursive and (n := sum(p.is_dir() and not p.name.startswith((".", "__")) for p in low.iterdir())):
        skipped.append(f"{n} sub-folder(s), which --recursive takes")
    if not photographs:
        raise ValueError(f"{low}: holds no photographs to enlarge{'; skipped: ' * bool(skipped)}{'; '.join(skipped)}")
    for ref in refs:
        photo = photograph.read_photograph(ref)
        usable_reference(photo.pixels[photo.visible()], SCALE, str(ref))
    check_folder(output)
    targets = {p: p.relative_to(low) for p in photographs if p.suffix.lower() in photograph.EXTENSIONS}
    for path in (p for p in photographs if p not in targets):
        name = path.relative_to(low)
        names = (name.with_name(f"{name.name}{f'-{i}' * (i > 1)}.png") for i in count(1))
        targets[path] = next(name for name in names if name not in targets.values())
    for number, path in enumerate(photographs, 1):
        target, name = output / targets[path], path.relative_to(low)
        print(f"{number} of {len(photographs)}: {name}", file=sys.stderr)
        try:
            if target.exists() and not files.again:
                yield f"{target} exists and was left; --again replaces it"
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            own = replace(files, report=files.report and files.report / name)
            yield upscale_file(path, refs, target, system, options, own)
        except (ValueError, OSError) as error:
            yield error
        except (RuntimeError, MemoryError) as error:  # torch's and Python's name no file
            yield RuntimeError(f"{path}: {str(error) or 'not enough memory'}")
    if skipped:
        yield f"skipped: {'; '.join(skipped)}"


def references_of(given: Sequence[Path], most: int) -> list[Path]:
    """The files that are given themselves, by a pattern or by their folder, each once.

    Raises ValueError if there are more than ``most``, or none in a folder.
    """
    paths = []
    for one in given:
        inside = photograph.listed(one)[0] if one.is_dir() else []
        if one.is_dir() and not inside:
            raise ValueError(f"{one}: holds no photographs; --ref is a photograph, several, or a folder of them")
        found = inside or ([] if one.exists() else [Path(p) for p in sorted(glob.glob(str(one)))])
        paths += found or [one]
    paths = [path for n, path in enumerate(paths) if path.resolve() not in (p.resolve() for p in paths[:n])]
    if (n := len(paths)) > most:
        raise ValueError(f"{n} references, all matched jointly, would take long; --max-refs {n} allows them")
    return paths
