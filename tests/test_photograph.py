"""Photographs of one's own (photograph.py): what a file carries is kept, or it is said that it could not be."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from e2ent2lib.photos.images import EXTENSIONS, downscale, read_image
from e2ent2lib.photos.photograph import (
    Photograph,
    check_output,
    enlarged_alpha,
    in_colours_of,
    read_photograph,
    write_photograph,
)

few = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def noise(height=12, width=17, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def wide_gamut():
    """An RGB profile other than sRGB: its red and blue primaries exchanged, by the tags' names in the table."""
    profile = bytearray(SRGB)
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_the_cameras_rotation_is_applied_and_not_written_again(tmp_path, orientation, ending):
    turned = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270"}
    turned |= {7: "TRANSVERSE", 8: "ROTATE_90"}
    stored, exif = Image.new("RGB", (64, 32), "black"), Image.Exif()
    stored.paste("white", (0, 0, 32, 16))  # so that each turn is another picture
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{ending}", exif=exif)
    upright = stored.transpose(Image.Transpose[turned[orientation]]) if orientation > 1 else stored
    photo = read_photograph(tmp_path / f"a{ending}")
    assert photo.pixels.shape == (upright.height, upright.width, 3) and not photo.said
    assert np.abs(photo.pixels.astype(int) - np.asarray(upright)).mean() < 12
    write_photograph(tmp_path / f"b{ending}", photo)
    assert np.abs(read_image(tmp_path / f"b{ending}").astype(int) - photo.pixels).mean() < 12
    with Image.open(tmp_path / f"b{ending}") as written:
        assert 0x0112 not in written.getexif()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".webp"])
def test_a_colour_profile_is_carried_over(tmp_path, ending):
    Image.fromarray(noise()).save(tmp_path / f"a{ending}", icc_profile=wide_gamut())
    photo = read_photograph(tmp_path / f"a{ending}")
    assert photo.profile == wide_gamut()
    assert write_photograph(tmp_path / f"b{ending}", photo) == []
    with Image.open(tmp_path / f"b{ending}") as written:
        assert written.info["icc_profile"] == wide_gamut()


@pytest.mark.parametrize("profile", [b"nonsense", SRGB[:200], LAB])
def test_a_profile_that_is_damaged_or_of_another_kind_is_left_out_with_a_word(tmp_path, profile):
    Image.fromarray(noise()).save(tmp_path / "a.png", icc_profile=profile)
    photo = read_photograph(tmp_path / "a.png")
    assert photo.profile is None and "colour profile is damaged or not for this picture" in photo.said[0]


def test_a_reference_in_other_colours_is_brought_into_the_inputs():
    plain, wide = Photograph(noise()), Photograph(noise(), profile=wide_gamut())
    assert in_colours_of(plain, plain) is plain.pixels and in_colours_of(wide, wide) is wide.pixels
    there = in_colours_of(plain, wide)
    back = in_colours_of(Photograph(there, profile=wide_gamut()), plain)
    assert np.abs(there.astype(int) - plain.pixels).mean() > 5
    inside = np.all((there > 0) & (there < 255), axis=2)
    assert np.abs(back.astype(int) - plain.pixels)[inside].mean() < 3


@pytest.mark.parametrize(
    ("mode", "ending"), [("L", ".png"), ("L", ".jpg"), ("L", ".tif"), ("1", ".png"), ("LA", ".png")]
)
def test_grey_stays_grey(tmp_path, mode, ending):
    Image.fromarray(noise(channels=1)).convert(mode).save(tmp_path / f"a{ending}")
    photo = read_photograph(tmp_path / f"a{ending}")
    assert photo.grey and (photo.pixels == photo.pixels[..., :1]).all()
    write_photograph(tmp_path / f"b{ending}", photo)
    with Image.open(tmp_path / f"b{ending}") as written:
        assert written.mode == "L"
        np.testing.assert_allclose(np.asarray(written).astype(int), photo.pixels[..., 0], atol=12)


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_carried_over(tmp_path, mode, ending):
    rgba = Image.fromarray(np.dstack([noise(), noise(channels=1, seed=1)]))
    if mode == "P":
        rgba.convert("RGB").quantize(16).save(tmp_path / "a.png", transparency=3)
    else:
        rgba.convert(mode).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    photo = read_photograph(tmp_path / "a.png")
    np.testing.assert_array_equal(photo.alpha, alpha)
    assert write_photograph(tmp_path / f"b{ending}", photo) == []
    with Image.open(tmp_path / f"b{ending}") as written:
        np.testing.assert_array_equal(np.asarray(written.getchannel("A")), alpha)
        assert written.mode == ("LA" if mode == "LA" and ending != ".webp" else "RGBA")


def test_colours_under_full_transparency_are_not_lost(tmp_path):
    pixels = np.dstack([noise(), np.zeros((12, 17), np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photograph(tmp_path / "a.png").pixels, pixels[..., :3])


@pytest.mark.parametrize("ending", [".jpg", ".bmp"])
def test_a_format_without_transparency_gets_white_and_it_is_said(tmp_path, ending):
    photo = Photograph(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8))
    (said,) = write_photograph(tmp_path / f"a{ending}", photo)
    assert "no transparency" in said and ".png keeps it" in said
    assert read_image(tmp_path / f"a{ending}").min() == 255


def test_an_opaque_alpha_channel_is_none(tmp_path):
    Image.fromarray(noise()).convert("RGBA").save(tmp_path / "a.png")
    assert read_photograph(tmp_path / "a.png").alpha is None


def test_what_is_opaque_stays_opaque_when_enlarged():
    alpha = np.full((9, 9), 255, np.uint8)
    alpha[:4] = 0
    large = enlarged_alpha(alpha)
    assert large.shape == (36, 36) and large[:8].max() == 0 and large[24:].min() == 255


@pytest.mark.parametrize("kind", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_are_converted_with_a_word(tmp_path, kind):
    smooth = Image.fromarray(noise(2, 3)).resize((48, 32), Image.Resampling.BICUBIC)
    if kind == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(smooth, srgb, lab, outputMode="LAB")
    else:
        image = smooth.convert(kind)
    image.save(tmp_path / "a.tif")
    photo = read_photograph(tmp_path / "a.tif")
    assert f"{kind} is converted to RGB" in photo.said[0] and photo.profile is None
    assert np.abs(photo.pixels.astype(int) - np.asarray(smooth)).mean() < 8


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bits_become_8_with_a_word(tmp_path, ending):
    deep = np.arange(0, 65536, 257 * 3, np.uint16).reshape(2, -1)[:, :40]
    Image.fromarray(deep).save(tmp_path / f"a{ending}")
    photo = read_photograph(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(photo.pixels[..., 0], np.round(deep / 257))
    assert photo.grey and "16 bits are reduced to 8" in photo.said[0]


@pytest.mark.parametrize("ending", [".gif", ".png", ".webp", ".tif"])
def test_of_an_animation_the_first_picture_is_taken_with_a_word(tmp_path, ending):
    frames = [Image.new("RGB", (20, 14), c) for c in ("red", "blue", "lime")]
    frames[0].save(tmp_path / f"a{ending}", save_all=True, append_images=frames[1:])
    photo = read_photograph(tmp_path / f"a{ending}")
    assert np.abs(photo.pixels.astype(int) - [255, 0, 0]).max() < 4
    assert "the first of 3 pictures" in photo.said[0]


@pytest.mark.parametrize(
    "ending", [".png", ".jpg", ".bmp", ".gif", ".ico", ".ppm", ".tga", ".jp2", ".webp", ".pcx", ".avif"]
)
def test_every_kind_of_file_that_pillow_reads_and_writes_is_read(tmp_path, ending):
    Image.init()
    kind = Image.registered_extensions().get(ending)
    if kind not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {ending}")
    smooth = Image.fromarray(noise(2, 2)).resize((48, 48), Image.Resampling.BICUBIC)
    smooth.save(tmp_path / f"a{ending}")
    found = read_photograph(tmp_path / f"a{ending}").pixels
    assert found.shape == (48, 48, 3) and np.abs(found.astype(int) - np.asarray(smooth)).mean() < 12


@few
@given(st.sampled_from(EXTENSIONS), st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_what_is_written_is_read_back(tmp_path, ending, height, width, grey, transparent):
    pixels = np.repeat(noise(height, width, 1)[..., None], 3, 2) if grey else noise(height, width)
    photo = Photograph(pixels, noise(height, width, 1, 2) if transparent else None, grey=grey)
    said = write_photograph(tmp_path / f"a{ending}", photo)
    found = read_photograph(tmp_path / f"a{ending}")
    assert found.pixels.shape == pixels.shape
    if ending in (".png", ".tif", ".tiff"):
        np.testing.assert_array_equal(found.pixels, pixels)
        assert not said and found.grey == grey
        if transparent and photo.alpha.min() < 255:
            np.testing.assert_array_equal(found.alpha, photo.alpha)


def test_a_jpeg_hardly_loses_what_was_made_sharp(tmp_path):
    sharp = downscale(noise(256, 256), 2)
    write_photograph(tmp_path / "a.jpg", Photograph(sharp))
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - sharp).mean() < 3.5


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a.xyz", "unknown ending '.xyz'; use one of .png"),
        ("a", "unknown ending ''"),
        ("folder.png", "is a folder; name a file such as"),
        ("gone/a.png", "no such folder; create it"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_beforehand(tmp_path, name, says):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        check_output(tmp_path / name, (8, 8))


@pytest.mark.parametrize(("ending", "most"), [(".webp", 16383), (".jpg", 65500)])
def test_a_picture_larger_than_its_format_is_refused_beforehand(tmp_path, ending, most):
    check_output(tmp_path / f"a{ending}", (4, most))
    with pytest.raises(ValueError, match=rf"holds at most {most} pixels a side, not {most + 1}×4; use \.png"):
        check_output(tmp_path / f"a{ending}", (4, most + 1))


def test_a_picture_in_memory_and_a_file_of_it_are_the_same(tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(noise()).save(buffer, "PNG")
    (tmp_path / "no ending").write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_photograph(tmp_path / "no ending").pixels, noise())
