"""What all explorers have in common: a heading, a readout, a line for errors, and a face without a kernel."""

import base64
import io
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape

import ipywidgets as w
import matplotlib.pyplot as plt

from e2ent2lib.explore.inputs import File, Picture
from e2ent2lib.explore.photos import LONGEST, Photos, available_pairs, fitted, photos, read_upload
from e2ent2lib.report.plots import Pixels

OWN = "photographs of your own"


class Explorer(w.VBox):
    """Controls (the first of ``children``), a readout, pictures.

    An explorer gives ``figure()``, its static face, and ``summary()``, which says in words what it shows.
    No ``Output`` and no ``interact``: what they print a page does not keep.
    """

    uploads: tuple[File, ...] = ()
    """The controls for photographs of the reader's own."""
    _quiet = False

    def __init__(self, title: str, what: str, children: list[w.Widget]):
        self.readout, self.status = w.HTML(), w.HTML()
        head = w.HTML(f"<h3 style='margin:0'>{escape(title)}</h3><p style='margin:2px 0 6px'>{escape(what)}</p>")
        super().__init__([_style(), head, *children[:1], self.status, self.readout, *children[1:]])
        self.add_class("e2-explorer")

    def on(self, control: w.Widget, call: Callable[[], None], trait: str = "value") -> None:
        """Call ``call`` when a control's trait changes; an error goes to the status line, for it is shown nowhere."""
        control.observe(lambda _: None if self._quiet else self.guarded(call), trait)

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """While controls follow what is shown already, their changes are not heard."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def guarded(self, call: Callable[..., None], *arguments: object) -> None:
        """Call it; what it raises is told in the status line, and the explorer stays as it was."""
        try:
            call(*arguments)
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

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Say that something takes longer while it does."""
        self.say(f"working: {what} …")
        yield
        self.say("")

    def file(self, label: str, take: Callable[[Pixels], None]) -> File:
        """A control for a photograph of the reader's own; ``take`` gets its pixels."""
        control = File(label=label)

        def receive(name: str, content: bytes) -> None:
            control.said = "not taken"
            image = read_upload(name, content)
            control.said = f"{name}: {image.shape[1]}×{image.shape[0]}"
            take(image)

        control.on_file(lambda name, content: self.guarded(receive, name, content))
        self.uploads += (control,)
        return control

    def _repr_mimebundle_(self, **kwargs: object) -> dict[str, object]:
        bundle = super()._repr_mimebundle_(**kwargs)
        figure, buffer = self.figure(), io.BytesIO()
        figure.savefig(buffer, format="jpeg", dpi=80, pil_kwargs={"quality": 82})
        plt.close(figure)
        return bundle | {"image/jpeg": base64.b64encode(buffer.getvalue()).decode(), "text/plain": self.summary()}


class PairExplorer(Explorer):
    """An explorer of two photographs, an available pair or the reader's own; its ``_load()`` shows them."""

    parts: Mapping[str, int] = {"photograph": LONGEST, "reference": LONGEST}
    """What the two are called, and how long their longer side may be."""

    def choose_photographs(self, pair: str) -> w.Box:
        """Make the list ``self.pair``; returns the buttons for the reader's own."""
        self._pairs, self._own = available_pairs(), {}
        self.pair = choice("photographs", [*self._pairs, OWN], pair)
        return row(*(self.file(f"your {part}", lambda x, part=part: self._take(part, x)) for part in self.parts))

    def chosen(self) -> Photos:
        """The photographs of the list. Raises ValueError for one's own while one is missing."""
        if self.pair.value != OWN:
            return self._pairs[self.pair.value]()
        if len(self._own) < len(self.parts):
            raise ValueError("choose your photograph and your reference, with the two buttons below")
        return photos(*(self._own[part] for part in self.parts))

    def _take(self, part: str, image: Pixels) -> None:
        """A photograph of the reader's own."""
        fitted(image, f"your {part}", self.parts[part])  # refuses what is too small before anything changes
        self._own[part] = image
        if self.pair.value == OWN:
            self._load()
        else:
            self.pair.value = OWN


class PlaceExplorer(PairExplorer):
    """A pair explorer with a place, (row, column) in cells, typed or pointed at; its ``_go(row, column)`` shows it."""

    choices: tuple[str, ...] = ()
    """The lists that, with the place, make its state."""

    def choose_place(self, place: tuple[int, int] = (0, 0)) -> tuple[w.BoundedIntText, w.BoundedIntText]:
        """Make the numbers ``self.row`` and ``self.column``; returns both."""
        layout, style = w.Layout(width="130px"), {"description_width": "auto"}
        self.row, self.column = (
            w.BoundedIntText(value, 0, 999, description=name, layout=layout, style=style)
            for name, value in zip(("row", "column"), place)
        )
        return self.row, self.column

    def on_place(self, *pictures: Picture) -> None:
        """Show the place that is typed, or pointed at in a picture."""
        for picture in pictures:
            self.on(picture, lambda picture=picture: self._go(*picture.place), "place")
        for control in (self.row, self.column):
            self.on(control, lambda: self._go(self.row.value, self.column.value))

    def limit_place(self, height: int, width: int) -> None:
        """Keep the numbers inside photographs of that many cells."""
        with self.quietly():
            self.row.max, self.column.max = height - 1, width - 1

    def state(self) -> dict:
        """What it takes to make this one again."""
        chosen = {name: getattr(self, name).value for name in self.choices}
        return chosen | {"place": (self.row.value, self.column.value)}


CHART = w.Layout(flex="1 1 320px", max_width="440px", min_width="0")
"""Of a chart in a row."""


def row(*children: w.Widget) -> w.Box:
    """Widgets side by side, below each other where there is no room."""
    return w.Box(list(children), layout=w.Layout(display="flex", flex_flow="row wrap", grid_gap="6px 20px"))


def choice(label: str, options: list | dict, value: object = None, tip: str = "") -> w.Dropdown:
    """A labelled list to choose from."""
    layout, style = w.Layout(width="auto", max_width="100%", min_width="0"), {"description_width": "auto"}
    options = list(options.items()) if isinstance(options, dict) else options
    made = w.Dropdown(description=label, options=options, tooltip=tip or label, layout=layout, style=style)
    if value is not None:
        made.value = value
    return made


def _style() -> w.HTML:
    """Keeps pictures inside a phone's width."""
    return w.HTML(
        "<style>.e2-explorer{max-width:1200px}.e2-explorer,.e2-explorer .widget-box{overflow:visible;min-width:0}"
        ".e2-explorer .widget-html-content{line-height:1.4;white-space:normal}.e2-explorer .widget-html{height:auto;"
        "max-width:100%}.e2-explorer .jupyter-widgets{margin:2px 0}.e2-explorer select{min-width:0;max-width:100%}"
        ".e2-explorer .widget-dropdown{max-width:100%}</style>"
    )
