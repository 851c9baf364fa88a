"""The losses of 3.5 by hand: Eq. 8, and the relativistic average of Eq. 9 and 10."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from e2ent2lib.config import SMOKE
from e2ent2lib.losses import PaperLoss, batch_mean, critic_loss, generator_loss, reconstruction_loss
from e2ent2lib.models import Outputs
from e2ent2lib.systems.parts import ADVERSARIES, gradient_penalty

few = settings(max_examples=20, deadline=None, derandomize=True, database=None)
scores = st.lists(st.floats(-20, 20), min_size=1, max_size=5)
REAL, FAKE = torch.tensor([1.0, 3.0]).double(), torch.tensor([0.0, 1.0]).double()


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize(("kind", "expected"), [("l1", (0.1 + 0 + 0.6) / 3), ("mse", (0.01 + 0 + 0.36) / 3)])
def test_equation_8_is_the_mean_difference_by_hand(kind, expected):
    sr = torch.tensor([0.0, 0.5, 1.0]).double().view(1, 3, 1, 1)
    hr = torch.tensor([0.1, 0.5, 0.4]).double().view(1, 3, 1, 1)
    assert reconstruction_loss(sr, hr, kind).item() == pytest.approx(expected)
    repeated = (x.repeat(4, 1, 9, 7) for x in (sr, hr))  # it does not grow with the image or the batch
    assert reconstruction_loss(*repeated, kind).item() == pytest.approx(expected)
    assert gradcheck(lambda x: reconstruction_loss(x, hr + 0.01, kind), sr.requires_grad_())


def test_without_a_kind_the_reconstruction_loss_is_l1_and_an_unknown_one_is_refused():
    sr, hr = torch.rand(2, 1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    assert reconstruction_loss(sr, hr) == reconstruction_loss(sr, hr, "l1")
    with pytest.raises(ValueError, match="'l2'"):
        reconstruction_loss(sr, hr, "l2")


def test_equation_9_by_hand():
    # E[C(fake)] = 0.5, E[C(real)] = 2
    right = -(math.log(sigmoid(1 - 0.5)) + math.log(sigmoid(3 - 0.5))) / 2
    wrong = -(math.log(1 - sigmoid(0 - 2)) + math.log(1 - sigmoid(1 - 2))) / 2
    assert critic_loss(REAL, FAKE).item() == pytest.approx(right + wrong)
    assert right + wrong == pytest.approx(0.4966, abs=1e-4)


def test_equation_10_by_hand():
    real = -(math.log(1 - sigmoid(1 - 0.5)) + math.log(1 - sigmoid(3 - 0.5))) / 2
    fake = -(math.log(sigmoid(0 - 2)) + math.log(sigmoid(1 - 2))) / 2
    assert generator_loss(REAL, FAKE).item() == pytest.approx(real + fake)
    assert real + fake == pytest.approx(3.4966, abs=1e-4)


@few
@given(st.floats(-1e4, 1e4), st.integers(1, 5))
def test_at_equal_scores_both_players_pay_twice_the_log_of_two(score, count):
    equal = torch.full((count,), score, dtype=torch.float64)
    for loss in (critic_loss, generator_loss):
        assert loss(equal, equal).item() == pytest.approx(2 * math.log(2))


@few
@given(scores, scores, st.floats(-100, 100))
def test_only_differences_of_scores_count(real, fake, shift):
    real, fake = (torch.tensor(x).double() for x in (real, fake))
    torch.testing.assert_close(critic_loss(real + shift, fake + shift), critic_loss(real, fake))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_losses_stay_finite_where_a_sigmoid_is_full(dtype):
    high = torch.full((3,), 1e4, dtype=dtype, requires_grad=True)
    low = torch.full((3,), -1e4, dtype=dtype, requires_grad=True)
    assert critic_loss(high, low).item() == 0
    worst = critic_loss(low, high)
    assert worst.item() == pytest.approx(4e4)  # twice the distance: log would have given infinity
    for gradient in torch.autograd.grad(worst, [low, high]):
        assert gradient.isfinite().all() and (gradient.abs() > 0.1).all()


def test_the_gradients_include_those_through_the_means():
    leaves = [x.clone().requires_grad_() for x in (REAL, FAKE)]
    assert gradcheck(critic_loss, leaves)
    assert gradcheck(generator_loss, leaves)


def test_the_mean_over_a_larger_batch_can_be_handed_in():
    """Two halves of a batch, each with the means over the whole, give the whole batch's loss."""
    real, fake = torch.tensor([1.0, 3.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 4.0, -1.0])
    whole = {real[0].item(): real.mean(), fake[0].item(): fake.mean()}
    whole |= {real[2].item(): real.mean(), fake[2].item(): fake.mean()}
    halves = [critic_loss(real[s], fake[s], lambda x: whole[x[0].item()]) for s in (slice(2), slice(2, 4))]
    torch.testing.assert_close(sum(halves) / 2, critic_loss(real, fake))
    local = sum(critic_loss(real[s], fake[s], batch_mean) for s in (slice(2), slice(2, 4))) / 2
    assert abs(local - critic_loss(real, fake)) > 0.1


# the adversarial losses of the baselines


def test_the_standard_gan_by_hand():
    """SRGAN's Eq. 6 is −log D(fake), without the minus in front of D's own loss (Goodfellow et al., Eq. 1)."""
    gan, (a, b), (c, d) = ADVERSARIES["gan"], REAL.tolist(), FAKE.tolist()
    right = (
        -(math.log(sigmoid(a)) + math.log(sigmoid(b))) / 2 - (math.log(1 - sigmoid(c)) + math.log(1 - sigmoid(d))) / 2
    )
    assert gan.critic_loss(REAL, FAKE).item() == pytest.approx(right)
    assert gan.generator_loss(REAL, FAKE).item() == pytest.approx(-(math.log(sigmoid(c)) + math.log(sigmoid(d))) / 2)
    assert gan.penalty is None


def critic_of_squares(images):
    return images.square().flatten(1).sum(1)


def test_the_wasserstein_losses_are_the_distance_of_the_means():
    wgan = ADVERSARIES["wgan-gp"]
    assert wgan.critic_loss(REAL, FAKE).item() == pytest.approx(0.5 - 2)
    assert wgan.generator_loss(REAL, FAKE).item() == pytest.approx(-0.5)
    real, fake = torch.rand(2, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    assert wgan.penalty(critic_of_squares, real, fake, 3) == gradient_penalty(critic_of_squares, real, fake, 3) > 0


def test_the_paper_uses_the_relativistic_average():
    assert ADVERSARIES["ragan"] == (critic_loss, generator_loss, None)


def test_the_gradient_penalty_of_a_linear_critic_is_known():
    """C(x) = slope · sum of x has the gradient slope everywhere: of length slope·√n."""
    slope = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    real, fake = torch.rand(2, 2, 3, 2, 2, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: slope * x.flatten(1).sum(1), real, fake, seed=0)
    assert penalty.item() == pytest.approx(10 * (0.5 * math.sqrt(12) - 1) ** 2)
    (found,) = torch.autograd.grad(penalty, slope)  # so the critic can learn from it
    assert found.item() == pytest.approx(20 * (0.5 * math.sqrt(12) - 1) * math.sqrt(12))


def test_the_gradient_penalty_is_taken_between_real_and_fake_at_places_that_the_seed_draws():
    seen = []

    def critic(x):
        seen.append(x.detach())
        return x.square().flatten(1).sum(1)

    real, fake = torch.ones(4, 3, 2, 2), torch.zeros(4, 3, 2, 2)
    for seed in (1, 1, 2):
        gradient_penalty(critic, real, fake, seed=seed)
    first, again, other = seen
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert (first.flatten(1).std(1) == 0).all() and first[:, 0, 0, 0].unique().numel() == 4  # one ε an image
    assert first.min() >= 0 and first.max() <= 1


def test_the_papers_loss_weighs_each_trained_branch_and_leaves_out_the_others():
    profile = replace(SMOKE, weight_rec=0.7, weight_adv=0.2, weight_sisr=0.5)
    alone, ref, joint = (
        PaperLoss(profile),
        PaperLoss(profile, branches=("ref",)),
        PaperLoss(profile, "mse", ("sisr", "ref")),
    )
    assert alone.weights == {"rec_sisr": 0.7, "adv_sisr": 0.2}
    assert ref.weights == {"rec_ref": 0.7, "adv_ref": 0.2}
    assert joint.weights == {"rec_sisr": 0.35, "rec_ref": 0.7, "adv_sisr": 0.1, "adv_ref": 0.2}
    hr, image = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.5)
    batch = SimpleNamespace(hr=hr)
    for loss, outputs, terms in (
        (alone, Outputs(sr=image), {"rec_sisr": 0.5}),
        (ref, Outputs(sr=image, sisr=None), {"rec_ref": 0.5}),
        (joint, Outputs(sr=image, sisr=2 * image), {"rec_sisr": 1.0, "rec_ref": 0.25}),
    ):
        assert {name: term.item() for name, term in loss(outputs, batch, 0.0).items()} == terms
