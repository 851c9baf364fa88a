"""The table of systems, and what every network promises (models/network.py), one network of each class."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import MODELS, RECIPES, crops, images, network, untrained
from tiny_run import run
from tolerances import IMAGE

from e2ent2lib import super_resolve
from e2ent2lib.config import SMOKE, get_profile
from e2ent2lib.measure.evaluate import evaluate
from e2ent2lib.measure.results import read_results, result_file, write_rows
from e2ent2lib.models import Outputs
from e2ent2lib.report.studies import ideas, own_parameters
from e2ent2lib.report.tables import table
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.systems import SYSTEMS, Recipe, System
from e2ent2lib.systems.parts import enlarge
from e2ent2lib.systems.vgg import LAYERS

CLASSES = {SYSTEMS[name].network: name for name in reversed(MODELS)}
LOSSES = {(SYSTEMS[name].network, recipe.loss, recipe.rec): name for name, recipe in RECIPES.items()}
each = pytest.mark.parametrize("name", CLASSES.values())
stereo = pytest.mark.parametrize("name", ["stereosr", "passrnet"])
pytestmark = pytest.mark.usefixtures("no_weight_file")

MADE_UP = '''"""A system of a reader's own.

The idea: repeat each pixel, and learn what is wrong with that.
"""

from torch import nn

from e2ent2lib.models.network import Network, Outputs


class MadeUp(Network):
    """One convolution after nearest-neighbour enlarging."""

    def __init__(self, profile):
        super().__init__()
        self.profile = profile
        self.body = nn.Sequential(nn.Upsample(scale_factor=profile.scale), nn.Conv2d(3, 3, 3, padding=1))

    def forward(self, lr, *references):
        return Outputs(self.body(lr))
'''


def test_a_file_and_a_record_make_a_system_that_trains_is_measured_and_stands_in_its_table(
    tmp_path, monkeypatch, photographs
):
    (tmp_path / "made_up.py").write_text(MADE_UP)
    monkeypatch.syspath_prepend(tmp_path)
    record = System("made-up", "Made up", "made_up:MadeUp", recipe=Recipe("steps_single"), rows={1: "Made up (ours)"})
    monkeypatch.setitem(SYSTEMS, record.name, record)
    run("made-up", tmp_path / "smoke", photographs)
    rows = evaluate("made-up", "motorcycle", profile="smoke", folder=tmp_path / "smoke", progress=False)
    write_rows(result_file(tmp_path / "results", "smoke", "motorcycle", "made-up"), rows)
    long = table(1, read_results(tmp_path / "results", "smoke"), "smoke")
    line = long[(long["model"] == "made-up") & (long["data set"] == "motorcycle")].iloc[0]
    assert line["method"] == "Made up (ours)" and line["measured psnr"] == round(rows[0]["psnr"], 2)
    monkeypatch.setenv("E2ENT2_WEIGHTS", str(tmp_path))
    assert super_resolve(np.zeros((5, 6, 3), np.uint8), model="made-up", profile="smoke").shape == (20, 24, 3)
    assert "Made up" in ideas(["made-up"]) and "repeat each pixel" in ideas(["made-up"])


def test_the_table_imports_no_network_and_a_model_its_own_file():
    code = """if True:
        import sys
        from e2ent2lib.config import SMOKE
        from e2ent2lib.systems import SYSTEMS
        print("torch" in sys.modules, len(SYSTEMS))
        SYSTEMS["drcn"].build(SMOKE)
        print(*sorted(m.removeprefix("e2ent2lib.systems.") for m in sys.modules if "e2ent2lib.systems." in m))
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == [f"False {len(SYSTEMS)}", "drcn parts"]


# every network


@pytest.mark.parametrize(("h", "w", "batch"), [(5, 9, 1), (7, 6, 2)])
@each
def test_any_size_is_enlarged_four_times(name, h, w, batch):
    with torch.no_grad():
        outputs = network(name)(*crops(h, w, batch)[1:])
    assert isinstance(outputs, Outputs) and outputs.sr.shape == (batch, 3, 4 * h, 4 * w)
    assert outputs.sisr is None or outputs.sisr.shape == outputs.sr.shape
    assert (outputs.confidence is None) == (outputs.swapped is None)
    if outputs.swapped is not None:
        assert outputs.swapped.shape[2:] == outputs.sr.shape[2:] and outputs.confidence.shape == (batch, h, w)


@each
def test_an_image_does_not_depend_on_the_rest_of_its_batch(name):
    model, batch = network(name), crops(6, 9, 3)
    with torch.no_grad():
        together, alone = model(*batch[1:]).sr, model(*(x[1:2] for x in batch[1:])).sr
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-4)


@each
def test_half_precision_and_channels_last_change_little(name):
    model, batch = untrained(name).eval(), crops(9, 12)[1:]
    with torch.no_grad():
        expected = model(*batch).sr
        model = model.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(*(x.contiguous(memory_format=torch.channels_last) for x in batch)).sr
    assert (half.float() - expected).abs().mean() < 0.02


@pytest.mark.parametrize("name", LOSSES.values())
def test_gradients_of_its_loss_reach_all_that_is_trained_and_nothing_else_also_in_half_precision(name):
    model, batch, recipe = network(name).train(), crops(8, 16), RECIPES[name]
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(*batch[1:])
    loss = recipe.make_loss(SMOKE, model.branches)
    terms = loss(outputs, batch, 0.5)
    assert terms.keys() == {term for term, weight in loss.weights.items() if weight and not term.startswith("adv_")}
    sum(loss.weights[term] * value for term, value in terms.items()).backward()
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    assert trained and all(p.grad.isfinite().all() for p in trained.values())
    assert [key for key, p in trained.items() if p.ndim == 4 and not p.grad.any()] == []
    frozen = [p for p in (*model.parameters(), *loss.parameters()) if not p.requires_grad]
    assert all(p.grad is None for p in frozen)


@pytest.mark.parametrize(("name", "scale"), [("drcn", 3), ("srresnet", 2), ("enhancenet", 2)])
def test_other_scales_work_too(name, scale):
    assert build_model(name, replace(SMOKE, scale=scale))(images(1, 3, 5, 7)).sr.shape == (1, 3, 5 * scale, 7 * scale)


@pytest.mark.parametrize(
    ("name", "last"),
    [("drcn", ["reconstruction.2"]), ("enhancenet", ["tail.2"]), ("stereosr", ["luminance.30", "colour.30"])],
)
def test_with_silent_last_layers_it_is_the_bicubic_image_exactly_also_in_half_precision(name, last):
    model, batch = untrained(name).to(memory_format=torch.channels_last), crops(5, 9)
    for layer in last:
        torch.nn.init.zeros_(model.get_submodule(layer).weight)
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            sr = model(*(x.contiguous(memory_format=torch.channels_last) for x in batch[1:])).sr
        torch.testing.assert_close(sr, enlarge(batch.lr, 4), **IMAGE)


# what was published: at paper size its parameters and its loss, and how its stack of blocks is shortened


@pytest.mark.parametrize(
    ("name", "published", "digits"),
    [
        ("drcn", 1.775e6, 0.01),
        ("enhancenet", 0.853e6, 0.01),
        ("srresnet", 1.55e6, 0.01),
        ("srntt", 4.38e6, 0.01),
        ("stereosr", 1.076e6, 1e-3),
        ("passrnet", 1.417e6, 1e-3),
    ],
)
def test_at_paper_size_it_has_the_published_parameters(name, published, digits):
    assert own_parameters(build_model(name, get_profile("paper"))) == pytest.approx(published, rel=digits)


@pytest.mark.parametrize(
    ("name", "weights", "layer"),
    [
        ("drcn", {"recursions": 1.0, "final": 1.0, "decay": 1e-4}, None),
        (
            "enhancenet",
            {"perceptual_pool2": 0.2, "perceptual_pool5": 0.02, "adv_sisr": 2.0}
            | {"texture_conv1_1": 3e-7, "texture_conv2_1": 1e-6, "texture_conv3_1": 1e-6},
            "pool5",
        ),
        ("srresnet", {"mse": 1.0}, None),
        ("srgan", {"content": 1.0, "adv_sisr": 1e-3}, "relu5_4"),
        ("srntt", {"rec": 1.0, "perceptual": 1e-4, "texture": 1e-4, "adv_ref": 1e-6}, "relu5_1"),
        ("stereosr", {"rmse": 1.0}, None),
        ("passrnet", {"mse": 1.0, "photometric": 0.005, "smoothness": 0.005, "cycle": 0.005}, None),
    ],
)
def test_at_paper_size_its_loss_has_the_published_weights_and_deepest_layer(name, weights, layer):
    loss = RECIPES[name].make_loss(get_profile("paper"), ())
    assert loss.weights == weights
    assert layer is None or max(loss.vgg.layers, key=LAYERS.index) == layer


@pytest.mark.parametrize(
    ("name", "paper", "compact"),
    [("enhancenet", 10, 2), ("srresnet", 16, 4), ("srntt", 16 + 16 + 8 + 4, 4 + 4 + 2 + 1), ("passrnet", 4 + 4, 4 + 1)],
)
def test_its_blocks_are_the_published_ones_and_fewer_at_compact(name, paper, compact):
    for profile, count in (("paper", paper), ("compact", compact)):
        modules = list(build_model(name, get_profile(profile)).modules())
        assert sum(type(m).__name__ in ("ResidualBlock", "NormalisedBlock", "ResB") for m in modules) == count


# those that take a rectified pair


@stereo
def test_one_right_view_is_taken_at_low_resolution_in_a_list_or_not(name):
    model, (_, lr, ref, down) = network(name), crops(6, 7, 1)
    with torch.no_grad():
        expected = model(lr, ref, down).sr
        for other in (model(lr, [ref], [down]), model(lr, images(*ref.shape, seed=9), down)):
            torch.testing.assert_close(other.sr, expected, rtol=0, atol=0)


@stereo
@pytest.mark.parametrize("views", [[], [(6, 7), (6, 7)], [(6, 8)]])
def test_no_view_several_or_one_of_another_size_are_refused(name, views):
    lr, downs = images(1, 3, 6, 7), [images(1, 3, *size) for size in views]
    with pytest.raises(ValueError, match=r"(?i)" + name):
        network(name)(lr, downs, downs)
