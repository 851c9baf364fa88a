"""What all explorers have in common: photographs, readout, line for errors, work beside the page, static face."""

import base64
import io
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import NamedTuple

import ipywidgets as w
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from e2ent2lib.data.pairs import DATASETS, dataset
from e2ent2lib.explore.view import File, Picture
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.photos.images import as_rgb, crop_to_multiple
from e2ent2lib.report.plots import JPEG, Pixels, cut

OWN = "photographs of your own"
PARTS = ("photograph", "reference")
LONGEST = 760
"""Pixels of the longer side of what is shown; larger photographs are reduced."""
MOST = 200
"""Pairs of a data set that are listed: every evaluation set's, the first of CUFED's thousands."""
SMALLEST = 48
"""Pixels of the shorter side: twelve cells, with room for a few patches."""
PART = (208, 172, 320, 240)
"""Of the motorcycle's left view, x, y, width, height; small enough that all four encoders answer at once."""
PART_OF_REFERENCE = (160, 160, 384, 272)
CHART = w.Layout(flex="1 1 320px", max_width="440px", min_width="0")
"""Of a chart in a row."""


class Photos(NamedTuple):
    """A truth and its reference, sides multiples of 4."""

    hr: Pixels
    ref: Pixels
    stereo: bool = False
    """Whether the two are a rectified pair of one size."""
    note: str = ""
    """What was done to them, to be shown."""


def available_pairs() -> dict[str, Callable[[], Photos]]:
    """{title: function that gives the ``Photos``}: the motorcycle, a part of it, the pairs of available data sets."""
    available = {}
    for data in DATASETS.values():
        for pair in data.lister()[:MOST]:
            if pair.ref_sources and data.in_tables:
                title = data.title if data.total == 1 else f"{data.title} {pair.name}"
                available[title] = lambda pair=pair, stereo=data.stereo: photos(*prepared(pair), stereo=stereo)
    return {"motorcycle": available.pop("motorcycle"), "motorcycle, a part": part} | available


def part() -> Photos:
    """The engine and what is around it, with a larger box of the right view as reference."""
    pair = dataset("motorcycle").pairs()[0]
    return Photos(cut(pair.hr(), PART), cut(pair.refs()[0], PART_OF_REFERENCE))


def photos(hr: Pixels, ref: Pixels, *, stereo: bool = False) -> Photos:
    """Two pictures ready to be shown. Raises ValueError for one with a side under ``SMALLEST``."""
    (hr, note), (ref, more) = (fitted(image, f"the {part}") for image, part in zip((hr, ref), PARTS))
    note = f"{note} {more} Scores of it differ from the tables'." if note or more else ""
    return Photos(hr, ref, stereo and hr.shape == ref.shape, note.strip())


def fitted(image: Pixels, name: str) -> tuple[Pixels, str]:
    """The picture reduced to ``LONGEST``, sides multiples of 4; what was done. Raises ValueError if it is too small."""
    reduced, (height, width) = Image.fromarray(image), image.shape[:2]
    reduced.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS, reducing_gap=None)
    if min(reduced.size) < SMALLEST:
        raise ValueError(
            f"{name} of {width}×{height} is too small or too narrow here: with a longer side of at most {LONGEST} "
            f"pixels the other needs {SMALLEST}; e2ent2 upscale takes it"
        )
    note = f"{name} was reduced from {width}×{height} to {reduced.width}×{reduced.height}."
    return crop_to_multiple(np.array(reduced)), note if max(height, width) > LONGEST else ""


class Explorer(w.VBox):
    """Controls (the first of ``children``), a status line, a readout, pictures.

    An explorer gives ``figure()``, its static face, and ``summary()``, which says in words what it shows.
    No ``Output`` and no ``interact``: what they print a page does not keep.
    """

    _muted = True
    """Whether controls are not heard: while the explorer is made, and while it answers one of them."""

    def __init__(self, title: str, what: str, children: list[w.Widget]):
        self.readout, self.status = w.HTML(), w.HTML()
        head = w.HTML(f"<h3 style='margin:0'>{escape(title)}</h3><p style='margin:2px 0 6px'>{escape(what)}</p>")
        super().__init__([head, *children[:1], self.status, self.readout, *children[1:]])
        self.add_class("e2-explorer")

    def on(self, call: Callable[[], None], *controls: w.Widget, trait: str = "value") -> None:
        """Call ``call()``, guarded: a button is clicked, a picture pointed at, the trait of another control changes."""
        for control in controls:
            if isinstance(control, w.Button):
                control.on_click(lambda _: self.guarded(call))
            elif isinstance(control, Picture):
                control.observe(lambda _: self.guarded(call), "place")
                control.on_msg(lambda _, content, buffers: self.guarded(call) if content.get("again") else None)
            else:
                control.observe(lambda _: self.guarded(call), trait)

    def guarded(self, call: Callable[..., None], *arguments: object) -> None:
        """Call it, errors told. Controls that it changes follow what is shown: until it returns, none is heard."""
        if self._muted:
            return
        self._muted = True
        try:
            with self.errors_told():
                call(*arguments)
        finally:
            self._muted = False

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """What is raised inside goes to the status line, since a callback's errors are shown nowhere else."""
        try:
            yield
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            self.say(str(error) or type(error).__name__, problem=True)
        except Exception as error:
            traceback.print_exc()  # into the log
            self.say(f"this should not happen: {error!r}", problem=True)

    def say(self, text: str, *, problem: bool = False) -> None:
        """Put a text into the status line; empty for none."""
        look = "background:#fbe3d6;border-left:4px solid #D55E00" if problem else "background:#e3eef7"
        box = f'<div role="status" style="{look};color:#222;padding:4px 10px">{escape(text)}</div>'
        self.status.value = box if text else ""

    def tell(self, text: str = "") -> None:
        """Put a text, else ``summary()``, into the readout, where screen readers hear it."""
        text = escape(text or self.summary())
        self.readout.value = f'<p role="status" aria-live="polite" style="margin:6px 0">{text}</p>'

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, object]:
        bundle = super()._repr_mimebundle_(**kwargs)
        figure, buffer = self.figure(), io.BytesIO()
        figure.savefig(buffer, format="jpeg", dpi=110, pil_kwargs=JPEG)
        plt.close(figure)
        return bundle | {"image/jpeg": base64.b64encode(buffer.getvalue()).decode(), "text/plain": self.summary()}


class PairExplorer(Explorer):
    """An explorer of two photographs, an available pair or the reader's own; its ``load()`` shows them."""

    def __init__(self, title: str, what: str, pair: str, controls: list[w.Widget], children: list[w.Widget]):
        self._pairs, self._own = available_pairs(), {}
        self.pair = choice("photographs", [*self._pairs, OWN], pair)
        self.uploads = [File(label=f"your {part}") for part in PARTS]
        for control, part in zip(self.uploads, PARTS):
            control.on_file(lambda *file, to=(control, part): self.guarded(self._take, *to, *file))
        super().__init__(title, what, [w.VBox([row(self.pair, *controls), row(*self.uploads)]), *children])
        self.load()
        self.on(self.load, self.pair)
        self._muted = False

    def chosen(self) -> Photos:
        """The photographs of the list. Raises ValueError for one's own while one is missing."""
        if self.pair.value != OWN:
            return self._pairs[self.pair.value]()
        if missing := [f"your {part}" for part in PARTS if part not in self._own]:
            raise ValueError(f"choose {' and '.join(missing)}, with the buttons below the list")
        return photos(*(self._own[part] for part in PARTS))

    def _take(self, control: File, part: str, name: str, content: bytes) -> None:
        """A photograph of the reader's own; what cannot be read or is too small changes nothing."""
        control.said = "not taken"
        image = as_rgb(io.BytesIO(content), name)
        control.said = f"{name}: {image.shape[1]}×{image.shape[0]}"
        fitted(image, f"your {part}")
        self._own[part], self.pair.value = image, OWN
        self.load()


class PlaceExplorer(PairExplorer):
    """A pair explorer with a place, (row, column) in cells, typed or pointed at; its ``show_place()`` shows it."""

    def choose_place(self, place: tuple[int, int], *pictures: Picture) -> tuple[w.BoundedIntText, w.BoundedIntText]:
        """Make the numbers ``self.row`` and ``self.column``, which the place in the pictures follows; returns both."""
        layout, style, self._pointed = w.Layout(width="130px"), {"description_width": "auto"}, pictures
        self.row, self.column = (
            w.BoundedIntText(value, 0, 999, description=name, layout=layout, style=style)
            for name, value in zip(("row", "column"), place)
        )
        self.on(lambda: self.go(self.row.value, self.column.value), self.row, self.column)
        for picture in pictures:
            self.on(lambda picture=picture: self.go(*picture.place), picture)
        return self.row, self.column

    def limit_place(self, height: int, width: int) -> None:
        """Give photographs of that many cells to the numbers and the pictures."""
        self.row.max, self.column.max = height - 1, width - 1
        for picture in self._pointed:
            picture.grid = [height, width]

    def go(self, row: int, column: int) -> None:
        """Show a place, or the one nearest to it inside the photographs."""
        self.row.value, self.column.value = row, column
        for picture in self._pointed:
            picture.place = [self.row.value, self.column.value]
        self.show_place()
        self.tell()


class Job(w.HBox):
    """Work of seconds in a thread, beside an explorer that stays alive: a bar, an estimate, a button that stops it."""

    def __init__(self, explorer: Explorer):
        self._explorer, self._current, self.thread = explorer, object(), threading.Thread()
        self.bar = w.FloatProgress(value=0, min=0, max=1, layout=w.Layout(width="160px"))
        self.left, self.stop = w.Label(), w.Button(description="stop", tooltip="stop this work; what is done stays")
        layout = w.Layout(display="none", flex_flow="row wrap", grid_gap="4px 12px")
        super().__init__([self.bar, self.left, self.stop], layout=layout)
        self.stop.on_click(lambda _: self.cancel())

    def run(self, items: Iterator, total: int, show: Callable[[object], None], what: str) -> None:
        """Begin; each item goes to ``show`` at once. ``total`` is how many there will be, ``what`` the work's name."""
        self._current = mine = object()
        self.bar.value, self.left.value, self.layout.display = 0, what, "flex"
        start = time.monotonic()

        def work() -> None:
            with self._explorer.errors_told():
                for done, item in enumerate(items, 1):
                    if self._current is not mine:
                        return
                    show(item)
                    left = (time.monotonic() - start) / done * (total - done)
                    self.bar.value, self.left.value = done / total, f"{what}, about {left:.0f} s left"
            if self._current is mine:
                self.layout.display = "none"

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()

    def cancel(self) -> None:
        """Stop; the item that is being made is not shown any more."""
        self._current, self.layout.display = object(), "none"


def row(*children: w.Widget) -> w.Box:
    """Widgets side by side, below each other where there is no room."""
    return w.Box(list(children), layout=w.Layout(display="flex", flex_flow="row wrap", grid_gap="6px 20px"))


def choice(label: str, options: list | dict, value: object = None, tip: str = "") -> w.Dropdown:
    """A labelled list to choose from, at first its first option or ``value``."""
    layout, style = w.Layout(width="auto", max_width="100%", min_width="0"), {"description_width": "auto"}
    chosen = {} if value is None else {"value": value}
    return w.Dropdown(description=label, options=options, tooltip=tip or label, layout=layout, style=style, **chosen)
