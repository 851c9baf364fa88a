"""Perceptual scores: by hand, and what is said where weights are missing."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from e2ent2lib.measure import perceptual
from e2ent2lib.systems.vgg import VGG19

CACHED = (perceptual._computed_with, perceptual._vgg, perceptual._lpips)
SHARED = Path(os.environ.get("E2ENT2_ALEXNET_WEIGHTS", "nowhere"))


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    """Nothing is remembered of other tests, and torch's cache is empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.delenv("E2ENT2_ALEXNET_WEIGHTS", raising=False)
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return tuple(rng.integers(0, 256, (64, 72, 3), dtype=np.uint8) for _ in range(2))


@pytest.fixture
def convolutions():
    """Random ones, in the shapes of AlexNet's."""
    pytest.importorskip("torchvision", exc_type=RuntimeError)  # one built for another torch
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    weights = {f"features.{i}.weight": torch.randn(shape) / np.prod(shape[1:]) ** 0.5 for i, shape in shapes.items()}
    return weights | {f"features.{i}.bias": torch.randn(shape[0]) / 10 for i, shape in shapes.items()}


def by_definition(a, b, weights):
    """Zhang et al. (2018), Eq. 1, in float64, with the linear layers that torchmetrics brings."""
    from torchmetrics.functional.image import lpips

    file = Path(lpips.__file__).parent / "lpips_models" / "alex.pth"
    linear = torch.load(file, weights_only=True, map_location="cpu")
    shift, scale = (np.array(v)[:, None, None] for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    maps = [torch.from_numpy((x.transpose(2, 0, 1) / 127.5 - 1 - shift) / scale)[None] for x in (a, b)]
    total = 0.0
    for layer, (i, stride, padding) in enumerate(((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))):
        w, bias = (weights[f"features.{i}.{kind}"].double() for kind in ("weight", "bias"))
        pooled = [torch.nn.functional.max_pool2d(x, 3, 2) if i in (3, 6) else x for x in maps]
        maps = [torch.nn.functional.conv2d(x, w, bias, stride, padding).clamp(min=0) for x in pooled]
        x, y = (m / (m.square().sum(1, keepdim=True) + 1e-8).sqrt() for m in maps)
        weighted = (x - y).square() * linear[f"lin{layer}.model.1.weight"].double()
        total += weighted.sum(1).mean().item()
    return total


def known(path, convolutions, monkeypatch):
    """The file as the one that the variable names, and its convolutions as those whose hash is known."""
    monkeypatch.setenv("E2ENT2_ALEXNET_WEIGHTS", str(path))
    values = b"".join(convolutions[name].numpy().tobytes() for name in perceptual.CONVOLUTIONS)
    monkeypatch.setattr(perceptual, "KNOWN", hashlib.sha256(values).hexdigest()[:8])


def test_the_distance_is_the_mean_square_of_the_difference_of_relu3_1(images, monkeypatch):
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")
    x, y = (VGG19("relu3_1")(torch.from_numpy(i.copy()).permute(2, 0, 1)[None] / 255)["relu3_1"] for i in images)
    assert x.shape == (1, 256, 16, 18)
    assert perceptual.vgg_distance(*images) == pytest.approx(((x - y) ** 2).mean().item(), rel=1e-5)
    assert perceptual.vgg_distance(images[0], images[0]) == 0


@pytest.mark.parametrize("named", ["random", "nowhere.pth"])
def test_nothing_is_measured_with_random_or_missing_weights_and_it_is_said_what_to_do(named, images, monkeypatch):
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", named)
    assert perceptual.perceptual_scores(*images) == {"vgg_distance": None, "lpips": None}
    assert perceptual.computed_with("vgg_distance") == perceptual.computed_with("lpips") == ""
    with pytest.raises(FileNotFoundError, match=f"{perceptual.ALEXNET}: no AlexNet weights here; set E2ENT2_ALEXNET_"):
        perceptual._alexnet(None, torch.hub.get_dir())


@pytest.mark.skipif(not SHARED.is_file(), reason="E2ENT2_ALEXNET_WEIGHTS names no file")
def test_lpips_needs_torchmetrics(images, monkeypatch):
    monkeypatch.setenv("E2ENT2_ALEXNET_WEIGHTS", str(SHARED))
    monkeypatch.setattr(perceptual, "find_spec", lambda _: None)
    assert perceptual.computed_with("lpips") == ""


@pytest.mark.parametrize("where", ["named.safetensors", "named.pth", "checkpoints/" + perceptual.ALEXNET])
def test_lpips_is_what_its_definition_gives(where, images, convolutions, monkeypatch, tmp_path):
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    save_file(convolutions, path) if path.suffix == ".safetensors" else torch.save(convolutions, path)
    known(path, convolutions, monkeypatch)
    if path.parent != tmp_path:
        monkeypatch.delenv("E2ENT2_ALEXNET_WEIGHTS")
    before = torch.get_rng_state()
    assert perceptual.lpips(*images) == pytest.approx(by_definition(*images, convolutions), rel=1e-5)
    assert perceptual.lpips(*images) == pytest.approx(perceptual.lpips(*images[::-1]), rel=1e-6)
    assert perceptual.lpips(images[0], images[0]) == 0
    assert torch.equal(torch.get_rng_state(), before)
    assert f"{perceptual.KNOWN}…; torchmetrics 1" in perceptual.computed_with("lpips")


@pytest.mark.skipif(not SHARED.is_file(), reason="E2ENT2_ALEXNET_WEIGHTS names no file")
def test_the_real_convolutions_are_known_by_their_values_in_another_file_too(images, monkeypatch, tmp_path):
    weights = load_file(SHARED)
    torch.save(weights, tmp_path / "alexnet.pth")
    values = []
    for path in (SHARED, tmp_path / "alexnet.pth"):
        monkeypatch.setenv("E2ENT2_ALEXNET_WEIGHTS", str(path))
        values.append(perceptual.lpips(*images))
    assert values[0] == values[1] == pytest.approx(by_definition(*images, weights), rel=1e-5)


def test_a_file_that_is_not_alexnets_is_refused_by_name(convolutions, monkeypatch, tmp_path):
    path = tmp_path / "other.pth"
    monkeypatch.setenv("E2ENT2_ALEXNET_WEIGHTS", str(path))
    damaged = {"features.0.weight": convolutions["features.0.weight"]}
    for save, says in (
        (lambda: torch.save(convolutions, path), "the SHA-256 of its convolutions begins with"),
        (lambda: torch.save(damaged, path), "holds no weights of AlexNet's convolutions"),
        (lambda: path.write_bytes(b"<html>"), "holds no weights of AlexNet's convolutions"),
        (lambda: path.write_bytes(b""), "holds no weights of AlexNet's convolutions"),
    ):
        save()
        with pytest.raises(ValueError, match=f"(?s)other.pth: {says}.*set E2ENT2_ALEXNET_WEIGHTS"):
            perceptual._alexnet(str(path), "")
        assert perceptual.computed_with("lpips") == ""
