"""The α explorer without its page: against gradients computed for that α, and the triangle's geometry."""

import numpy as np
import pytest
import torch

from e2ent2lib.config import SMOKE
from e2ent2lib.explore.alphas import CORNERS, AlphaGradients, place
from e2ent2lib.explore.distances import layer_name
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import match_and_swap
from e2ent2lib.photos.images import to_tensor
from e2ent2lib.report.plots import engine
from e2ent2lib.runs.checkpoints import build_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("e2ent2", SMOKE).requires_grad_(False)


@pytest.fixture(scope="module")
def state(model):
    return AlphaGradients(model, engine())


@pytest.mark.parametrize("alphas", [(0.25, 0.25, 0.5), (1, 0, 0), (0.2, 0.7, 0.1), (1, 1, 1)])
def test_every_layers_length_is_that_of_the_gradient_computed_for_this_alpha(model, state, alphas):
    example = engine()
    model.encoder.requires_grad_(True)
    maps = [model.encoder(to_tensor(x)) for x in (example.lr, example.ref_down, example.ref)]
    image = model.synthesis(match_and_swap(*maps, alphas), maps[0].detach(), to_tensor(example.lr))
    model.encoder.zero_grad()
    reconstruction_loss(image, to_tensor(example.hr)).backward()
    lengths = {}
    for name, weight in model.encoder.named_parameters():
        layer = layer_name(name.rsplit(".", 1)[0])
        lengths[layer] = (lengths.get(layer, 0.0) ** 2 + weight.grad.norm().item() ** 2) ** 0.5
    model.encoder.zero_grad()
    model.encoder.requires_grad_(False)
    found = state.at(alphas)
    assert list(found.layers) == list(lengths)
    np.testing.assert_allclose(list(found.layers.values()), list(lengths.values()), rtol=1e-3)
    assert found.length == pytest.approx(sum(n**2 for n in found.layers.values()) ** 0.5, rel=1e-6)


def test_the_true_gradient_has_cosine_one_and_the_model_stays_frozen(model, state):
    assert state.at((0, 0, 1)).cosine == pytest.approx(1)
    assert not any(p.requires_grad or p.grad is not None for p in model.synthesis.parameters())
    assert state.errors["in"].shape == engine().lr.shape[:2] and state.errors["ref"].shape == engine().ref.shape[:2]
    assert "α = (0, 0, 1)" in state.summary((0, 0, 1)) and "1.00 times as long" in state.summary((0, 0, 1))


def test_a_place_in_the_triangle_is_the_weighted_mean_of_its_corners():
    for corner, alphas in zip(CORNERS, np.eye(3)):
        np.testing.assert_allclose(place(tuple(alphas)), corner, atol=1e-12)
    np.testing.assert_allclose(place((2, 2, 4)), (0.5, 0.5 * 0.75**0.5), atol=1e-12)
    for wrong in ((0, 0, 0), (-0.1, 0.5, 0.6)):
        with pytest.raises(ValueError, match="below 0"):
            place(wrong)
