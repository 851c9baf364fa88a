"""How long the explorers take from a gesture to the changed readout, in a real browser on the page of `make explore`.

    python benchmarks/explorers.py      writes benchmarks/explorers.json

Ten gestures each: pressing the mouse at another place (match, α, feature distance) and an arrow key that moves the
zoomed picture (comparer). The clock is the browser's: from the event to the new text. Machine otherwise idle.
"""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

from e2ent2lib.runs import provenance
from e2ent2lib.runs.files import whole_file

TIMES = 10


def milliseconds_of(part: Locator, gesture: Callable[[int], None]) -> list[float]:
    """Milliseconds of each gesture, from its event until the readout has another text."""
    found = []
    for number in range(TIMES):
        part.evaluate(
            """part => { const text = () => [...part.querySelectorAll('p[aria-live]')].map(e => e.textContent).join();
            const before = text(); window.took = null; let began = null;
            const hear = () => { began ??= performance.now(); };
            part.addEventListener('pointerdown', hear, {capture: true, once: true});
            part.addEventListener('keydown', hear, {capture: true, once: true});
            new MutationObserver((_, watcher) => { if (began !== null && text() !== before) {
                requestAnimationFrame(() => (window.took = performance.now() - began)); watcher.disconnect(); } })
            .observe(part, {subtree: true, childList: true, characterData: true}); }"""
        )
        gesture(number)
        part.page.wait_for_function("window.took !== null")
        found.append(round(part.page.evaluate("window.took"), 1))
    return found


def measure(page: Page) -> dict[str, list[float]]:
    """Ten gestures of each explorer."""
    parts = {
        title: page.locator(".e2-explorer").filter(has=page.get_by_role("heading", name=title, exact=True))
        for title in ("Match explorer", "α explorer", "Feature-distance explorer", "SR comparer")
    }

    def pointing(part: Locator, name: str | None, x: float, y: float, dx: float, dy: float) -> Callable[[int], None]:
        target = part.get_by_role("application", **({"name": name} if name else {})).first
        box = target.bounding_box()

        def gesture(number: int) -> None:
            place = {"x": box["width"] * (x + dx * number), "y": box["height"] * (y + dy * number)}
            target.click(position=place)

        return gesture

    match, alpha, distance, comparer = parts.values()
    for _ in range(2):
        comparer.get_by_role("button", name="zoom in").click()
    view = comparer.locator(".e2-view").first
    return {
        "match: another place": milliseconds_of(match, pointing(match, "I_in", 0.1, 0.2, 0.08, 0.05)),
        "α: another place in the triangle": milliseconds_of(alpha, pointing(alpha, None, 0.45, 0.4, 0.01, 0.03)),
        "feature distance: another place": milliseconds_of(
            distance, pointing(distance, "HR: point", 0.1, 0.2, 0.08, 0.05)
        ),
        "comparer: moved at zoom 3, scores": milliseconds_of(
            comparer, lambda n: view.press("ArrowLeft" if n % 2 else "ArrowRight")
        ),
    }


def main() -> None:
    """Serve, measure, write."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "voila", "12_explore.ipynb", f"--port={port}", "--no-browser"]
    environment = os.environ | {"OMP_WAIT_POLICY": "passive"}  # as make explore has it
    server = subprocess.Popen(command, cwd=provenance.ROOT / "notebooks", env=environment, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("localhost", port)).close()
                break
            except OSError:
                with suppress(subprocess.TimeoutExpired):
                    server.wait(0.2)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"http://localhost:{port}", timeout=180_000)
            page.locator(".e2-explorer").nth(3).wait_for(timeout=120_000)
            page.get_by_text("crop x 0").first.wait_for()
            taken = measure(page)
            version = browser.version
            browser.close()
    finally:
        server.terminate()
        server.wait()
    facts = {"unit": "ms", "browser": f"Chromium {version}", "machine": provenance.machine(), "gestures": taken}
    with whole_file(Path(__file__).with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for name, times in taken.items():
        print(f"{name:36} median {statistics.median(times):6.1f} ms, longest {max(times):6.1f} ms")


if __name__ == "__main__":
    main()
