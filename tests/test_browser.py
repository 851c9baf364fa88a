"""The explorers and the study in a real browser, by Voilà and in JupyterLab; pictures go to build/screenshots."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from e2ent2lib.explore.study import OTHERS, read_answers
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS

pytestmark = pytest.mark.slow

SHOTS = ROOT / "build" / "screenshots"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
WAIT = 60_000
VOILA = ["voila", "--VoilaConfiguration.preheat_kernel=False"]


def served(command: list[str], **environment: str) -> Iterator[str]:
    """Run a server at a free port of the loopback; yields its address once it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *command, f"--port={port}", "--no-browser"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT / "notebooks", env=os.environ | environment, **quiet)
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("localhost", port)):
                break
            assert process.poll() is None, "the server did not start"
            time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def explorers() -> Iterator[str]:
    yield from served([*VOILA, "12_explore.ipynb"])


@pytest.fixture(scope="module")
def page(browser, explorers):
    """The explorers' page, opened once."""
    page = opened(browser, explorers, DESKTOP)
    yield page
    page.close()


def opened(browser, address: str, size: dict):
    page = browser.new_page(viewport=size)
    page.set_default_timeout(WAIT)
    page.goto(address, timeout=3 * WAIT)
    page.wait_for_selector(".e2-explorer", timeout=3 * WAIT)
    return page


def explorer(page, title: str):
    return page.locator(".e2-explorer").filter(has=page.get_by_role("heading", name=title, exact=True))


def shot(page, name: str) -> None:
    page.screenshot(path=SHOTS / f"{name}.png")


def until_says(part, pattern: str) -> str:
    part.get_by_text(re.compile(pattern)).first.wait_for()
    return part.get_by_text(re.compile(pattern)).first.inner_text()


def test_the_page_answers_one_address_of_the_loopback_by_its_own_name_alone(explorers):
    """By another name that points here, any page in the reader's browser could talk to the kernel."""
    for name, status in (("localhost", 200), ("elsewhere.example", 403)):
        connection = http.client.HTTPConnection(explorers.removeprefix("http://"), timeout=WAIT / 1000)
        connection.request("GET", "/", headers={"Host": name})
        assert connection.getresponse().status == status
        connection.close()
    if sys.platform == "linux":  # 127.0.0.2 is this machine too: who listens on all addresses answers there
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", int(explorers.rsplit(":", 1)[1])))


def test_the_page_shows_all_explorers_and_no_code_and_controls_have_labels(page):
    for title in ("Match explorer", "α explorer", "Staircase explorer", "Feature-distance explorer", "SR comparer"):
        explorer(page, title).wait_for()
    text = page.locator("body").inner_text()
    assert "import " not in text and "Exercises" not in text and "Traceback" not in text
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('.e2-explorer input, .e2-explorer select, .e2-explorer button')]
        .filter(e => !(e.labels?.length || e.ariaLabel || e.title || e.textContent.trim())).map(e => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.evaluate("[...document.querySelectorAll('.e2-explorer img')].every(i => i.hasAttribute('alt'))")
    shot(page, "explorers")


def test_a_click_and_arrow_keys_move_the_place_of_the_match_explorer(page):
    part = explorer(page, "Match explorer")
    picture = part.get_by_role("application", name="I_in").first
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.501, "y": box["height"] * 0.501})
    until_says(part, "patch around row 62, column 92")
    picture.press("ArrowRight")
    picture.press("Shift+ArrowDown")
    until_says(part, "patch around row 72, column 93")
    assert part.get_by_label("row").input_value() == "72"
    part.get_by_label("row").fill("40")
    part.get_by_label("row").press("Enter")
    until_says(part, "patch around row 40, column 93")
    shot(page, "match")


def test_the_reference_says_who_chose_and_features_and_norm_match_again(page):
    part = explorer(page, "Match explorer")
    part.get_by_role("application", name="I_ref, the reference").click(position={"x": 100, "y": 100})
    assert re.search(r"was chosen \d+ times", until_says(part, "of the reference was chosen"))
    part.get_by_label("features").select_option("RGB")
    until_says(part, r"\(RGB, L2\)")
    part.get_by_label("norm").select_option(index=1)
    until_says(part, r"\(RGB, L1\)")
    part.get_by_label("features").select_option("end-to-end")
    part.get_by_label("norm").select_option(index=0)
    until_says(part, r"\(end-to-end, L2\)")


def test_photographs_are_taken_and_other_files_told(page, tmp_path):
    part = explorer(page, "Match explorer")
    files = part.locator("input[type=file]")
    rng, exif = np.random.default_rng(0), Image.Exif()
    image = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8)).resize((960, 640))
    exif[274] = 6  # rotated by the camera
    image.save(tmp_path / "turned.jpg", exif=exif)
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    image.convert("CMYK").save(tmp_path / "page.tif")
    files.nth(1).set_input_files(tmp_path / "page.tif")
    until_says(part, re.escape("page.tif: 960×640"))
    for name, size in (("turned.jpg", "640×960"), ("sixteen.png", "960×640")):
        files.nth(0).set_input_files(tmp_path / name)
        until_says(part, re.escape(f"{name}: {size}"))
        until_says(part, f"the photograph was reduced from {size}")
    told = []
    for name, content in (("notes.txt", b"no picture"), ("<b>bold.png", b"")):
        (tmp_path / name).write_bytes(content)
        files.nth(0).set_input_files(tmp_path / name)
        until_says(part, re.escape(f"{name}: not an image this project can read"))  # after all that came before
        told.append(until_says(part, "patch around row .*cosine"))
    assert told[0] == told[1]
    shot(page, "own_photographs")


def test_alpha_moves_by_drag_keys_and_numbers_and_sums_to_one(page):
    part = explorer(page, "α explorer")
    triangle = part.get_by_role("application")
    triangle.scroll_into_view_if_needed()
    box = triangle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.7, steps=8)
    page.mouse.up()
    until_says(part, r"nothing was trained at this α")
    for key in ("ArrowUp", "ArrowLeft", "Shift+ArrowRight"):
        before = triangle.get_attribute("aria-label")
        triangle.press(key)
        assert triangle.get_attribute("aria-label") != before
    page.wait_for_function(  # what is on its way has arrived, else it would come after the number below
        """e => { const label = e.getAttribute('aria-label').match(/[\\d.]+/g).map(Number);
        const boxes = [...e.closest('.e2-explorer').querySelectorAll('input[type=number]')].map(b => Number(b.value));
        return label.every((a, i) => Math.abs(a - boxes[i]) < 0.006); }""",
        arg=triangle.element_handle(),
    )
    part.get_by_label("α1").fill("1")
    part.get_by_label("α1").press("Enter")
    assert "trained so" in until_says(part, r"α = \(1, 0, 0\)")
    part.get_by_label("α3").fill("0.5")
    part.get_by_label("α3").press("Enter")
    until_says(part, r"α = \(0.5, 0, 0.5\)")
    assert sum(float(part.get_by_label(f"α{i}").input_value()) for i in (1, 2, 3)) == pytest.approx(1)
    shot(page, "alpha")


def test_feature_distance_by_place_encoder_layer_and_form(page):
    part = explorer(page, "Feature-distance explorer")
    part.get_by_label("encoder φ").select_option("VGG19 relu1_2")
    until_says(part, "VGG19 relu1_2, φ: feature distance")
    part.get_by_label("layer", exact=True).select_option("conv1_1")
    part.get_by_label("distance", exact=True).select_option("scale-free")
    until_says(part, r"VGG19 relu1_2, conv1_1: feature distance .*scale-free")
    part.get_by_role("application", name="HR: point").click(position={"x": 50, "y": 60})
    until_says(part, r"at row \d+, column 10,")
    shot(page, "distance")


def test_the_comparer_wipes_zooms_and_scores_what_is_seen(page):
    part = explorer(page, "SR comparer")
    part.get_by_label("right").select_option("E2ENT²")
    stored = json.loads((ROOT / "data/results/compact/motorcycle/e2ent2.jsonl").read_text(encoding="utf-8"))
    until_says(part, re.escape(f"E2ENT² {stored['psnr']:.2f} dB / {stored['ssim']:.3f}"))
    top = part.locator(".top")
    part.get_by_label("where the line").fill("0.25")
    assert "75%" in top.evaluate("e => e.style.clipPath")
    view = part.locator(".e2-view").first
    view.press("ArrowRight")
    assert "73%" in top.evaluate("e => e.style.clipPath")
    part.get_by_role("button", name="zoom in").click()
    until_says(part, "370×250 pixels")
    view.press("ArrowRight")
    until_says(part, "crop x 22[0-9], y 125, 370×250")
    part.get_by_label("shown as").select_option("side by side")
    part.locator(".e2-side").wait_for()
    both = part.locator(".e2-view img")
    assert both.nth(0).evaluate("e => e.style.transform") == both.nth(1).evaluate("e => e.style.transform")
    shot(page, "side_by_side")
    part.get_by_label("shown as").select_option("difference")
    part.locator("img[data-of=difference]").wait_for()
    part.get_by_label("shown as").select_option("wipe")
    part.get_by_role("button", name="by every system").click()
    part.get_by_text(re.compile(r"SRNTT: \d")).wait_for()
    part.scroll_into_view_if_needed()
    shot(page, "comparer")


def test_a_system_that_is_not_ready_is_computed_beside_the_page(page):
    part = explorer(page, "SR comparer")
    part.get_by_role("button", name="whole picture").click()
    part.get_by_label("left", exact=True).select_option("SRResNet")
    until_says(part, "motorcycle by SRResNet")
    until_says(part, r"740×500 pixels: SRResNet \d")


def test_a_phone_shows_everything_within_its_width(page):
    page.set_viewport_size(PHONE)
    explorer(page, "SR comparer").get_by_text("crop x 0").wait_for()
    wide = page.evaluate(
        """() => [...document.querySelectorAll('.e2-explorer *')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.e2-view, .e2-frame, svg'))
        .map(e => e.className + ' ' + e.getBoundingClientRect().right).slice(0, 5)"""
    )
    assert wide == []
    for number, title in enumerate(
        ("Match explorer", "α explorer", "Staircase explorer", "Feature-distance explorer", "SR comparer")
    ):
        explorer(page, title).scroll_into_view_if_needed()
        shot(page, f"phone_{number}")


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(answers) -> Iterator[str]:
    yield from served([*VOILA, "13_user_study.ipynb"], E2ENT2_STUDY=str(answers))


def begin(page, number: str) -> None:
    page.get_by_label("your number").fill(number)
    page.get_by_label("I agree").check()
    page.get_by_role("button", name="begin").click()


def test_a_study_is_interrupted_gone_on_with_and_never_overwritten(browser, study, answers):
    page = opened(browser, study, DESKTOP)
    assert page.get_by_role("button", name="begin").is_disabled()
    text = page.content()
    begin(page, "p1")
    for number in range(1, 6):
        page.get_by_text(f"question {number} of 26").wait_for()
        page.wait_for_timeout(100)  # the pictures are decoded
        page.keyboard.press("ArrowLeft" if number % 2 else "ArrowRight")
    page.get_by_text("question 6 of 26").wait_for()
    page.wait_for_timeout(300)
    page.keyboard.press("Control+ArrowRight")  # the browser's own keys are no answers
    page.keyboard.press("Alt+ArrowUp")
    page.mouse.click(900, 860)  # beside the question; arrows go on answering
    page.keyboard.press("ArrowLeft")
    page.get_by_text("question 7 of 26").wait_for()
    text += page.content()
    shot(page, "study")
    page.close()  # interrupted
    given = read_answers(answers / "p1.csv")
    assert list(given["choice"]) == ["left", "right", "left", "right", "left", "left"]
    assert (given["milliseconds"] > 0).all()

    page = opened(browser, study, PHONE)
    begin(page, "p1")
    page.get_by_text("Welcome back: you continue at question 7").wait_for()
    for number in range(7, 27):
        page.get_by_text(f"question {number} of 26").wait_for()
        page.get_by_role("button", name="the right picture").click()
    page.get_by_text("Thank you!").wait_for()
    shot(page, "study_end_on_a_phone")
    text += page.content()
    page.close()
    done = read_answers(answers / "p1.csv")
    assert done[:6].equals(given) and len(done) == 26 and set(done["number"]) == set(range(26))

    page = opened(browser, study, DESKTOP)  # done twice
    begin(page, "p1")
    page.get_by_text("Thank you!").wait_for()
    assert read_answers(answers / "p1.csv").equals(done)
    page.close()
    names = {SYSTEMS[n].title for n in (*OTHERS, "e2ent2")} | {*OTHERS, "e2ent2"} - {"landmark"}
    assert [n for n in names if n in text] == []


def test_a_second_participant_gets_a_file_and_an_order_of_their_own_and_none_elsewhere(browser, study, answers):
    page = opened(browser, study, DESKTOP)
    begin(page, "../p2")
    page.get_by_text("use up to 40 letters").wait_for()
    assert not (answers.parent / "p2.csv").exists()
    page.get_by_label("your number").fill("p2")
    page.get_by_role("button", name="begin").click()
    page.get_by_text("question 1 of 26").wait_for()
    page.get_by_role("button", name="the left picture").click()
    page.get_by_text("question 2 of 26").wait_for()
    page.close()
    one, two = (read_answers(answers / f"{p}.csv") for p in ("p1", "p2"))
    assert len(two) == 1 and two["seed"][0] != one["seed"][0]


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[str]:
    """JupyterLab on the match explorer of notebook 12, in a copy, since it saves what it runs."""
    folder, name = tmp_path_factory.mktemp("lab"), "12_explore.ipynb"
    notebook = nbformat.read(ROOT / "notebooks" / name, 4)
    notebook.cells = [
        cell for cell in notebook.cells if "MatchExplorer\n" in cell.source or "= MatchExplorer()" in cell.source
    ]
    nbformat.write(notebook, folder / name)
    options = ["--IdentityProvider.token=", "--ServerApp.allow_root=True", f"--ServerApp.root_dir={folder}"]
    yield from served(["jupyterlab", *options])


def test_an_explorer_is_alive_in_jupyterlab(browser, lab):
    page = browser.new_page(viewport=DESKTOP)
    page.set_default_timeout(WAIT)
    page.goto(f"{lab}/lab/workspaces/test/tree/12_explore.ipynb?reset")
    page.locator(".jp-Notebook").wait_for()
    page.get_by_text("| Idle").wait_for(timeout=2 * WAIT)  # before its kernel is there, JupyterLab would ask for one
    page.get_by_role("menuitem", name="Run").click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.locator(".e2-explorer").wait_for(state="attached", timeout=2 * WAIT)
    part = explorer(page, "Match explorer")
    part.get_by_role("application", name="I_in").first.click(position={"x": 40, "y": 40})
    until_says(part, "patch around row")
    assert part.locator(".jp-OutputArea-output img").count() == 0  # alive, so no static face beside it
    shot(page, "lab")
    page.close()
