"""What was done to a photograph of one's own: numbers, maps and pictures side by side, on request."""

import json
import os
from pathlib import Path
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

from e2ent2lib.data.pairs import fingerprint
from e2ent2lib.photos.confidence import agreement
from e2ent2lib.photos.images import upscale_bicubic
from e2ent2lib.photos.upscale import SCALE, Upscaled
from e2ent2lib.report.plots import COLOURS, use_style
from e2ent2lib.runs import provenance
from e2ent2lib.runs.files import whole_file

SHOWN = 1200
"""Pixels of the longer side of a picture in a figure; larger ones are shown smaller."""
DETAIL = 40
"""Side of the detail that is shown enlarged, in pixels of the input; at most a quarter of a small picture's side."""
WHICH = "which reference was taken"
MATTERED = 2.0
"""A cell counts as changed by the reference from so many 8-bit steps on."""


def save_report(folder: Path, done: Upscaled, model: object, options: dict) -> list[Path]:
    """Write report.json, side_by_side.png and, where a reference was matched, maps.png; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "report.json", folder / "side_by_side.png"]
    with whole_file(paths[0]) as temporary:
        text = json.dumps(facts(done, model, options), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    use_style()
    figures = [side_by_side(done)]
    if done.made.confidence is not None:
        figures.append(maps(done))
        paths.append(folder / "maps.png")
    for path, figure in zip(paths[1:], figures):
        with whole_file(path) as temporary:
            figure.savefig(temporary)
        plt.close(figure)
    return paths


def facts(done: Upscaled, model: object, options: dict) -> dict:
    """All numbers of a report, with what made them."""
    card = getattr(model, "card", None) or {}
    pictures = zip((done.low, *done.refs), (done.photo.pixels, *done.references))
    told = {
        "model": card.get("model", model if isinstance(model, str) else None),
        "checkpoint_sha256": card.get("sha256"),
        "options": options,
        "input": None,
        "references": [],
        "output": {"file": name_of(done.output), "width": done.made.image.shape[1], "height": done.made.image.shape[0]},
        "seconds": round(done.seconds, 2),
        "said": done.said,
    }
    named = [
        {"file": name_of(path), "width": x.shape[1], "height": x.shape[0], "pixels": fingerprint([x])[:12]}
        for path, x in pictures
    ]
    told |= {"input": named[0], "references": named[1:]}
    return told | _of_matches(done) | provenance.here()


def name_of(path: Path) -> str:
    """A file's name as text, whatever its bytes are."""
    return os.fsencode(path.name).decode(errors="replace")


def _of_matches(done: Upscaled) -> dict:
    made, told = done.made, {}
    if made.confidence is not None:
        quantiles = np.quantile(made.confidence, (0.05, 0.5, 0.95)).round(4).tolist()
        told["confidence"] = {"mean": round(float(made.confidence.mean()), 4), "5, 50, 95 %": quantiles}
    if done.verdict is not None:
        told["verdict"] = {
            "agreement": round(done.verdict.agreement, 4),
            "threshold": done.verdict.threshold,
            "reference_helps": done.verdict.helps,
        }
    if made.changed is not None:
        told["changed"] = {
            "mean, 8-bit steps": round(float(made.changed.mean()), 3),
            f"share of cells by {MATTERED:g} steps or more": round(float((made.changed >= MATTERED).mean()), 4),
        }
    if made.matches is not None:
        source, index = (field[0].cpu().numpy() for field in (made.matches.source, made.matches.index))
        told["matches"] = [
            {
                "reference": name_of(path),
                "share of positions": round(float((source == n).mean()), 4),
                "patches used": len(np.unique(index[source == n])),
                "patches": (ref.shape[0] // SCALE - 2) * (ref.shape[1] // SCALE - 2),
            }
            for n, (path, ref) in enumerate(zip(done.refs, done.references))
        ]
    return told


def side_by_side(done: Upscaled) -> Figure:
    """The input enlarged bicubically, the SISR branch's image where there is one, the result; and a detail of each."""
    pictures = {"input, bicubic": upscale_bicubic(done.photo.pixels)}
    if done.made.sisr is not None:
        pictures["without the reference (SISR)"] = done.made.sisr
    pictures["result"] = done.made.image
    y, x, side = detail(done)
    shape = min(1.6, done.photo.pixels.shape[0] / done.photo.pixels.shape[1])  # of the whole, height to width
    size = (4.2 * len(pictures), 1.3 + 4.1 * (shape + 1))
    figure, axes = plt.subplots(2, len(pictures), figsize=size, height_ratios=(shape, 1), squeeze=False)
    for (title, image), whole, close in zip(pictures.items(), *axes):
        _picture(whole, image, title)
        h, w = image.shape[:2]
        rectangle = plt.Rectangle((x / w, 1 - (y + side) / h), side / w, side / h, transform=whole.transAxes)
        rectangle.set(fill=False, ec="yellow")
        whole.add_patch(rectangle)
        _picture(close, image[y : y + side, x : x + side], f"detail, {side}×{side} pixels at ({x}, {y})")
    figure.suptitle(f"{_plain(name_of(done.low))}, ×{SCALE}")
    return figure


def detail(done: Upscaled) -> tuple[int, int, int]:
    """Top, left and side, in pixels of the result, of where the reference changed most; without one, of the middle."""
    h, w = (n // SCALE for n in done.made.image.shape[:2])
    side = min(DETAIL, max(12, min(h, w) // 4), h, w)
    y, x = (h - side) // 2, (w - side) // 2
    if done.made.changed is not None:
        total = np.pad(done.made.changed, ((1, 0), (1, 0))).cumsum(0, dtype=np.float64).cumsum(1)
        sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
        y, x = np.unravel_index(sums.argmax(), sums.shape)
    return int(y) * SCALE, int(x) * SCALE, side * SCALE


def maps(done: Upscaled) -> Figure:
    """How sure the matches are, where the reference mattered, and which reference was taken if there are several."""
    pictures = {f"input: {name_of(done.low)}": done.photo.pixels}
    pictures |= {f"reference {n}: {name_of(path)}": x for n, (path, x) in enumerate(zip(done.refs, done.references), 1)}
    drawn = _maps(done)
    columns = min(3, len(pictures) + len(drawn))
    rows = -(-(len(pictures) + len(drawn)) // columns)
    height, width = done.photo.pixels.shape[:2]
    each = 0.7 + 3.6 * min(1.5, height / width)  # inches
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 0.8 + each * rows), squeeze=False)
    axes = list(axes.flat)
    for axis, (title, image) in zip(axes, pictures.items()):
        _picture(axis, image, title)
    for axis, (title, values, options) in zip(axes[len(pictures) :], drawn):
        shown = axis.imshow(_smaller(values), **options)
        axis.set(title=title, xticks=[], yticks=[])
        ticks = range(1, len(done.refs) + 1) if title == WHICH else None
        figure.colorbar(shown, ax=axis, shrink=0.8, ticks=ticks)
    for axis in axes[len(pictures) + len(drawn) :]:
        axis.axis("off")
    if done.verdict:
        figure.suptitle("\n".join(wrap(done.verdict.text, 36 * columns)), fontsize=10)
    return figure


def _maps(done: Upscaled) -> list[tuple[str, Float[np.ndarray, "h w"], dict]]:
    """(title, values, options of imshow) of each map that there is."""
    made, found = done.made, []
    if made.confidence is not None:
        lowest = float(np.quantile(made.confidence, 0.02))
        found.append(("confidence: cosine of patch and match", made.confidence, {"vmin": lowest, "vmax": 1}))
    if made.matches is not None:
        agreeing = agreement(made.matches, [ref.shape[1] // SCALE for ref in done.references])[0].cpu().numpy()
        found.append(("agreement: neighbours go to neighbours", agreeing, {"vmin": 0, "vmax": 1}))
    if made.changed is not None:
        most = max(float(np.quantile(made.changed, 0.99)), MATTERED)
        options = {"vmin": 0, "vmax": most, "cmap": "magma"}
        found.append(("where it mattered: change / 8-bit steps", made.changed, options))
    if made.matches is not None and len(done.refs) > 1:
        colours = ListedColormap([COLOURS[n % len(COLOURS)] for n in range(len(done.refs))])
        options = {"cmap": colours, "vmin": 0.5, "vmax": len(done.refs) + 0.5, "interpolation": "nearest"}
        found.append((WHICH, made.matches.source[0].cpu().numpy() + 1, options))
    return found


def _picture(axis: Axes, image: UInt8[np.ndarray, "h w 3"], title: str) -> None:
    largest = max(image.shape[:2])
    if largest > SHOWN:
        size = tuple(max(1, round(n * SHOWN / largest)) for n in (image.shape[1], image.shape[0]))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    axis.imshow(image)
    axis.set(title=_plain(title), xticks=[], yticks=[])


def _plain(title: str) -> str:
    """A title, shortened, in which a file's name is no formula."""
    return (title if len(title) < 48 else title[:45] + "…").replace("$", r"\$")


def _smaller(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "H W"]:
    step = -(-max(values.shape) // SHOWN)
    return values[::step, ::step]
