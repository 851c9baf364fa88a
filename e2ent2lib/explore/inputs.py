"""What a reader touches: a picture to point at, a triangle for α, a wipe, a question with two pictures, a file.

Each is a small anywidget: traits here, looks and gestures in ``js/``. They know nothing of the paper.
"""

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets as t
from ipywidgets import Layout

_JS = Path(__file__).parent / "js"
LARGEST = 100_000_000
"""Bytes of a file that are held at most."""


class Picture(anywidget.AnyWidget):
    """A picture divided in cells, with marks on it; if ``pointable``, a click, drag or arrow key moves ``place``."""

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

    def on_again(self, heard: Callable[[], None]) -> None:
        """Call ``heard()`` when the place that is pointed at already is pointed at once more."""
        self.on_msg(lambda _, content, buffers: heard() if content.get("again") else None)


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
    """Two pictures and the question which looks better, answered by button or arrow key; ``on_answer`` hears it."""

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

    def on_answer(self, heard: Callable[[str, int], None]) -> None:
        """Call ``heard(choice, milliseconds)`` for each answer to the question that is shown."""

        def receive(_: object, content: dict, buffers: list) -> None:
            if content.get("number") == self.number:
                heard(str(content.get("choice")), int(content.get("milliseconds", 0)))

        self.on_msg(receive)


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
