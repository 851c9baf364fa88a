"""SRNTT: features of the reference at three scales, one match for all references, frozen parts, and the five losses."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import images, untrained

from e2ent2lib.config import SMOKE
from e2ent2lib.crops import Crops
from e2ent2lib.matching import match, swap
from e2ent2lib.models import Outputs
from e2ent2lib.systems.parts import enlarge, shrink
from e2ent2lib.systems.srntt import LAYERS, SRNTT, SRNTTLoss, texture_loss
from e2ent2lib.systems.vgg import VGG19

UNIT = 255 * 0.226


pytestmark = pytest.mark.usefixtures("no_weight_file")


def a_pair(h, w, batch=1, seed=0):
    """A picture of 4h×4w and itself shrunken to h×w, in [0, 1]."""
    large = images(batch, 3, 4 * h, 4 * w, seed=seed)
    return large, shrink(large, 4).clamp(0, 1)


# sizes


def test_the_image_is_the_tanh_of_the_head_mapped_to_0_to_1():
    model, (ref, low) = untrained("srntt").eval(), a_pair(5, 6)
    with torch.no_grad():
        model.head[1].weight.zero_(), model.head[1].bias.copy_(torch.tensor([-20.0, 0.0, 20.0]))
    sr = model(low, ref, low).sr
    assert [sr[:, c].unique().tolist() for c in range(3)] == [[0.0], [0.5], [1.0]]


# what is swapped in


def test_a_reference_that_is_the_wanted_picture_is_swapped_in_whole():
    model, (hr, low) = untrained("srntt"), a_pair(9, 11, 2)
    found, wanted = model.swapped_features(low, hr, low), VGG19(*LAYERS)(hr)
    for ours, (layer, scale) in zip(found, LAYERS.items()):
        inside = (..., slice(2 * scale, -2 * scale), slice(2 * scale, -2 * scale))
        torch.testing.assert_close(ours[inside], wanted[layer][inside])


def test_the_match_is_at_relu3_1_of_bicubic_enlargements_and_the_same_for_all_layers():
    model, lr, (ref, _), (_, low) = untrained("srntt"), images(1, 3, 6, 7), a_pair(5, 8, seed=1), a_pair(5, 8, seed=2)
    vgg = VGG19(*LAYERS)
    query, key = (vgg(enlarge(x, 4).clamp(0, 1))["relu3_1"] for x in (lr, low))
    index, values = match(query, key).index, vgg(ref)
    for ours, (layer, scale) in zip(model.swapped_features(lr, ref, low), LAYERS.items()):
        torch.testing.assert_close(ours, swap(values[layer], index, scale))


def test_each_position_is_swapped_from_the_reference_that_fits_it():
    model, (left, left_low), (right, right_low) = untrained("srntt"), a_pair(10, 8), a_pair(10, 9, seed=1)
    low = torch.cat([left_low, right_low], dim=3)
    found = model.swapped_features(low, [left, right], [left_low, right_low])
    for ours, (layer, scale) in zip(found, LAYERS.items()):
        inside = slice(4 * scale, -4 * scale)  # VGG sees no further than 4 cells
        for first, one in ((0, left), (8 * scale, right)):
            wanted = model.vgg(one)[layer]
            part = ours[..., first : first + wanted.shape[3]]
            torch.testing.assert_close(part[..., inside, inside], wanted[..., inside, inside])


# the network


def test_without_a_reference_it_is_the_content_network():
    model, lr = untrained("srntt").eval(), images(1, 3, 5, 7)
    assert model.single_image is model.content
    torch.testing.assert_close(model.single_image(lr).sr, (model.content.tail(model.content.features(lr)) + 1) / 2)


def test_a_reference_adds_to_the_content():
    model, (ref, low) = untrained("srntt").eval(), a_pair(5, 6)
    for transfer in model.transfer:
        torch.nn.init.zeros_(transfer.body[-1].weight)
    content = model.content.features(low)
    torch.testing.assert_close(model(low, ref, low).sr, model.head(model.up[1](model.up[0](content))) / 2 + 0.5)


def test_frozen_parts_stay_in_eval_mode():
    model, (ref, low) = untrained("srntt").train(), a_pair(5, 6, 2)
    assert model.training and model.transfer[0].training
    assert not any(m.training for part in (model.content, model.vgg) for m in part.modules())
    before = {k: v.clone() for k, v in model.content.state_dict().items()}
    model(low, ref, low)
    assert all(torch.equal(v, before[k]) for k, v in model.content.state_dict().items())
    assert not model.eval().transfer[0].training


def test_a_saved_state_brings_its_vgg_along():
    first, second, (ref, low) = untrained("srntt", 0).eval(), untrained("srntt", 1).eval(), a_pair(5, 6)
    with torch.no_grad():
        first.vgg.body["conv1_1"].weight.mul_(-1)
    assert not torch.equal(first(low, ref, low).details[2], second(low, ref, low).details[2])
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(second(low, ref, low), first(low, ref, low), rtol=0, atol=0)


def test_another_scale_is_refused():
    with pytest.raises(ValueError, match=r"scale 2: .*use scale 4"):
        SRNTT(replace(SMOKE, scale=2))


def test_references_that_do_not_fit_are_refused():
    model, (ref, low) = untrained("srntt"), a_pair(5, 6)
    with pytest.raises(ValueError, match=r"\(20, 24\), \(20, 24\)"):
        model(low, [ref, ref], [low])
    with pytest.raises(ValueError, match=r"\(20, 24\).*\(5, 5\)"):
        model(low, ref, low[..., :5])
    with pytest.raises(ValueError, match="at least 3 × 3"):
        model(low, ref[..., :8, :8], low[..., :2, :2])


# losses


def perfect(hr, vgg):
    return Outputs(hr, details=[vgg(hr)[layer] for layer in LAYERS])


def test_each_term_by_itself_and_in_the_opening_the_reconstruction_alone():
    loss, (hr, low), (sr, _) = SRNTTLoss(SMOKE), a_pair(6, 5), a_pair(6, 5, seed=1)
    terms = loss(perfect(sr, loss.vgg), Crops(hr, low, hr, low), 0.5)
    assert terms["rec"].item() == pytest.approx(2 * (sr - hr).abs().mean().item())
    ours, wanted = (UNIT * loss.vgg(x)[loss.layer] for x in (sr, hr))
    assert terms["perceptual"].item() == pytest.approx((ours - wanted).square().mean().item(), rel=1e-4)
    assert terms["texture"].item() == 0
    opening = [set(loss(perfect(hr, loss.vgg), Crops(hr, low, hr, low), done)) for done in (0.0, 4.9 / 55)]
    assert opening == [{"rec"}, {"rec"}]  # 5 of 55 epochs


def published_texture_loss(found, swapped, side):
    """The formula of the published code for square crops, in float64."""
    total = 0
    for k, pair in enumerate(zip(found, swapped)):
        ours, wanted = (torch.einsum("bchw,bdhw->bcd", *2 * [UNIT * maps.double()]) for maps in pair)
        total += ((ours - wanted) ** 2 / 4 / (side * side * 256 * 2**k) ** 2).mean()
    return total / 3


def test_the_texture_loss_is_the_published_formula():
    vgg, side = VGG19(*LAYERS), 4
    found, swapped = ([vgg(images(2, 3, 16, 16, seed=s))[layer] for layer in LAYERS] for s in (0, 1))
    expected = published_texture_loss(found, swapped, side)
    assert texture_loss(found, swapped).item() == pytest.approx(expected.item(), rel=1e-3)


def test_the_texture_loss_does_not_see_where_a_feature_is():
    maps = [images(1, c, 8, 8, seed=c) for c in (256, 128, 64)]
    moved = [m.flip(2).roll(3, 3) for m in maps]
    other = [F.relu(m - 0.5) for m in maps]
    assert texture_loss(maps, moved) < 1e-6 * texture_loss(maps, other)
