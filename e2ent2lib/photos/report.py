"""What was done to a photograph of one's own: numbers, maps and pictures side by side, on request."""

import json
import os
from dataclasses import replace
from pathlib import Path
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter

from e2ent2lib.data.pairs import fingerprint
from e2ent2lib.photos.images import upscale_bicubic
from e2ent2lib.photos.photograph import Photograph
from e2ent2lib.photos.tiles import Enlarged
from e2ent2lib.photos.upscale import REPORT, SCALE, Upscaled
from e2ent2lib.report.plots import COLOURS, show, use_style
from e2ent2lib.runs import provenance
from e2ent2lib.runs.files import whole_file, write_text

DETAIL = 40
"""Side of the detail that is shown enlarged, in pixels of the input; at most a quarter of a small picture's side."""
MATTERED = 2.0
"""A cell counts as changed by the reference if it moved by at least this many 8-bit steps."""


def save_report(folder: Path, done: Upscaled) -> list[Path]:
    """Write report.json, side_by_side.png and, where a reference was matched, maps.png; returns their paths."""
    paths, text = [folder / REPORT[0]], json.dumps(facts(done), indent=1, ensure_ascii=False) + "\n"
    write_text(paths[0], text.encode(errors="replace").decode())  # a note may hold a name that is no text
    use_style()
    for draw in (side_by_side, maps)[: 1 if done.result.confidence is None else 2]:
        figure = draw(done)
        paths.append(folder / f"{draw.__name__}.png")
        with whole_file(paths[-1]) as temporary:
            figure.savefig(temporary)
        plt.close(figure)
    return paths


def facts(done: Upscaled) -> dict:
    """All numbers of a report, with what made them."""
    result, card = done.result, done.system.card
    report = {
        "model": card["model"],
        "checkpoint_sha256": card["sha256"],
        "options": {"precision": done.options.precision, "matching": done.options.matching},
        "input": _file(done.photo),
        "references": [_file(ref) for ref in done.references],
        "output": {"file": _name(done.output), "width": result.image.shape[1], "height": result.image.shape[0]},
        "seconds": round(done.seconds, 2),
        "notes": done.notes,
    }
    if result.confidence is not None:
        quantiles = np.quantile(result.confidence, (0.05, 0.5, 0.95)).round(4).tolist()
        report["confidence"] = {"mean": round(float(result.confidence.mean()), 4), "5, 50, 95 %": quantiles}
    if done.verdict is not None:
        agreement, threshold, helps, _ = done.verdict
        report["verdict"] = {"agreement": round(agreement, 4), "threshold": threshold, "reference_helps": helps}
    if result.changed is not None:
        report["changed"] = {
            "mean, 8-bit steps": round(float(result.changed.mean()), 3),
            f"share of cells by {MATTERED:g} steps or more": round(float((result.changed >= MATTERED).mean()), 4),
        }
    if result.matches is not None:
        source, index = (field[0].cpu().numpy() for field in (result.matches.source, result.matches.index))
        report["matches"] = [
            {
                "reference": _name(ref.path),
                "share of positions": round(float((source == n).mean()), 4),
                "patches used": len(np.unique(index[source == n])),
                "patches": (ref.pixels.shape[0] // SCALE - 2) * (ref.pixels.shape[1] // SCALE - 2),
            }
            for n, ref in enumerate(done.references)
        ]
    return report | provenance.here()


def _file(photo: Photograph) -> dict:
    height, width = photo.pixels.shape[:2]
    return {"file": _name(photo.path), "width": width, "height": height, "pixels": fingerprint([photo.pixels])[:12]}


def _name(path: Path) -> str:
    """A file's name as text, whatever its bytes are."""
    return os.fsencode(path.name).decode(errors="replace")


def side_by_side(done: Upscaled) -> Figure:
    """The input enlarged bicubically, the SISR branch's image where there is one, the result; and a detail of each."""
    sisr = done.result.sisr
    if sisr is not None:
        sisr = done.system.finished(Enlarged(sisr), done.photo.pixels, replace(done.options, rounded=True)).image
    pictures = {
        "input, bicubic": upscale_bicubic(done.photo.pixels),
        "without the reference (SISR)": sisr,
        "result": done.result.image,
    }
    pictures = {title: image for title, image in pictures.items() if image is not None}
    y, x, side = detail(done)
    close = f"detail, {side}×{side} pixels at ({x}, {y})"
    details = [(close, image[y : y + side, x : x + side]) for image in pictures.values()]
    figure = show([*pictures.items(), *details], columns=len(pictures), width=4.2 * len(pictures))
    for whole in figure.axes[: len(pictures)]:
        whole.add_patch(plt.Rectangle((x - 0.5, y - 0.5), side, side, fill=False, ec="yellow"))
    figure.suptitle(f"{_name(done.photo.path)[:48]}, ×{SCALE}", parse_math=False)
    return figure


def detail(done: Upscaled) -> tuple[int, int, int]:
    """Top, left and side, in pixels of the result, of where the reference changed most; without one, of the middle."""
    h, w = (n // SCALE for n in done.result.image.shape[:2])
    side = min(DETAIL, max(12, min(h, w) // 4), h, w)
    y, x = (h - side) // 2, (w - side) // 2
    if done.result.changed is not None:
        means = uniform_filter(done.result.changed, side, origin=-(side // 2))[: h - side + 1, : w - side + 1]
        y, x = np.unravel_index(means.argmax(), means.shape)
    return int(y) * SCALE, int(x) * SCALE, side * SCALE


def maps(done: Upscaled) -> Figure:
    """How sure the matches are, where the reference mattered, and which reference was taken if there are several."""
    result, references = done.result, done.references
    panels = [(f"input: {_name(done.photo.path)}", done.photo.pixels, {})]
    panels += [(f"reference {n}: {_name(ref.path)}", ref.pixels, {}) for n, ref in enumerate(references, 1)]
    if result.confidence is not None:
        lowest = np.quantile(result.confidence, 0.02)
        panels.append(("confidence: cosine of patch and match", result.confidence, {"clim": (lowest, 1)}))
    if result.agreement is not None:
        panels.append(("agreement: cells keep their offset", result.agreement, {"clim": (0, 1)}))
    if result.changed is not None:
        look = {"clim": (0, max(np.quantile(result.changed, 0.99), MATTERED)), "cmap": "magma"}
        panels.append(("where it mattered: change / 8-bit steps", result.changed, look))
    if result.matches is not None and len(references) > 1:
        colours = ListedColormap([COLOURS[n % len(COLOURS)] for n in range(len(references))])
        look = {"cmap": colours, "clim": (0.5, len(references) + 0.5)}
        panels.append(("which reference was taken", result.matches.source[0].cpu().numpy() + 1, look))
    columns = min(3, len(panels))
    figure = show([(title, image) for title, image, _ in panels], columns=columns, width=4.6 * columns)
    for axis, (title, image, look) in zip(figure.axes, panels):
        axis.set_title(title[:48], parse_math=False)  # a file's name is no formula
        if look:
            axis.images[0].set(**look)
            whole_numbers = range(1, len(references) + 1) if image.dtype.kind == "i" else None
            figure.colorbar(axis.images[0], ax=axis, shrink=0.8, ticks=whole_numbers)
    if done.verdict:
        figure.suptitle("\n".join(wrap(done.verdict.text, 36 * columns)), fontsize=10)
    return figure
