"""Near matches (coarse.py): never better than the best, true to their own score, and the best where it can be found."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import maps, network, picture

from e2ent2lib.exact.search import similarity_map
from e2ent2lib.matching import match
from e2ent2lib.photos import coarse, tiles
from e2ent2lib.photos.coarse import Lookup, Places, match_coarse
from e2ent2lib.photos.inference import enlarge
from e2ent2lib.photos.options import Options

few = settings(deadline=None, max_examples=30)


@few
@given(st.integers(1, 9), st.integers(1, 9), st.integers(3, 12), st.integers(3, 12), st.integers(0, 999))
def test_the_score_is_that_of_the_patch_and_not_above_the_best(h, w, key_h, key_w, seed):
    query, *keys = maps((h, w), (key_h, key_w), (7, 5), seed=seed)
    exact, near = match(query, keys), match_coarse(query, keys)
    assert (near.score <= exact.score + 1e-4).all()
    torch.testing.assert_close(near.query_norm, exact.query_norm)
    for y in range(h):
        for x in range(w):
            source, index = near.source[0, y, x], near.index[0, y, x]
            scores = similarity_map(query, keys[source], (y, x))[0].flatten()
            torch.testing.assert_close(near.score[0, y, x], scores[index], atol=1e-4, rtol=1e-4)


@few
@given(st.integers(0, 999), st.sampled_from(["l2", "l1"]))
def test_among_all_places_around_it_is_the_exact_match(seed, norm):
    query, *keys = maps((4, 5), (6, 7), (5, 9), seed=seed)
    exact, look = match(query, keys, norm), Lookup(query, keys, norm)
    middle = torch.full((4, 5), 2)
    by_key = [look.best(Places(middle * 0 + s, middle, middle, middle * 0.0), 8) for s in range(2)]
    scores = torch.stack([place.score for place in by_key])
    torch.testing.assert_close(scores.max(0).values, exact.score[0], atol=1e-4, rtol=1e-4)
    index = torch.stack([p.row * (k.shape[3] - 2) + p.column for p, k in zip(by_key, keys)])
    found = index.gather(0, exact.source)
    assert torch.equal(found, exact.index)


@few
@given(st.integers(0, 999), st.integers(1, 4), st.integers(0, 3), st.integers(9, 14))
def test_compiled_it_finds_what_it_finds_uncompiled(seed, step, around, side):
    query, *keys = maps((4, 5), (side, 12), (10, side + 1), seed=seed)
    look, rng = Lookup(query, keys, step=step), np.random.default_rng(seed)
    asked = [torch.from_numpy(rng.integers(low, high, (4, 5))) for low, high in ((0, 2), (-9, 20), (-9, 20))]
    with pytest.MonkeyPatch.context() as patch:
        fast = look.best(Places(*asked, torch.zeros(4, 5)), around)
        patch.setattr(coarse, "compiled", lambda: None)
        plain = look.best(Places(*asked, torch.zeros(4, 5)), around)
    torch.testing.assert_close(fast.score, plain.score, atol=1e-5, rtol=1e-5)
    for got, wanted in zip(fast[:3], plain[:3]):
        assert torch.equal(got, wanted)


def test_a_shifted_copy_is_found_everywhere():
    key = torch.nn.functional.interpolate(maps((15, 18))[0], scale_factor=4, mode="bicubic")
    query = key[..., 7:47, 10:60]
    found = match_coarse(query, [key])
    inside = (slice(None), slice(1, -1), slice(1, -1))
    expected = (torch.arange(40)[:, None] + 6) * (72 - 2) + torch.arange(50) + 9
    assert (found.index[0] == expected)[inside[1:]].float().mean() > 0.99


def test_maps_too_small_to_be_halved_are_matched_exactly():
    query, key = maps((6, 7), (4, 9))
    assert torch.equal(match_coarse(query, [key]).index, match(query, [key]).index)


def test_it_is_an_option_of_networks_that_tile():
    lr, refs = picture(29, 38), [picture(96, 112, 1), picture(64, 80, 2)]
    model = network("e2ent2-mse")
    near, exact = (tiles.enlarge(model, lr, refs, Options(matching=m)) for m in ("coarse", "exact"))
    same = (near.matches.index == exact.matches.index) & (near.matches.source == exact.matches.source)
    assert 0.3 < same.float().mean() < 1
    assert (near.confidence <= exact.confidence + 1e-4).all()
    assert near.image.shape == exact.image.shape
    with pytest.raises(ValueError, match="matching 'near'"):
        Options(matching="near")
    near = Options(matching="coarse")
    with pytest.raises(ValueError, match="coarse matching"):
        enlarge(network("srntt"), lr, refs, near)
    np.testing.assert_array_equal(tiles.enlarge(model, lr, (), near).image, tiles.enlarge(model, lr).image)
