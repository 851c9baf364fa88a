"""Match (3.3: Eq. 3 and the argmax of Eq. 4) against loops, its readable form in float64, and cases done by hand."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import slow_reference as slow
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import FLOAT32, FLOAT64, SAME_BITS

from e2ent2lib.exact import search
from e2ent2lib.exact.search import similarity_map
from e2ent2lib.matching import match, plain_match, similarity

pytestmark = pytest.mark.usefixtures("one_thread")
few = settings(max_examples=12, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31 - 1)
sides = st.integers(1, 6)
key_sides = st.integers(3, 7)
references = st.lists(st.tuples(key_sides, key_sides), min_size=1, max_size=3)
norms = st.sampled_from(["l2", "l1"])
COMPILED = search.compiled()


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True, params=["compiled", "plain"])
def path(request):
    """Every test here runs with the compiled pass and without it."""
    if request.param == "compiled" and COMPILED is None:
        pytest.skip("numba is not installed: there is no compiled pass")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(search, "compiled", lambda: None)
        yield request.param


@pytest.fixture
def precision():
    """Hands out a function that sets torch's precision of float32 products; what was set before comes back."""
    backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
    before = [backend.fp32_precision for backend in backends]
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision("highest")
    for backend, old in zip(backends, before):
        backend.fp32_precision = old


def maps(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def arrays(*tensors):
    return [t.detach().double().numpy() for t in tensors]


def repeated(tile, rows, columns):
    """A map where every patch occurs again one tile further."""
    return tile.repeat(1, 1, rows, columns)


def assert_exact(found, query, keys, norm="l2"):
    """``found`` is the first of the best by the readable form in float64, rounded to the type that ``match`` promises.

    Its score is that of the readable form too: to rounding of float32 where that left no doubt about the match.
    """
    scores = torch.cat([similarity(query.double(), key.double(), norm).flatten(2) for key in keys], dim=1)
    length = plain_match(query.double(), query.new_zeros(*query.shape[:2], 3, 3).double()).query_norm.flatten(1)
    best, working = scores.amax(1), torch.promote_types(query.dtype, torch.float32)
    tied = scores.to(working) >= (best - slow.ROUNDING / 100 * length).to(working)[:, None]
    first = tied.byte().argmax(1)
    source = torch.cat([torch.full((n,), s) for s, n in enumerate(patches_of(keys))])
    index = torch.cat([torch.arange(n) for n in patches_of(keys)])
    assert torch.equal(found.source.flatten(1), source[first])
    assert torch.equal(found.index.flatten(1), index[first])
    np.testing.assert_allclose(scores.gather(1, first[:, None])[:, 0], best, rtol=1e-6)
    bound = 1e-12 if working is torch.float64 else (query.shape[1] + 12) * 2.0**-23
    assert ((found.score.flatten(1) - best).abs() <= bound * length).all()


def patches_of(keys):
    return [(key.shape[2] - 2) * (key.shape[3] - 2) for key in keys]


# match: Eq. 3, and the argmax of Eq. 4


@few
@given(seeds, sides, sides, references, norms)
def test_match_and_its_readable_form_are_the_argmax_of_equation_3_for_any_shapes(seed, h, w, sizes, norm):
    rng = np.random.default_rng(seed)
    batch, channels = rng.integers(1, 3), rng.integers(1, 5)
    query, keys = maps(rng, batch, channels, h, w), [maps(rng, batch, channels, *size) for size in sizes]
    index, score, source, length = slow.match(query.numpy(), arrays(*keys), norm)
    for found in (match(query, keys, norm), plain_match(query, keys, norm)):
        np.testing.assert_array_equal(found.index, index)
        np.testing.assert_array_equal(found.source, source)
        np.testing.assert_allclose(found.score, score, **FLOAT64)
        np.testing.assert_allclose(found.query_norm, length, **FLOAT64)


def test_some_rows_of_the_query_are_matched_as_among_all():
    rng = np.random.default_rng(1)
    query, key = maps(rng, 2, 3, 7, 5), maps(rng, 2, 3, 9, 8)
    for whole, part in zip(match(query, key), match(query, key, rows=slice(2, 6))):
        assert torch.equal(part, whole[:, 2:6])


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("side", [1, 4])  # of the tile: 1 is a flat reference
@pytest.mark.parametrize("block", [1, 700, 1 << 21])
@pytest.mark.parametrize("channels", [3, 8, 32])
def test_of_equal_patches_the_lowest_index_wins(monkeypatch, channels, block, side, rounded):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(search, "BLOCK", block)
    query, tile = (maps(rng, 1, channels, *size, dtype=torch.float32) for size in ((11, 10), (side, side)))
    if rounded:  # integers: sums and ties are exact
        query, tile = query.round(), tile.round()
    key = repeated(tile, 12 // side, 16 // side)
    found = match(query, key)
    assert_exact(found, query, [key])
    assert (found.index // (key.shape[3] - 2) < side).all()  # the patch lies in the first tile
    assert (found.index % (key.shape[3] - 2) < side).all()


def test_of_several_keys_the_best_patch_wins_and_of_equal_ones_that_of_the_first():
    rng = np.random.default_rng(4)
    query, key = maps(rng, 1, 4, 6, 6), maps(rng, 1, 4, 7, 4)
    twice = match(query, [key, key])
    assert (twice.source == 0).all() and torch.equal(twice.index, match(query, key).index)
    inside = (slice(None), slice(1, -1), slice(1, -1))
    found = match(query, [key, query])
    assert (found.source[inside] == 1).all()
    assert torch.equal(found.index[inside], torch.arange(16).view(1, 4, 4))  # each patch finds itself


def test_with_the_printed_l1_norm_a_patch_can_lose_to_another():
    query, other = torch.zeros(2, 1, 1, 3, 3, dtype=torch.float64)
    query[..., 1, :] = torch.tensor([1.0, 2.0, 1.0])
    other[..., 1, :] = torch.tensor([0.0, 9.0, 0.0])
    here = (0, 1, 1)
    for form in (match, plain_match):
        l2, l1 = form(query, [query, other], "l2"), form(query, [query, other], "l1")
        assert l2.source[here] == 0 and l2.score[here] == pytest.approx(6**0.5)  # 6/√6 against 18/9
        assert l1.source[here] == 1 and l1.score[here] == pytest.approx(2)  # 6/4 against 18/9


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("form", [match, plain_match])
def test_patches_of_zeros_score_zero_and_have_no_confidence(form, norm):
    query, key = torch.ones(1, 1, 3, 3), -torch.ones(1, 1, 3, 6)
    key[..., 3:] = 0  # patch 3 is zero, the others point away
    found = form(query, key, norm)
    assert (found.index == 3).all() and (found.score == 0).all()
    for keys in ([key, -key], [0 * key]):
        found = form(0 * query, keys, norm)
        assert (found.index == 0).all() and (found.source == 0).all()
        assert (found.score == 0).all() and (found.confidence == 0).all()


@few
@given(seeds, sides, sides)
def test_confidence_is_the_cosine_between_patch_and_match(seed, h, w):
    rng = np.random.default_rng(seed)
    query, key = maps(rng, 1, 2, h, w), maps(rng, 1, 2, 4, 5)
    found = match(query, key)
    for y, x in np.ndindex(h, w):
        v, u = divmod(int(found.index[0, y, x]), 3)
        a, b = slow.query_patch(query[0].numpy(), y, x).ravel(), key[0, :, v : v + 3, u : u + 3].numpy().ravel()
        assert found.confidence[0, y, x] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("sign", [1, -1])
def test_confidence_stays_within_one_despite_rounding(sign):
    flat = maps(np.random.default_rng(7), 1, 32, 1, 1, dtype=torch.float32).repeat(1, 1, 9, 9)
    confidence = match(flat, sign * flat).confidence
    assert confidence.abs().max() <= 1
    torch.testing.assert_close(confidence, torch.full_like(confidence, sign))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_maps_are_matched_in_float32(dtype):
    rng = np.random.default_rng(8)
    query, key = maps(rng, 1, 8, 6, 6, dtype=dtype), maps(rng, 1, 8, 8, 8, dtype=dtype)
    found, lone = match(query, key), similarity_map(query, key, (3, 0))
    assert found.score.dtype == lone.dtype == torch.float32
    assert_exact(found, query, [key])
    exact = similarity_map(query.double(), key.double(), (3, 0))
    torch.testing.assert_close(lone, exact.float(), **SAME_BITS)


def test_the_memory_layout_does_not_matter():
    rng = np.random.default_rng(9)
    query, key = maps(rng, 2, 4, 6, 5), maps(rng, 2, 4, 7, 8)
    plain = match(query, key)
    last = [x.contiguous(memory_format=torch.channels_last) for x in (query, key)]
    turned = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in (query, key)]
    cut = [F.pad(x, (1, 2, 3, 1))[:, :, 3:-1, 1:-2] for x in (query, key)]
    spread = [x.repeat_interleave(2, dim=3)[..., ::2] for x in (query, key)]
    for q, k in (last, turned, cut, spread):
        torch.testing.assert_close(match(q, k), plain)
    expanded = match(query[:1, :, :1].expand(3, 4, 6, 5), key[:1].expand(3, 4, 7, 8))
    assert_exact(expanded, query[:1, :, :1].repeat(3, 1, 6, 1), [key[:1].repeat(3, 1, 1, 1)])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_values_that_are_not_finite_are_refused(bad, where):
    three = [torch.ones(1, 2, 5, 5) for _ in range(3)]
    three[where][0, 1, 2, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        match(three[0], three[1:])


@pytest.mark.parametrize(
    ("query", "keys", "options", "named"),
    [
        ((1, 2, 5, 5), [(1, 2, 2, 5)], {}, "2, 5"),
        ((1, 2, 5, 5), [(1, 2, 5, 5), (1, 2, 5, 2)], {}, "5, 2"),
        ((1, 2, 5, 5), [(1, 3, 5, 5)], {}, "1, 3, 5, 5.*channels"),
        ((2, 2, 5, 5), [(1, 2, 5, 5)], {}, "1, 2, 5, 5.*batch"),
        ((1, 2, 5, 5), [], {}, "key"),
        ((1, 2, 0, 5), [(1, 2, 5, 5)], {}, "1, 2, 0, 5"),
        ((2, 5, 5), [(1, 2, 5, 5)], {}, "query.*2, 5, 5"),
        ((1, 2, 5, 5), [(2, 5, 5)], {}, "key.*2, 5, 5"),
        ((1, 2, 5, 5), [(1, 2, 5, 5)], {"norm": "l3"}, "'l3'"),
    ],
)
def test_maps_that_do_not_fit_are_refused_with_what_is_wrong(query, keys, options, named):
    with pytest.raises(ValueError, match=named):
        match(torch.ones(query), [torch.ones(k) for k in keys], **options)


# match: both ways to compute it, and every dtype


@few
@given(seeds, sides, sides, references, norms)
def test_float32_matches_equal_those_of_float64_loops_also_where_patches_tie(seed, h, w, sizes, norm):
    rng = np.random.default_rng(seed)
    batch, channels = rng.integers(1, 3), rng.integers(1, 5)

    def a_map(height, width):
        drawn = maps(rng, batch, channels, height, width, dtype=torch.float32)
        kind = rng.choice(
            ["random", "tiled", "integers", "constant", "holes", "zero"], p=[0.25, 0.25, 0.2, 0.1, 0.15, 0.05]
        )
        if kind == "tiled":  # patches that occur again
            drawn = drawn[:, :, :2, :3].repeat(1, 1, 4, 3)[:, :, :height, :width]
        if kind == "integers":  # different patches with equal scores
            drawn = drawn.round()
        if kind == "constant":
            drawn = drawn[:, :, :1, :1].expand(drawn.shape)
        if kind == "holes":  # zero patches
            drawn[:, :, : rng.integers(height + 1), : rng.integers(width + 1)] = 0
        return drawn * (kind != "zero") * rng.choice([1, 1, 0.3, 100]).astype(np.float32)

    query, keys = a_map(h, w), [a_map(*size) for size in sizes]
    if rng.random() < 0.3:
        keys.insert(int(rng.integers(len(keys) + 1)), keys[0] * 3)  # parallel patches, of other length
    found = match(query, keys, norm)
    index, score, source, length = slow.match(*arrays(query), arrays(*keys), norm, np.float32)
    np.testing.assert_array_equal(found.source, source)
    np.testing.assert_array_equal(found.index, index)
    assert (np.abs(found.score.numpy() - score) <= (channels + 12) * 2.0**-23 * length).all()
    np.testing.assert_allclose(score, slow.match(*arrays(query), arrays(*keys), norm)[1], rtol=1e-6, atol=1e-11)


# match: where rounding to float32 could decide


def nearly_orthogonal(rng, channels):
    """A query of which all patches have a cosine of about 1e-3 at most with all key patches."""
    query = maps(rng, 1, channels, 1, 1)
    key = maps(rng, 1, channels, 14, 15)
    key -= query * (query * key).sum(1, keepdim=True) / query.square().sum()
    key += 1e-3 * query * maps(rng, 1, 1, 14, 15)
    return query.repeat(1, 1, 4, 5), key


def last_bits(rng, channels):
    """Key patches that differ in the last float32 bits only."""
    flat = maps(rng, 1, channels, 1, 1, dtype=torch.float32).expand(1, channels, 14, 15).contiguous()
    off = torch.from_numpy(rng.integers(-2, 3, flat.shape)).int()
    return maps(rng, 1, channels, 6, 5), (flat.view(torch.int32) + off).view(torch.float32)


def last_bits_around_the_query(rng, channels):
    """The same, of a query that lies among them: all cosines are 1 but for rounding."""
    _, key = last_bits(rng, channels)
    return key[:, :, 3:9, 2:7], key


def multiples(rng, channels):
    """One patch in many lengths, side by side: their directions differ by how float32 rounds them."""
    factor = torch.from_numpy(rng.uniform(0.1, 10, (1, 1, 5, 5))).float()
    patch = maps(rng, 1, channels, 3, 3, dtype=torch.float32)
    key = patch.repeat(1, 1, 5, 5) * factor.repeat_interleave(3, 2).repeat_interleave(3, 3)
    return F.pad(patch, (1, 1, 1, 1)), key


def flat_reference(rng, channels):
    return maps(rng, 1, channels, 9, 8), maps(rng, 1, channels, 1, 1).repeat(1, 1, 13, 18)


def sky(rng, channels):
    """A third of both maps is constant, in the query a little brighter."""
    query, key = maps(rng, 1, channels, 15, 14), maps(rng, 1, channels, 18, 16)
    colour = maps(rng, 1, channels, 1, 1)
    query[:, :, :5], key[:, :, :6] = colour * 1.1, colour
    return query, key


def better_by_little(rng, channels):
    """Two patches closer to each other than float32 products can tell; the later one is better in float64."""
    query, key = maps(rng, 1, channels, 3, 3, dtype=torch.float32), maps(rng, 1, channels, 16, 15, dtype=torch.float32)
    key[:, :, 1:4, 2:5] = query * (1 + 3e-4 * maps(rng, 1, channels, 3, 3, dtype=torch.float32))
    key[:, :, 11:14, 9:12] = key[:, :, 1:4, 2:5] + 1e-4 * query * (query > 0)
    return query, key


HARD = [nearly_orthogonal, last_bits, last_bits_around_the_query, multiples, flat_reference, sky, better_by_little]


def hard_cases(rng, channels):
    return [tuple(x.float() for x in maps_of(rng, channels)) for maps_of in HARD]


@pytest.mark.parametrize("channels", [3, 8, 32, 64])
@pytest.mark.parametrize("maps_of", HARD)
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_near_ties_are_decided_as_in_float64(maps_of, channels, norm):
    rng = np.random.default_rng(30)
    query, key = (x.float() for x in maps_of(rng, channels))
    assert_exact(match(query, key, norm), query, [key], norm)
    other = maps(rng, 1, channels, 5, 4, dtype=torch.float32)
    keys = [other, key.flip(2, 3), key]  # each patch again, in another order
    assert_exact(match(query, keys, norm), query, keys, norm)


def test_near_ties_are_closer_than_float32_products_can_tell():
    """So that the test above could fail: the readable form in float32 chooses other patches for some of its maps."""
    rng = np.random.default_rng(31)
    for maps_of in (last_bits, last_bits_around_the_query):
        query, key = (x.float() for x in maps_of(rng, 32))
        assert (plain_match(query, key).index != match(query, key).index).any()


@pytest.mark.parametrize(("block", "kept"), [(1, 1), (700, 60), (700, 1 << 22), (5_000, 1), (1 << 20, 60)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_of_any_size_give_the_same_matches_also_of_ties(monkeypatch, block, kept, dtype):
    rng = np.random.default_rng(32)
    query = maps(rng, 3, 4, 5, 4, dtype=dtype)
    query[1] = query[1].round()
    tiled = repeated(maps(rng, 3, 4, 2, 4, dtype=dtype), 3, 3)
    keys = [maps(rng, 3, 4, 4, 3, dtype=dtype), tiled, query.flip(3), tiled]
    monkeypatch.setattr(search, "BLOCK", block)
    monkeypatch.setattr(search, "KEPT", kept)
    assert_exact(match(query, keys), query, keys)


def test_neither_the_number_of_threads_nor_other_matches_at_the_same_time_change_the_matches(two_threads):
    rng = np.random.default_rng(34)
    cases = hard_cases(rng, 8)
    for h, n in ((30, 31), (20, 9), (20, 21)):
        cases.append((maps(rng, 2, 8, h, n, dtype=torch.float32), maps(rng, 2, 8, n, 30, dtype=torch.float32)))
    torch.set_num_threads(1)
    expected = [match(*case) for case in cases]
    torch.set_num_threads(2)
    two_threads = [match(*case) for case in cases]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(lambda case: match(*case), cases * 2))
    for ours, alone in zip(two_threads + at_once, expected * 3):
        assert torch.equal(ours.index, alone.index) and torch.equal(ours.source, alone.source)
        torch.testing.assert_close(ours.score, alone.score, **FLOAT32)


# match: magnitudes


BIG = [(torch.float32, 1e30), (torch.float64, 1e200)]


@pytest.mark.parametrize(("a", "b"), [(a, b) for a in (1, 0, -1) for b in (1, 0, -1)])
@pytest.mark.parametrize(("dtype", "big"), BIG)
def test_huge_and_tiny_values_are_matched_like_others(dtype, big, a, b):
    rng = np.random.default_rng(35)
    query, key, factor, key_factor = (*(maps(rng, 2, 6, n, 8, dtype=dtype) for n in (7, 9)), big**a, big**b)
    plain, found = match(query, key), match(query * factor, key * key_factor)
    assert torch.equal(found.index, plain.index)
    torch.testing.assert_close(found.score / factor, plain.score, **FLOAT32)
    torch.testing.assert_close(found.query_norm / factor, plain.query_norm)
    torch.testing.assert_close(found.confidence, plain.confidence, **FLOAT32)
    lone = similarity_map(query * factor, key * key_factor, (1, 1))
    torch.testing.assert_close(lone / factor, similarity_map(query, key, (1, 1)), **FLOAT32)
    two = match(query * factor, [key * key_factor * 1e-3, key * key_factor * -1, key])  # each key has its own unit
    assert torch.equal(two.source == 1, match(query, [key, -key]).source == 1)


@pytest.mark.parametrize(("huge", "small"), [(1, 1e-40), (1e30, 1e-10)])  # 1e-40 is denormal
def test_small_patches_beside_large_ones_are_matched_like_others(huge, small):
    rng = np.random.default_rng(38)
    query, key = maps(rng, 1, 4, 6, 6, dtype=torch.float32), maps(rng, 1, 4, 7, 7, dtype=torch.float32)
    key[..., 4:, 4:] *= huge
    key[..., :3, :3] *= small
    found = match(query, key)
    assert found.score.isfinite().all()
    assert_exact(found, query, [key])


@pytest.mark.parametrize("small", [1e-20, 1e-25])
def test_faint_patches_of_both_maps_find_each_other(small):
    rng = np.random.default_rng(40)
    query, key = maps(rng, 1, 4, 6, 6, dtype=torch.float32), maps(rng, 1, 4, 7, 15, dtype=torch.float32)
    query[..., 3:] *= small
    for i in range(5):  # the nearer the later
        noise = maps(rng, 1, 4, 3, 3, dtype=torch.float32)
        key[..., 2:5, 3 * i : 3 * i + 3] = query[..., 2:5, 3:] + small * 1e-3 * (4 - i) * noise
    assert_exact(match(query, key), query, [key])


def test_a_faint_float64_patch_is_matched_down_to_the_size_that_counts_as_zero():
    rng = np.random.default_rng(41)
    query, key = maps(rng, 1, 4, 3, 3), maps(rng, 1, 4, 5, 5)
    key[..., :3, :3] = query * 1e-140
    found = match(query, key)
    assert found.index[0, 1, 1] == 0
    assert found.confidence[0, 1, 1] == pytest.approx(1)
    key[..., :3, :3] = query * 1e-170
    assert similarity_map(query, key, (1, 1))[0, 0, 0] == 0
    assert match(query, key).index[0, 1, 1] != 0


# match: settings of torch around it, memory, gradients


@pytest.mark.parametrize("outside", ["medium", "high", "highest", "autocast"])
def test_torchs_precision_of_products_neither_changes_the_matches_nor_is_changed(precision, outside):
    rng = np.random.default_rng(42)
    query, key = maps(rng, 1, 32, 12, 12, dtype=torch.float32), maps(rng, 1, 32, 20, 20, dtype=torch.float32)
    plain, lone = match(query, key), similarity_map(query, key, (3, 0))
    precision("medium" if outside == "autocast" else outside)
    before = torch.get_float32_matmul_precision()
    with torch.autocast("cpu", torch.bfloat16, enabled=outside == "autocast"):
        found, lone_found = match(query, key), similarity_map(query, key, (3, 0))
        product = query.flatten(2)[0].T @ key.flatten(2)[0]
        with pytest.raises(ValueError, match="NaN"):
            match(query * torch.nan, key)
    assert (product.dtype == torch.bfloat16) == (outside == "autocast")  # autocast was really on
    assert torch.get_float32_matmul_precision() == before
    assert torch.equal(found.index, plain.index)
    assert torch.equal(found.score, plain.score)
    assert torch.equal(lone, lone_found)


def test_an_error_amid_the_products_leaves_torchs_precision_as_it_was(monkeypatch, precision):
    precision("medium")
    monkeypatch.setattr(search, "_best_patches", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        match(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
    assert torch.get_float32_matmul_precision() == "medium"


def test_of_several_matches_at_once_none_changes_the_precision_of_another(monkeypatch, precision):
    precision("medium")
    backend, best_patches, seen = torch.backends.mkldnn.matmul, search._best_patches, []

    def slowly(*given):
        found = best_patches(*given)
        time.sleep(0.02 * len(seen))  # the later the longer
        seen.append(backend.fp32_precision)
        return found

    monkeypatch.setattr(search, "_best_patches", slowly)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: match(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 4, 4)), range(4)))
    assert seen == ["ieee"] * 4
    assert torch.get_float32_matmul_precision() == "medium"


PEAK = """
import sys
if sys.argv[1] == "plain":
    sys.modules["numba"] = None
import resource, torch
from e2ent2lib import matching
from e2ent2lib.exact import search

assert (search.compiled() is None) == (sys.argv[1] == "plain")
query, key = torch.randn(2, 1, 64, 112, 112)
query[:, :, :20] = key[:, :, :20] = 1  # sky: settled in float64
matching.match(query[..., :9, :9], key[..., :9, :9])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
matching.match(query, key)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / (1024**2 if sys.platform == "darwin" else 1024))
"""


def test_the_memory_a_match_takes_stays_far_below_all_similarities(path):
    pytest.importorskip("resource")
    run = subprocess.run([sys.executable, "-c", PEAK, path], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 128  # MiB; the 110² × 110² similarities alone would be 600


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_match_is_not_differentiated(dtype):
    rng = np.random.default_rng(43)
    query, key = (maps(rng, 1, 3, 5, 5, dtype=dtype).requires_grad_() for _ in range(2))
    for form in (match, plain_match):
        assert not form(query, key).score.requires_grad and not form(query, key).confidence.requires_grad
    assert not similarity_map(query, key, (1, 2)).requires_grad
    assert query.grad is None and torch.is_grad_enabled()


# the similarity map


@few
@given(seeds, sides, sides, key_sides, key_sides, norms)
def test_the_similarity_map_is_equation_3_at_every_position_and_its_maximum_the_match(seed, h, w, key_h, key_w, norm):
    rng = np.random.default_rng(seed)
    batch, channels = int(rng.integers(1, 3)), rng.integers(1, 5)
    query, key = maps(rng, batch, channels, h, w), maps(rng, batch, channels, key_h, key_w)
    key[:, :, :3, :3] *= rng.integers(2)  # a zero patch, or not
    found, all_scores = match(query, key, norm), similarity(query, key, norm)
    for y, x in np.ndindex(h, w):
        s = similarity_map(query, key, (y, x), norm)
        assert s.shape == (batch, key_h - 2, key_w - 2) and s.dtype == torch.float64
        expected = [slow.similarities(q, k, y, x, norm) for q, k in zip(query.numpy(), key.numpy())]
        np.testing.assert_allclose(s.flatten(1), expected, **FLOAT64)
        np.testing.assert_allclose(all_scores[:, :, y, x], expected, **FLOAT64)
        assert all((s == 0).flatten(1).any(1) == (key[:, :, :3, :3] == 0).flatten(1).all(1))
        torch.testing.assert_close(s.flatten(1).amax(1), found.score[:, y, x])
        torch.testing.assert_close(s.flatten(1).argmax(1), found.index[:, y, x])


def test_what_has_no_similarity_map_is_refused():
    query, key = torch.ones(1, 2, 4, 5), torch.ones(1, 2, 6, 6)
    for position in [(-1, 0), (0, -1), (4, 0), (0, 5), (10**9, 0)]:
        with pytest.raises(IndexError, match="4×5"):
            similarity_map(query, key, position)
    for bad in (torch.nan, torch.inf):
        wrong = key.clone()
        wrong[0, 1, 5, 5] = bad
        for maps_given in ((query, wrong), (wrong, key)):
            with pytest.raises(ValueError, match="NaN or infinity"):
                similarity_map(*maps_given, (0, 0))
    for wrong, norm, named in ((key[:, :1], "l2", "channels"), (key[..., :2], "l2", "6, 2"), (key, "l3", "'l3'")):
        with pytest.raises(ValueError, match=named):
            similarity_map(query, wrong, (0, 0), norm=norm)
