"""Files in, files out: what ``e2ent2 upscale`` does with a photograph, or with a folder of them.

A photograph walks one way: read (``photograph``), enlarge (``inference``, ``tiles``), judge (``confidence``), write
(``photograph``), report (``report``).
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from e2ent2lib.models.network import Network
from e2ent2lib.photos import photograph
from e2ent2lib.photos.confidence import Verdict, agreement, judge
from e2ent2lib.photos.images import upscale_bicubic
from e2ent2lib.photos.inference import enlarge, usable_reference
from e2ent2lib.photos.options import Options
from e2ent2lib.photos.tiles import Enlarged

SCALE = 4


@dataclass(frozen=True)
class Upscaled:
    """A photograph that was enlarged and written, with what its report says."""

    photo: photograph.Photograph
    """The input."""
    references: list[photograph.Photograph]
    """As they were used: in the input's colours, sides multiples of 4."""
    output: Path
    system: Network
    options: Options
    result: Enlarged
    agreement: Float[np.ndarray, "h w"] | None
    """``confidence.agreement``; None where nothing was matched, as ``verdict`` is."""
    verdict: Verdict | None
    seconds: float
    notes: list[str]
    """What could not be kept, and what the reference is worth; for the user."""


def upscale_file(
    low: Path, refs: Sequence[Path], output: Path, system: Network, options: Options = Options(progress=True)
) -> Upscaled:
    """Enlarge a photograph ×4 and write it; transparency, colour profile and grey are kept where the format can.

    What was matched before an interruption is kept beside ``output`` and used by the next call of the same.
    Raises FileNotFoundError or ValueError, which name the file; if only writing fails, OSError that says where the
    finished picture is.
    """
    for path in (low, *refs):
        if output.exists() and path.exists() and os.path.samefile(output, path):
            raise ValueError(f"{output}: is one of the inputs and would be overwritten; choose another name for -o")
    photo, references = photograph.read_photograph(low), []
    photograph.check_output(output, tuple(SCALE * n for n in photo.pixels.shape[:2]))
    for ref in map(photograph.read_photograph, refs):
        pixels = usable_reference(photograph.in_colours_of(ref, photo), SCALE, str(ref.path))
        references.append(ref._replace(pixels=pixels))
    notes = [warning for one in (photo, *references) for warning in one.warnings]
    options, start = replace(options, saved=output.parent / f".{output.name}.matches"), time.perf_counter()
    try:
        result = enlarge(system, photo.pixels, [ref.pixels for ref in references], options)
    except KeyboardInterrupt:
        kept = "; what was matched is kept, the same command resumes from there" if options.saved.is_file() else ""
        raise KeyboardInterrupt(f"interrupted, {output} was not written{kept}") from None
    seconds, agreeing, verdict = time.perf_counter() - start, None, None
    if refs and system.references == "none":
        notes.append("this system makes no use of a reference")
    if result.matches is not None:
        widths = [ref.shape[1] // SCALE for ref in result.references]
        agreeing = agreement(result.matches, widths)[0].cpu().numpy()
        verdict = judge(system, float(agreeing.mean()), options.matching)
    alpha = None if photo.alpha is None else upscale_bicubic(photo.alpha, SCALE)  # what is opaque stays so
    notes += _write(output, photo._replace(pixels=result.image, alpha=alpha))
    notes += [verdict.text] if verdict else []
    return Upscaled(photo, references, output, system, options, result, agreeing, verdict, seconds, notes)


def _write(output: Path, photo: photograph.Photograph) -> list[str]:
    """Write the result; if there is no room, write it elsewhere and say where, for it may have taken an hour."""
    try:
        return photograph.write_photograph(output, photo)
    except (OSError, ValueError) as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="e2ent2-")) / f"{output.stem}.png"
        try:
            photograph.write_photograph(elsewhere, photo)
        except (OSError, ValueError):
            raise error from None
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"{output}: cannot be written ({reason}); the finished picture is in {elsewhere}") from error


def upscale_all(
    low: Path,
    refs: Sequence[Path],
    output: Path,
    system: Network,
    options: Options = Options(progress=True),
    *,
    again: bool = False,
) -> Iterator[Upscaled | str | Exception]:
    """``upscale_file`` of a file, or of all photographs in a folder into another folder, by the same names.

    One of a folder that fails does not hold up the rest: its error is yielded. Results that exist are left, unless
    ``again``, so that an interrupted call resumes; what is yielded says so.
    Raises as ``upscale_file`` of a file; of a folder as ``photographs_in``, and ValueError or FileNotFoundError for a
    reference or an ``output`` that cannot be used.
    """
    if not low.is_dir():
        yield upscale_file(low, refs, output, system, options)
        return
    photographs = photographs_in(low)
    if output.exists() and os.path.samefile(low, output):
        raise ValueError(f"{output}: is the folder of the inputs; choose another for -o")
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output}: is a file; for a folder of photographs -o is a folder")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent}: no such folder; create it, then try again")
    for ref in refs:
        usable_reference(photograph.read_photograph(ref).pixels, SCALE, str(ref))
    output.mkdir(exist_ok=True)
    for number, path in enumerate(photographs, 1):
        target = output / (path.name if path.suffix.lower() in photograph.EXTENSIONS else f"{path.name}.png")
        print(f"{number} of {len(photographs)}: {path.name}", file=sys.stderr)
        if target.exists() and not again:
            yield f"{target} exists and was left; --again replaces it"
            continue
        try:
            yield upscale_file(path, refs, target, system, options)
        except (ValueError, OSError, RuntimeError) as error:
            yield error


def photographs_in(folder: Path) -> list[Path]:
    """The files of a folder that Pillow may read, by name. Raises ValueError if there are none."""
    Image.init()
    kinds = Image.registered_extensions()
    readable = {e for e, kind in kinds.items() if kind in Image.OPEN and kind not in photograph.NEVER_OPENED}
    paths = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in readable]
    if not paths:
        raise ValueError(f"{folder}: holds no photographs; put the low-resolution ones into it")
    return sorted(paths)
