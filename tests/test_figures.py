"""The figures: what the diagrams say is what the network did, and files appear whole and always alike."""

import xml.etree.ElementTree as ET
from itertools import pairwise
from pathlib import Path

import jinja2
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import ImageFont
from torch import nn

from e2ent2lib.config import COMPACT, PAPER, SMOKE
from e2ent2lib.matching import Matches
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.photos.images import downscale
from e2ent2lib.report import figures
from e2ent2lib.report.diagrams import Drawing, describe, diagram, parameters, record
from e2ent2lib.report.figures import backward_pass, error_maps, forward_pass, patches, textured
from e2ent2lib.report.plots import Example, engine, example_model, principal_colours
from e2ent2lib.runs.checkpoints import build_model

CARD = {"model": "e2ent2", "sha256": "0" * 64}
FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def off_screen():
    matplotlib.use("Agg")
    yield
    plt.close("all")


def network(profile=SMOKE):
    torch.manual_seed(0)
    model = build_model("e2ent2", profile).eval().requires_grad_(False)
    model.card = CARD
    return model


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def example():
    """I_in of 8×6 and a reference of 20×36 pixels."""
    hr, ref = noise(24, 32), noise(36, 20, seed=1)
    return Example(hr, downscale(hr), ref, downscale(ref))


def words(figure):
    """Everything that is written in a figure, the lines of its caption joined."""
    if isinstance(figure, Drawing):
        texts = list(ET.fromstring(figure.svg).iter(f"{SVG}text"))
        return "\n".join((" " if t.get("class") == "caption" else "").join(t.itertext()) for t in texts)
    texts = [t.get_text() for a in figure.axes for t in (*a.texts, a.title, a.xaxis.label, a.yaxis.label)]
    caption = figure.get_supxlabel().replace("\n", " ")
    return "\n".join([*texts, figure.get_suptitle(), caption])


def test_a_toy_network_whose_shapes_can_be_counted_by_hand():
    toy = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.PixelShuffle(2))
    trace = record(toy, torch.zeros(1, 3, 2, 3))
    assert trace.outputs == {"0": [(4, 2, 3)], "1": [(1, 4, 6)]}
    assert trace.inputs == {"0": [((3, 2, 3),)], "1": [((4, 2, 3),)]}
    assert [describe(layer) for layer in toy] == ["conv 3×3\n3 → 4", "pixel shuffle ×2"]
    assert parameters(toy) == 4 * (9 * 3 + 1)
    with pytest.raises(RuntimeError):
        record(toy, torch.zeros(1, 5, 4, 4))
    assert not toy[0]._forward_hooks, "a hook stays behind"


def test_diagrams_write_the_shapes_and_counts_of_the_model(example):
    model = network()
    whole, branch, zeta = (words(diagram(number, model, example)) for number in (2, 3, 6))
    for shape in ("3×6×8", "3×9×5", "3×36×20", "8×6×8", "8×9×5", "8×36×20", "8×24×32", "3×24×32"):
        assert shape in whole
    assert "12×12 patches" in whole and f"{parameters(model):,} parameters in all" in whole
    assert "1 residual\nblock" in branch and f"{2 * (9 * 8 * 8 + 8):,} parameters" in branch
    assert "8×12×16" in branch and "8 → 32" in branch and "feature encoding module" in branch
    assert "16×24×32" in zeta and "16 → 8" in zeta and "image synthesis module" in zeta


@pytest.mark.parametrize("profile", [SMOKE, COMPACT, PAPER], ids=lambda p: p.name)
@pytest.mark.parametrize("number", [2, 3, 6])
def test_every_text_fits_its_box(number, profile, example):
    drawing = diagram(number, network(profile), engine() if profile is not PAPER else example)  # wide: takes seconds
    boxes = ET.fromstring(drawing.svg).findall(f"{SVG}g[@class='box']")
    assert len(boxes) >= 4
    for box in boxes:
        rect = box.find(f"{SVG}rect")
        x, y, width, height = (float(rect.get(side)) for side in ("x", "y", "width", "height"))
        lines = [line for line in box.findall(f"{SVG}text") if line.get("class") != "sign"]
        for line in lines:
            font = ImageFont.truetype(FONTS / f"DejaVuSans{'-Bold' * (line.get('class') == 'name')}.ttf", 20)
            assert font.getlength("".join(line.itertext())) < width and x < float(line.get("x")) < x + width
            assert y + 18 < float(line.get("y")) < y + height - 6
        rows = sorted({float(line.get("y")) for line in lines})
        assert all(below - above >= 24 for above, below in pairwise(rows)), "lines overlap"


def test_a_placeholder_without_a_value_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="lr"):
        Drawing("fig3", {}, {}, "", {})


def test_a_patch_is_found_again_in_all_four_pictures():
    index = torch.full((1, 4, 4), 5)  # of a reference 5 cells wide: u = 5 mod 3 = 2, v = 1
    matches = Matches(index, index, index, index)
    assert patches(matches, (2, 1), width=5, r=4) == [(0, 1, 3), (2, 1, 3), (8, 4, 12), (0, 4, 12)]


def test_the_most_textured_patches_lie_inside_and_apart():
    image = np.zeros((12, 12, 3), np.uint8)
    image[3, 3], image[8, 9], image[11, 0] = 255, 200, 90
    (y, x), second, third = textured(image, 3, apart=4)
    assert abs(y - 3) <= 1 and abs(x - 3) <= 1
    assert max(abs(second[0] - 8), abs(second[1] - 9)) <= 1
    assert all(1 <= n <= 10 for n in (*second, *third))


def test_error_maps_have_the_sizes_of_the_features_and_keep_the_error(example):
    errors = error_maps(network(), example)
    assert [tuple(e.shape[1:]) for e in errors[:4]] == [(8, 24, 32), (8, 6, 8), (8, 9, 5), (8, 36, 20)]
    torch.testing.assert_close(errors.at_in, F.avg_pool2d(errors.at_swapped, 4))
    for mine, all_of_it in ((errors.at_ref, 1), (errors.at_ref_down, 16)):  # each cell of F is a mean: nothing is lost
        total = errors.at_swapped.double().sum()
        torch.testing.assert_close(mine.double().sum() * all_of_it, total, rtol=1e-3, atol=1e-9)


def test_features_share_one_basis_of_colours():
    a, b = torch.randn(1, 8, 3, 4), torch.randn(1, 8, 6, 5)
    one, two = principal_colours([a, b])
    assert one.shape == (3, 4, 3) and two.shape == (6, 5, 3) and one.dtype == np.uint8
    both = principal_colours([torch.cat([a, a], 3), b])[0]
    np.testing.assert_array_equal(both[:, :4], both[:, 4:])


def test_figure_7_prints_each_crops_psnr_and_the_best_in_bold(monkeypatch):
    hr = noise(64, 64)
    near, far = (np.clip(hr.astype(int) + n, 0, 255).astype(np.uint8) for n in (3, 9))
    monkeypatch.setattr(figures, "part_of_pair", lambda: (hr, hr))
    monkeypatch.setattr(figures, "enlarged", lambda profile: {"bicubic": far, "e2ent2": near})
    figure = figures.crops_by_system("compact", places={"here": (8, 4, 16, 12), "there": (40, 40, 16, 12)})
    labels = {a.get_xlabel(): a.xaxis.label.get_weight() for a in figure.axes if a.get_xlabel()}
    for y, x in ((4, 8), (40, 40)):
        for image, weight in ((far, "normal"), (near, "bold")):
            assert labels[f"{psnr(image[y : y + 12, x : x + 16], hr[y : y + 12, x : x + 16]):.2f} dB"] == weight


def test_without_checkpoints_every_figure_is_drawn_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    hr, _ = figures.prepared(figures.dataset("motorcycle").pairs()[0])
    monkeypatch.setattr(figures, "super_resolve", lambda *_, **__: hr)  # Landmark has no checkpoint, and takes long
    texts = {number: words(draw("smoke")) for number, draw in figures.FIGURES.items()}
    assert sorted([*texts, *figures.MISSING]) == list(range(1, 9)), "drawn, or with a reason"
    assert all(f"Fig. {number}." in text for number, text in texts.items())
    for number in (1, 7):
        assert "No checkpoint of this profile yet: DRCN, EnhanceNet, SRGAN, SISR" in texts[number]
    assert all("untrained weights" in texts[number] for number in (2, 3, 4, 5, 6))


def test_untrained_stand_in_is_always_the_same_and_leaves_the_random_state_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    before = torch.get_rng_state()
    one, two = example_model("smoke"), example_model("smoke")
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("draw", [forward_pass, backward_pass])
def test_match_figures_name_sizes_and_checkpoint_and_are_the_same_bytes_each_time(draw, tmp_path, example):
    text = words(draw(network(), example))
    assert all(part in text for part in ("8×24×32", "8×6×8", "8×9×5", "8×36×20", "checkpoint 00000000"))
    files = [figures.draw(lambda: draw(network(), example), "fig", tmp_path / name) for name in ("one", "two")]
    assert [p.name for p in files[0]] == ["fig.png", "fig.pdf"]
    for one, two in zip(*files):
        assert one.read_bytes() == two.read_bytes() and one.stat().st_size > 1000


def test_drawing_makes_the_folder_closes_its_figures_and_leaves_the_style_alone(tmp_path):
    size = plt.rcParams["savefig.dpi"]
    paths = figures.draw(lambda: plt.figure(figsize=(1, 1)), "fig3", tmp_path / "new")
    assert all(p.is_file() for p in paths) and not plt.get_fignums()
    assert plt.rcParams["savefig.dpi"] == size
