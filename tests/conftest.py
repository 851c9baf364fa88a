"""Fixtures that several files use."""

import pytest
from PIL import Image

from e2ent2lib.data import pairs


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
