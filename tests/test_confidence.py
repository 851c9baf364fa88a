"""Whether a reference helps (confidence.py): agreement by hand and by slow loops; thresholds that fit what ships."""

import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from e2ent2lib.data.pairs import dataset
from e2ent2lib.matching import Matches
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.photos.confidence import FAR, FILE, agreement, judge, mean, thresholds
from e2ent2lib.photos.images import downscale
from e2ent2lib.photos.tiles import enlarge
from e2ent2lib.runs.checkpoints import available_models, load_model, shipped_card


def matches(index, source=None):
    index = torch.as_tensor(index)[None]
    source = torch.zeros_like(index) if source is None else torch.as_tensor(source)[None]
    return Matches(index, torch.ones(index.shape), source, torch.ones(index.shape))


def slowly(index, source, widths):
    h, w = index.shape
    found, cells = torch.full((h, w), torch.nan), list(itertools.product(range(h), range(w)))
    place = {cell: (int(source[cell]), *divmod(int(index[cell]), widths[source[cell]] - 2)) for cell in cells}
    for y, x in cells:
        s, row, column = place[y, x]
        apart = [cell for cell in ((y, x + FAR), (y, x - FAR), (y + FAR, x), (y - FAR, x)) if cell in place]
        same = [place[v, u] == (s, row + v - y, column + u - x) for v, u in apart if place[v, u][0] == s]
        if same:
            found[y, x] = sum(same) / len(same)
    return found


def test_a_shifted_copy_agrees_everywhere_and_one_place_for_all_nowhere():
    copy = torch.arange(8)[:, None] * 18 + torch.arange(9) + 2
    assert (agreement(matches(copy), [20]) == 1).all() and mean(agreement(matches(copy), [20])) == 1
    assert (agreement(matches(torch.full((8, 9), 3)), [20]) == 0).all()
    assert agreement(matches([[5]]), [20]).isnan().all() and mean(agreement(matches([[5]]), [20])) == 0
    # the end of one row is not beside the start of the next
    assert agreement(matches([[15, 0, 0, 0, 19]]), [20])[0, 0, ::4].tolist() == [0.0, 0.0]
    assert agreement(matches([[12, 0, 0, 0, 16]]), [20])[0, 0, ::4].tolist() == [1.0, 1.0]


def test_references_that_show_the_same_do_not_count_against_each_other():
    copy, generator = torch.arange(12)[:, None] * 18 + torch.arange(12), torch.Generator().manual_seed(0)
    source = torch.randint(4, copy.shape, generator=generator)  # of four equal ones any may be the best
    assert mean(agreement(matches(copy, source), [20] * 4)) == 1


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_agreement_is_that_of_a_slow_loop_also_of_several_references(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(2, (height, width), generator=generator)
    index = torch.randint(36, (height, width), generator=generator)
    if seed % 2:  # mostly a copy
        index = (torch.arange(height)[:, None] * 3 + torch.arange(width) + (index > 9)) % 36
    found = agreement(matches(index, source), [5, 6])[0]
    torch.testing.assert_close(found, slowly(index, source, [5, 6]), equal_nan=True)


def test_every_threshold_belongs_to_a_checkpoint_that_ships_and_each_such_network_has_one():
    cards = {name: shipped_card(name, "compact") for name in available_models("compact")}
    known = {known["model"]: sha for sha, known in thresholds().items()}
    assert known == {name: cards[name]["sha256"] for name in known}, "run benchmarks/confidence.py again"
    assert {"e2ent2", "e2ent2-mse", "e2ent2-photo"} <= known.keys()


def test_thresholds_are_right_on_most_of_what_they_were_not_chosen_on():
    told = json.loads(FILE.read_text(encoding="utf-8"))
    assert set(told["pictures"]) == {"chosen on", "tested on"} and len(set(told["pictures"].values())) == 2
    for known in told["checkpoints"].values():
        assert {"commit", "machine", "profile"} <= known.keys()
        for matching in ("exact", "coarse"):
            tested = known[matching]["tested on"]
            right = tested["related, right"] + tested["unrelated, right"]
            assert right / (tested["related"] + tested["unrelated"]) > 0.8


@pytest.mark.parametrize("name", ["e2ent2", "e2ent2-mse"])
def test_of_the_motorcycle_the_right_view_helps_and_another_photograph_does_not(name):
    model, said = load_model(name, "compact"), []
    for reference in (None, "unrelated"):
        hr, ref, *_ = prepared(dataset("motorcycle", reference=reference).pairs()[0])
        made = enlarge(model, downscale(hr[:320, :480]), [ref[:320, :480]])
        said.append(judge(model, mean(agreement(made.matches, [ref[:320, :480].shape[1] // 4]))))
    assert [v.helps for v in said] == [True, False]
    assert said[0].agreement > 2 * said[1].agreement
