"""The match explorer without its page: in pictures whose matches are known."""

import numpy as np
import pytest

from e2ent2lib.explore.matches import FEATURES, RUNNERS_UP, MatchedPair
from e2ent2lib.photos.images import downscale


@pytest.fixture(scope="module")
def pictures():
    """A picture of random cells, and a reference that is the same scene two cells further left and one up."""
    cells = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    wide = np.kron(cells, np.ones((4, 4, 1), np.uint8))
    return downscale(wide[:56, :64]), wide[4:, 8:]


@pytest.mark.parametrize("features", FEATURES)
def test_the_match_is_found_and_its_pixels_are_the_references(pictures, features):
    lr, ref = pictures
    state = MatchedPair(lr, ref, features)
    place = state.at(7, 9)
    assert place.best == (6, 7) and place.query == (7, 9)
    np.testing.assert_array_equal(place.swapped, ref[20:32, 24:36])
    assert state.pixels.shape == (56, 64, 3) and state.chosen.shape == (13, 16)
    assert state.chosen.sum() == 14 * 16 and state.chosen[5, 6] == len(place.choosers)
    assert [7, 9] in place.choosers.tolist()
    assert "row 7, column 9 → row 6, column 7" in state.summary(place)


def test_runners_up_and_the_similarity_map_agree_with_the_best(pictures):
    place = MatchedPair(*pictures, "RGB").at(3, 4)
    flat = np.sort(place.similarity.ravel())[::-1]
    assert place.score == pytest.approx(flat[0]) and len(place.runners_up) == RUNNERS_UP
    np.testing.assert_allclose([s for _, s in place.runners_up], flat[1 : RUNNERS_UP + 1], rtol=1e-6)
    for (row, column), score in place.runners_up:
        assert place.similarity[row - 1, column - 1] == pytest.approx(score)
    assert 0.9 < place.confidence <= 1


def test_the_norm_changes_the_match_and_l1_has_no_cosine(pictures):
    l1, l2 = (MatchedPair(*pictures, "RGB", norm) for norm in ("l1", "l2"))
    assert (l1.matches.index != l2.matches.index).float().mean() > 0.1
    assert np.isnan(l1.at(3, 4).confidence) and "cosine" not in l1.summary(l1.at(3, 4))


def test_what_does_not_fit_is_refused(pictures):
    lr, ref = pictures
    with pytest.raises(ValueError, match="unknown features 'SIFT'"):
        MatchedPair(lr, ref, "SIFT")
    with pytest.raises(ValueError, match="too small"):
        MatchedPair(lr, ref[:8])
    with pytest.raises(IndexError):
        MatchedPair(lr, ref, "RGB").at(14, 0)
