"""Files in, files out: what ``e2ent2 upscale`` does with a photograph, or with a folder of them."""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import nn

from e2ent2lib.photos.confidence import Verdict, agreement, judge
from e2ent2lib.photos.images import EXTENSIONS, NEVER_OPENED
from e2ent2lib.photos.inference import enlarge, usable_reference
from e2ent2lib.photos.photograph import (
    Photograph,
    check_output,
    enlarged_alpha,
    in_colours_of,
    read_photograph,
    write_photograph,
)
from e2ent2lib.photos.tiles import Enlarged, Matching, Precision

SCALE = 4


class Upscaled(NamedTuple):
    """One photograph that was made sharp; what ``report.upscaled`` tells of."""

    low: Path
    refs: list[Path]
    output: Path
    photo: Photograph
    """The input."""
    references: list[UInt8[np.ndarray, "h w 3"]]
    """As they were used: in the input's colours, sides multiples of 4."""
    made: Enlarged
    verdict: Verdict | None
    """None where nothing was matched."""
    seconds: float
    said: list[str]
    """What could not be kept, and what the reference is worth; for the user."""


def upscale_file(
    low: Path,
    refs: Sequence[Path],
    output: Path,
    model: str | nn.Module,
    *,
    precision: Precision = "float32",
    matching: Matching = "exact",
    progress: bool = True,
) -> Upscaled:
    """Enlarge a photograph ×4 and write it; transparency, colour profile and grey are kept where the format can.

    What was matched before an interruption is kept beside ``output`` and used by the next call of the same.
    Raises FileNotFoundError or ValueError, which name the file; if only writing fails, OSError that says where the
    finished picture is.
    """
    refuse_inputs(output, (low, *refs))
    photo = read_photograph(low)
    check_output(output, tuple(SCALE * n for n in photo.pixels.shape[:2]))
    read = [read_photograph(ref) for ref in refs]
    references = [usable_reference(in_colours_of(x, photo), SCALE, str(ref)) for x, ref in zip(read, refs)]
    saved, start = output.parent / f".{output.name}.matches", time.perf_counter()
    options = {"precision": precision, "matching": matching, "progress": progress, "saved": saved}
    try:
        made = enlarge(photo.pixels, references, model, **({} if isinstance(model, str) else options))
    except KeyboardInterrupt:
        kept = "; what was matched is kept, the same command goes on from there" if saved.is_file() else ""
        raise KeyboardInterrupt(f"interrupted, {output} was not written{kept}") from None
    seconds = time.perf_counter() - start
    verdict = None
    if made.matches is not None:
        agreeing = agreement(made.matches, [ref.shape[1] // SCALE for ref in references])
        verdict = judge(model, agreeing.mean().item(), matching)
    said = [line for one in (photo, *read) for line in one.said] + _unused(model, refs, made)
    alpha = None if photo.alpha is None else enlarged_alpha(photo.alpha, SCALE)
    said += _write(output, photo._replace(pixels=made.image, alpha=alpha))
    said += [verdict.text] if verdict else []
    return Upscaled(low, list(refs), output, photo, references, made, verdict, seconds, said)


def refuse_inputs(output: Path, inputs: Sequence[Path]) -> None:
    """Raise ValueError if ``output`` is one of ``inputs``, by whatever name."""
    for path in inputs:
        same = output.exists() and path.exists() and os.path.samefile(output, path)
        if same or output.resolve() == path.resolve():
            raise ValueError(f"{output}: is one of the inputs and would be overwritten; choose another name for -o")


def _unused(model: str | nn.Module, refs: Sequence[Path], made: Enlarged) -> list[str]:
    """A system that makes no use of references says so."""
    used = model != "bicubic" if isinstance(model, str) else model.references != "none"
    return ["this system makes no use of a reference"] if refs and not used else []


def _write(output: Path, photo: Photograph) -> list[str]:
    """Write the result; if there is no room, write it elsewhere and say where, for it may have taken an hour."""
    try:
        return write_photograph(output, photo)
    except (OSError, ValueError) as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="e2ent2-")) / f"{output.stem}.png"
        try:
            write_photograph(elsewhere, photo)
        except (OSError, ValueError):
            raise error from None
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"{output}: cannot be written ({reason}); the finished picture is in {elsewhere}") from error


def upscale_folder(
    folder: Path, refs: Sequence[Path], output: Path, model: str | nn.Module, *, again: bool = False, **options
) -> Iterator[Upscaled | str | Exception]:
    """``upscale_file`` of all photographs in a folder with the same references, into another folder, by the same names.

    One that fails does not hold up the rest: its error is yielded. Those that are there already are left, unless
    ``again``, so that an interrupted call goes on; what is yielded says so.
    Raises as ``photographs_in``, and ValueError for a reference or an ``output`` that cannot be used.
    """
    found = photographs_in(folder)
    if output.exists() and os.path.samefile(folder, output):
        raise ValueError(f"{output}: is the folder of the inputs; choose another for -o")
    if output.exists() and not output.is_dir():
        raise ValueError(f"{output}: is a file; for a folder of photographs -o is a folder")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent}: no such folder; create it, then try again")
    for ref in refs:
        usable_reference(read_photograph(ref).pixels, SCALE, str(ref))
    output.mkdir(exist_ok=True)
    for number, low in enumerate(found, 1):
        target = output / (low.name if low.suffix.lower() in EXTENSIONS else f"{low.name}.png")
        print(f"{number} of {len(found)}: {low.name}", file=sys.stderr)
        if target.exists() and not again:
            yield f"{target} is there already and was left; --again makes it anew"
            continue
        try:
            yield upscale_file(low, refs, target, model, **options)
        except (ValueError, OSError, RuntimeError) as error:
            yield error


def photographs_in(folder: Path) -> list[Path]:
    """The files of a folder that Pillow may read, by name. Raises ValueError if there are none."""
    Image.init()
    readable = {end for end, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    readable -= {end for end, kind in Image.registered_extensions().items() if kind in NEVER_OPENED}
    found = [p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".") and p.suffix.lower() in readable]
    if not found:
        raise ValueError(f"{folder}: holds no photographs; put the low-resolution ones into it")
    return sorted(found)
