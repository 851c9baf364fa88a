"""EnhanceNet-PAT: the network, and the texture loss that sees what is in a patch but not where."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import for_loss, images

from e2ent2lib.config import SMOKE
from e2ent2lib.models import Outputs
from e2ent2lib.systems.enhancenet import EnhanceNet, EnhanceNetLoss, patch_grams, texture_loss

few = settings(max_examples=8, deadline=None, derandomize=True, database=None)


# the network


def test_enlarging_repeats_pixels():
    stage = EnhanceNet(replace(SMOKE, scale=2)).enlarging
    torch.nn.init.dirac_(stage[1].weight)
    torch.nn.init.zeros_(stage[1].bias)
    x = images(1, SMOKE.channels, 2, 3)
    torch.testing.assert_close(stage(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


# Gram matrices of patches


@few
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_the_gram_matrices_of_patches_are_those_of_a_slow_loop(h, w, side):
    features = images(2, 3, h, w)
    grams = patch_grams(features, side)
    corners = [(y, x) for y in range(0, h, side) for x in range(0, w, side)]
    assert grams.shape == (2, len(corners), 3, 3)
    for n, (top, left) in enumerate(corners):
        patch = features[..., top : top + side, left : left + side]
        torch.testing.assert_close(grams[:, n], torch.einsum("bchw,bdhw->bcd", patch, patch))


def test_patches_have_16_positions_a_side():
    assert patch_grams(torch.ones(1, 2, 32, 48)).shape == (1, 6, 2, 2)
    assert (patch_grams(torch.ones(1, 2, 32, 48)) == 256).all()


def shuffled(x, seed=0):
    """The positions of one patch in another order."""
    order = torch.randperm(x[0, 0].numel(), generator=torch.Generator().manual_seed(seed))
    return x.flatten(2)[..., order].view_as(x)


def test_the_texture_loss_does_not_see_where_in_a_patch_a_feature_is():
    patches = [images(1, 5, 16, 16, seed=s) for s in range(4)]
    real = torch.cat([torch.cat(patches[:2], 3), torch.cat(patches[2:], 3)], 2)
    moved = [shuffled(p, seed) for seed, p in enumerate(patches)]
    fake = torch.cat([torch.cat(moved[:2], 3), torch.cat(moved[2:], 3)], 2)
    assert F.mse_loss(fake, real) > 0.1
    torch.testing.assert_close(texture_loss(fake, real), torch.tensor(0.0), rtol=0, atol=1e-6)


def test_but_it_sees_in_which_patch_a_feature_is():
    left, right = images(1, 5, 16, 16), images(1, 5, 16, 16, seed=1) ** 3
    assert texture_loss(torch.cat([left, right], 3), torch.cat([right, left], 3)) > 1


def test_it_sees_which_features_occur_together():
    stripes = torch.arange(16).remainder(2).float().expand(1, 1, 16, 16)
    together, apart = torch.cat([stripes, stripes], 1), torch.cat([stripes, 1 - stripes], 1)
    # 128 positions with both features, or none: only the two mixed entries of four differ
    assert texture_loss(together, apart).item() == pytest.approx(128**2 / 2)


# the loss


@pytest.fixture
def loss(monkeypatch, tmp_path):
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", str(tmp_path / "none"))
    return EnhanceNetLoss(SMOKE)


def test_the_original_costs_nothing(loss):
    hr = images(2, 3, 48, 48)
    assert all(value == 0 for value in loss(Outputs(hr), for_loss(hr), 0).values())


def test_the_terms_are_those_of_features_with_a_mean_of_one(loss):
    sr, hr = images(2, 3, 32, 32), images(2, 3, 32, 32, seed=1)
    fake, real = loss.vgg(sr), loss.vgg(hr)
    scale = torch.stack([image.mean() for image in real["relu2_1"]]).view(2, 1, 1, 1)
    terms = loss(Outputs(sr), for_loss(hr), 0)
    fake, real = fake["relu2_1"] / scale, real["relu2_1"] / scale
    torch.testing.assert_close(terms["texture_conv2_1"], texture_loss(fake, real))
    for image in real:
        assert image.mean().item() == pytest.approx(1, abs=1e-5)


def test_the_unit_of_the_features_does_not_count(loss):
    """As 0–255 and torchvision's units: the random network has no biases, so its features all grow in proportion."""
    sr, hr = images(1, 3, 32, 32), images(1, 3, 32, 32, seed=1)
    small = loss(Outputs(sr), for_loss(hr), 0)
    loss.vgg.std /= 57.6
    torch.testing.assert_close(loss(Outputs(sr), for_loss(hr), 0), small, rtol=1e-3, atol=0)


def test_an_image_without_features_gives_no_infinity(loss):
    flat = loss.vgg.mean.expand(1, 3, 32, 32)  # normalised it is zero, and the random network has no biases
    assert all(value.isfinite() for value in loss(Outputs(flat.clone()), for_loss(flat), 0).values())
