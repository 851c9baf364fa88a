"""StereoSR: 64 shifted copies of the right view, from which the left view's luminance and then colour are improved."""

import pytest
import torch
from tiny import for_loss, images
from torch import nn

from e2ent2lib.config import SMOKE, get_profile
from e2ent2lib.models import Outputs
from e2ent2lib.systems.parts import enlarge, to_ycbcr
from e2ent2lib.systems.stereosr import StereoSR, StereoSRLoss, shifted_copies


def a_model(profile=SMOKE):
    """With last layers that are far from zero: a new one hardly uses the right view."""
    torch.manual_seed(0)
    model = StereoSR(profile)
    for network in (model.luminance, model.colour):
        nn.init.normal_(network[-1].weight, std=0.1)
    return model


def run(model, left, right):
    return model(left, enlarge(right, 4), right).sr


@pytest.mark.parametrize("profile", ["paper", "compact"])
def test_the_layers_and_the_shifts_are_the_published_ones_at_every_width(profile):
    model = StereoSR(get_profile(profile))
    for network, inputs, outputs in ((model.luminance, 65, 1), (model.colour, 3, 3)):
        convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == 16
        assert (convolutions[0].in_channels, convolutions[-1].out_channels) == (inputs, outputs)


# the parallax prior


def test_the_copies_are_rolled():
    right = images(1, 1, 3, 70)
    by_hand = torch.stack([torch.stack([right[0, 0, :, (x - d) % 70] for x in range(70)], 1) for d in range(64)])
    torch.testing.assert_close(shifted_copies(right)[0], by_hand, rtol=0, atol=0)


def test_the_result_depends_on_every_column_within_64_pixels_to_the_left_in_the_right_view():
    model = a_model()
    left, right = images(1, 1, 1, 120).expand(1, 1, 9, 120), images(1, 1, 9, 120, seed=1).requires_grad_()
    model.super_resolve(left, right)[0, 0, 4, 100].backward()
    seen = right.grad[0, 0].abs().sum(0).nonzero().flatten()
    # 16 layers see 16 pixels further
    assert (seen.min(), seen.max()) == (100 - 63 - 16, 100 + 16)


def test_only_the_right_views_luminance_is_used():
    model, (left, right) = a_model(), images(2, 1, 3, 6, 7)
    grey = (to_ycbcr(right)[:, :1] - 16 / 255) * 255 / 219
    torch.testing.assert_close(run(model, left, right), run(model, left, grey.expand_as(right)), rtol=0, atol=1e-5)


# colour


def test_the_colour_network_sees_the_improved_luminance():
    model, (left, right) = a_model(), images(2, 1, 3, 6, 7)
    seen = []
    model.colour.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    run(model, left, right)
    bicubic = to_ycbcr(enlarge(left, 4))
    improved = model.super_resolve(bicubic[:, :1], to_ycbcr(enlarge(right, 4))[:, :1])
    torch.testing.assert_close(seen[0], torch.cat([improved, bicubic[:, 1:]], 1))
    assert (improved - bicubic[:, :1]).abs().mean() > 1e-2


# the loss


def test_the_loss_is_the_root_of_the_mean_square_error_of_luminance_and_colour():
    loss, (sr, hr) = StereoSRLoss(SMOKE), images(2, 2, 3, 8, 12)
    terms = loss(Outputs(sr), for_loss(hr), 0.5)
    by_hand = ((to_ycbcr(sr) - to_ycbcr(hr)) ** 2).sum().div(2 * 3 * 8 * 12).sqrt()
    assert loss.weights == {"rmse": 1.0} and terms.keys() == loss.weights.keys()
    torch.testing.assert_close(terms["rmse"], by_hand)


def test_a_perfect_image_has_a_finite_gradient():
    hr = images(1, 3, 8, 8)
    sr = hr.clone().requires_grad_()
    StereoSRLoss(SMOKE)(Outputs(sr), for_loss(hr), 0.0)["rmse"].backward()
    assert sr.grad.isfinite().all()
