"""The networks of Fig. 2, 3 and 6: sizes, skips, the shared encoder, and Eq. 6."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import images
from tolerances import SAME_BITS
from torch import nn

from e2ent2lib.config import COMPACT, PAPER, SMOKE
from e2ent2lib.matching import match, match_and_swap
from e2ent2lib.models import E2ENT2, Critic, FeatureEncoder, SISRBranch, Synthesis
from e2ent2lib.models.blocks import ResidualBlock, upsampling
from e2ent2lib.models.sisr import bilinear

few = settings(max_examples=8, deadline=None, derandomize=True, database=None)
sides = st.integers(1, 13)


def a_model(seed=0, profile=SMOKE, **options):
    torch.manual_seed(seed)
    return E2ENT2(profile, **options)


def blocks_in(module):
    return sum(isinstance(m, ResidualBlock) for m in module.modules())


def parameters(module):
    return sum(p.numel() for p in module.parameters())


# sizes


@few
@given(sides, sides, st.integers(3, 7), st.integers(3, 7), st.sampled_from([2, 4]))
def test_features_have_the_images_size_and_outputs_r_times_it_whatever_the_references_size(h, w, height, width, r):
    model, lr = a_model(profile=replace(SMOKE, scale=r)), images(2, 3, h, w)
    assert model.encoder(lr).shape == (2, SMOKE.channels, h, w)
    out = model(lr, images(2, 3, r * height, r * width), images(2, 3, height, width))
    assert out.sr.shape == out.sisr.shape == model.sisr(lr).sr.shape == (2, 3, r * h, r * w)
    assert out.swapped.shape == (2, SMOKE.channels, r * h, r * w)
    assert out.confidence.shape == (2, h, w)


def test_references_of_different_sizes_go_in_together_and_the_fitting_one_is_used():
    model = a_model()
    lr, low, full = images(1, 3, 9, 8), images(1, 3, 5, 7, seed=1), images(1, 3, 20, 28, seed=1)
    own = images(1, 3, 36, 32, seed=2)
    both = model(lr, [full, own], [low, lr])
    alone = model(lr, own, lr)
    inside = (..., slice(8, -8), slice(8, -8))  # two cells from the border, where each patch finds itself in lr
    torch.testing.assert_close(both.swapped[inside], alone.swapped[inside])
    torch.testing.assert_close(both.swapped[inside], model.encoder(own)[inside])


def test_the_printed_l1_norm_is_an_option_of_the_network():
    lr, ref, low = images(1, 3, 9, 8), images(1, 3, 40, 40, seed=1), images(1, 3, 10, 10, seed=2)
    printed, default = a_model(norm="l1"), a_model()
    features = [printed.encoder(x) for x in (lr, low, ref)]
    torch.testing.assert_close(printed(lr, ref, low).swapped, match_and_swap(*features, norm="l1"))
    assert not torch.allclose(printed(lr, ref, low).swapped, default(lr, ref, low).swapped)


def test_each_pixel_shuffle_stage_doubles_the_size():
    for scale, stages in ((1, 0), (2, 1), (4, 2), (8, 3)):
        up = upsampling(3, scale)
        assert sum(isinstance(m, nn.PixelShuffle) for m in up) == stages
        assert up(images(1, 3, 2, 5)).shape == (1, 3, 2 * scale, 5 * scale)
    for scale in (0, 3, 6, -4):
        with pytest.raises(ValueError, match=f"scale {scale}"):
            upsampling(3, scale)


# structure


def conv(inputs, outputs):
    """Parameters of a 3×3 convolution with bias."""
    return 9 * inputs * outputs + outputs


def test_at_paper_size_blocks_and_parameters_count_as_section_4_1_says():
    encoder = conv(3, 64) + 16 * 2 * conv(64, 64) + conv(64, 64)
    tail = 2 * conv(64, 256) + conv(64, 3)
    res1 = 2 * 2 * conv(64, 64) + 2 * conv(64, 256)
    res2 = conv(128, 64) + 16 * 2 * conv(64, 64) + conv(64, 3)
    model = E2ENT2(PAPER)
    parts = (model.encoder, model.sisr.tail, model.synthesis.res1, model.synthesis.res2)
    assert [parameters(part) for part in parts] == [encoder, tail, res1, res2]
    assert [blocks_in(part) for part in parts] == [16, 0, 2, 16]
    assert parameters(model) == encoder + tail + res1 + res2
    assert parameters(E2ENT2(COMPACT)) <= 1_000_000


@pytest.mark.parametrize("build", [E2ENT2, SISRBranch, Critic])
def test_nothing_normalises_over_the_batch(build):
    assert not any(isinstance(m, nn.modules.batchnorm._NormBase) for m in build(PAPER).modules())


def test_the_critics_score_does_not_depend_on_the_rest_of_its_batch():
    critic, pictures = Critic(SMOKE).train().double(), images(3, 3, 20, 20, dtype=torch.float64)
    torch.testing.assert_close(critic(pictures)[1:2], critic(pictures[1:2]))


def test_the_sisr_branch_shares_phi():
    model = a_model()
    assert model.encoder is model.sisr.encoder
    lr, ref, low = images(1, 3, 6, 6), images(1, 3, 20, 20), images(1, 3, 5, 5)
    torch.testing.assert_close(model(lr, ref, low).sisr, model.sisr(lr).sr)
    assert {n.split(".")[0] for n, _ in model.named_parameters()} == {"sisr", "synthesis"}


def test_the_encoder_and_each_residual_block_add_to_their_input():
    encoder, block, image = FeatureEncoder(4, 2), ResidualBlock(3), images(1, 3, 5, 6) - 0.5
    for last in (encoder.body[-1], block.body[-1]):
        nn.init.zeros_(last.weight), nn.init.zeros_(last.bias)
    torch.testing.assert_close(encoder(image), encoder.head(image))  # the long skip around its blocks
    torch.testing.assert_close(block(image), image)  # an in-place ReLU on the skip would cut the negative half


def test_synthesis_is_equation_7():
    torch.manual_seed(0)
    net = Synthesis(SMOKE)
    lr, phi, swapped = images(1, 3, 4, 5), images(1, 8, 4, 5), images(1, 8, 16, 20)
    expected = bilinear(lr, 4) + net.res2(torch.cat([swapped, net.res1(phi)], dim=1))
    torch.testing.assert_close(net(swapped, phi, lr), expected)


def test_synthesis_started_from_the_sisr_branch_gives_its_image_whatever_the_reference():
    model = a_model()
    for weight in model.parameters():
        weight.data.normal_(std=0.1)
    lr, ref, down = images(1, 3, 6, 7), images(1, 3, 20, 24, seed=1), images(1, 3, 5, 6, seed=2)
    assert not torch.allclose(*model(lr, ref, down)[:2], atol=1e-2)
    model.synthesis.start_from(model.sisr)
    out = model(lr, ref, down)
    torch.testing.assert_close(out.sr, out.sisr)
    out.sr.sum().backward()
    assert model.synthesis.res2[0].weight.grad[:, : out.swapped.shape[1]].abs().max() > 0  # F will be made use of


def test_the_skip_is_bilinear_interpolation_by_hand():
    ramp = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1)
    torch.testing.assert_close(bilinear(ramp, 2)[0, 0, 0], torch.tensor([0.0, 0.25, 0.75, 1.0]))


def test_untrained_both_images_start_at_the_bilinear_skip():
    lr, ref, low = images(1, 3, 16, 16), images(1, 3, 64, 64, seed=1), images(1, 3, 16, 16, seed=2)
    for profile in (SMOKE, COMPACT):
        out, skip = a_model(profile=profile)(lr, ref, low), bilinear(lr, 4)
        for image in (out.sr, out.sisr):
            assert 0 < (image - skip).abs().max() < 0.02  # near it, yet not so that the rest has no gradient


def test_the_critic_gives_one_unbounded_number_an_image_of_any_size():
    torch.manual_seed(0)
    critic = Critic(SMOKE)
    for side in (48, 31, 4):
        assert critic(images(3, 3, side, side)).shape == (3,)
    nn.init.constant_(critic.body[-1].bias, 70.0)
    assert critic(images(1, 3, 48, 48)).item() > 60
    for profile, side in ((SMOKE, 4), (COMPACT, 8), (PAPER, 16)):  # each stage halves the image
        assert Critic(profile).body(images(1, 3, side, side)).shape == (1, 1, 1, 1)


# gradients: Eq. 5 in the network, and Eq. 6


ALPHAS = [(0.25, 0.25, 0.5), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]


def encoder_gradient(alphas, error_down="mean"):
    """∂J/∂W of the encoder through F alone, for one J, in float64."""
    model = a_model(alphas=alphas, error_down=error_down).double()
    lr, ref, low = (images(1, 3, n, n, seed=n, dtype=torch.float64) for n in (6, 20, 5))
    swapped = model(lr, ref, low).swapped
    error = images(*swapped.shape, seed=9, dtype=torch.float64) - 0.5
    return torch.cat([g.flatten() for g in torch.autograd.grad(swapped, list(model.encoder.parameters()), error)])


def test_alpha_changes_the_gradients_and_never_the_output():
    lr, ref, low = images(1, 3, 6, 6), images(1, 3, 20, 20), images(1, 3, 5, 5)
    outputs = [a_model(alphas=alphas)(lr, ref, low) for alphas in ALPHAS]
    for other in outputs[1:]:
        for a, b in zip(outputs[0], other):
            torch.testing.assert_close(a, b, **SAME_BITS)
    parts = [encoder_gradient(alphas) for alphas in ALPHAS[1:]]
    assert all((a - b).norm() > 0.01 * a.norm() for a, b in pairwise(parts))


def test_equation_6_the_encoders_gradient_is_the_sum_of_its_three_terms():
    terms = [encoder_gradient(one) for one in ALPHAS[1:]]
    assert all(term.norm() > 0 for term in terms)
    expected = 0.2 * terms[0] + 0.7 * terms[1] - 0.4 * terms[2]
    torch.testing.assert_close(encoder_gradient((0.2, 0.7, -0.4)), expected)


def test_the_summed_error_enlarges_the_first_two_terms_16_times():
    for alphas, factor in zip(ALPHAS[1:], (16, 16, 1)):
        torch.testing.assert_close(encoder_gradient(alphas, "sum"), factor * encoder_gradient(alphas, "mean"))


def test_with_alphas_0_0_1_the_encoder_gets_the_true_gradient():
    model = a_model(alphas=(0.0, 0.0, 1.0)).double()
    lr, ref, low = (images(1, 3, n, n, seed=n, dtype=torch.float64) for n in (6, 20, 5))
    bias = model.encoder.head.bias
    step = 1e-6

    def value(offset):
        with torch.no_grad():
            bias[3] += offset
            found = model(lr, ref, low).sr.square().sum().item()
            bias[3] -= offset
        return found

    model(lr, ref, low).sr.square().sum().backward()
    assert bias.grad[3].item() == pytest.approx((value(step) - value(-step)) / (2 * step), rel=1e-6)


def test_the_confidence_is_that_of_the_match():
    model, lr, ref, small = a_model(), images(1, 3, 6, 7), images(1, 3, 24, 28, seed=1), images(1, 3, 6, 7, seed=2)
    found = match(model.encoder(lr), model.encoder(small)).confidence
    torch.testing.assert_close(model(lr, ref, small).confidence, found)
