"""Match and swap (3.3, Eq. 3 to 6) against loops, autograd and cases computed by hand."""

import numpy as np
import pytest
import slow_reference as slow
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.autograd.gradcheck import GradcheckError

from e2ent2lib import matching
from e2ent2lib.matching import Matches, match, match_and_swap, swap, swap_adjoint

few = settings(max_examples=12, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**31 - 1)
sides = st.integers(1, 6)
key_sides = st.integers(3, 7)
references = st.lists(st.tuples(key_sides, key_sides), min_size=1, max_size=3)
BLOCKS = (1, 100, 700, 5_000, 1 << 21)


def maps(rng, *shape, dtype=torch.float64):
    return torch.from_numpy(rng.standard_normal(shape)).to(dtype)


def arrays(*tensors):
    return [t.detach().numpy() for t in tensors]


def random_matches(rng, batch, h, w, sizes):
    """Matches that no argmax made: any patch of any reference at any place."""
    source = torch.from_numpy(rng.integers(len(sizes), size=(batch, h, w)))
    patches = torch.tensor([(a - 2) * (b - 2) for a, b in sizes])[source].numpy()
    return Matches(torch.from_numpy(rng.integers(patches)), torch.zeros(batch, h, w), source, torch.ones(batch, h, w))


# match: Eq. 3, and the argmax of Eq. 4


@few
@given(
    seeds,
    sides,
    sides,
    references,
    st.sampled_from(["l2", "l1"]),
)
def test_match_is_the_argmax_of_equation_3_for_any_shapes(seed, h, w, sizes, norm):
    rng = np.random.default_rng(seed)
    batch, channels = rng.integers(1, 3), rng.integers(1, 5)
    query, keys = maps(rng, batch, channels, h, w), [maps(rng, batch, channels, *size) for size in sizes]
    index, score, source = slow.match(query.numpy(), arrays(*keys), norm)
    found = match(query, keys, norm)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_array_equal(found.source, source)
    np.testing.assert_allclose(found.score, score, atol=1e-12)
    np.testing.assert_allclose(found.query_norm, slow.query_norms(query.numpy()), atol=1e-12)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_size_of_the_blocks_does_not_change_the_matches(monkeypatch, block):
    rng = np.random.default_rng(1)
    query, key = maps(rng, 2, 3, 7, 5), maps(rng, 2, 3, 9, 8)
    index, score, _ = slow.match(query.numpy(), [key.numpy()])
    monkeypatch.setattr(matching, "BLOCK", block)
    found = match(query, key)
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.score, score, atol=1e-12)


def repeated(tile, rows, columns):
    """A map where every patch occurs again one tile further."""
    return tile.repeat(1, 1, rows, columns)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_of_equal_patches_the_lowest_index_wins(monkeypatch, block, norm):
    rng = np.random.default_rng(2)
    monkeypatch.setattr(matching, "BLOCK", block)
    query = torch.from_numpy(rng.integers(-4, 5, (1, 3, 6, 6))).double()  # integers: sums and ties are exact
    key = repeated(torch.from_numpy(rng.integers(-4, 5, (1, 3, 4, 5))).double(), 3, 3)
    index, _, _ = slow.match(query.numpy(), [key.numpy()], norm)
    found = match(query, key, norm).index
    np.testing.assert_array_equal(found, index)
    assert (found // (key.shape[3] - 2) < 4).all()  # the row lies in the first tile


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("channels", [3, 8, 32])
def test_of_equal_patches_the_lowest_index_wins_for_numbers_that_round(monkeypatch, block, channels):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(matching, "BLOCK", block)
    query, tile = (maps(rng, 1, channels, *size, dtype=torch.float32) for size in ((9, 10), (4, 4)))
    flat = repeated(tile[..., :1, :1], 13, 11)
    assert (match(query, flat).index == 0).all()
    key = repeated(tile, 5, 6)
    found = match(query, key).index
    assert (found // (key.shape[3] - 2) < 4).all()
    assert (found % (key.shape[3] - 2) < 4).all()


@pytest.mark.parametrize(("channels", "side", "width"), [(8, 10, 12), (8, 20, 12), (16, 50, 12), (32, 31, 32)])
def test_in_a_flat_reference_the_first_patch_wins(channels, side, width):
    rng = np.random.default_rng(3)
    for _ in range(20):  # whether last bits differ depends on the values
        query = maps(rng, 1, channels, side, side, dtype=torch.float32)
        flat = repeated(maps(rng, 1, channels, 1, 1, dtype=torch.float32), width, width + 1)
        assert (match(query, flat).index == 0).all()


def test_of_equal_keys_the_first_wins():
    rng = np.random.default_rng(4)
    query, key = maps(rng, 1, 2, 5, 5), maps(rng, 1, 2, 6, 6)
    found = match(query, [key, key])
    assert (found.source == 0).all()
    torch.testing.assert_close(found.index, match(query, key).index)


def test_a_better_patch_in_a_later_key_is_found():
    rng = np.random.default_rng(5)
    query = maps(rng, 1, 4, 6, 6)
    found = match(query, [maps(rng, 1, 4, 7, 4), query])
    inside = (slice(None), slice(1, -1), slice(1, -1))
    assert (found.source[inside] == 1).all()
    torch.testing.assert_close(found.index[inside], torch.arange(16).view(1, 4, 4))


@few
@given(seeds, key_sides, key_sides)
def test_each_interior_patch_finds_itself_when_the_reference_is_the_input(seed, h, w):
    rng = np.random.default_rng(seed)
    features = maps(rng, 1, 3, h, w)
    inside = match(features, features).index[0, 1:-1, 1:-1]
    torch.testing.assert_close(inside, torch.arange((h - 2) * (w - 2)).view(h - 2, w - 2))


def test_with_the_printed_l1_norm_a_patch_can_lose_to_another():
    query, other = torch.zeros(2, 1, 1, 3, 3, dtype=torch.float64)
    query[..., 1, :] = torch.tensor([1.0, 2.0, 1.0])
    other[..., 1, :] = torch.tensor([0.0, 9.0, 0.0])
    here = (0, 1, 1)
    l2, l1 = match(query, [query, other], "l2"), match(query, [query, other], "l1")
    assert l2.source[here] == 0  # 6/√6 against 18/9
    assert l2.score[here] == pytest.approx(6**0.5)
    assert l1.source[here] == 1  # 6/4 against 18/9
    assert l1.score[here] == pytest.approx(2)


def test_a_zero_reference_patch_scores_zero():
    query = torch.ones(1, 1, 3, 3)
    key = -torch.ones(1, 1, 3, 6)
    key[..., 3:] = 0  # patch 3 is zero, the others point away
    found = match(query, key)
    assert (found.index == 3).all()
    assert (found.score == 0).all()


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_a_zero_query_matches_patch_0_without_confidence(norm):
    rng = np.random.default_rng(6)
    found = match(torch.zeros(1, 3, 4, 4), [maps(rng, 1, 3, 5, 5, dtype=torch.float32)] * 2, norm)
    assert (found.index == 0).all() and (found.source == 0).all()
    assert (found.score == 0).all() and (found.confidence == 0).all()


def test_all_zero_maps_match():
    found = match(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 5, 5))
    assert (found.index == 0).all() and (found.score == 0).all()


@few
@given(seeds, sides, sides)
def test_confidence_is_the_cosine_between_patch_and_match(seed, h, w):
    rng = np.random.default_rng(seed)
    query, key = maps(rng, 1, 2, h, w), maps(rng, 1, 2, 4, 5)
    found = match(query, key)
    padded, candidates = np.pad(query[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge"), slow.patches(key[0].numpy())
    for y, x in np.ndindex(h, w):
        a, b = padded[:, y : y + 3, x : x + 3].ravel(), candidates[found.index[0, y, x]].ravel()
        assert found.confidence[0, y, x] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("sign", [1, -1])
def test_confidence_stays_within_one_despite_rounding(sign):
    rng = np.random.default_rng(7)
    flat = maps(rng, 1, 32, 1, 1, dtype=torch.float32).repeat(1, 1, 9, 9)
    confidence = match(flat, sign * flat).confidence
    assert confidence.abs().max() <= 1
    torch.testing.assert_close(confidence, torch.full_like(confidence, sign))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_half_precision_maps_are_matched_in_float32(dtype):
    rng = np.random.default_rng(8)
    query, key = maps(rng, 1, 8, 6, 6, dtype=dtype), maps(rng, 1, 8, 8, 8, dtype=dtype)
    found = match(query, key)
    assert found.score.dtype == torch.float32
    index, score, _ = slow.match(query.double().numpy(), [key.double().numpy()])
    np.testing.assert_array_equal(found.index, index)
    np.testing.assert_allclose(found.score, score, atol=1e-4)


def test_the_memory_layout_does_not_matter():
    rng = np.random.default_rng(9)
    query, key = maps(rng, 2, 4, 6, 5), maps(rng, 2, 4, 7, 8)
    value = maps(rng, 2, 4, 28, 32)
    plain = match(query, key)
    last = [x.contiguous(memory_format=torch.channels_last) for x in (query, key, value)]
    turned = [x.transpose(2, 3).contiguous().transpose(2, 3) for x in (query, key, value)]
    for q, k, v in (last, turned):
        torch.testing.assert_close(match(q, k).index, plain.index)
        torch.testing.assert_close(swap(v, plain.index), swap(value, plain.index))


def test_under_autocast_matching_stays_float32():
    rng = np.random.default_rng(10)
    query, key = maps(rng, 1, 16, 12, 12, dtype=torch.float32), maps(rng, 1, 16, 20, 20, dtype=torch.float32)
    plain = match(query, key)
    with torch.autocast("cpu", torch.bfloat16):
        found = match(query, key)
        rounded = (query.flatten(2)[0].T @ key.flatten(2)[0]).dtype
    assert rounded == torch.bfloat16  # so that autocast was really on
    torch.testing.assert_close(found.index, plain.index)
    torch.testing.assert_close(found.score, plain.score, rtol=0, atol=0)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_values_that_are_not_finite_are_refused(bad, where):
    three = [torch.ones(1, 2, 5, 5) for _ in range(3)]
    three[where][0, 1, 2, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        match(three[0], three[1:])


@pytest.mark.parametrize(
    ("query", "keys", "options", "message"),
    [
        ((1, 2, 5, 5), [(1, 2, 2, 5)], {}, "3 × 3"),
        ((1, 2, 5, 5), [(1, 2, 5, 5), (1, 2, 5, 2)], {}, "3 × 3"),
        ((1, 2, 5, 5), [(1, 3, 5, 5)], {}, "channels"),
        ((2, 2, 5, 5), [(1, 2, 5, 5)], {}, "batch"),
        ((1, 2, 5, 5), [], {}, "at least one"),
        ((1, 2, 0, 5), [(1, 2, 5, 5)], {}, "non-empty"),
        ((2, 5, 5), [(1, 2, 5, 5)], {}, "query"),
        ((1, 2, 5, 5), [(2, 5, 5)], {}, "key"),
        ((1, 2, 5, 5), [(1, 2, 5, 5)], {"norm": "l3"}, "'l2'.*'l1'"),
    ],
)
def test_maps_that_do_not_fit_are_refused_with_what_is_wrong(query, keys, options, message):
    with pytest.raises(ValueError, match=message):
        match(torch.ones(query), [torch.ones(k) for k in keys], **options)


# swap: Eq. 4


@few
@given(seeds, sides, sides, references, st.sampled_from([1, 2, 4]))
def test_swap_replaces_every_patch_and_averages_overlaps(seed, h, w, sizes, scale):
    rng = np.random.default_rng(seed)
    batch = int(rng.integers(1, 3))
    matches = random_matches(rng, batch, h, w, sizes)
    values = [maps(rng, batch, 2, a * scale, b * scale) for a, b in sizes]
    expected = slow.swap(arrays(*values), *arrays(matches.index, matches.source), scale)
    np.testing.assert_allclose(swap(values, matches, scale), expected, atol=1e-12)


def test_inside_nine_reference_cells_are_averaged_at_a_border_six_in_a_corner_four():
    index = torch.zeros(1, 4, 4, dtype=torch.int64)  # every patch is the reference's one patch
    cells = torch.arange(9.0, dtype=torch.float64).view(1, 1, 3, 3)
    swapped = swap(cells, index, scale=1)[0, 0]
    assert swapped[1, 1] == 4  # mean of 0 … 8
    assert swapped[0, 1] == np.mean([0, 1, 2, 3, 4, 5])  # seen from below it and beside it: rows 0 and 1
    assert swapped[0, 0] == np.mean([0, 1, 3, 4])
    assert swapped[3, 3] == np.mean([4, 5, 7, 8])


def test_a_reference_swapped_with_itself_is_itself_where_all_patches_match():
    rng = np.random.default_rng(11)
    cells, value = maps(rng, 1, 3, 8, 9), maps(rng, 1, 3, 32, 36)
    swapped = swap(value, match(cells, cells).index)
    torch.testing.assert_close(swapped[..., 8:-8, 8:-8], value[..., 8:-8, 8:-8])  # two cells from the border


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_swap_keeps_the_number_format(dtype):
    rng = np.random.default_rng(12)
    value, index = maps(rng, 1, 2, 16, 16, dtype=dtype), torch.zeros(1, 3, 3, dtype=torch.int64)
    swapped = swap(value, index)
    assert swapped.dtype == dtype
    exact = swap(value.double(), index)
    torch.testing.assert_close(swapped, exact.to(dtype), rtol=0, atol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("index", [-1, 2 * 3, 10**9])
def test_an_index_outside_the_reference_is_refused(index):
    wrong = torch.zeros(1, 3, 3, dtype=torch.int64)
    wrong[0, 1, 2] = index
    with pytest.raises(ValueError, match="index"):
        swap(torch.ones(1, 1, 16, 20), wrong)  # 4 × 5 cells have 2 × 3 patches
    wrong[0, 1, 2] = 5
    swap(torch.ones(1, 1, 16, 20), wrong)


def test_an_index_is_checked_against_the_reference_it_belongs_to():
    small, large = torch.ones(1, 1, 12, 12), torch.ones(1, 1, 20, 20)
    matches = Matches(torch.full((1, 3, 3), 8), torch.zeros(1, 3, 3), torch.ones(1, 3, 3).long(), torch.ones(1, 3, 3))
    swap([small, large], matches)
    with pytest.raises(ValueError, match="index"):
        swap([large, small], matches)


@pytest.mark.parametrize("shape", [(1, 1, 15, 16), (1, 1, 16, 18), (2, 1, 16, 16), (1, 16, 16)])
def test_a_reference_map_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="value"):
        swap(torch.ones(shape), torch.zeros(1, 3, 3, dtype=torch.int64))


@few
@given(seeds, sides, sides, references, st.sampled_from([1, 2, 4]))
def test_swap_adjoint_is_the_adjoint_of_swap_the_loops_and_autograd(seed, h, w, sizes, scale):
    rng = np.random.default_rng(seed)
    batch = int(rng.integers(1, 3))
    matches = random_matches(rng, batch, h, w, sizes)
    values = [maps(rng, batch, 2, a * scale, b * scale).requires_grad_() for a, b in sizes]
    error = maps(rng, batch, 2, h * scale, w * scale)
    swapped = swap(values, matches, scale)
    back = swap_adjoint(error, matches, sizes, scale)
    one_side, other_side = (swapped * error).sum(), sum((v * e).sum() for v, e in zip(values, back))
    torch.testing.assert_close(one_side, other_side)
    loops = slow.swap_adjoint(error.numpy(), *arrays(matches.index, matches.source), sizes, scale)
    for ours, by_hand, by_autograd in zip(back, loops, torch.autograd.grad(swapped, values, error)):
        np.testing.assert_allclose(ours, by_hand, atol=1e-12)
        torch.testing.assert_close(ours, by_autograd)


# match and swap: the gradients of Eq. 5


def a_case(rng, batch=2, channels=2, h=5, w=4, sizes=((5, 6),), scale=2):
    """φ(I_in), φ(I_ref↓) and φ(I_ref), float64, that ask for gradients."""
    f_in = maps(rng, batch, channels, h, w).requires_grad_()
    downs = [maps(rng, batch, channels, *size).requires_grad_() for size in sizes]
    refs = [maps(rng, batch, channels, a * scale, b * scale).requires_grad_() for a, b in sizes]
    return f_in, downs, refs


def gradients(case, error, alphas, scale=2, **options):
    """The three gradients of match_and_swap for the error E at F; the last two are lists."""
    f_in, downs, refs = case
    swapped = match_and_swap(f_in, downs, refs, alphas, scale, **options)
    found = torch.autograd.grad(swapped, [f_in, *downs, *refs], error)
    return found[0], found[1 : 1 + len(downs)], found[1 + len(downs) :]


alpha = st.floats(-2, 2, allow_nan=False)


@few
@given(seeds, sides, sides, references, alpha, alpha, alpha)
def test_the_gradients_are_equation_5_in_loops(seed, h, w, sizes, a1, a2, a3):
    rng = np.random.default_rng(seed)
    case = a_case(rng, h=h, w=w, sizes=sizes)
    error = maps(rng, 2, 2, 2 * h, 2 * w)
    index, _, source = slow.match(case[0].detach().numpy(), arrays(*case[1]))
    expected = slow.gradients(error.numpy(), index, source, sizes, (a1, a2, a3), 2)
    found = gradients(case, error, (a1, a2, a3))
    np.testing.assert_allclose(found[0], expected[0], atol=1e-12)
    for ours, by_hand in zip([*found[1], *found[2]], [*expected[1], *expected[2]]):
        np.testing.assert_allclose(ours, by_hand, atol=1e-12)


@pytest.mark.parametrize("sizes", [((4, 4),), ((3, 5), (4, 3))])
def test_with_alphas_0_0_1_the_gradient_is_the_true_one(sizes):
    f_in, downs, refs = a_case(np.random.default_rng(13), batch=1, h=3, w=4, sizes=sizes)
    assert gradcheck(lambda *maps: match_and_swap(f_in.detach(), [d.detach() for d in downs], maps, (0, 0, 1), 2), refs)


def test_with_alphas_0_0_1_the_gradient_is_autograds_through_the_same_indices():
    f_in, (down,), (ref,) = case = a_case(np.random.default_rng(14))
    error = maps(np.random.default_rng(15), 2, 2, 10, 8)
    (expected,) = torch.autograd.grad(swap(ref, match(f_in, down).index, 2), ref, error)
    torch.testing.assert_close(gradients(case, error, (0, 0, 1))[2][0], expected)


@pytest.mark.parametrize("alphas", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
def test_alpha_1_and_alpha_2_are_copies_straight_through_the_argmax_and_no_true_gradients(alphas):
    f_in, downs, refs = a_case(np.random.default_rng(16), batch=1, h=3, w=4)
    fixed = [r.detach() for r in refs]
    maps = (f_in, *downs)
    with pytest.raises(GradcheckError):  # F does not change with the map that only decided the match
        gradcheck(lambda f, *d: match_and_swap(f, d, fixed, alphas, 2), maps)
    assert gradcheck(lambda f, *d: match_and_swap(f, d, fixed, (0.0, 0.0, 1.0), 2), maps)


def test_each_alpha_weighs_only_its_own_map():
    rng = np.random.default_rng(17)
    case = a_case(rng)
    error = maps(rng, 2, 2, 10, 8)
    whole = [gradients(case, error, (1, 1, 1))[0], *(g[0] for g in gradients(case, error, (1, 1, 1))[1:])]
    for one in range(3):
        alphas = [0.0, 0.0, 0.0]
        alphas[one] = 0.7
        first, second, third = gradients(case, error, tuple(alphas))
        for i, found in enumerate((first, second[0], third[0])):
            assert whole[i].abs().max() > 0.1
            torch.testing.assert_close(found, whole[i] * alphas[i])


def test_the_default_weights_are_the_papers():
    rng = np.random.default_rng(18)
    f_in, (down,), (ref,) = case = a_case(rng, scale=4)
    error = maps(rng, 2, 2, 20, 16)
    found = torch.autograd.grad(match_and_swap(f_in, down, ref), [f_in, down, ref], error)
    first, second, third = gradients(case, error, (0.25, 0.25, 0.5), scale=4)
    for ours, expected in zip(found, (first, second[0], third[0])):
        torch.testing.assert_close(ours, expected)


def test_the_error_of_phi_in_is_the_mean_of_each_cell_by_hand():
    f_in, downs, refs = a_case(np.random.default_rng(19), batch=1, channels=1, h=1, w=2)
    error = torch.tensor([[1.0, 2.0, 10.0, 20.0], [3.0, 6.0, 30.0, 60.0]], dtype=torch.float64)[None, None]
    torch.testing.assert_close(
        gradients((f_in, downs, refs), error, (0.5, 0, 0))[0],
        torch.tensor([[[[1.5, 15.0]]]], dtype=torch.float64),
    )


def test_the_summed_error_is_16_times_the_mean_for_the_two_small_maps_only():
    rng = np.random.default_rng(20)
    case = a_case(rng, scale=4)
    error = maps(rng, 2, 2, 20, 16)
    mean = gradients(case, error, (0.3, 0.4, 0.5), scale=4)
    summed = gradients(case, error, (0.3, 0.4, 0.5), scale=4, error_down="sum")
    torch.testing.assert_close(summed[0], 16 * mean[0])
    torch.testing.assert_close(summed[1][0], 16 * mean[1][0])
    torch.testing.assert_close(summed[2][0], mean[2][0])


def test_the_error_of_phi_ref_down_is_the_cell_mean_of_the_error_of_phi_ref():
    rng = np.random.default_rng(21)
    case = a_case(rng)
    a2, a3 = 0.3, 0.7
    _, (down,), (ref,) = gradients(case, maps(rng, 2, 2, 10, 8), (0.1, a2, a3))
    np.testing.assert_allclose(down, a2 / a3 * slow.down(ref.numpy(), 2), atol=1e-12)


@few
@given(seeds)
def test_the_papers_accumulate_and_average_agrees_inside(seed):
    """Where a reference cell and all cells of F that chose it lie inside, 9 patches cover each: the rules are one."""
    rng = np.random.default_rng(seed)
    v, u = np.indices((8, 8)) + rng.integers(3, size=(2, 8, 8))  # a shift with jitter: some patches are chosen twice
    index, error = (v * 10 + u)[None], rng.standard_normal((1, 2, 16, 16))
    exact = swap_adjoint(torch.from_numpy(error), torch.from_numpy(index), [(12, 12)], 2)[0].numpy()
    printed = slow.accumulate_and_average(error, index, (12, 12), 2)
    inside, patches_over = np.zeros((12, 12), dtype=bool), slow.overlap(8, 8)
    inside[2:-2, 2:-2] = True  # 9 patch positions of the reference cover it
    for _, cell, _, origin in slow.covered_cells(index, np.zeros_like(index), [12]):
        inside[origin] &= patches_over[cell] == 9
    inside = slow.enlarge(inside, 2)
    assert np.abs(exact[..., inside]).max() > 0.1
    np.testing.assert_allclose(exact[..., inside], printed[..., inside], atol=1e-12)
    assert np.abs(exact - printed)[..., ~inside].max() > 0.01  # at borders the rules differ


def test_an_unused_reference_gets_no_gradient():
    rng = np.random.default_rng(22)
    f_in = maps(rng, 1, 2, 4, 4).abs().requires_grad_()
    away = (-maps(rng, 1, 2, 5, 5).abs()).requires_grad_()
    toward = maps(rng, 1, 2, 3, 6).abs().requires_grad_()
    refs = [maps(rng, 1, 2, 10, 10).requires_grad_(), maps(rng, 1, 2, 6, 12).requires_grad_()]
    error = maps(rng, 1, 2, 8, 8)
    _, downs, ups = gradients((f_in, [away, toward], refs), error, (1, 1, 1))
    assert (downs[0] == 0).all() and (ups[0] == 0).all()
    alone = gradients((f_in, [toward], refs[1:]), error, (1, 1, 1))
    torch.testing.assert_close(downs[1], alone[1][0])
    torch.testing.assert_close(ups[1], alone[2][0])


def test_for_the_backward_pass_only_the_indices_are_kept():
    swapped = match_and_swap(*a_case(np.random.default_rng(23), sizes=((5, 6), (4, 4))), scale=2)
    kept = swapped.grad_fn.saved_tensors
    assert [t.shape for t in kept] == [(2, 5, 4), (2, 5, 4)]  # index and source
    assert all(t.dtype == torch.int64 for t in kept)
    assert "tensor" not in repr(vars(swapped.grad_fn))  # nothing is smuggled past save_for_backward


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_gradients_have_the_number_format_of_their_maps(dtype):
    rng = np.random.default_rng(24)
    f_in, downs, refs = a_case(rng)
    error = maps(rng, 2, 2, 10, 8, dtype=torch.bfloat16)
    case = [x.detach().bfloat16().to(dtype).requires_grad_() for x in (f_in, *downs, *refs)]
    exact = [x.detach().double().requires_grad_() for x in case]
    found = torch.autograd.grad(match_and_swap(*case, (1, 1, 1), 2), case, error.to(dtype))
    expected = torch.autograd.grad(match_and_swap(*exact, (1, 1, 1), 2), exact, error.double())
    for ours, right in zip(found, expected):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, right.to(dtype))


@pytest.mark.parametrize("several", [False, True])
def test_k_and_q_say_how_often_and_by_whom_each_patch_was_chosen(several):
    rng = np.random.default_rng(25)
    f_in, downs, refs = a_case(rng, sizes=((5, 6), (4, 4)) if several else ((5, 6),))
    _, matches, counts, choosers = match_and_swap(f_in, downs, refs, scale=2, return_matches=True)
    counts = counts if several else [counts]
    for k, (height, width) in zip(counts, ((5, 6), (4, 4))):
        assert k.shape == (2, height - 2, width - 2) and k.dtype == torch.int64
    assert sum(k.sum((1, 2)) for k in counts).tolist() == [5 * 4, 5 * 4]
    for s, k in enumerate(counts):
        for b, v, u in np.ndindex(*k.shape):
            i = v * k.shape[2] + u
            chose = choosers(i, sample=b, source=s)
            assert len(chose) == k[b, v, u]
            assert all(matches.index[b, y, x] == i and matches.source[b, y, x] == s for y, x in chose)


def test_a_single_map_and_a_list_of_one_are_the_same():
    f_in, downs, refs = a_case(np.random.default_rng(26))
    torch.testing.assert_close(
        match_and_swap(f_in, downs[0], refs[0], scale=2), match_and_swap(f_in, downs, refs, scale=2)
    )


def test_match_and_swap_is_match_then_swap():
    rng = np.random.default_rng(27)
    f_in, downs, refs = a_case(rng, sizes=((5, 6), (4, 3)))
    index, _, source = slow.match(f_in.detach().numpy(), arrays(*downs), "l1")
    found = match_and_swap(f_in, downs, refs, scale=2, norm="l1").detach()
    np.testing.assert_allclose(found, slow.swap(arrays(*refs), index, source, 2), atol=1e-12)


@pytest.mark.parametrize(
    ("downs", "refs", "options", "message"),
    [
        ([(1, 2, 5, 5)], [(1, 2, 10, 12)], {}, "scale 2"),
        ([(1, 2, 5, 5)], [(1, 3, 10, 10)], {}, "f_ref"),
        ([(1, 2, 5, 5)], [], {}, "each reference needs both"),
        ([(1, 2, 5, 5)], [(1, 2, 10, 10)], {"error_down": "max"}, "'mean'.*'sum'"),
        ([(1, 2, 5, 5)], [(1, 2, 10, 10)], {"norm": "max"}, "norm"),
    ],
)
def test_references_that_do_not_fit_are_refused_with_what_is_wrong(downs, refs, options, message):
    ones = [[torch.ones(shape) for shape in shapes] for shapes in (downs, refs)]
    with pytest.raises(ValueError, match=message):
        match_and_swap(torch.ones(1, 2, 4, 4), *ones, scale=2, **options)
