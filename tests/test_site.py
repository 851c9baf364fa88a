"""The website as `make site` builds it, in a real browser: every page, at the width of a desk and of a phone."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from e2ent2lib.runs.provenance import ROOT

pytest.importorskip("sphinx_book_theme", reason="no Sphinx: pip install -c requirements.lock -e '.[site]'")
pytestmark = pytest.mark.slow
SHOTS = ROOT / "build" / "screenshots"
WIDTHS = (1400, 390)
WAIT = 120_000  # milliseconds, on a machine that is busy
FAULTS = """async width => {
  await window.MathJax?.startup?.promise;
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
  const faulty = [...document.querySelectorAll('img, .math, mjx-merror, .system-message, .problematic')].filter(e =>
    e.matches('img') ? !e.naturalWidth : !(e.querySelector('mjx-container')?.getBoundingClientRect().left >= 0));
  const wide = document.documentElement.scrollWidth;
  return [...faulty.map(e => e.outerHTML.slice(0, 200)), ...(wide > width ? [`${wide} pixels wide`] : [])];
}"""
FAINT = """() => {  // texts whose contrast with what is behind them is below 4.5 (WCAG AA)
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const linear = v => v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05;
  const under = (e, c = rgb(getComputedStyle(e).backgroundColor)) => c[3] === 0 ? under(e.parentElement) : c;
  const contrast = e => light(rgb(getComputedStyle(e).color)) / light(under(e));
  const text = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.checkVisibility();
  return [...document.querySelectorAll('.bd-article *:not(.headerlink, mjx-container *)')]
    .filter(e => text(e) && Math.max(contrast(e), 1 / contrast(e)) < 4.5).map(e => e.outerHTML.slice(0, 200));
}"""


class Page(HTMLParser):
    """What a page links to, and the names in it that others may link to."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.names = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.links += [found[name] for name in ("href", "src") if found.get(name)]
        self.names.add(found.get("id"))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words):
        pass


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, built from the stored outputs as by `make site`; a warning of Sphinx is an error."""
    command = [sys.executable, "-m", "sphinx", "-M", "html", ".", "build/site", "-c", "site", "-q", "-W", "-E"]
    subprocess.run(command, check=True, cwd=ROOT)
    return ROOT / "build" / "site" / "html"


@pytest.fixture(scope="module")
def address(site) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_link_leads_to_a_page_and_a_place_in_it(site):
    pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html") if "_static" not in path.parts
    }
    assert len(pages) > 60
    broken = []
    for path, page in pages.items():
        for link in page.links:
            target, name = urldefrag(link)
            if not urlsplit(target).scheme:
                file = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
                there = file in pages and unquote(name) in pages[file].names if name else file.is_file()
                broken += [] if there else [f"{path.relative_to(site)}: {link}"]
    assert broken == []


def test_pages_are_whole_at_two_widths_and_fetch_nothing_from_elsewhere(site, address, browser):
    names = [f"{path.parent.name}/{path.name}" for path in site.glob("[!_i]*/*.html")]
    names += [path.name for path in site.glob("[!i]*.html")]  # index.html is a redirect
    seen: list[str] = []
    page = browser.new_page()
    page.set_default_timeout(WAIT)
    page.on("console", lambda message: message.type == "error" and seen.append(message.text))
    page.on("pageerror", lambda error: seen.append(str(error)))
    page.on("request", lambda request: request.url.startswith((address, "data:")) or seen.append(request.url))
    page.on("response", lambda answer: answer.status < 400 or seen.append(f"{answer.status} {answer.url}"))
    for width, name in product(WIDTHS, names):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{address}/{name}")
        seen += [f"{name} at {width}: {fault}" for fault in page.evaluate(FAULTS, width)]
        page.screenshot(path=SHOTS / f"site_{Path(name).stem}_{width}.png")
    page.close()
    assert seen == []


def test_the_search_finds_and_the_dark_theme_can_be_read(address, browser):
    page = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme="dark")
    page.set_default_timeout(WAIT)
    page.goto(f"{address}/search.html?q=confidence")
    page.locator("ul.search li a", has_text="Reference").first.wait_for()
    for name in ("README", "site/reference", "notebooks/03_match_and_swap"):
        page.goto(f"{address}/{name}.html")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"
        assert page.evaluate(FAINT) == []
        page.screenshot(path=SHOTS / f"site_{Path(name).stem}_dark.png")
    page.close()
