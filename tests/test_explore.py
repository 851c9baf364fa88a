"""What the explorers compute, without their pages, and the check behind the notebooks' exercises."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import APPROX_MEAN

from e2ent2lib.config import SMOKE
from e2ent2lib.explore import comparer
from e2ent2lib.explore.alpha import CORNERS, AlphaGradients, place
from e2ent2lib.explore.comparer import SHIPPED, TRUTH, Comparison, called, read_shipped, shown
from e2ent2lib.explore.distance import FORMS, OUTPUT, PairDistances, layer_name, layers
from e2ent2lib.explore.exercises import check
from e2ent2lib.explore.explorer import LONGEST, Photos, available_pairs, fitted, part, photos
from e2ent2lib.explore.match import FEATURES, RUNNERS_UP, MatchedPair, encoder
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import match_and_swap
from e2ent2lib.measure.metrics import psnr, ssim
from e2ent2lib.measure.results import read_rows, result_file, results_folder
from e2ent2lib.photos.images import downscale, to_tensor
from e2ent2lib.photos.inference import feature_distance, super_resolve
from e2ent2lib.report.plots import engine
from e2ent2lib.runs.checkpoints import build_model, load_model, shipped_card


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model("e2ent2", SMOKE).requires_grad_(False)


@pytest.fixture(scope="module")
def gradients(model):
    return AlphaGradients(model, engine())


@pytest.mark.parametrize("alphas", [(0.25, 0.25, 0.5), (1, 0, 0), (0.2, 0.7, 0.1), (1, 1, 1)])
def test_every_layers_length_is_that_of_the_gradient_computed_for_this_alpha(model, gradients, alphas):
    example = engine()
    model.encoder.requires_grad_(True)
    maps = [model.encoder(to_tensor(x)) for x in (example.lr, example.ref_down, example.ref)]
    image = model.synthesis(match_and_swap(*maps, alphas), maps[0].detach(), to_tensor(example.lr))
    reconstruction_loss(image, to_tensor(example.hr)).backward()
    lengths = {}
    for name, weight in model.encoder.named_parameters():
        layer = layer_name(name.rsplit(".", 1)[0])
        lengths[layer] = (lengths.get(layer, 0.0) ** 2 + weight.grad.norm().item() ** 2) ** 0.5
    model.encoder.zero_grad()
    model.encoder.requires_grad_(False)
    assert gradients.layers(alphas) == pytest.approx(lengths, rel=1e-3)
    assert list(gradients.layers(alphas)) == list(lengths)
    length, _ = gradients.whole(alphas)
    assert length == pytest.approx(sum(n**2 for n in gradients.layers(alphas).values()) ** 0.5, rel=1e-6)


def test_the_true_gradient_has_cosine_one_and_the_model_stays_frozen(model, gradients):
    assert gradients.whole((0, 0, 1))[1] == pytest.approx(1)
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert [gradients.errors[way].shape for way in ("in", "ref")] == [engine().lr.shape[:2], engine().ref.shape[:2]]


def test_a_place_in_the_triangle_is_the_weighted_mean_of_its_corners():
    for corner, alphas in zip(CORNERS, np.eye(3)):
        np.testing.assert_allclose(place(tuple(alphas)), corner, atol=1e-12)
    np.testing.assert_allclose(place((2, 2, 4)), (0.5, 0.5 * 0.75**0.5), atol=1e-12)
    for wrong in ((0, 0, 0), (-0.1, 0.5, 0.6)):
        with pytest.raises(ValueError, match="below 0"):
            place(wrong)


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
    np.testing.assert_array_equal(state.choosers(*place.best), place.choosers)
    np.testing.assert_array_equal(state.choosers(0, 17), state.choosers(1, 16))  # the border's nearest patch


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
    assert np.isnan(l1.at(3, 4).confidence)


def test_what_does_not_fit_is_refused(pictures):
    lr, ref = pictures
    with pytest.raises(KeyError, match="SIFT"):
        MatchedPair(lr, ref, "SIFT")
    with pytest.raises(ValueError, match="too small"):
        MatchedPair(lr, ref[:8])
    with pytest.raises(IndexError):
        MatchedPair(lr, ref, "RGB").at(14, 0)


@pytest.fixture(scope="module")
def pair() -> Photos:
    whole = part()
    return Photos(whole.hr[:80, :120], whole.ref[:120, :160])


@pytest.mark.parametrize(("features", "name"), [("end-to-end", "e2ent2"), ("VGG19 relu1_2", "feature-vgg")])
def test_the_mean_of_the_map_is_the_distance_of_table_3_in_both_forms(pair, features, name):
    maps = PairDistances(pair, features).maps
    expected = feature_distance(load_model(name, "compact"), downscale(pair.hr), [pair.ref], pair.hr)
    assert [maps[form][OUTPUT].mean(dtype=float) for form in FORMS] == pytest.approx(expected, **APPROX_MEAN)


def test_a_cell_holds_the_mean_over_its_pixels_and_a_picture_is_near_itself(pair):
    state = PairDistances(pair, "RGB")
    difference = np.abs(state.pixels.astype(float) - pair.hr).sum(2) / 255  # swapped pixels are 8 bits: coarser
    assert state.maps[FORMS[0]][OUTPUT][3, 5] == pytest.approx(difference[12:16, 20:24].mean(), abs=0.01)
    itself = PairDistances(Photos(pair.hr, pair.hr), "end-to-end").maps[FORMS[0]][OUTPUT]
    assert itself[2:-2, 2:-2].max() < 1e-4 < itself.max()


@pytest.mark.parametrize(
    ("features", "names"),
    [
        ("end-to-end", ["head", "block 1", "block 2", "block 3", "block 4", "last conv", OUTPUT]),
        ("VGG19 relu1_2", ["conv1_1", "conv1_2", OUTPUT]),
        ("RGB", [OUTPUT]),
    ],
)
def test_an_encoder_has_its_convolutions_its_blocks_and_its_output_in_order(features, names):
    phi = encoder(features)
    outputs = layers(phi, torch.rand(1, 3, 8, 8))
    assert list(outputs) == names
    if features == "end-to-end":
        assert torch.equal(outputs[OUTPUT], outputs["head"] + outputs["last conv"])
    assert not any(part._forward_hooks for part in phi.modules())
    assert layer_name("body.0.2.body.2") == "block 3, conv 2"


@pytest.fixture(scope="module")
def small() -> Comparison:
    whole = part()
    return Comparison(Photos(whole.hr[:64, :80], whole.ref[:96, :96]))


def test_a_system_enlarges_the_picture_made_small(small):
    expected = super_resolve(downscale(small.hr), small.ref, model="e2ent2-mse", profile="compact")
    assert np.array_equal(small.image("e2ent2-mse"), expected)


def test_scores_are_of_the_crop_alone_and_the_truth_has_none(small):
    crop = (8, 4, 40, 30)
    one, truth = small.image("bicubic")[4:34, 8:48], small.hr[4:34, 8:48]
    assert small.score("bicubic", crop) == (psnr(one, truth), ssim(one, truth))
    assert np.isnan(small.score("bicubic", (0, 0, 10, 30))[1])
    assert small.score(TRUTH, crop)[0] == float("inf") and "inf" not in small.scored(TRUTH, crop)


def test_a_difference_is_four_times_the_absolute_one_and_clipped(small):
    difference = small.difference("bicubic", TRUTH)
    plain = np.abs(small.image("bicubic").astype(int) - small.hr.astype(int))
    assert np.array_equal(difference, np.minimum(4 * plain, 255)) and difference.dtype == np.uint8


def test_stereo_systems_are_offered_for_rectified_pairs_alone(small, data):
    assert list(available_pairs()) == ["motorcycle", "motorcycle, a part"]  # without any data
    stereo = Comparison(available_pairs()["motorcycle"]())
    assert {"stereosr", "passrnet"} <= set(stereo.systems) and not {"stereosr", "passrnet"} & set(small.systems)
    assert len({called(name) for name in stereo.systems}) == len(stereo.systems)
    one, other = np.zeros((80, 80, 3), np.uint8), np.zeros((80, 88, 3), np.uint8)
    assert photos(one, one, stereo=True).stereo and not photos(one, other, stereo=True).stereo


@pytest.mark.parametrize("name", shown())
def test_a_shipped_picture_has_the_score_of_the_tables_and_the_checkpoint_that_ships(name):
    facts = json.loads((SHIPPED / "provenance.json").read_text())
    stored = read_rows(result_file(results_folder(), "compact", "motorcycle", name))[0]
    shipped = read_shipped(SHIPPED)[name]
    truth = available_pairs()["motorcycle"]().hr
    assert psnr(shipped, truth) == pytest.approx(stored["psnr"], abs=0.02)
    assert facts["systems"][name]["psnr"] == psnr(shipped, truth)
    assert facts["systems"][name]["checkpoint_sha256"] == shipped_card(name, "compact")["sha256"]
    assert (SHIPPED / f"{name}.webp").stat().st_size <= 2_000_000


def test_shipped_pictures_of_another_checkpoint_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(comparer, "available_pairs", lambda: {"motorcycle": part})
    comparer.save_shipped(tmp_path, ("bicubic", "sisr"))
    assert set(read_shipped(tmp_path)) == {"bicubic", "sisr"}
    facts = json.loads((tmp_path / "provenance.json").read_text())
    facts["systems"]["sisr"]["checkpoint_sha256"] = "0" * 64
    (tmp_path / "provenance.json").write_text(json.dumps(facts))
    assert set(read_shipped(tmp_path)) == {"bicubic"}
    assert read_shipped(tmp_path / "nowhere") == {}


@given(st.integers(1, 900), st.integers(1, 900))
@settings(max_examples=60, deadline=None)
def test_any_size_fits_or_is_refused(height, width):
    image = np.zeros((height, width, 3), np.uint8)
    try:
        result, note = fitted(image, "it")
    except ValueError as error:
        assert str(error).startswith(f"it of {width}×{height}")
        return
    assert result.shape[0] % 4 == result.shape[1] % 4 == 0 and max(result.shape) <= LONGEST
    assert bool(note) == (max(height, width) > LONGEST)


CASES = [((1,), 2), ((2,), 4), ((5,), 10)]
ANSWERS = {
    "right": (lambda x: 2 * x, "solved"),
    "a float": (lambda x: 2.0 * x, "solved"),
    "of numpy": (lambda x: np.float32(2 * x), "solved"),
    "a tensor with a gradient": (lambda x: torch.tensor(2.0 * x, requires_grad=True), "solved"),
    "a stub": (lambda x: None, "not solved yet"),
    "some cases only": (lambda x: 2 * x if x < 5 else None, "not solved yet"),
    "wrong value": (lambda x: x * x + 1, "case 2 of 3: right shape, but off by up to 1"),
    "wrong tensor": (lambda x: torch.tensor(2 * x + 1), "case 1 of 3: right shape, but off by up to 1"),
    "wrong shape": (lambda x: np.zeros(x), "case 1 of 3: expected shape (), got (1,)"),
    "raises": (lambda x: 2 if x < 2 else 1 / 0, "case 2 of 3: your function raised ZeroDivisionError"),
    "no argument": (lambda: 1, "case 1 of 3: your function raised TypeError"),
} | {
    repr(answer): (lambda x, answer=answer: answer, "case 1 of 3")
    for answer in ("two", "2", {"a": 2}, [[1], [2, 3]], object, float("nan"), {2})
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_said_of_an_attempt_at_an_exercise(name):
    attempt, words = ANSWERS[name]
    assert check(attempt, CASES).startswith(words)


def test_lists_truth_values_and_a_tolerance_are_compared_too():
    assert check(lambda x: [x, 2 * x], [((1,), (1, 2))]).startswith("solved")
    assert check(lambda x: x > 1, [((1,), False), ((2,), True)]).startswith("solved")
    assert check(lambda x: x > 1, [((1,), True)]).startswith("case 1 of 1")
    near = [((1.0,), 1.0)]
    assert check(lambda x: x + 1e-3, near).startswith("case 1 of 1: right shape, but off by up to 0.001")
    assert check(lambda x: x + 1e-3, near, tolerance=1e-2).startswith("solved")
