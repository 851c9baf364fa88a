"""PASSRnet: attention along the rows of a rectified pair, masks of what both views show, and the losses on both."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import disk, remove_small_objects
from tiny import images, untrained
from torch import nn

from e2ent2lib.config import SMOKE
from e2ent2lib.crops import Crops
from e2ent2lib.models import Outputs
from e2ent2lib.systems import passrnet
from e2ent2lib.systems.passrnet import PASSRnetLoss, cycle, parallax_attention, photometric, smoothness, valid_mask

few = settings(max_examples=6, deadline=None, derandomize=True, database=None)


def features(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attention_at(d, b=1, h=3, w=40):
    """A perfect one at disparity d: column x takes from x − d; nothing to take from leaves the row's weight at 0."""
    return torch.diag(torch.ones(w - abs(d)), -d).expand(b, h, w, w)


# parallax attention


def test_the_attention_is_a_softmax_over_the_row_of_the_other_view():
    query, key = features(2, 2, 4, 3, 7)
    scores = torch.einsum("bcyx,bcyo->byxo", query, key)
    torch.testing.assert_close(parallax_attention(query, key), scores.softmax(3))


def test_warping_takes_the_weighted_sum_of_the_row():
    attention, image = images(2, 3, 7, 7), images(2, 4, 3, 7, seed=1)
    torch.testing.assert_close(passrnet.warp(attention, image), torch.einsum("byxo,bcyo->bcyx", attention, image))


def test_the_model_attends_from_each_view_to_the_other():
    model, (left, right) = untrained("passrnet"), images(2, 2, 3, 6, 11)
    out = model(left, None, right)
    left, right = (model.to_match(model.encoder(x)) for x in (left, right))
    torch.testing.assert_close(out.details.right_to_left, parallax_attention(model.query(left), model.key(right)))
    torch.testing.assert_close(out.details.left_to_right, parallax_attention(model.query(right), model.key(left)))
    for attention in out.details[:2]:
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 6, 11))
    assert (out.details.right_to_left.argmax(-1) != out.details.left_to_right.argmax(-1)).any()


def test_the_encoder_sees_as_far_as_three_groups_of_dilation_8():
    x = images(1, 4, 61, 61).requires_grad_()
    passrnet.ResASPP(4)(x)[0, :, 30, 30].sum().backward()
    seen = (x.grad[0].abs().sum(0).nonzero() - 30).abs()
    assert seen.max() == 3 * 8
    # the dilations 1, 4 and 8 add up to any distance of three steps, such as 8 + 8 + 4, but not to 23
    distances = set(seen[:, 1].tolist())
    assert {8 + 8 + 4, 8 + 8 + 1, 4 + 4 + 4}.issubset(distances) and not {22, 23, 18, 19}.intersection(distances)


def with_attention(monkeypatch, *attentions):
    """A model whose attention, right to left and left to right, is given."""
    given_ones = iter(attentions * 2)
    monkeypatch.setattr(passrnet, "parallax_attention", lambda query, key: next(given_ones))
    return untrained("passrnet")


def test_the_masks_are_those_of_the_view_they_are_named_after(monkeypatch):
    d, left, right = 12, images(1, 3, 9, 40), images(1, 3, 9, 40, seed=1)
    out = with_attention(monkeypatch, attention_at(d, h=9), attention_at(-d, h=9))(left, None, right)
    assert not out.details.valid_left[..., :d].any() and out.details.valid_left[..., d:].all()
    assert not out.details.valid_right[..., 40 - d :].any() and out.details.valid_right[..., : 40 - d].all()


def test_what_is_warped_is_the_right_view(monkeypatch):
    left, right = images(1, 3, 9, 40), images(1, 3, 9, 40, seed=1)
    model = with_attention(monkeypatch, attention_at(0, h=9), attention_at(0, h=9))
    assert (model(left, None, right).sr - model(left, None, left).sr).abs().mean() > 1e-2


def test_the_result_takes_from_the_right_view_over_the_whole_row():
    model, left, right = untrained("passrnet"), images(1, 3, 5, 60), images(1, 3, 5, 60, seed=1).requires_grad_()
    model(left, None, right).sr[0, :, 8, 4].sum().backward()
    assert (right.grad.abs().sum((0, 1, 2)) > 0).all()


def test_in_half_precision_the_attention_is_still_exact():
    query, key = 4 * features(2, 1, 32, 3, 9)
    with torch.autocast("cpu", torch.bfloat16):
        attention, warped = parallax_attention(query, key), passrnet.warp(parallax_attention(query, key), key)
    torch.testing.assert_close(attention, parallax_attention(query, key), rtol=0, atol=0)
    torch.testing.assert_close(warped, passrnet.warp(attention, key), rtol=0, atol=0)


# masks


@pytest.mark.parametrize("total, valid", [(0.09, False), (0.11, True)])
def test_a_pixel_needs_a_tenth_of_a_pixels_attention(total, valid):
    assert valid_mask(torch.full((1, 9, 10, 10), total / 10)).all() == valid


def as_published(invalid):
    """The filter of the released code for one image, with SciPy."""
    corners = ndimage.generate_binary_structure(2, 2)

    def without_small(mask, size):
        labels, count = ndimage.label(mask, corners)
        return mask & (ndimage.sum_labels(mask, labels, range(count + 1))[labels] >= size)

    invalid = without_small(invalid, 20)
    invalid = ~without_small(~invalid, 10)
    return ndimage.binary_closing(np.pad(invalid, 6), disk(3))[6:-6, 6:-6]


@few
@given(st.integers(0, 99), st.sampled_from([0.2, 0.4, 0.5, 0.6]))
def test_the_mask_is_filtered_as_published(seed, share):
    totals = images(3, 1, 23, 31, seed=seed)
    # blobs of many sizes: noise averaged over a few pixels
    totals = nn.functional.avg_pool2d(totals, 3, 1, 1)[:, 0]
    least = totals.flatten().quantile(share)
    attention = (totals > least).float()[:, :, None].expand(3, 23, 31, 31)
    found = valid_mask(attention)
    for image, mask in zip(totals, found):
        expected = ~as_published((image <= least).numpy())
        assert (mask[0].numpy() == expected).all()
    assert 0 < found.float().mean() < 1


def a_snake(height, width):
    """One piece that winds through the whole image, the longest way there is."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[1:, ::2] = True
    mask[1, 1::4] = mask[-1, 3::4] = True
    return mask


@pytest.mark.parametrize("size", [(32, 32), (83, 125)])
def test_pieces_are_those_of_scikit_image(size):
    noise = images(12, *size) < torch.linspace(0.3, 0.5, 12).view(-1, 1, 1)
    masks = torch.stack([*noise, a_snake(*size), a_snake(*size[::-1]).T])[:, None]
    for least in (10, 20, 200):
        for mask, found in zip(masks, passrnet.without_small(masks, least)):
            expected = remove_small_objects(mask[0].numpy(), max_size=least - 1, connectivity=2)
            assert (found[0].numpy() == expected).all()


# the loss


def a_batch(left, right, hr=None):
    return Crops(images(*left.shape[:2], 4 * left.shape[2], 4 * left.shape[3]) if hr is None else hr, left, None, right)


def test_perfect_attention_on_a_scene_of_one_disparity_costs_nothing():
    d, scene = 7, images(1, 3, 6, 47)
    left, right = scene[..., :40], scene[..., d:]
    there, back = attention_at(d, h=6), attention_at(-d, h=6)
    out = Outputs(images(1, 3, 24, 160), details=passrnet.Parallax(there, back, valid_mask(back), valid_mask(there)))
    terms = PASSRnetLoss(SMOKE)(out, a_batch(left, right, out.sr), 0.5)
    assert terms.keys() == PASSRnetLoss(SMOKE).weights.keys()
    assert all(value == 0 for value in terms.values())


def test_the_photometric_loss_is_the_mean_over_all_pixels_of_what_both_views_show():
    attention, (view, other) = parallax_attention(*features(2, 2, 4, 3, 5)), images(2, 2, 3, 3, 5)
    valid = images(2, 1, 3, 5) > 0.5
    missed = (view - torch.einsum("byxo,bcyo->bcyx", attention, other)).abs()
    total = sum(missed[:, c][valid[:, 0]].sum() for c in range(3))
    torch.testing.assert_close(photometric(attention, view, other, valid), total / (2 * 3 * 3 * 5))


def test_the_smoothness_compares_with_the_pixel_below_and_the_next_at_equal_disparity():
    attention = images(2, 3, 5, 5)
    a = attention.numpy()
    below = [abs(a[b, y, i, j] - a[b, y + 1, i, j]) for b, y, i, j in np.ndindex(2, 2, 5, 5)]
    beside = [abs(a[b, y, i, j] - a[b, y, i + 1, j + 1]) for b, y, i, j in np.ndindex(2, 3, 4, 4)]
    assert smoothness(attention).item() == pytest.approx(np.mean(below) + np.mean(beside), rel=1e-5)


def test_the_cycle_loss_compares_there_and_back_with_the_identity():
    there, back = (parallax_attention(*features(2, 2, 4, 3, 5, seed=s)) for s in (0, 1))
    valid = images(2, 1, 3, 5) > 0.5
    missed = (torch.einsum("byik,bykj->byij", there, back) - torch.eye(5)).abs()
    total = missed.transpose(2, 3)[valid[:, 0]].sum()  # the columns j that both views show
    torch.testing.assert_close(cycle(there, back, valid), total / (2 * 3 * 5 * 5))


def test_each_term_counts_both_views():
    left, right = images(2, 1, 3, 4, 6)
    there, back = (parallax_attention(*features(2, 1, 4, 4, 6, seed=s)) for s in (0, 1))
    masks = images(2, 1, 1, 4, 6) > 0.4
    out = Outputs(images(1, 3, 16, 24), details=passrnet.Parallax(there, back, *masks))
    terms = PASSRnetLoss(SMOKE)(out, a_batch(left, right), 0.5)
    both = photometric(there, left, right, masks[0]) + photometric(back, right, left, masks[1])
    torch.testing.assert_close(terms["photometric"], both)
    torch.testing.assert_close(terms["smoothness"], smoothness(there) + smoothness(back))
    torch.testing.assert_close(terms["cycle"], cycle(there, back, masks[0]) + cycle(back, there, masks[1]))


def test_without_any_counterpart_the_loss_is_finite():
    there, back = (parallax_attention(*features(2, 1, 4, 4, 6, seed=s)).requires_grad_() for s in (0, 1))
    nothing = torch.zeros(1, 1, 4, 6, dtype=torch.bool)
    out = Outputs(images(1, 3, 16, 24), details=passrnet.Parallax(there, back, nothing, nothing))
    terms = PASSRnetLoss(SMOKE)(out, a_batch(*images(2, 1, 3, 4, 6)), 0)
    assert terms["photometric"] == 0 and terms["cycle"] == 0
    sum(terms.values()).backward()
    assert there.grad.isfinite().all() and back.grad.isfinite().all()
