"""Work of several seconds beside a page that stays alive: a bar with an estimate, and a button that stops it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait

import ipywidgets as w


class Job(w.HBox):
    """Runs an iterator in a thread; each item goes to ``show`` at once. One at a time: a new one stops the last."""

    def __init__(self, guarded: Callable[..., None]):
        self._guarded, self._current, self.thread = guarded, object(), threading.Thread()
        self.bar = w.FloatProgress(value=0, min=0, max=1, layout=w.Layout(width="160px"))
        self.left, self.stop = w.Label(), w.Button(description="stop", tooltip="stop this work; what is done stays")
        super().__init__(
            [self.bar, self.left, self.stop], layout=w.Layout(display="none", flex_flow="row wrap", grid_gap="4px 12px")
        )
        self.stop.on_click(lambda _: self.cancel())

    def run(self, items: Iterator, total: int, show: Callable[[object], None], what: str) -> None:
        """Begin; ``total`` is how many items there will be about."""
        self._current = mine = object()
        self.bar.value, self.left.value, self.layout.display = 0, what, "flex"
        self.thread = threading.Thread(
            target=self._guarded, args=(self._work, mine, items, total, show, what), daemon=True
        )
        self.thread.start()

    def cancel(self) -> None:
        """Stop after the item that is being made."""
        self._current, self.layout.display = object(), "none"

    def _work(self, mine: object, items: Iterator, total: int, show: Callable[[object], None], what: str) -> None:
        start = time.monotonic()
        try:
            for done, item in enumerate(items, 1):
                if self._current is not mine:
                    return
                show(item)
                passed = time.monotonic() - start
                left = max(0.0, passed / done * (total - done))
                self.bar.value, self.left.value = min(1.0, done / total), f"{what}, about {left:.0f} s left"
        finally:
            if self._current is mine:
                self.layout.display = "none"


def ticks(compute: Callable[[], object], expected: float, every: float = 0.25) -> Iterator[object]:
    """``compute`` in a thread of its own: None every ``every`` seconds while it works, then what it returned.

    About ``expected`` / ``every`` items. What it raises is raised here.
    """
    future: Future = Future()

    def work() -> None:
        try:
            future.set_result(compute())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()  # an executor's thread would keep the kernel from ending
    while wait([future], every).not_done:
        yield None
    yield future.result()
