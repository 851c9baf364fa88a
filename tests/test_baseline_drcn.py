"""DRCN: one convolution for every recursion, supervision of each, and their weighted average."""

import copy

import pytest
import torch
import torch.nn.functional as F
from tiny import for_loss, images
from torch import nn

from e2ent2lib.config import SMOKE
from e2ent2lib.models import Outputs
from e2ent2lib.systems.drcn import DRCN, DRCNLoss, Recursive
from e2ent2lib.systems.parts import enlarge, to_ycbcr


def a_model(recursions=16, profile=SMOKE):
    """With every convolution random: a new one's recursions are all alike."""
    torch.manual_seed(0)
    model = DRCN(profile, recursions)
    nn.init.kaiming_normal_(model.recursion[0].weight)
    nn.init.normal_(model.reconstruction[-1].weight, std=0.1)
    nn.init.normal_(model.ensemble)
    return model


# one convolution, many recursions


def unrolled(model, layers, y):
    """The recursions with a convolution of its own for each."""
    features, predictions = model.embedding(y), []
    for layer in layers:
        features = layer(features).relu()
        predictions.append(y + model.reconstruction(features))
    return (model.ensemble.softmax(0).view(1, -1, 1, 1) * torch.cat(predictions, 1)).sum(1, keepdim=True)


def test_the_shared_convolution_gets_the_sum_of_the_gradients_of_an_unrolled_copy():
    model = a_model(recursions=5).double()
    layers = [copy.deepcopy(model.recursion[0]) for _ in range(5)]
    y, target = (images(2, 1, 9, 7, seed=s, dtype=torch.float64) for s in (1, 2))
    one, many = model.super_resolve(y)[0], unrolled(model, layers, y)
    torch.testing.assert_close(one, many)
    F.mse_loss(one, target).backward()
    F.mse_loss(many, target).backward()
    shared = model.recursion[0]
    for name in ("weight", "bias"):
        parts = [getattr(layer, name).grad for layer in layers]
        assert all(part.abs().sum() > 0 for part in parts)
        torch.testing.assert_close(getattr(shared, name).grad, sum(parts))


def test_each_further_recursion_sees_one_pixel_further():
    model = a_model(recursions=6).double()
    y = images(1, 1, 41, 41, dtype=torch.float64).requires_grad_()
    recursions = model.super_resolve(y)[1]
    for d in (0, 2, 5):
        seen = torch.autograd.grad(recursions[0, d, 20, 20], y, retain_graph=True)[0][0, 0].nonzero()
        # two convolutions to embed, d + 1 recursions, two to reconstruct
        assert (seen - 20).abs().max() == 2 + (d + 1) + 2


def test_at_the_start_every_recursion_passes_the_features_on():
    model = DRCN(SMOKE)
    features = model.embedding(images(1, 1, 8, 8))
    torch.testing.assert_close(model.recursion(features), features)


# colour


def test_the_result_has_the_networks_luminance_and_bicubic_colour():
    lr = images(2, 3, 7, 6)
    out = a_model()(lr)
    y, bicubic = to_ycbcr(out.sr), to_ycbcr(enlarge(lr, 4))
    torch.testing.assert_close(y[:, :1], out.details.luma)
    torch.testing.assert_close(y[:, 1:], bicubic[:, 1:])
    assert not torch.allclose(out.details.luma, bicubic[:, :1], atol=1e-2)


# the loss


@pytest.mark.parametrize("alpha", [1.0, 0.75, 0.0])
def test_on_the_published_patch_the_loss_is_half_the_sum_of_squares(alpha):
    hr, recursions = images(3, 3, 41, 41), images(3, 4, 41, 41, seed=1)
    final = images(3, 1, 41, 41, seed=2)
    outputs = Outputs(hr, details=Recursive(final, recursions, torch.tensor(7.0)))
    terms = DRCNLoss(SMOKE)(outputs, for_loss(hr), 1 - alpha)
    y = to_ycbcr(hr)[:, :1]
    each = sum(0.5 * ((y[i, 0] - recursions[i, d]) ** 2).sum() / 12 for i in range(3) for d in range(4))
    last = sum(0.5 * ((y[i] - final[i]) ** 2).sum() / 3 for i in range(3))
    assert terms["recursions"].item() == pytest.approx(alpha * each.item(), rel=1e-5)
    assert terms["final"].item() == pytest.approx((1 - alpha) * last.item(), rel=1e-5)
    assert terms["decay"].item() == 7


def test_the_decay_is_the_squared_length_of_all_parameters():
    model = a_model()
    by_hand = torch.cat([p.flatten() for p in model.parameters()]).square().sum()
    torch.testing.assert_close(model(images(1, 3, 4, 4)).details.squared_norm, by_hand)
