"""Perceptual scores: by hand, and what is said where weights are missing."""

import numpy as np
import pytest
import torch

from e2ent2lib.measure import perceptual
from e2ent2lib.systems.vgg import VGG19


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    perceptual._why_not.cache_clear()
    perceptual._vgg.cache_clear()
    yield
    perceptual._why_not.cache_clear()
    perceptual._vgg.cache_clear()


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, 256, (64, 72, 3), dtype=np.uint8) for _ in range(2))


def test_the_distance_is_the_mean_square_of_the_difference_of_relu3_1(images, monkeypatch):
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")
    x, y = (VGG19("relu3_1")(torch.from_numpy(i.copy()).permute(2, 0, 1)[None] / 255)["relu3_1"] for i in images)
    assert x.shape == (1, 256, 16, 18)
    assert perceptual.vgg_distance(*images) == pytest.approx(((x - y) ** 2).mean().item(), rel=1e-5)
    assert perceptual.vgg_distance(images[0], images[0]) == 0


def test_nothing_is_measured_with_random_or_missing_weights_and_it_is_said_what_to_do(images, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    for named, says in (("random", "random is for tests"), ("nowhere.pth", "Set E2ENT2_VGG_WEIGHTS")):
        monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", named)
        assert says in perceptual.why_not("vgg_distance")
    assert "AlexNet" in perceptual.why_not("lpips")
    assert perceptual.perceptual_scores(*images) == {"vgg_distance": None, "lpips": None}
    monkeypatch.setattr(perceptual, "find_spec", lambda _: None)
    perceptual._why_not.cache_clear()
    assert "pip install" in perceptual.why_not("lpips")


def test_lpips_is_torchmetrics_on_images_from_0_to_1(images, monkeypatch, tmp_path):
    """With AlexNet's random weights; that nothing is fetched is part of the test."""
    try:
        import torchvision
    except RuntimeError as error:  # built for another torch
        pytest.skip(f"torchvision does not fit torch {torch.__version__}: {error}")
    alexnet = torchvision.models.alexnet

    def random_weights(weights=None):
        torch.manual_seed(0)
        return alexnet(weights=None)

    monkeypatch.setattr(torchvision.models, "alexnet", random_weights)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / perceptual.ALEXNET).touch()
    assert perceptual.why_not("lpips") == ""
    assert perceptual.lpips(images[0], images[0]) == pytest.approx(0, abs=1e-6)
    assert perceptual.lpips(*images) > 0
    assert perceptual.lpips(*images) == pytest.approx(perceptual.lpips(*images[::-1]), rel=1e-5)
