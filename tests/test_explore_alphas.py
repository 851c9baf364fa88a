"""The α explorer without its page: against gradients computed for that α, and the triangle's geometry."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from e2ent2lib.config import SMOKE
from e2ent2lib.explore.alphas import CORNERS, AlphaState, alphas_at, place
from e2ent2lib.explore.distances import layer_name
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import match_and_swap
from e2ent2lib.photos.images import to_tensor
from e2ent2lib.report.examples import engine
from e2ent2lib.runs.checkpoints import build_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("e2ent2", SMOKE).requires_grad_(False)


@pytest.fixture(scope="module")
def state(model):
    return AlphaState(model, engine())


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


weights = st.floats(0, 1)


@given(weights, weights, weights)
def test_a_place_in_the_triangle_is_one_alpha_and_back(a, b, c):
    if a + b + c < 1e-3:
        return
    total = a + b + c
    np.testing.assert_allclose(alphas_at(*place((a, b, c))), (a / total, b / total, c / total), atol=1e-6)


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_outside_the_triangle_alpha_is_on_its_border(x, y):
    found = alphas_at(x, y)
    assert min(found) >= 0 and sum(found) == pytest.approx(1)


def test_the_corners_are_the_three_unit_alphas():
    for i, corner in enumerate(CORNERS):
        np.testing.assert_allclose(alphas_at(*corner), np.eye(3)[i], atol=1e-12)
    for wrong in ((0, 0, 0), (-0.1, 0.5, 0.6)):
        with pytest.raises(ValueError, match="below 0"):
            place(wrong)
