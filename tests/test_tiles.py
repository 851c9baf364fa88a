"""Tiles: a photograph in parts is the photograph as a whole, and what is kept or thrown away changes nothing."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import MODELS, interrupt_third_band, maps, network, picture

from e2ent2lib import matching
from e2ent2lib.config import SMOKE
from e2ent2lib.matching import Matches, match, swap
from e2ent2lib.photos import inference, tiles
from e2ent2lib.photos.images import to_image
from e2ent2lib.photos.options import Options
from e2ent2lib.runs.checkpoints import build_model

few = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
WHOLE = 10**6


def tileable(references):
    """Of all networks that can be cut one of each structure: the same layers under several names are tested once."""
    found = {}
    for name in MODELS:
        model = build_model(name, SMOKE)
        if (not references or model.references != "none") and tiles.can_tile(model, references):
            found.setdefault(repr(model if references else model.single_image), name)
    return list(found.values())


def assert_tiles_equal_the_whole(model, lr, refs):
    expected = to_image(inference.run(model, lr, refs).sr)
    difference = np.abs(tiles.enlarge(model, lr, refs).image.astype(int) - expected)
    # a value near ½ may be rounded either way: fewer than one in a thousand, or a single one in a tiny picture
    moved = difference > 0
    assert difference.max() <= 1 and (moved.mean() < 1e-3 or moved.sum() == 1)


@pytest.mark.parametrize(("name", "references"), [(n, refs) for refs in (False, True) for n in tileable(refs)])
def test_in_tiles_of_any_size_it_is_the_image_of_the_whole(name, references, monkeypatch):
    refs = [picture(48, 80, 1), picture(64, 40, 2)] if references else []
    for side, band in ((9, 1), (16, 10**5), (64, WHOLE)):
        monkeypatch.setattr(tiles, "TILE", side)
        monkeypatch.setattr(tiles, "BAND", band)
        assert_tiles_equal_the_whole(network(name), picture(29, 38), refs)


def test_the_systems_of_the_paper_tile_and_those_that_look_along_rows_or_between_cells_do_not():
    yes = {n for n in MODELS if tiles.can_tile(build_model(n, SMOKE), True)}
    assert {"e2ent2", "e2ent2-mse", "e2ent2-photo", "feature-vgg", "feature-presisr"} <= yes
    assert not {"srntt", "stereosr", "passrnet", "landmark"} & yes


@few
@given(st.integers(1, 23), st.integers(1, 23), st.integers(3, 12), st.integers(0, 99))
def test_any_size_in_tiles_is_the_whole(height, width, side, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE", side)
        lr, ref = picture(height, width, seed), picture(24, 28, seed + 1)
        assert_tiles_equal_the_whole(network("e2ent2-mse"), lr, [ref])


@pytest.mark.parametrize("name", tileable(False))
def test_no_pixel_sees_further_than_its_reach(name):
    """By the gradient of one pixel of the output."""
    branch = network(name).single_image
    around, r = branch.receptive_field, branch.profile.scale
    side = 2 * around + 5
    x = torch.rand(1, 3, side, side, requires_grad=True)
    for at in (r * (side // 2), r * (side // 2) + r - 1):
        (grad,) = torch.autograd.grad(branch(x).sr[0, :, at, at].sum(), x)
        seen = grad[0].abs().sum(0).nonzero()
        assert (seen - side // 2).abs().max() <= around


def test_the_tiles_cover_each_cell_once():
    for size, side in itertools.product(((1, 1), (7, 30), (128, 129)), (1, 5, 128)):
        count = np.zeros(size, int)
        for ys, xs in tiles.tiles(size, side):
            count[ys, xs] += 1
            assert max(ys.stop - ys.start, xs.stop - xs.start) <= side
        assert (count == 1).all()


def test_matches_in_bands_are_those_of_the_whole_also_after_an_interruption(monkeypatch, tmp_path):
    query, *keys = maps((13, 9), (8, 12), (10, 6))
    monkeypatch.setattr(tiles, "BAND", 1500)
    saved, bands = tiles.SavedMatches(tmp_path / "out.matches", "a"), interrupt_third_band(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        tiles.match_in_bands(query, keys, "l2", saved=saved)
    for _ in range(2):  # the second time all is there
        for one, expected in zip(tiles.match_in_bands(query, keys, "l2", saved=saved), match(query, keys)):
            assert torch.equal(one, expected)
        bands.append(None)
    assert bands[3].start == bands[2].start > 0 and bands[-2:] == [None, None]


@pytest.mark.parametrize("damage", ["other pictures", "cut", "pickle"])
def test_saved_matches_of_something_else_or_damaged_ones_are_not_used(damage, monkeypatch, tmp_path):
    query, *keys = maps((13, 9), (8, 12))
    path = tmp_path / "out.matches"
    monkeypatch.setattr(tiles, "BAND", 1500)
    saved = tiles.SavedMatches(path, "a")
    tiles.match_in_bands(query, keys, "l2", saved=saved)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    if damage == "pickle":
        path.write_bytes(b"\x80\x04cos\nsystem\n.")
    if damage == "other pictures":
        saved, query = saved._replace(identity="b"), query.flip(3)
    found = tiles.match_in_bands(query, keys, "l2", saved=saved)
    assert torch.equal(found.index, match(query, keys).index)


def test_what_matches_belong_to_changes_with_pixels_weights_and_options():
    lr, ref, plain, model = picture(5, 6), picture(12, 12), Options(), network("e2ent2")
    identities = [
        tiles.identity(model, (lr, ref), plain),
        tiles.identity(model, (ref, lr), plain),
        tiles.identity(model, (lr, ref), Options(precision="bfloat16")),
        tiles.identity(model, (lr, ref), Options(matching="coarse")),
        tiles.identity(network("e2ent2", 1), (lr, ref), plain),
        tiles.identity(model, (255 - lr, ref), plain),
    ]
    assert len(set(identities)) == 6
    assert tiles.identity(network("e2ent2"), (lr, ref), Options(progress=True)) == identities[0]


@pytest.mark.parametrize(("single", "tolerance"), [(0, 1e-3), (WHOLE, 1e-5)])
def test_swapped_tiles_are_parts_of_the_swapped_map_with_large_references_in_half_precision(
    single, tolerance, monkeypatch
):
    model, refs = network("e2ent2"), [picture(64, 100, 1), picture(96, 48, 2)]
    monkeypatch.setattr(tiles, "TILE", 7)
    monkeypatch.setitem(tiles.SINGLE, "cells", single)
    generator = torch.Generator().manual_seed(0)
    source = torch.randint(2, (1, 11, 12), generator=generator)
    counts = torch.tensor([14 * 23, 22 * 10])
    index = (torch.rand(source.shape, generator=generator) * counts[source]).long()
    matches = Matches(index, torch.ones(source.shape), source, torch.ones(source.shape))
    with torch.inference_mode():
        values = [model.encoder(inference.to_tensor(ref)) for ref in refs]
        texture = tiles.Texture(model, values[0][..., :11, :12], refs, matches)
        assert texture.rows.dtype == (torch.float32 if single else torch.float16)
        for ys, xs in ((slice(0, 11), slice(0, 12)), (slice(3, 9), slice(1, 2)), (slice(10, 11), slice(0, 5))):
            found, evidence = texture.tile((ys, xs))
            expected = swap(values, matches)[..., 4 * ys.start : 4 * ys.stop, 4 * xs.start : 4 * xs.stop]
            torch.testing.assert_close(found, expected, atol=tolerance, rtol=tolerance)
            assert torch.equal(evidence, matches.confidence[:, ys, xs])


def test_half_precision_is_of_the_convolutions_alone_and_close(monkeypatch):
    model, lr, ref = network("e2ent2-mse"), picture(20, 24), picture(64, 80, 1)
    types, original = set(), matching.match

    def watched(query, key, *args, **options):
        types.update(x.dtype for x in (query, *key))
        return original(query, key, *args, **options)

    monkeypatch.setattr(tiles, "match", watched)
    full, half = (tiles.enlarge(model, lr, [ref], Options(precision=p)) for p in ("float32", "bfloat16"))
    assert types == {torch.float32}
    assert np.abs(full.image.astype(int) - half.image).mean() < 8
    with pytest.raises(ValueError, match="precision 'float16'"):
        Options(precision="float16")


def test_the_layout_of_the_users_model_stays_and_a_fast_one_is_not_copied():
    model, lr, ref = network("e2ent2-mse"), picture(20, 24), picture(64, 80, 1)
    tiles.enlarge(model, lr, [ref])
    assert all(p.is_contiguous() for p in model.parameters())
    fast = tiles.channels_last(model)
    assert fast is not model and tiles.channels_last(fast) is fast
    assert fast.card == model.card


def test_what_is_told_beside_the_picture_fits_it():
    model, lr, refs = network("e2ent2-mse"), picture(20, 24), [picture(64, 80, 1), picture(40, 40, 2)]
    made = tiles.enlarge(model, lr, refs)
    np.testing.assert_array_equal(made.sisr, tiles.enlarge(model, lr).image)
    difference = np.abs(made.image.astype(float) - made.sisr).mean(2).reshape(20, 4, 24, 4).mean((1, 3))
    np.testing.assert_allclose(made.changed, difference, atol=1)
    assert made.confidence.shape == (20, 24) and np.abs(made.confidence).max() <= 1
    assert made.matches.source.unique().tolist() == [0, 1]
