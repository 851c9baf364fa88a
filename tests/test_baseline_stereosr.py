"""StereoSR: 64 shifted copies of the right view, from which the left view's luminance and then colour are improved."""

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from tiny import images
from torch import nn

from e2ent2lib.config import SMOKE, get_profile
from e2ent2lib.crops import Crops
from e2ent2lib.models import Outputs
from e2ent2lib.systems.parts import enlarge, to_ycbcr
from e2ent2lib.systems.stereosr import StereoSR, StereoSRLoss, shifted_copies

few = settings(max_examples=6, deadline=None, derandomize=True, database=None)
sides = st.integers(5, 23)


def a_model(profile=SMOKE):
    """With last layers that are far from zero: a new one hardly uses the right view."""
    torch.manual_seed(0)
    model = StereoSR(profile)
    for network in (model.luminance, model.colour):
        nn.init.normal_(network[-1].weight, std=0.1)
    return model


def run(model, left, right):
    return model(left, enlarge(right, 4), right).sr


# sizes


@pytest.mark.parametrize("profile", ["paper", "compact"])
def test_the_layers_and_the_shifts_are_the_published_ones_at_every_width(profile):
    model = StereoSR(get_profile(profile))
    for network, inputs, outputs in ((model.luminance, 65, 1), (model.colour, 3, 3)):
        convolutions = [m for m in network if isinstance(m, nn.Conv2d)]
        assert len(convolutions) == 16
        assert (convolutions[0].in_channels, convolutions[-1].out_channels) == (inputs, outputs)


# the parallax prior


@pytest.mark.parametrize("d", [0, 1, 17, 63])
def test_the_copy_of_the_disparity_lies_on_the_left_view(d):
    scene = images(2, 1, 5, 100 + d)
    left, right = scene[..., :100], scene[..., d:]  # what is at column x on the left is at x − d on the right
    copies = shifted_copies(right)
    assert copies.shape == (2, 64, 5, 100)
    torch.testing.assert_close(copies[:, d, :, d:], left[:, 0, :, d:], rtol=0, atol=0)
    other = copies[:, (d + 5) % 64, :, 64:]
    assert (other - left[:, 0, :, 64:]).abs().mean() > 0.1


def test_the_copies_are_rolled():
    right = images(1, 1, 3, 70)
    by_hand = torch.stack([torch.stack([right[0, 0, :, (x - d) % 70] for x in range(70)], 1) for d in range(64)])
    torch.testing.assert_close(shifted_copies(right)[0], by_hand, rtol=0, atol=0)


def that_takes_copy(d):
    """Its luminance network by hand: |copy d − left| up and down in two channels, passed on, and their difference."""
    model = StereoSR(SMOKE)
    first, *middle, last = (m for m in model.luminance if isinstance(m, nn.Conv2d))
    for conv in (first, *middle, last):
        nn.init.zeros_(conv.weight)
    for conv in middle:
        nn.init.dirac_(conv.weight)
    with torch.no_grad():
        for channel, sign in enumerate((1, -1)):
            first.weight[channel, 1 + d, 1, 1], first.weight[channel, 0, 1, 1] = sign, -sign
            last.weight[0, channel, 1, 1] = sign
    return model


def test_a_network_can_replace_a_poor_left_view_by_the_right_one():
    d, scene = 8, images(1, 3, 6, 32)
    poor, right = scene[..., :30] + 0.2 * images(1, 3, 6, 30, seed=1), scene[..., 2:]  # 8 pixels are 2 of an input
    y = to_ycbcr(run(that_takes_copy(d), poor, right))[:, :1]
    good = to_ycbcr(enlarge(scene[..., :30], 4))[:, :1]
    inside = slice(d + 8, -8)  # away from the freed columns, and from the borders of the enlargement
    torch.testing.assert_close(y[..., inside], good[..., inside], rtol=0, atol=1e-3)
    assert (to_ycbcr(enlarge(poor, 4))[:, :1] - good).abs().mean() > 0.03


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


def test_with_silent_networks_the_result_is_the_bicubic_image():
    model, (left, right) = StereoSR(SMOKE), images(2, 2, 3, 7, 6)
    for network in (model.luminance, model.colour):
        nn.init.zeros_(network[-1].weight)
    torch.testing.assert_close(run(model, left, right), enlarge(left, 4), rtol=0, atol=1e-5)


def test_half_precision_leaves_the_skip_exact():
    model, (left, right) = StereoSR(SMOKE), images(2, 2, 3, 5, 9)
    for network in (model.luminance, model.colour):
        nn.init.zeros_(network[-1].weight)
    model = model.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        out = run(model, left.contiguous(memory_format=torch.channels_last), right)
    torch.testing.assert_close(out, enlarge(left, 4), rtol=0, atol=1e-5)


def test_the_colour_network_sees_the_improved_luminance():
    model, (left, right) = a_model(), images(2, 1, 3, 6, 7)
    seen = []
    model.colour.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    run(model, left, right)
    bicubic = to_ycbcr(enlarge(left, 4))
    improved = model.super_resolve(bicubic[:, :1], to_ycbcr(enlarge(right, 4))[:, :1])
    torch.testing.assert_close(seen[0], torch.cat([improved, bicubic[:, 1:]], 1))
    assert (improved - bicubic[:, :1]).abs().mean() > 1e-2


def test_without_a_correction_of_colour_a_grey_pair_stays_grey():
    model, (left, right) = a_model(), images(2, 2, 1, 7, 6).expand(2, 2, 3, 7, 6)
    nn.init.zeros_(model.colour[-1].weight)
    out = run(model, left, right)
    torch.testing.assert_close(out[:, :1].expand_as(out), out, rtol=0, atol=1e-5)
    assert (out - enlarge(left, 4)).abs().mean() > 1e-2


# the loss


def test_the_loss_is_the_root_of_the_mean_square_error_of_luminance_and_colour():
    loss, (sr, hr) = StereoSRLoss(SMOKE), images(2, 2, 3, 8, 12)
    terms = loss(Outputs(sr), Crops(hr, hr, hr, hr), 0.5)
    by_hand = ((to_ycbcr(sr) - to_ycbcr(hr)) ** 2).sum().div(2 * 3 * 8 * 12).sqrt()
    assert loss.weights == {"rmse": 1.0} and terms.keys() == loss.weights.keys()
    torch.testing.assert_close(terms["rmse"], by_hand)


def test_a_perfect_image_has_a_finite_gradient():
    hr = images(1, 3, 8, 8)
    sr = hr.clone().requires_grad_()
    StereoSRLoss(SMOKE)(Outputs(sr), Crops(hr, hr, hr, hr), 0.0)["rmse"].backward()
    assert sr.grad.isfinite().all()


# refusals
