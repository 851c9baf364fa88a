"""What a reader touches, and what is drawn again while they drag. Nothing here knows of the paper.

Each input is a small anywidget: traits here, looks and gestures in ``js/``. Strips and charts are ``templates/``;
matplotlib takes a tenth of a second and more for each, so it draws only the explorers' static faces.
"""

import io
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anywidget
import jinja2
import matplotlib.pyplot as plt
import numpy as np
import traitlets as t
from ipywidgets import Layout
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from e2ent2lib.photos.images import as_rgb
from e2ent2lib.report.plots import COLOURS, Pixels, data_uri, show

_JS = Path(__file__).parent / "js"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(_JS.with_name("templates")), autoescape=True, undefined=jinja2.StrictUndefined
)
MARKS = {"here": "#111111", "best": COLOURS[1], "rival": COLOURS[0], "chooser": COLOURS[4]}
"""Colours of marks, as in js/explore.css."""
LARGEST = 100_000_000
"""Bytes of a file that are held at most."""


class Picture(anywidget.AnyWidget):
    """A picture divided in cells, with marks on it; if ``pointable``, a click, drag or arrow key moves ``place``.

    A message {again: true} says that the same place is pointed at once more.
    """

    _esm = _JS / "picture.js"
    _css = _JS / "explore.css"
    data = t.Bytes().tag(sync=True)
    """PNG or WebP."""
    title = t.Unicode().tag(sync=True)
    description = t.Unicode().tag(sync=True)
    """For those who do not see it."""
    grid = t.List(t.Int(), [1, 1]).tag(sync=True)
    """Rows and columns of cells."""
    place = t.List(t.Int(), [0, 0]).tag(sync=True)
    """Row and column of the cell that is pointed at."""
    pointable = t.Bool(False).tag(sync=True)
    marks = t.List().tag(sync=True)
    """Each {x, y, w, h, kind, text} in cells; kind "here", "best", "rival" or "chooser"."""

    def __init__(self, width: int = 320, **traits: object):
        """``width`` in CSS pixels, at most; pictures in a row shrink to 0.7 of it before one goes below."""
        room = {"flex": f"1 1 {0.7 * width:.0f}px", "max_width": f"min({width}px, 100%)", "min_width": "0"}
        super().__init__(layout=Layout(**room), **traits)


class Triangle(anywidget.AnyWidget):
    """The triangle of all (α1, α2, α3) that sum to 1, with pinned points."""

    _esm = _JS / "triangle.js"
    _css = _JS / "explore.css"
    alphas = t.List(t.Float(), [0.25, 0.25, 0.5]).tag(sync=True)
    pins = t.List().tag(sync=True)
    """Each {alphas, text}."""


class Wipe(anywidget.AnyWidget):
    """Two pictures of one size over each other with a line to drag, side by side, or their difference; one zoom."""

    _esm = _JS / "wipe.js"
    _css = _JS / "explore.css"
    left = t.Bytes().tag(sync=True)
    right = t.Bytes().tag(sync=True)
    difference = t.Bytes().tag(sync=True)
    names = t.List(t.Unicode(), ["", ""]).tag(sync=True)
    size = t.List(t.Int(), [1, 1]).tag(sync=True)
    """Width and height in pixels."""
    mode = t.Enum(("wipe", "side by side", "difference"), "wipe").tag(sync=True)
    share = t.Float(0.5).tag(sync=True)
    """Where the line is, from 0 to 1 of what is seen."""
    box = t.List(t.Int(), [0, 0, 1, 1]).tag(sync=True)
    """What is seen: x, y, width and height in pixels."""


class Question(anywidget.AnyWidget):
    """Two pictures and the question which looks better; button or arrow key send {number, choice, milliseconds}."""

    _esm = _JS / "question.js"
    _css = _JS / "explore.css"
    left = t.Bytes().tag(sync=True)
    right = t.Bytes().tag(sync=True)
    text = t.Unicode().tag(sync=True)
    number = t.Int(-1).tag(sync=True)
    """Which question is shown; an answer to another one is not heard."""
    total = t.Int(0).tag(sync=True)

    def __init__(self, **traits: object):
        super().__init__(**traits)
        self._anywidget_id = "question"  # else the page would name this library, and with it our system


class File(anywidget.AnyWidget):
    """A file of the reader's, chosen or dropped; it comes in parts, so its size is not limited by the connection's."""

    _esm = _JS / "file.js"
    _css = _JS / "explore.css"
    label = t.Unicode("choose a photograph").tag(sync=True)
    largest = t.Int(LARGEST).tag(sync=True)
    """Bytes; the page refuses larger files."""
    said = t.Unicode().tag(sync=True)
    """What became of it, beside the button."""

    def on_file(self, heard: Callable[[str, bytes], None]) -> None:
        """Call ``heard(name, content)`` when a file has come whole."""
        held: bytearray | None = None

        def receive(_: object, content: dict, buffers: list) -> None:
            nonlocal held
            if content.get("part") == 0:
                held = bytearray()
            if held is None:
                return
            for part in buffers:
                held.extend(part)
            if len(held) > LARGEST:  # the page may have been altered, so it is counted here too
                held, self.said = None, f"larger than {LARGEST // 1_000_000} MB, nothing was kept"
            elif content.get("last"):
                whole, held = bytes(held), None
                heard(str(content.get("name")), whole)

        self.on_msg(receive)


def mark(kind: str, x: float, y: float, size: float = 3, text: str = "") -> dict:
    """A mark for a ``Picture``: a square of ``size`` cells, by default a patch, around the cell (x, y)."""
    corner = (1 - size) / 2
    return {"kind": kind, "x": x + corner, "y": y + corner, "w": size, "h": size, "text": text}


def around(image: Pixels, y: int, x: int, reach: int, cell: int = 4) -> Pixels:
    """A cell and what lies up to ``reach`` pixels around it; beyond the border the image is repeated."""
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    return padded[cell * y : cell * (y + 1) + 2 * reach, cell * x : cell * (x + 1) + 2 * reach]


def strip(patches: Mapping[str, Pixels], size: int = 84) -> str:
    """Small patches in a row, each enlarged to ``size`` CSS pixels with its caption below; HTML."""
    uris = {caption: data_uri(patch) for caption, patch in patches.items()}
    return _TEMPLATES.get_template("strip.html").render(patches=uris, size=size)


def bars(values: Mapping[str, float], title: str, legend: str, beside: Mapping[str, float] = {}, tick: str = "") -> str:
    """Horizontal bars with a tick where the compared value lies; SVG. ``legend`` names the bars, ``tick`` the ticks."""
    high = max([*values.values(), *beside.values(), 1e-12])
    facts = {"values": values, "title": title, "legend": legend, "beside": beside, "tick": tick, "high": high}
    return _TEMPLATES.get_template("bars.svg").render(facts)


def curves(series: Mapping[str, Sequence[float]], title: str, steps: int, across: str) -> str:
    """One or two lines against steps, the first value at step 0; ``across`` says what the steps are; SVG."""
    values = [v for line in series.values() for v in line]
    facts = {"series": series, "title": title, "steps": steps, "across": across}
    return _TEMPLATES.get_template("curves.svg").render(facts, low=min(values), high=max(values))


def face(pictures: Sequence[Picture], patches: Mapping[str, Pixels], text: str, columns: int) -> Figure:
    """Pictures with their marks, patches by caption, a text below: an explorer as a page without a kernel shows it."""
    width = 6 + columns  # inches
    shown = [(p.title.split(": point")[0], as_rgb(io.BytesIO(p.data))) for p in pictures]  # there is none to point at
    fill = textwrap.TextWrapper(int(13 * width / columns)).fill
    images = [("\n".join(map(fill, title.splitlines())), image) for title, image in (*shown, *patches.items())]
    look = {"image.interpolation": "antialiased", "axes.titlesize": 9, "figure.constrained_layout.use": True}
    with plt.rc_context(look):
        figure = show(images, columns=columns, width=width)
    figure.set_figheight(figure.get_figheight() + 0.6)  # the text's
    for axis, picture in zip(figure.axes, pictures):
        if picture.marks:
            axis.images[0].set_extent((0, picture.grid[1], picture.grid[0], 0))
        for m in picture.marks:
            colour, outline = MARKS[m["kind"]], [withStroke(linewidth=3.5, foreground="white")]
            look = {"fill": m["kind"] == "chooser", "color": colour, "lw": 1.8, "path_effects": outline}
            axis.add_patch(Rectangle((m["x"], m["y"]), m["w"], m["h"], **look))
            tag = {"pad": 0.8, "ec": "none", "fc": colour}
            axis.annotate(m["text"], (m["x"] + m["w"], m["y"]), fontsize=7, color="white", bbox=tag)
    figure.supxlabel(text, x=0.01, ha="left", fontsize=8.5, wrap=True)
    return figure
