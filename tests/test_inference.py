"""From photographs to a sharper photograph (inference.py), with tiny models that only look trained."""

import numpy as np
import pytest
from data_files import noise as picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import MODELS, network

import e2ent2lib as e2
from e2ent2lib.config import SMOKE
from e2ent2lib.photos import inference
from e2ent2lib.photos.images import crop_to_multiple, to_image, to_tensor, upscale_bicubic, write_image
from e2ent2lib.photos.inference import enlarge, feature_distance, prepare_reference, run
from e2ent2lib.runs.checkpoints import build_model, save_model
from e2ent2lib.systems import DEFAULT, SYSTEMS

few = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def ship(name, folder):
    """A checkpoint of the smoke profile with random weights, large enough that each branch makes its own image."""
    if name in MODELS:
        save_model(network(name), {"model": name}, folder / "smoke", name)


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """The folder of what ships."""
    inference._shipped.cache_clear()
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    for name in ("sisr", "e2ent2", DEFAULT):
        ship(name, tmp_path)
    yield tmp_path
    inference._shipped.cache_clear()


def test_paths_pil_images_and_arrays_give_the_same_picture(tmp_path):
    low, ref, paths = picture(6, 7), picture(24, 28, 1), (tmp_path / "low.png", tmp_path / "ref.png")
    for path, image in zip(paths, (low, ref)):
        write_image(path, image)
    expected = e2.super_resolve(low, ref)
    for a, b in (paths, map(str, paths), map(Image.fromarray, (low, ref)), (low, [ref]), (low, (ref,))):
        np.testing.assert_array_equal(e2.super_resolve(a, b), expected)
    np.testing.assert_array_equal(e2.super_resolve(low, ref, model=e2.load_model(DEFAULT)), expected)
    assert np.array_equal(low, picture(6, 7)) and np.array_equal(ref, picture(24, 28, 1))  # left alone


@few
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(12, 27), st.integers(12, 27), st.sampled_from(["e2ent2", "sisr"])
)
def test_any_size_is_enlarged_four_times_with_a_reference_of_any_size_from_12(height, width, rows, columns, model):
    found = e2.super_resolve(picture(height, width), picture(rows, columns, 1), model=model)
    assert found.shape == (4 * height, 4 * width, 3) and found.dtype == np.uint8


@pytest.mark.parametrize("name", ["e2ent2", "feature-presisr"])
def test_without_a_reference_the_image_is_that_of_the_sisr_branch_also_of_a_frozen_one(name, weights):
    ship(name, weights)
    low = picture(6, 8)
    expected = to_image(e2.load_model(name).sisr(to_tensor(low)).sr)
    for nothing in (None, [], ()):
        np.testing.assert_array_equal(e2.super_resolve(low, nothing, model=name), expected)
    assert not np.array_equal(e2.super_resolve(low, picture(24, 24), model=name), expected)


def test_the_reference_changes_the_image_and_its_order_in_a_list_does_not():
    low, one, two = picture(6, 8), picture(24, 24, 1), picture(16, 40, 2)
    alone, other, both = (e2.super_resolve(low, r, "e2ent2") for r in (one, two, [one, two]))
    assert not np.array_equal(alone, other) and not np.array_equal(alone, both)
    np.testing.assert_allclose(e2.super_resolve(low, [two, one], "e2ent2").astype(int), both, atol=1)


def test_a_reference_is_cropped_to_a_multiple_of_four():
    low, ref = picture(6, 8), picture(27, 33, 1)
    np.testing.assert_array_equal(e2.super_resolve(low, ref), e2.super_resolve(low, ref[:24, :32]))
    full, down = prepare_reference(ref)
    assert full.shape == (1, 3, 24, 32) and down.shape == (1, 3, 6, 8)
    np.testing.assert_array_equal(to_image(full), crop_to_multiple(ref))


@pytest.mark.parametrize("size", [(11, 30), (30, 11), (1, 1)])
def test_of_several_references_the_one_that_is_too_small_is_named(size):
    with pytest.raises(ValueError, match=f"reference 2 of {size[1]}×{size[0]}"):
        e2.super_resolve(picture(6, 6), [picture(12, 12), picture(*size)])


def test_an_untrained_model_is_refused():
    for name in ("sisr", "e2ent2"):
        with pytest.raises(RuntimeError, match="untrained"):
            e2.super_resolve(picture(6, 6), picture(12, 12), model=build_model(name, SMOKE))


def test_the_profile_may_be_named_and_another_folder_of_weights_gives_another_model(weights, monkeypatch):
    low = picture(4, 4)
    expected = e2.super_resolve(low)
    save_model(network(DEFAULT, seed=1), {"model": DEFAULT}, weights / "other" / "smoke", DEFAULT)
    with monkeypatch.context() as other:
        other.setenv("E2ENT2_WEIGHTS", str(weights / "other"))
        assert not np.array_equal(e2.super_resolve(low), expected)
    monkeypatch.setenv("E2ENT2_PROFILE", "compact")
    np.testing.assert_array_equal(e2.super_resolve(low, profile="smoke"), expected)
    with pytest.raises(FileNotFoundError, match=f"e2ent2 train {DEFAULT} --profile compact"):
        e2.super_resolve(low)


def test_a_bad_picture_is_named_by_file_or_by_its_place(tmp_path):
    (tmp_path / "words.png").write_text("no pixels")
    low = picture(6, 6)
    with pytest.raises(ValueError, match=r"words\.png"):
        e2.super_resolve(low, [picture(24, 24), tmp_path / "words.png"])
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        e2.super_resolve(tmp_path / "absent.png")
    with pytest.raises(ValueError, match="the low-resolution picture"):
        e2.super_resolve(low.astype(np.float32))
    with pytest.raises(ValueError, match="reference 2"):
        e2.super_resolve(low, [picture(24, 24), np.zeros((24, 24, 3), np.uint16)])


def test_the_feature_distance_is_the_mean_l1_over_channels_between_f_and_phi_of_the_truth():
    model, hr, ref = e2.load_model("e2ent2"), picture(24, 24), picture(24, 28, 1)
    low = picture(6, 6, 2)
    distance, relative = feature_distance(model, low, [ref], hr)
    swapped, phi = run(model, low, [ref]).swapped[0].numpy(), model.encoder(to_tensor(hr))[0].numpy()
    expected = np.abs(swapped - phi).sum(0).mean()
    assert distance == pytest.approx(expected, rel=1e-4)
    assert relative == pytest.approx(expected / np.abs(phi).sum(0).mean(), rel=1e-4)
    at_hand = feature_distance(model, low, [ref], hr, enlarge(model, low, [ref]))
    assert at_hand == pytest.approx((distance, relative), rel=1e-4)


# ---- every system of the tables by one call ----


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_enlarges_an_odd_size_with_references_and_most_without(name, weights):
    ship(name, weights)
    low, refs = picture(9, 13), [picture(36, 52, 1), picture(24, 20, 2)]
    found = e2.super_resolve(low, refs[: 1 if SYSTEMS[name].references == "stereo" else 2], model=name)
    assert found.shape == (36, 52, 3) and found.dtype == np.uint8
    if name in ("landmark", "stereosr", "passrnet", "feature-vgg"):
        with pytest.raises(ValueError, match="reference"):
            e2.super_resolve(low, model=name)
    else:
        assert e2.super_resolve(low, model=name).shape == (36, 52, 3)


@pytest.mark.parametrize("name", ["drcn", "enhancenet", "srresnet", "srgan", "sisr", "sisr-gan", "bicubic"])
def test_a_single_image_method_makes_no_use_of_a_reference(name, weights):
    ship(name, weights)
    alone, given = (e2.super_resolve(picture(9, 13), ref, model=name) for ref in (None, picture(36, 52, 1)))
    np.testing.assert_array_equal(given, alone)
    if name == "bicubic":
        np.testing.assert_array_equal(alone, upscale_bicubic(picture(9, 13)))


@pytest.mark.parametrize("name", ["stereosr", "passrnet"])
def test_a_stereo_method_refuses_what_is_no_stereo_pair(name, weights):
    ship(name, weights)
    with pytest.raises(ValueError, match=r"rectified stereo pair; .*use e2ent2 or srntt"):
        e2.super_resolve(picture(9, 13), picture(40, 52, 1), model=name)
    with pytest.raises(ValueError, match=r"2 references .*expected one of 13×9"):
        e2.super_resolve(picture(9, 13), [picture(36, 52, 1)] * 2, model=name)


@pytest.mark.parametrize("name", ["srntt", "passrnet"])
def test_a_picture_too_large_for_a_system_that_takes_it_whole_is_refused(name, weights, monkeypatch):
    ship(name, weights)
    monkeypatch.setattr(inference, "memory", lambda: 10_000.0)
    with pytest.raises(ValueError, match="GiB"):
        e2.super_resolve(picture(9, 13), picture(36, 52, 1), model=name)
    assert e2.super_resolve(picture(9, 13), picture(36, 52, 1), model="e2ent2").shape == (36, 52, 3)
