"""The feature-distance explorer's state: Table 3's number as a map, by layer; and by picture from the stored scores."""

import numpy as np
import pytest
import torch

from e2ent2lib.explore.distances import FORMS, OUTPUT, PairDistances, by_picture, layer_name, layers
from e2ent2lib.explore.matches import encoder
from e2ent2lib.explore.photos import Photos, part
from e2ent2lib.measure.results import read_results, results_folder
from e2ent2lib.photos.images import downscale
from e2ent2lib.photos.inference import feature_distance
from e2ent2lib.runs.checkpoints import load_model


@pytest.fixture(scope="module")
def photos() -> Photos:
    whole = part()
    return Photos(whole.hr[:80, :120], whole.ref[:120, :160])


@pytest.mark.parametrize(("features", "model"), [("end-to-end", "e2ent2"), ("VGG19 relu1_2", "feature-vgg")])
def test_the_mean_of_the_map_is_the_distance_of_table_3_in_both_forms(photos, features, model):
    state = PairDistances(photos, features)
    expected = feature_distance(load_model(model, "compact"), downscale(photos.hr), [photos.ref], photos.hr)
    assert [state.mean(OUTPUT, form) for form in FORMS] == pytest.approx(expected, rel=1e-4)


def test_a_cell_holds_the_mean_over_its_pixels(photos):
    state = PairDistances(photos, "RGB")
    difference = np.abs(state.pixels.astype(float) - photos.hr).sum(2) / 255  # swapped pixels are 8 bits: coarser
    assert state.map()[3, 5] == pytest.approx(difference[12:16, 20:24].mean(), abs=0.01)


def test_an_encoder_has_its_convolutions_its_blocks_and_its_output_in_order():
    found = layers(encoder("end-to-end"), torch.rand(1, 3, 8, 8))
    assert list(found) == ["head", "block 1", "block 2", "block 3", "block 4", "last conv", OUTPUT]
    assert torch.equal(found[OUTPUT], found["head"] + found["last conv"])
    assert list(layers(encoder("VGG19 relu1_2"), torch.rand(1, 3, 8, 8))) == ["conv1_1", "conv1_2", OUTPUT]
    assert list(layers(encoder("RGB"), torch.rand(1, 3, 8, 8))) == [OUTPUT]


def test_hooks_are_gone_afterwards():
    phi = encoder("end-to-end")
    layers(phi, torch.rand(1, 3, 8, 8))
    assert not any(part._forward_hooks for part in phi.modules())


@pytest.mark.parametrize(
    ("path", "name"),
    [("head", "head"), ("body.0.2", "block 3"), ("body.0.2.body.2", "block 3, conv 2"), ("body.1", "last conv")],
)
def test_layers_are_called_as_readers_would(path, name):
    assert layer_name(path) == name


def test_the_largest_distances_come_first_and_lie_apart(photos):
    state = PairDistances(photos, "end-to-end")
    found = state.largest(count=4, apart=5)
    values = [state.map()[place] for place in found]
    assert values == sorted(values, reverse=True) and values[0] == state.map().max()
    assert all(max(abs(a - c), abs(b - d)) >= 5 for i, (a, b) in enumerate(found) for c, d in found[:i])


def test_the_same_picture_as_reference_has_no_distance_inside_its_border(photos):
    state = PairDistances(Photos(photos.hr, photos.hr), "end-to-end")
    assert state.map()[2:-2, 2:-2].max() < 1e-4 < state.map().max()


def test_stored_scores_by_picture_are_those_of_the_results():
    stored = by_picture("end-to-end", FORMS[0])
    results = read_results(results_folder(), "compact").query("model == 'e2ent2' and reference == 'level 1'")
    assert stored.tolist() == sorted(results["feature_distance"], reverse=True) and len(stored) == 19
    assert by_picture("RGB", FORMS[0]).empty
