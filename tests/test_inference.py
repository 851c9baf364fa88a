"""From photographs to a sharper photograph (inference.py), with tiny models that only look trained."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import MODELS

import e2ent2lib as e2
from e2ent2lib.config import SMOKE
from e2ent2lib.photos import inference
from e2ent2lib.photos.images import crop_to_multiple, to_image, to_tensor, upscale_bicubic, write_image
from e2ent2lib.photos.inference import enlarge, feature_distance, prepare_reference, run
from e2ent2lib.photos.tiles import Enlarged
from e2ent2lib.runs.checkpoints import build_model, save_model
from e2ent2lib.systems import SYSTEMS

few = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """Checkpoints of the smoke profile with random weights, large enough that each branch makes its own image."""
    inference._shipped.cache_clear()
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("E2ENT2_PROFILE", "smoke")
    torch.manual_seed(0)
    for name in ("sisr", "e2ent2"):
        model = build_model(name, SMOKE)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        save_model(model, {"model": name}, tmp_path / "smoke", name)
    yield tmp_path
    inference._shipped.cache_clear()


def test_paths_pil_images_and_arrays_give_the_same_picture(tmp_path):
    low, ref = picture(6, 7), picture(24, 28, 1)
    for name, image in (("low.png", low), ("ref.png", ref)):
        write_image(tmp_path / name, image)
    expected = e2.super_resolve(low, ref)
    for a, b in [
        (tmp_path / "low.png", tmp_path / "ref.png"),
        (str(tmp_path / "low.png"), str(tmp_path / "ref.png")),
        (Image.fromarray(low), Image.fromarray(ref)),
        (low, [ref]),
        (low, (ref,)),
    ]:
        np.testing.assert_array_equal(e2.super_resolve(a, b), expected)


@few
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(12, 27), st.integers(12, 27), st.sampled_from(["e2ent2", "sisr"])
)
def test_any_size_is_enlarged_four_times_with_a_reference_of_any_size_from_12(height, width, rows, columns, model):
    found = e2.super_resolve(picture(height, width), picture(rows, columns, 1), model=model)
    assert found.shape == (4 * height, 4 * width, 3) and found.dtype == np.uint8


def test_bicubic_is_pillows_bicubic_with_or_without_a_reference():
    low = picture(5, 9)
    expected = upscale_bicubic(low)
    np.testing.assert_array_equal(e2.super_resolve(low, model="bicubic"), expected)
    np.testing.assert_array_equal(e2.super_resolve(low, picture(12, 12), model="bicubic"), expected)


def test_without_a_reference_the_image_is_that_of_the_sisr_branch():
    low, model = picture(6, 8), e2.load_model("e2ent2")
    with torch.inference_mode():
        expected = to_image(model.sisr(to_tensor(low)).sr)
    for nothing in (None, [], ()):
        np.testing.assert_array_equal(e2.super_resolve(low, nothing), expected)
    assert not np.array_equal(e2.super_resolve(low, picture(24, 24)), expected)


def test_a_sisr_model_makes_no_use_of_a_reference():
    low = picture(6, 8)
    np.testing.assert_array_equal(
        e2.super_resolve(low, picture(24, 24), model="sisr"), e2.super_resolve(low, model="sisr")
    )


def test_the_reference_changes_the_image_and_its_order_in_a_list_does_not():
    low, one, two = picture(6, 8), picture(24, 24, 1), picture(16, 40, 2)
    alone, other, both = (e2.super_resolve(low, r) for r in (one, two, [one, two]))
    assert not np.array_equal(alone, other) and not np.array_equal(alone, both)
    np.testing.assert_allclose(e2.super_resolve(low, [two, one]).astype(int), both, atol=1)


def test_two_references_each_give_what_matches_them_best():
    low, one, two = picture(6, 8), picture(24, 24, 1), picture(16, 40, 2)
    model = e2.load_model("e2ent2")
    swapped = [run(model, low, refs).swapped for refs in ([one], [two], [one, two])]
    assert not torch.equal(swapped[2], swapped[0]) and not torch.equal(swapped[2], swapped[1])


def test_a_reference_is_cropped_to_a_multiple_of_four():
    low, ref = picture(6, 8), picture(27, 33, 1)
    np.testing.assert_array_equal(e2.super_resolve(low, ref), e2.super_resolve(low, ref[:24, :32]))
    full, down = prepare_reference(ref)
    assert full.shape == (1, 3, 24, 32) and down.shape == (1, 3, 6, 8)
    np.testing.assert_array_equal(to_image(full), crop_to_multiple(ref))


@pytest.mark.parametrize("size", [(11, 30), (30, 11), (1, 1)])
def test_a_reference_under_12_pixels_is_refused_with_its_size(size):
    with pytest.raises(ValueError, match=rf"{size[1]}×{size[0]} pixels is too small; it needs 12×12"):
        e2.super_resolve(picture(6, 6), picture(*size))


def test_of_several_references_the_one_that_is_too_small_is_named(tmp_path):
    write_image(tmp_path / "stamp.png", picture(8, 8))
    with pytest.raises(ValueError, match=r"stamp\.png|reference 2"):
        e2.super_resolve(picture(6, 6), [picture(24, 24), tmp_path / "stamp.png"])


def test_the_smallest_reference_has_one_patch_and_works():
    assert e2.super_resolve(picture(3, 2), picture(12, 12)).shape == (12, 8, 3)


def test_an_untrained_model_is_refused():
    for name in ("sisr", "e2ent2"):
        model = build_model(name, SMOKE)
        with pytest.raises(RuntimeError, match="untrained"):
            e2.super_resolve(picture(6, 6), picture(12, 12), model=model)


def test_a_loaded_model_gives_what_its_name_gives():
    low, ref = picture(6, 6), picture(24, 24, 1)
    expected = e2.super_resolve(low, ref, model="e2ent2")
    np.testing.assert_array_equal(e2.super_resolve(low, ref, model=e2.load_model("e2ent2")), expected)


def test_the_profile_may_be_named(monkeypatch):
    low = picture(4, 4)
    expected = e2.super_resolve(low)
    monkeypatch.setenv("E2ENT2_PROFILE", "compact")
    np.testing.assert_array_equal(e2.super_resolve(low, profile="smoke"), expected)
    with pytest.raises(FileNotFoundError, match="e2ent2 train e2ent2 --profile compact"):
        e2.super_resolve(low)


def test_another_folder_of_weights_gives_another_model(weights, monkeypatch):
    low = picture(4, 4)
    before = e2.super_resolve(low)
    model = build_model("e2ent2", SMOKE)
    save_model(model, {"model": "e2ent2"}, weights / "other" / "smoke", "e2ent2")
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(weights / "other"))
    assert not np.array_equal(e2.super_resolve(low), before)


def test_the_same_call_gives_the_same_picture_and_leaves_its_arguments_alone():
    low, ref = picture(6, 6), picture(24, 24, 1)
    copies = low.copy(), ref.copy()
    first, second = (e2.super_resolve(low, ref) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(low, copies[0])
    np.testing.assert_array_equal(ref, copies[1])


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


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown model 'magic'"):
        e2.super_resolve(picture(6, 6), model="magic")
    with pytest.raises(ValueError, match="unknown profile 'huge'"):
        e2.super_resolve(picture(6, 6), profile="huge")


def test_a_grey_low_resolution_picture_is_enlarged_as_rgb():
    grey = picture(6, 6)[..., 0]
    np.testing.assert_array_equal(e2.super_resolve(grey), e2.super_resolve(np.stack([grey] * 3, axis=2)))


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


def test_the_feature_distance_of_a_swapped_map_that_is_the_truth_is_zero():
    model, hr = e2.load_model("sisr"), picture(24, 24)
    phi = model.encoder(to_tensor(hr))
    assert feature_distance(model, picture(6, 6), [picture(24, 24)], hr, Enlarged(hr, swapped=phi)) == (0, 0)


# ---- every system of the tables by one call ----


def shipped(name, folder):
    """A checkpoint of the smoke profile with random weights."""
    torch.manual_seed(1)
    save_model(build_model(name, SMOKE), {"model": name}, folder / "smoke", name)


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_enlarges_an_odd_size_with_a_reference_and_most_without(name, weights):
    if name in MODELS:
        shipped(name, weights)
    low = picture(9, 13)
    found = e2.super_resolve(low, picture(36, 52, 1), model=name)
    assert found.shape == (36, 52, 3) and found.dtype == np.uint8
    if name in ("landmark", "stereosr", "passrnet", "feature-vgg"):
        with pytest.raises(ValueError, match="reference"):
            e2.super_resolve(low, model=name)
    else:
        assert e2.super_resolve(low, model=name).shape == (36, 52, 3)


@pytest.mark.parametrize("name", ["drcn", "enhancenet", "srresnet", "srgan", "sisr", "sisr-gan", "bicubic"])
def test_a_single_image_method_makes_no_use_of_a_reference(name, weights):
    if name in MODELS:
        shipped(name, weights)
    low = picture(9, 13)
    np.testing.assert_array_equal(
        e2.super_resolve(low, picture(36, 52, 1), model=name), e2.super_resolve(low, model=name)
    )


@pytest.mark.parametrize("name", ["stereosr", "passrnet"])
def test_a_stereo_method_refuses_what_is_no_stereo_pair(name, weights):
    shipped(name, weights)
    with pytest.raises(ValueError, match=r"rectified stereo pair; .*use e2ent2 or srntt"):
        e2.super_resolve(picture(9, 13), picture(40, 52, 1), model=name)
    with pytest.raises(ValueError, match="2 references, expected one"):
        e2.super_resolve(picture(9, 13), [picture(36, 52, 1)] * 2, model=name)


@pytest.mark.parametrize("name", ["srntt", "feature-vgg", "feature-presisr"])
def test_a_refsr_method_takes_references_of_several_sizes(name, weights):
    shipped(name, weights)
    refs = [picture(36, 52, 1), picture(24, 20, 2)]
    assert e2.super_resolve(picture(9, 13), refs, model=name).shape == (36, 52, 3)


def test_a_frozen_branch_is_the_one_used_without_a_reference(weights):
    shipped("feature-presisr", weights)
    model = e2.load_model("feature-presisr")
    low = picture(9, 13)
    np.testing.assert_array_equal(enlarge(model, low).image, to_image(model.sisr(to_tensor(low)).sr))


@pytest.mark.parametrize("name", ["srntt", "e2ent2-mse-subcell"])
def test_a_picture_too_large_for_a_system_that_takes_it_whole_is_refused(name, weights, monkeypatch):
    shipped(name, weights)
    monkeypatch.setattr(inference, "memory", lambda: 10_000.0)
    with pytest.raises(ValueError, match="whole"):
        e2.super_resolve(picture(9, 13), picture(36, 52, 1), model=name)
    assert e2.super_resolve(picture(9, 13), picture(36, 52, 1), model="e2ent2").shape == (36, 52, 3)
