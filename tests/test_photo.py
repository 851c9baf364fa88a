"""E2ENT²-photo: refined matches and the swap from any pixel against loops, gradients, and its SISR branch."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from tiny import network, picture
from torch import nn

from e2ent2lib.config import SMOKE
from e2ent2lib.matching import match, swap
from e2ent2lib.photos import tiles
from e2ent2lib.photos.coarse import Places
from e2ent2lib.photos.images import downscale, to_pixels, to_tensor, upscale_bicubic
from e2ent2lib.photos.inference import enlarge
from e2ent2lib.photos.options import Options
from e2ent2lib.photos.refined import REACH, Candidate, dense_features, in_place, look_up, mixed, refine, swap_at
from e2ent2lib.photos.registered import DETAIL, fine_detail, in_light_of
from e2ent2lib.runs.checkpoints import load_model
from e2ent2lib.systems import photo
from e2ent2lib.systems.parts import shrink
from e2ent2lib.systems.photo import PhotoE2ENT2

R = 4


@pytest.fixture
def scene() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A small input, two references of different size, the first of which shows the input 5 rows and 2 columns off."""
    torch.manual_seed(0)
    whole = F.interpolate(torch.rand(2, 3, 20, 24), scale_factor=3, mode="bicubic").clamp(0, 1)
    whole = (whole + 0.3 * torch.rand_like(whole)).clamp(0, 1)
    return shrink(whole[..., 5:45, 2:50], R), [whole[..., :48, :60], torch.rand(2, 3, 32, 36)]


def test_features_between_cells_are_those_of_the_shifted_reference(scene):
    _, (ref, _) = scene
    encoder = nn.Conv2d(3, 5, 1)
    dense = dense_features(encoder, ref, R)
    assert dense.shape == (2, 5, 45, 57)
    for dy, dx in ((0, 0), (3, 1), (2, 2)):
        shifted = ref[..., dy : dy + 44, dx : dx + 56]
        expected = encoder(torch.round(255 * shrink(shifted, R).clamp(0, 1)) / 255)
        inner = dense[..., dy::R, dx::R][..., :11, :14]
        torch.testing.assert_close(inner[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2])


def test_a_refined_match_is_the_best_of_those_tried_and_finds_the_true_shift(scene):
    query, refs = scene
    dense = [dense_features(nn.Identity(), ref, R) for ref in refs]
    matches = match(query, [d[..., ::R, ::R] for d in dense])
    places = refine(query, dense, matches, R)
    y, x = torch.meshgrid(R * torch.arange(10) + 5, R * torch.arange(12) + 2, indexing="ij")
    inside = (..., slice(1, -1), slice(1, -1))
    assert ((places.row == y) & (places.column == x) & (places.source == 0))[inside].float().mean() > 0.95
    padded = F.pad(query, (1, 1, 1, 1), mode="replicate").double()
    for b, i, j in ((0, 0, 0), (1, 3, 7), (0, 9, 11), (1, 5, 5)):
        own = padded[b, :, i : i + 3, j : j + 3]
        at = lambda s, y, x: dense[s][b, :, y - R : y + R + 1 : R, x - R : x + R + 1 : R].double()  # noqa: B023, E731
        cosine = lambda key: float((own * key).sum() / own.norm() / key.norm())  # noqa: B023, E731
        s, py, px = (int(part[b, i, j]) for part in places[:3])
        assert float(places.score[b, i, j]) == pytest.approx(cosine(at(s, py, px)), abs=1e-5)
        s, wide = int(matches.source[b, i, j]), (dense[int(matches.source[b, i, j])].shape[3] + R - 1) // R - 2
        v, u = divmod(int(matches.index[b, i, j]), wide)
        for dy in range(-REACH, REACH + 1):
            for dx in range(-REACH, REACH + 1):
                y = min(max(R * (v + 1) + dy, R), dense[s].shape[2] - 1 - R)
                x = min(max(R * (u + 1) + dx, R), dense[s].shape[3] - 1 - R)
                assert cosine(at(s, y, x)) <= float(places.score[b, i, j]) + 1e-5


def test_swapped_from_whole_cells_it_is_the_swap_of_eq_4(scene):
    query, refs = scene
    matches = match(query, [shrink(ref, R) for ref in refs])
    widths = torch.tensor([ref.shape[3] // R - 2 for ref in refs])[matches.source]
    y, x = (R * (part + 1) for part in (matches.index // widths, matches.index % widths))
    places = Places(matches.source, y, x, matches.confidence)
    torch.testing.assert_close(swap_at(refs, places, R), swap(refs, matches, R))


def test_the_swap_averages_the_overlapping_patches_and_hands_each_error_back():
    torch.manual_seed(1)
    values = [torch.rand(1, 2, 28, 36, requires_grad=True), torch.rand(1, 2, 20, 24, requires_grad=True)]
    source = torch.randint(2, (1, 3, 4))
    y = torch.where(source == 0, torch.randint(4, 21, (1, 3, 4)), torch.randint(4, 13, (1, 3, 4)))
    x = torch.where(source == 0, torch.randint(4, 29, (1, 3, 4)), torch.randint(4, 17, (1, 3, 4)))
    places = Places(source, y, x, torch.zeros(1, 3, 4))
    total, count = torch.zeros(2, 5 * R, 6 * R), torch.zeros(5 * R, 6 * R)
    for i in range(3):
        for j in range(4):
            s, a, b = int(source[0, i, j]), int(y[0, i, j]), int(x[0, i, j])
            rows, columns = slice(R * i, R * (i + 3)), slice(R * j, R * (j + 3))
            total[:, rows, columns] += values[s][0, :, a - R : a + 2 * R, b - R : b + 2 * R]
            count[rows, columns] += 1
    expected = (total / count)[:, R:-R, R:-R]
    swapped = swap_at(values, places, R)
    torch.testing.assert_close(swapped[0], expected)
    error = torch.rand_like(swapped)
    found = torch.autograd.grad((swapped * error).sum(), values)
    slow = torch.autograd.grad((expected * error[0]).sum(), values)
    for one, other in zip(found, slow):
        torch.testing.assert_close(one, other)
    assert look_up(values, places)[0, :, 1, 2].equal(values[int(source[0, 1, 2])][0, :, y[0, 1, 2], x[0, 1, 2]])


def test_every_weight_learns_and_without_a_reference_it_is_its_sisr_branch(scene):
    query, refs = scene
    model = PhotoE2ENT2(replace(SMOKE, channels=8))
    out = model(query, refs, [shrink(ref, R) for ref in refs])
    assert out.sr.shape == out.sisr.shape == (2, 3, 40, 48) and out.confidence.shape == (2, 10, 12)
    assert out.sisr.equal(model.single_image(query).sr)
    (out.sr.square().mean() + out.sisr.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_the_mean_over_mirrored_inputs_counts_where_a_reference_changed_nothing(monkeypatch):
    model, low = network("e2ent2-photo"), 96 + picture(20, 24) // 4
    model.base.last.weight.data *= 0.02  # a network whose images need no clipping
    monkeypatch.setattr(photo, "TAKEN_OUT", 0)  # no back-projection, of means alone
    one = lambda image: model.base(to_tensor(image)).sr  # noqa: E731
    ways = [
        one(low[::i, ::j]).flip([axis for axis, step in ((2, i), (3, j)) if step < 0]) for i in (1, -1) for j in (1, -1)
    ]
    own, mean = to_pixels(ways[0]), to_pixels(sum(ways) / 4)
    assert np.abs(own - mean).mean() > 0.1
    np.testing.assert_allclose(model.averaged(own, own, low, "float32"), mean, atol=1e-2)
    single, whole = (enlarge(model, low, [], Options(consistent=c, rounded=False)).image for c in (False, True))
    np.testing.assert_allclose(single, own, atol=1e-3)
    monkeypatch.setattr(photo, "THOROUGH", 0)
    other = enlarge(model, low, [], Options(rounded=False)).image
    assert np.abs(whole - other).mean() > 0.1
    changed = np.where(np.arange(96)[:, None] < 48, own, (own + 60).clip(0, 255)).astype(np.float32)
    found = model.averaged(changed, own, low, "float32")
    np.testing.assert_allclose(found[:, :40], mean[:, :40], atol=1e-2)
    np.testing.assert_allclose(found[:, 56:], changed[:, 56:], atol=0.2)


def test_what_registers_is_laid_over_the_input_in_several_ways(monkeypatch):
    ref = Image.fromarray(skimage.data.stereo_motorcycle()[0]).resize((500, 333), Image.Resampling.BICUBIC)
    part = ref.crop((60, 40, 460, 300))
    low = np.asarray(part.resize((100, 65), Image.Resampling.BICUBIC))
    turned = np.asarray(ref.rotate(6, Image.Resampling.BICUBIC))
    model = network("e2ent2-photo")
    matched, in_place = model.offered(low, [turned, picture(60, 80)])
    assert [x.shape for x in matched] == [turned.shape, (60, 80, 3)] and len(in_place) == 4
    for laid in in_place:
        difference = np.abs(laid.astype(int) - np.asarray(part))[20:-20, 20:-20]
        assert laid.shape == (260, 400, 3) and difference.mean() < 6
    monkeypatch.setattr(photo, "THOROUGH", 0)
    assert len(model.offered(low, [turned, turned]).in_place) == 1


def test_a_picture_in_place_is_looked_at_around_each_cell_and_mixed_by_how_well_it_fits(scene):
    query, (ref, _) = scene
    query, ref = query[:1], ref[:1, :, 4:44, 4:52]  # one row up and two columns to the left
    found = in_place(nn.Identity(), query, ref, R)
    y, x = torch.meshgrid(R * torch.arange(10) + 1, R * torch.arange(12) - 2, indexing="ij")
    places = Places(torch.zeros(1, 10, 12, dtype=torch.long), y[None], x[None].clamp_min(0), torch.zeros(1, 10, 12))
    inner = (..., slice(12, -12), slice(12, -12))
    assert found.swapped.isclose(swap_at([ref], places, R), atol=1e-5)[inner].float().mean() > 0.9
    poor = Candidate(torch.zeros_like(found.swapped), found.evidence.clone())
    poor.evidence[:, -1] -= 1
    for one, other in zip(mixed([poor, found], R), found):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(
        mixed([found, Candidate(0 * found.swapped, found.evidence)], R).swapped, found.swapped / 2
    )


def test_pictures_in_place_go_by_tiles_too(monkeypatch):
    model, low, ref = network("e2ent2-photo"), picture(40, 48), picture(80, 96, 1)
    laid = [picture(160, 192, seed) for seed in (2, 3)]
    whole, without = (tiles.enlarge(model, low, [ref], Options(rounded=False), x).image for x in (laid, []))
    monkeypatch.setattr(tiles, "TILE", 16)
    tiled = tiles.enlarge(model, low, [ref], Options(rounded=False), laid).image
    assert (np.abs(tiled - whole) > 0.05).mean() < 1e-3  # these weights make much of rounding
    assert np.abs(whole - without).mean() > 0.1


def test_a_reference_as_blurred_as_the_input_is_left_out():
    sharp = skimage.data.stereo_motorcycle()[0][:320, :480]
    low, model = downscale(sharp), network("e2ent2-photo")
    blurred = [upscale_bicubic(low), low.repeat(4, 0).repeat(4, 1), np.zeros_like(sharp)]
    assert all(fine_detail(x) < DETAIL for x in blurred) and model.offered(low, blurred).matched == []
    twice = upscale_bicubic(downscale(sharp, 2), 2)
    assert DETAIL < fine_detail(twice) < fine_detail(sharp) and fine_detail(sharp[:16, :16]) == 1
    alone = enlarge(model, low, []).image
    np.testing.assert_array_equal(enlarge(model, low, blurred).image, alone)


def test_half_precision_of_large_references_changes_little(monkeypatch):
    model = network("e2ent2-photo")
    model.card = {"sha256": ""}
    low, ref = picture(20, 24), picture(80, 96, 1)
    single = enlarge(model, low, [ref], Options(consistent=False, always=True)).image.astype(int)
    monkeypatch.setitem(tiles.SINGLE, "pixels", 0)
    half = enlarge(model, low, [ref], Options(consistent=False, always=True)).image.astype(int)
    assert 0 < np.abs(single - half).mean() < 1


def test_references_are_tried_on_the_input_reduced_and_a_mirrored_one_is_left_out(monkeypatch):
    model = load_model("e2ent2-photo", "compact")
    picture, other = (skimage.data.stereo_motorcycle()[i][100:356, 200:520] for i in (0, 1))
    low, kinds = downscale(picture), {"other view": other, "mirrored": np.ascontiguousarray(other[:, ::-1])}
    tried = {name: model.tried(low, [ref]) for name, ref in kinds.items()}
    assert tried["other view"] > 1 and tried["mirrored"] < 0.5
    assert model.tried(low[:28], [other]) is None  # 7 × 20 cells, too few to tell
    monkeypatch.setattr(photo, "ways_over", lambda *_: [])  # else the other view is used since it registers
    made = {name: enlarge(model, low, [ref]) for name, ref in kinds.items()}
    assert made["other view"].used and not made["mirrored"].used
    np.testing.assert_array_equal(made["mirrored"].image, enlarge(model, low, []).image)


def test_noise_is_not_brought_back_but_its_mean_is():
    model = network("e2ent2-photo")
    smooth = skimage.data.chelsea()[60:252, 100:324]
    clean, noise = downscale(smooth), np.random.default_rng(0).normal(0, 8, (48, 56, 3))
    for added in (noise, noise + 10):
        low = np.clip(np.rint(clean + added), 0, 255).astype(np.uint8)
        change = model.corrected(smooth, low).astype(float) - smooth
        assert change.std() < 3 and abs(change.mean() - (low - clean.astype(float)).mean()) < 0.6
    blurred = np.asarray(Image.fromarray(smooth).filter(ImageFilter.GaussianBlur(0.6)))
    corrected = model.corrected(blurred, clean).round().astype(np.uint8)
    before, after = (downscale(x).astype(float) - clean for x in (blurred, corrected))
    assert np.abs(after).mean() < np.abs(before).mean() / 2
    tinted = np.clip(smooth.astype(int) + (0, 4, 0), 0, 255).astype(np.uint8)
    assert np.abs(model.corrected(tinted, clean).round() - smooth).mean() < 0.5


def test_a_reference_in_other_light_comes_back_in_the_inputs():
    ref = np.asarray(Image.fromarray(skimage.data.chelsea()).reduce(2))
    for gains in (np.full(3, 1.5), np.array((0.6, 0.7, 0.5))):
        lit = np.pad(np.clip(np.rint(ref * gains), 0, 255).astype(np.uint8), ((20, 9), (0, 15), (0, 0)))
        back = in_light_of(downscale(ref[:148, :224]), lit)[20:-9, :-15]
        shown = (ref * gains < 255).all(axis=2)
        assert np.abs(back.astype(int) - ref)[shown].mean() < 4
    black = np.zeros((16, 16, 3), np.uint8)
    assert not in_light_of(ref, black).any()
