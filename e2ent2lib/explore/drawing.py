"""Pictures and charts that are drawn again while a reader drags: PNG from arrays, bars and curves as SVG.

Matplotlib takes a tenth of a second and more for each, so it draws only the explorers' static faces.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from e2ent2lib.report.diagrams import render
from e2ent2lib.report.plots import COLOURS, Pixels, data_uri

_TAG = {"pad": 0.8, "ec": "none"}
MARKS = {"here": "#111111", "best": COLOURS[1], "rival": COLOURS[0], "chooser": COLOURS[4]}
"""Colours of marks, as in js/explore.css."""


class Panel(NamedTuple):
    """A picture of a static face: its marks are {x, y, w, h, kind, text} in cells of the grid (rows, columns)."""

    title: str
    image: Pixels
    grid: Sequence[int] = (1, 1)
    marks: Sequence[Mapping] = ()


def mark(kind: str, x: float, y: float, w: float, h: float, text: str = "") -> dict:
    """A mark for ``inputs.Picture`` and ``Panel``."""
    return {"kind": kind, "x": x, "y": y, "w": w, "h": h, "text": text}


def around(image: Pixels, y: int, x: int, reach: int, cell: int = 4) -> Pixels:
    """A cell and what lies up to ``reach`` pixels around it; beyond the border the image is repeated."""
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return padded[cell * y : cell * (y + 1) + 2 * reach, cell * x : cell * (x + 1) + 2 * reach]


def strip(patches: Mapping[str, Pixels], size: int = 84) -> str:
    """Small patches in a row, each enlarged to ``size`` CSS pixels with its caption below; HTML."""
    cells = []
    for caption, patch in patches.items():
        cells.append(
            f'<figure style="margin:0;width:{size}px"><img alt="{escape(caption)}" src="{data_uri(patch)}" '
            f'style="width:{size}px;height:{size}px;image-rendering:pixelated;border:1px solid #888">'
            f'<figcaption style="font-size:12px;line-height:1.25">{escape(caption)}</figcaption></figure>'
        )
    return f'<div style="display:flex;flex-wrap:wrap;gap:10px">{"".join(cells)}</div>'


def bars(values: Mapping[str, float], beside: Mapping[str, float], title: str, legend: str, tick: str = "") -> str:
    """Horizontal bars with a tick where the compared value lies; SVG. ``legend`` names the bars, ``tick`` the ticks."""
    high = max([*values.values(), *beside.values(), 1e-12])
    rows = []
    for i, (name, value) in enumerate(values.items()):
        y = 22 * i + 44
        rows.append(f'<text x="128" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        rows.append(f'<rect x="134" y="{y + 2}" width="{220 * value / high:.1f}" height="14" fill="{COLOURS[0]}"/>')
        if name in beside:
            x = 134 + 220 * beside[name] / high
            rows.append(f'<path d="M{x:.1f} {y - 1}v20" stroke="{COLOURS[1]}" stroke-width="3"/>')
        rows.append(f'<text x="{140 + 220 * value / high:.1f}" y="{y + 13}">{value:.3g}</text>')
    key = (
        f'<rect x="134" y="24" width="12" height="10" fill="{COLOURS[0]}"/><text x="150" y="33">{escape(legend)}</text>'
    )
    if beside:
        key += (
            f'<path d="M264 22v14" stroke="{COLOURS[1]}" stroke-width="3"/><text x="270" y="33">{escape(tick)}</text>'
        )
    return _svg(420, 50 + 22 * len(values), title, key + "".join(rows))


def curves(series: Mapping[str, Sequence[float]], title: str, unit: str, steps: int) -> str:
    """Lines against training steps, the first value at step 0; SVG."""
    values = [v for line in series.values() for v in line]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = (high - low) or 1.0
    parts = ['<path d="M50 30V180H400" fill="none" stroke="currentColor" stroke-width="1"/>']
    for value, y in ((high, 36), (low, 180)):
        parts.append(f'<text x="45" y="{y}" text-anchor="end">{value:.1f}</text>')
    for (name, line), colour, dash, y in zip(series.items(), COLOURS, ("", "6 3"), (120, 138)):
        points = " ".join(
            f"{50 + 350 * i / steps:.1f},{180 - 145 * (value - low) / span:.1f}" for i, value in enumerate(line)
        )
        stroke = f'fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"'
        parts.append(f'<polyline points="{points}" {stroke}/><path d="M140 {y}h26" {stroke}/>')
        last = f": {line[-1]:.2f}" if line else ""
        parts.append(f'<text x="172" y="{y + 5}">{escape(name)}{last}</text>')
    parts.append(f'<text x="225" y="200" text-anchor="middle">training step (0 to {steps}); up: {escape(unit)}</text>')
    return _svg(420, 210, title, "".join(parts))


def _svg(width: int, height: int, title: str, body: str) -> str:
    look = f"width:100%;max-width:{width}px;font:13px system-ui,'DejaVu Sans',sans-serif;fill:currentColor"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" style="{look}" '
        f'aria-label="{escape(title)}"><text x="4" y="14" font-weight="600">{escape(title)}</text>{body}</svg>'
    )


def raster(svg: str) -> Pixels:
    """A drawing or chart as a picture, for a static face."""
    return np.asarray(Image.open(io.BytesIO(render(svg, "png", dpi=50))))


def face(panels: Sequence[Panel], text: str, columns: int, width: float = 10) -> Figure:
    """Panels with their marks and a text below: what a page without a kernel shows of an explorer."""
    lines = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    shapes = [max(p.image.shape[0] / p.image.shape[1] for p in line) for line in lines]
    size = (width, sum(width / columns * shape + 0.45 for shape in shapes) + 0.5)
    figure, axes = plt.subplots(
        len(lines), columns, figsize=size, squeeze=False, layout="constrained", height_ratios=shapes
    )
    for axis in axes.flat:
        axis.axis("off")
    for axis, panel in zip(axes.flat, panels):
        rows_, columns_ = panel.grid if tuple(panel.grid) != (1, 1) else panel.image.shape[:2]
        axis.imshow(panel.image, extent=(0, columns_, rows_, 0), interpolation="antialiased")
        wrapped = [textwrap.fill(line, int(13 * width / columns)) for line in panel.title.splitlines()]
        axis.set_title("\n".join(wrapped), fontsize=9)
        for m in panel.marks:
            place, colour = ((m["x"], m["y"]), m["w"], m["h"]), MARKS[m["kind"]]
            filled = m["kind"] == "chooser"
            axis.add_patch(Rectangle(*place, fill=filled, fc=colour, ec="white", lw=1 if filled else 3.5))
            if not filled:
                axis.add_patch(Rectangle(*place, fill=False, ec=colour, lw=1.8))
            if m["text"]:
                axis.annotate(
                    m["text"], (m["x"] + m["w"], m["y"]), fontsize=7, color="white", bbox=_TAG | {"fc": colour}
                )
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8.5, wrap=True)
    return figure
