"""Fixtures that several files use."""

import shutil
import threading
from collections.abc import Iterator

import pytest
import skimage.data
import torch
from PIL import Image
from server import BODY, Server

from e2ent2lib.data import pairs
from e2ent2lib.runs.checkpoints import save_model
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import DEFAULT


@pytest.fixture
def no_weight_file(monkeypatch):
    """No VGG19 file is found, so that the layer that stands in is the same on every machine."""
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "nowhere")


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder that is the only one looked in."""
    monkeypatch.setattr(pairs, "ROOT", tmp_path / "checkout")
    monkeypatch.setenv("E2ENT2_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture(scope="module")
def one_thread():
    """For small maps: where other programs run too, threads would mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_WAIT_POLICY", "passive")  # read by numba's threads when they start
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small_probe():
    """Of the motorcycle a probe matches a corner."""
    corner = [picture[:64, :160] for picture in skimage.data.stereo_motorcycle()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skimage.data, "stereo_motorcycle", lambda: corner)
        yield


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of three small pictures to train on."""
    from tiny_run import texture  # imports the trainer, which few tests need

    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        Image.fromarray(texture(seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="session")
def first_stage(photographs, tmp_path_factory):
    """The folder of a run of ``sisr`` that nobody interrupted, from which stage 2 starts."""
    from tiny_run import run

    folder = tmp_path_factory.mktemp("first")
    run("sisr", folder, photographs)
    return folder


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """The folder of a test, in whose weights/ ship e2ent2 and the default system, of smoke size and random weights."""
    from tiny import network

    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    for name in ("e2ent2", DEFAULT):
        save_model(network(name), {"model": name}, tmp_path / "weights" / "smoke", name)
    return tmp_path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Debian's chromium or another one on the path, else Playwright's own; without any, these tests are skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    (ROOT / "build" / "screenshots").mkdir(parents=True, exist_ok=True)
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    with api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        except api.Error as error:
            pytest.skip(f"no browser here: `make browser` installs one ({str(error).splitlines()[0]})")
        yield chromium
        chromium.close()


@pytest.fixture
def server(monkeypatch):
    """A ``Server`` that runs; pooch does not wait between two attempts."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    server = Server(BODY)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()
