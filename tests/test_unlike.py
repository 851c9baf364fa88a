"""Inputs unlike the training data, and what costs a reference its gain."""

import numpy as np
import pytest
import skimage.data
from data_files import encoded
from PIL import Image

from e2ent2lib.photos.images import downscale, upscale_bicubic
from e2ent2lib.photos.photograph import Photograph, read_photograph
from e2ent2lib.photos.unlike import remarks, unlike_training

HR = skimage.data.astronaut()[:, 16:496]
LR = downscale(HR)


def noisy(sigma):
    return (LR + np.random.default_rng(0).normal(0, sigma, LR.shape)).clip(0, 255).astype(np.uint8)


def as_jpeg(tmp_path, quality, name="a.jpg"):
    (tmp_path / name).write_bytes(encoded(Image.fromarray(LR), "JPEG", quality=quality))
    return read_photograph(tmp_path / name)


@pytest.mark.parametrize(
    ("pixels", "told"),
    [
        (LR, None),
        (HR[2::4, 2::4], "more detail than pixels can hold"),
        (noisy(15), "noise of about"),
        (np.full((40, 40, 3), 90, np.uint8), None),
        (LR[:20, :20], None),
    ],
)
def test_a_decimated_or_noisy_input_is_told_and_a_reduced_one_is_not(pixels, told):
    found, beyond = unlike_training(Photograph(np.ascontiguousarray(pixels)))
    assert (found, beyond) == (None, False) if told is None else told in found and beyond


@pytest.mark.parametrize(("quality", "told"), [(95, False), (85, False), (75, True), (50, True), (20, True)])
def test_a_jpegs_quality_is_read_from_its_table(tmp_path, quality, told):
    photo = as_jpeg(tmp_path, quality)
    assert photo.jpeg == pytest.approx(quality, abs=1)
    assert (f"quality {photo.jpeg}" in (unlike_training(photo)[0] or "")) == told
    assert unlike_training(photo)[1] == (quality == 20)  # which ``data.degraded`` shows no network


def test_of_a_reference_size_angle_and_a_lack_of_detail_are_told():
    assert remarks(LR, HR, "a") == ([], False)
    larger = np.asarray(Image.fromarray(HR).resize((2 * HR.shape[1], 2 * HR.shape[0])))
    for laid_over in (False, True):
        (told,), costs = remarks(LR, larger, "b.png", laid_over=laid_over)
        assert told.startswith("b.png shows things 2 times as large") and "turned" not in told and costs != laid_over
    (told,), _ = remarks(LR, np.ascontiguousarray(np.rot90(HR)), "c.png")
    assert "turned by 90°" in told
    for enlarged in (upscale_bicubic(LR), LR.repeat(4, 0).repeat(4, 1)):
        (told,), costs = remarks(LR, enlarged, "d.png")
        assert "no finer detail" in told and costs
    assert "few pixels" in remarks(LR, LR, "e.png", laid_over=True)[0][0]
