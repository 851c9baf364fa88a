"""Swap (Eq. 4) and the gradients of match and swap (Eq. 5 and 6) against loops, autograd and cases done by hand."""

import numpy as np
import pytest
import slow_reference as slow
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from test_matching import arrays, few, maps, norms, references, seeds, sides
from tolerances import FLOAT32, FLOAT64
from torch._subclasses import FakeTensorMode
from torch.autograd import gradcheck
from torch.autograd.gradcheck import GradcheckError

from e2ent2lib import matching
from e2ent2lib.exact import capturable, is_capturable
from e2ent2lib.matching import Matches, match, match_and_swap, plain_match, plain_swap, plain_swap_adjoint, swap

pytestmark = pytest.mark.usefixtures("one_thread")
scales = st.sampled_from([1, 2, 4])


def random_matches(rng, batch, h, w, sizes):
    """Matches that no argmax made: any patch of any reference at any place."""
    source = torch.from_numpy(rng.integers(len(sizes), size=(batch, h, w)))
    patches = torch.tensor([(a - 2) * (b - 2) for a, b in sizes])[source].numpy()
    return Matches(torch.from_numpy(rng.integers(patches)), torch.zeros(batch, h, w), source, torch.ones(batch, h, w))


# swap: Eq. 4


@few
@given(seeds, sides, sides, references, scales)
def test_swap_and_its_adjoint_and_their_readable_forms_are_the_loops_and_each_others_adjoint(seed, h, w, sizes, scale):
    rng = np.random.default_rng(seed)
    batch = int(rng.integers(1, 3))
    matches = random_matches(rng, batch, h, w, sizes)
    values = [maps(rng, batch, 2, a * scale, b * scale).requires_grad_() for a, b in sizes]
    error = maps(rng, batch, 2, h * scale, w * scale)
    by_hand = slow.swap(arrays(*values), *arrays_of(matches), scale)
    back_by_hand = slow.swap_adjoint(error.numpy(), *arrays_of(matches), sizes, scale)
    for forward, adjoint in ((swap, matching.swap_adjoint), (plain_swap, plain_swap_adjoint)):
        swapped, back = forward(values, matches, scale), adjoint(error, matches, sizes, scale)
        np.testing.assert_allclose(swapped.detach(), by_hand, **FLOAT64)
        for ours, loops, autograd in zip(back, back_by_hand, torch.autograd.grad(swapped, values, error)):
            np.testing.assert_allclose(ours, loops, **FLOAT64)
            torch.testing.assert_close(ours, autograd)
        one_side, other_side = (swapped * error).sum(), sum((v * e).sum() for v, e in zip(values, back))
        torch.testing.assert_close(one_side, other_side)
        torch.testing.assert_close(sum(e.sum((2, 3)) for e in back), error.sum((2, 3)))  # no error is lost or made


def arrays_of(matches):
    return matches.index.numpy(), matches.source.numpy()


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_the_readable_forms_need_no_value_of_a_map_only_shapes(norm):
    """Maps of the device "meta" have no values: what waited for one, or had a shape that hangs on one, would fail."""
    query, *keys = (torch.empty(2, 3, *size, device="meta") for size in ((4, 5), (6, 7), (3, 5)))
    matches = plain_match(query, keys, norm)
    values = [torch.empty(2, 3, 12, 14, device="meta"), torch.empty(2, 3, 6, 10, device="meta")]
    swapped = plain_swap(values, matches, 2)
    back = plain_swap_adjoint(swapped, matches, [(6, 7), (3, 5)], 2)
    assert matches.index.shape == matches.source.shape == matches.score.shape == matches.query_norm.shape == (2, 4, 5)
    assert swapped.shape == (2, 3, 8, 10)
    assert [e.shape for e in back] == [v.shape for v in values]


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("sizes", [[(8, 6)], [(8, 6), (4, 9)]])
def test_the_forms_for_a_cuda_graph_give_the_same_and_ask_the_device_nothing(sizes, norm):
    def results(ways):
        swapped, matches, *_ = match_and_swap(*ways, norm=norm, return_matches=True)
        flat = [x for way in ways for x in ([way] if isinstance(way, torch.Tensor) else way)]
        weights = torch.linspace(-1, 1, swapped.numel()).view_as(swapped)
        return [swapped, *matches, *torch.autograd.grad((swapped * weights).sum(), flat)]

    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 7), *sizes, *((4 * h, 4 * w) for h, w in sizes)]
    f_in, *refs = (torch.randn(2, 5, *shape, generator=generator).requires_grad_() for shape in shapes)
    ways = f_in, refs[: len(sizes)], refs[len(sizes) :]
    expected = results(ways)
    with capturable():
        for found, exact in zip(results(ways), expected):
            torch.testing.assert_close(found, exact, **FLOAT32)
        with FakeTensorMode() as fake:  # its tensors have no values: what asks for one fails
            results(
                [[fake.from_tensor(x) for x in way] if isinstance(way, list) else fake.from_tensor(way) for way in ways]
            )
    assert not is_capturable()


def test_inside_nine_reference_cells_are_averaged_at_a_border_six_in_a_corner_four():
    index = torch.zeros(1, 4, 4, dtype=torch.int64)  # every patch is the reference's one patch
    cells = torch.arange(9.0, dtype=torch.float64).view(1, 1, 3, 3)
    swapped = swap(cells, index, scale=1)[0, 0]
    assert swapped[1, 1] == 4  # mean of 0 … 8
    assert swapped[0, 1] == np.mean([0, 1, 2, 3, 4, 5])  # seen from below it and beside it: rows 0 and 1
    assert swapped[0, 0] == np.mean([0, 1, 3, 4])
    assert swapped[3, 3] == np.mean([4, 5, 7, 8])


def test_the_memory_layout_of_the_reference_does_not_matter():
    rng = np.random.default_rng(9)
    value, matches = maps(rng, 2, 4, 28, 32), random_matches(rng, 2, 6, 5, [(7, 8)])
    last = value.contiguous(memory_format=torch.channels_last)
    turned = value.transpose(2, 3).contiguous().transpose(2, 3)
    for v in (last, turned):
        torch.testing.assert_close(swap(v, matches), swap(value, matches))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_swap_keeps_the_dtype(dtype):
    rng = np.random.default_rng(12)
    value, index = maps(rng, 1, 2, 16, 16, dtype=dtype), torch.zeros(1, 3, 3, dtype=torch.int64)
    swapped = swap(value, index)
    assert swapped.dtype == dtype
    exact = swap(value.double(), index)
    torch.testing.assert_close(swapped, exact.to(dtype), rtol=0, atol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("index", [-1, 2 * 3, 10**9])
def test_an_index_outside_the_reference_it_belongs_to_is_refused(index):
    wrong = torch.zeros(1, 3, 3, dtype=torch.int64)
    wrong[0, 1, 2] = index
    with pytest.raises(ValueError, match="index"):
        swap(torch.ones(1, 1, 16, 20), wrong)  # 4 × 5 cells have 2 × 3 patches
    wrong[0, 1, 2] = 5
    swap(torch.ones(1, 1, 16, 20), wrong)
    small, large = torch.ones(1, 1, 12, 12), torch.ones(1, 1, 20, 20)
    matches = Matches(torch.full((1, 3, 3), 8), torch.zeros(1, 3, 3), torch.ones(1, 3, 3).long(), torch.ones(1, 3, 3))
    swap([small, large], matches)
    with pytest.raises(ValueError, match="index"):
        swap([large, small], matches)


@pytest.mark.parametrize("shape", [(1, 1, 15, 16), (1, 1, 16, 18), (2, 1, 16, 16), (1, 16, 16)])
def test_a_reference_map_that_does_not_fit_is_refused(shape):
    with pytest.raises(ValueError, match="value"):
        swap(torch.ones(shape), torch.zeros(1, 3, 3, dtype=torch.int64))


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
    return found[0], list(found[1 : 1 + len(downs)]), list(found[1 + len(downs) :])


def equation_5(error, matches, sizes, alphas, scale=2, error_down="mean"):
    """The three errors of Eq. 5 by the readable forms; the last two are lists."""
    small = F.avg_pool2d(error, scale) * (scale**2 if error_down == "sum" else 1)
    downs = plain_swap_adjoint(small, matches, sizes, 1)
    refs = plain_swap_adjoint(error, matches, sizes, scale)
    return alphas[0] * small, [alphas[1] * e for e in downs], [alphas[2] * e for e in refs]


alphas_of = st.tuples(*3 * [st.sampled_from([0.0, 0.25, 1.0, -1.5])])


@few
@given(seeds, sides, sides, references, alphas_of, norms, st.sampled_from(["mean", "sum"]))
def test_match_and_swap_is_match_then_swap_and_its_gradients_are_equation_5(seed, h, w, sizes, alphas, norm, rule):
    rng = np.random.default_rng(seed)
    f_in, downs, refs = a_case(rng, h=h, w=w, sizes=sizes)
    if len(sizes) == 1:
        downs, refs = downs[0], refs[0]  # as good as a list of one
    error, matches = maps(rng, 2, 2, 2 * h, 2 * w), plain_match(f_in, downs, norm)
    swapped = match_and_swap(f_in, downs, refs, alphas, 2, norm, error_down=rule)
    torch.testing.assert_close(swapped.detach(), plain_swap(refs, matches, 2).detach())
    found = gradients(
        (f_in, matching.as_list(downs), matching.as_list(refs)), error, alphas, norm=norm, error_down=rule
    )
    torch.testing.assert_close(found, equation_5(error, matches, sizes, alphas, error_down=rule))


@pytest.mark.parametrize("sizes", [((4, 4),), ((3, 5), (4, 3))])
def test_with_alphas_0_0_1_the_gradient_is_the_true_one(sizes):
    f_in, downs, refs = a_case(np.random.default_rng(13), batch=1, channels=1, h=3, w=4, sizes=sizes)
    assert gradcheck(lambda *maps: match_and_swap(f_in.detach(), [d.detach() for d in downs], maps, (0, 0, 1), 2), refs)


@pytest.mark.parametrize("alphas", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0)])
def test_alpha_1_and_alpha_2_are_copies_straight_through_the_argmax_and_no_true_gradients(alphas):
    f_in, downs, refs = a_case(np.random.default_rng(16), batch=1, channels=1, h=3, w=4)
    fixed = [r.detach() for r in refs]
    maps = (f_in, *downs)
    with pytest.raises(GradcheckError):  # F does not change with the map that only decided the match
        gradcheck(lambda f, *d: match_and_swap(f, d, fixed, alphas, 2), maps)
    assert gradcheck(lambda f, *d: match_and_swap(f, d, fixed, (0.0, 0.0, 1.0), 2), maps)


def test_the_default_weights_are_the_papers_and_the_default_scale_4():
    rng = np.random.default_rng(18)
    f_in, (down,), (ref,) = a_case(rng, scale=4)
    error = maps(rng, 2, 2, 20, 16)
    found = torch.autograd.grad(match_and_swap(f_in, down, ref), [f_in, down, ref], error)
    first, (second,), (third,) = equation_5(error, match(f_in, down), [(5, 6)], (0.25, 0.25, 0.5), 4)
    torch.testing.assert_close(found, (first, second, third))


def test_the_error_of_phi_in_is_the_mean_of_each_cell_by_hand():
    f_in, downs, refs = a_case(np.random.default_rng(19), batch=1, channels=1, h=1, w=2)
    error = torch.tensor([[1.0, 2.0, 10.0, 20.0], [3.0, 6.0, 30.0, 60.0]], dtype=torch.float64)[None, None]
    assert gradients((f_in, downs, refs), error, (0.5, 0, 0))[0].flatten().tolist() == [1.5, 15.0]


def test_for_the_backward_pass_only_the_indices_are_kept():
    swapped = match_and_swap(*a_case(np.random.default_rng(23), sizes=((5, 6), (4, 4))), scale=2)
    kept = swapped.grad_fn.saved_tensors
    assert [t.shape for t in kept] == [(2, 5, 4), (2, 5, 4)]  # index and source
    assert all(t.dtype == torch.int64 for t in kept)
    assert "tensor" not in repr(vars(swapped.grad_fn))  # nothing is smuggled past save_for_backward


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_gradients_have_the_dtype_of_their_maps(dtype):
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


@pytest.mark.parametrize(
    ("downs", "refs", "options", "named"),
    [
        ([(1, 2, 5, 5)], [(1, 2, 10, 12)], {}, "scale 2"),
        ([(1, 2, 5, 5)], [(1, 3, 10, 10)], {}, "f_ref"),
        ([(1, 2, 5, 5)], [], {}, "0 in f_ref"),
        ([(1, 2, 5, 5)], [(1, 2, 10, 10)], {"error_down": "max"}, "error_down.*'max'"),
        ([(1, 2, 5, 5)], [(1, 2, 10, 10)], {"norm": "max"}, "norm.*'max'"),
    ],
)
def test_references_that_do_not_fit_are_refused_with_what_is_wrong(downs, refs, options, named):
    ones = [[torch.ones(shape) for shape in shapes] for shapes in (downs, refs)]
    with pytest.raises(ValueError, match=named):
        match_and_swap(torch.ones(1, 2, 4, 4), *ones, scale=2, **options)


def test_a_patch_that_two_distant_queries_chose_gets_the_sum_of_their_errors(monkeypatch):
    index = torch.zeros(1, 3, 9, dtype=torch.int64)
    index[0, 1, 1] = index[0, 1, 7] = 3  # K = 2; all others chose patch 0
    matches = Matches(index, torch.zeros(1, 3, 9), torch.zeros_like(index), torch.ones(1, 3, 9))
    monkeypatch.setattr(matching, "match", lambda *given: matches)
    case = a_case(np.random.default_rng(50), batch=1, h=3, w=9, sizes=((3, 6),))
    error = torch.zeros(1, 2, 6, 18, dtype=torch.float64)
    error[..., 2:4, 2:4], error[..., 2:4, 14:16] = 36.0, 90.0  # at the cells (1, 1) and (1, 7) of F
    error[0, 1] *= 2
    grad_in, (down,), (ref,) = gradients(case, error, (1, 1, 1))
    # nine patches cover each of the two cells, one of them is patch 3: its centre, cell (1, 4), gets 36/9 + 90/9
    assert down[0, :, 1, 4].tolist() == pytest.approx([14, 28])
    torch.testing.assert_close(ref[0, :, 2:4, 8:10], torch.tensor([14.0, 28.0]).double()[:, None, None].expand(2, 2, 2))
    assert (down[0, :, :, 3:].sum((1, 2)) - down[0, :, 1, 4]).abs().max() < 1e-12  # the rest of the two errors ...
    torch.testing.assert_close(
        down[..., :3].sum((2, 3)), torch.tensor([[112.0, 224.0]]).double()
    )  # ... went to patch 0
    assert grad_in[0, 0, 1].tolist() == [0, 36, 0, 0, 0, 0, 0, 90, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_swap_adjoint_is_the_same_to_the_last_bit_each_time_and_zero_where_nobody_chose(dtype):
    rng = np.random.default_rng(51)
    sizes = [(12, 9), (5, 20), (3, 3)]
    matches = random_matches(rng, 2, 30, 25, [(12, 9), (5, 20)])  # nobody chose the third
    matches.index[0].clamp_(max=20)  # many queries share a patch
    error = maps(rng, 2, 5, 60, 50, dtype=dtype)
    first = matching.swap_adjoint(error, matches, sizes, 2)
    chosen = matching.swap_adjoint(torch.ones_like(error), matches, sizes, 2)
    for _ in range(3):
        again = matching.swap_adjoint(error.clone(), matches, sizes, 2)
        assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert (first[2] == 0).all()
    for e, weight in zip(first, chosen):
        assert e.dtype == dtype and (e[weight == 0] == 0).all()
    assert (chosen[0][0] == 0).any() and first[0].abs().max() > 0.1


def an_encoder_and_a_synthesis(rng, scale=2):
    """φ with few weights, and J of F and φ(I_in), both without a kink; and the pictures (I_in, I_ref↓, I_ref)."""
    weight, bias = maps(rng, 3, 2, 3, 3).requires_grad_(), maps(rng, 3).requires_grad_()
    mix = maps(rng, 2, 6, 3, 3)
    target = maps(rng, 1, 2, 5 * scale, 6 * scale)

    def phi(picture):
        return torch.tanh(F.conv2d(picture, weight, bias, padding=1))

    def loss(swapped, f_in):
        both = torch.cat([swapped, f_in.repeat_interleave(scale, 2).repeat_interleave(scale, 3)], dim=1)
        return (torch.tanh(F.conv2d(both, mix, padding=1)) - target).square().mean()

    pictures = [maps(rng, 1, 2, *size) for size in ((5, 6), (7, 5), (7 * scale, 5 * scale))]
    return [weight, bias], phi, loss, pictures


def test_what_reaches_the_encoders_weights_is_equation_6():
    weights, phi, loss, pictures = an_encoder_and_a_synthesis(np.random.default_rng(52))
    alphas = (0.25, 0.25, 0.5)
    whole = torch.autograd.grad(loss(match_and_swap(*map(phi, pictures), alphas, 2), phi(pictures[0])), weights)
    # three passes, in each of which only one of φ's three maps hands its error on
    passes = []
    for one in range(3):
        found = [phi(picture) if i == one else phi(picture).detach() for i, picture in enumerate(pictures)]
        swapped = match_and_swap(*found, alphas, 2)
        passes.append(torch.autograd.grad(loss(swapped, found[0]), weights))
    # and the three terms as Eq. 6 prints them, with the errors of Eq. 5 by the readable forms
    f_in, down, ref = (phi(picture) for picture in pictures)
    matches = plain_match(f_in, down)
    leaf = plain_swap(ref, matches, 2).detach().requires_grad_()
    error, direct = torch.autograd.grad(loss(leaf, f_in), [leaf, f_in])  # direct: what J asks of φ(I_in) itself
    first, (second,), (third,) = equation_5(error, matches, [(7, 5)], alphas)
    errors = [first + direct, second, third]
    terms = [torch.autograd.grad(phi(picture), weights, e) for picture, e in zip(pictures, errors)]
    for w in range(len(weights)):
        torch.testing.assert_close(whole[w], sum(grads[w] for grads in passes))
        for by_pass, by_hand in zip(passes, terms):
            assert by_hand[w].abs().max() > 1e-6
            torch.testing.assert_close(by_pass[w], by_hand[w], rtol=1e-9, atol=1e-15)


def test_the_loss_stays_when_phi_in_moves_a_little_and_follows_phi_ref_in_a_straight_line():
    rng = np.random.default_rng(53)
    f_in, (down,), (ref,) = a_case(rng)
    f_in, down, ref = (x.detach() for x in (f_in, down, ref))
    error, plain = maps(rng, 2, 2, 10, 8), match(f_in, down)
    swapped = match_and_swap(f_in, down, ref, scale=2)
    for step in (1e-7, -1e-7):
        moved, moved_down = f_in + step * maps(rng, 2, 2, 5, 4), down + step * maps(rng, 2, 2, 5, 6)
        assert torch.equal(match(moved, moved_down).index, plain.index)
        assert not torch.equal(match(moved, moved_down).score, plain.score)
        assert torch.equal(match_and_swap(moved, moved_down, ref, scale=2), swapped)
    way = maps(rng, 2, 2, 10, 12)
    slope = (matching.swap_adjoint(error, plain, [(5, 6)], 2)[0] * way).sum()
    for step in (1e-3, 1.0, -50.0):
        change = (match_and_swap(f_in, down, ref + step * way, scale=2) - swapped) * error
        torch.testing.assert_close(change.sum() / step, slope, rtol=1e-8, atol=1e-10)
