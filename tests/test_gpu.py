"""The trainings of ``benchmarks/gpu.py``, on a CPU: the same steps as the trainer's, and a whole call."""

import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load
from tiny import picture
from torch._subclasses import FakeTensorMode

from benchmarks import gpu, gpu_photo, gpu_rows, gpu_steps
from e2ent2lib.config import SMOKE
from e2ent2lib.crops import Crops
from e2ent2lib.data import degraded
from e2ent2lib.exact import capturable
from e2ent2lib.matching import match
from e2ent2lib.photos import refined
from e2ent2lib.photos.images import downscale
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.runs.run import make_fabric, players_for
from e2ent2lib.systems import recipe_of
from e2ent2lib.systems.vgg import load_vgg
from e2ent2lib.train import training_step

CPU = torch.device("cpu")
CONSTANT = replace(SMOKE, schedule="constant")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """Three photographs of different sizes, and one that validates."""
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")
    names = [f"{k}.png" for k in range(4)]
    for k, name in enumerate(names):
        Image.fromarray(picture(70 + 5 * k, 90, seed=k)).save(tmp_path / name)
    facts = {"train": names[:3], "validation": names[3:], "other_views": [], "views": [], "data": {}, "commit": "?"}
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    return tmp_path


def test_crops_and_their_reductions_are_those_of_the_trainer(bundle):
    photographs = gpu_steps.Photographs(bundle, CPU, 1)
    boxes = gpu_steps.draw_boxes(photographs.train["sizes"], replace(CONSTANT, aligned=0.0), 50, 0, [])
    batch = gpu_steps.crops_of(photographs.train, torch.from_numpy(boxes), CONSTANT, True)
    images = [photographs.images[n] for n in photographs.manifest["train"]]
    for k, (i, y, x, j, v, u) in enumerate(boxes):
        hr, ref = images[i][y : y + 48, x : x + 48], images[j][v : v + 48, u : u + 48]
        assert np.array_equal(np.round(255 * batch.hr[k].permute(1, 2, 0).numpy()), hr)
        assert np.array_equal(np.round(255 * batch.ref[k].permute(1, 2, 0).numpy()), ref)
        small = np.round(255 * batch.ref_down[k].permute(1, 2, 0).numpy())
        assert np.abs(small - downscale(ref, 4)).max() <= 1


def test_shares_of_the_boxes():
    sizes = np.array([[90, 100], [80, 120]])
    form = replace(SMOKE, max_offset=16, unrelated=0.3, aligned=0.5)
    i, y, x, j, v, u = gpu_steps.draw_boxes(sizes, form, 4000, 0, []).T
    same = i == j
    assert 0.67 < same.mean() < 0.73
    down, across = (v - y)[same], (u - x)[same]
    assert max(abs(down).max(), abs(across).max()) <= 16
    whole = (down % 4 == 0) & (across % 4 == 0)
    assert 0.48 < whole.mean() < 0.6  # half of them on purpose, one in 16 of the others
    assert (y >= 0).all() and (y + 48 <= sizes[i, 0]).all() and (u + 48 <= sizes[j, 1]).all()
    i, y, x, j, v, u = gpu_steps.draw_boxes(sizes, replace(form, stereo=True), 500, 0, []).T
    assert (i == j).all() and (y == v).all() and (u >= x).all()
    views = [(0, 1, np.diag([1.2, 0.9, 1]).tolist())]  # the second photograph is the first, wider and lower
    i, y, x, j, v, u = gpu_steps.draw_boxes(sizes, replace(form, views=0.4), 4000, 0, views).T
    seen = (i == 0) & (j == 1) & (abs(1.2 * (x + 24) - 24 - u) <= 7) & (abs(0.9 * (y + 24) - 24 - v) <= 7)
    assert 0.4 < seen.mean() < 0.5  # and some of the unrelated ones by chance


@pytest.mark.parametrize("name", ["sisr", "e2ent2", "e2ent2-mse", "feature-presisr", "passrnet", "drcn"])
def test_a_step_is_the_trainers(bundle, name):
    recipe = recipe_of(name)
    steps = getattr(CONSTANT, recipe.steps)
    training = gpu_steps.Training(name=name, model=name, profile=CONSTANT, steps=steps, seed=3)
    run = gpu_steps.Run(training, gpu_steps.Photographs(bundle, CPU, 1), None, CPU)
    fabric, model = make_fabric(CONSTANT, "cpu", 1), build_model(name, CONSTANT)
    players = players_for(fabric, model, recipe, CONSTANT)
    load_vgg(model, players.loss)
    model.load_state_dict({k: v.clone() for k, v in run.flat.state(False).items()})
    for mine, theirs in zip(run.critics, players.critics):
        theirs.net.module.load_state_dict({k: v.clone() for k, v in mine.state(False).items()})
    for step in range(2):
        batch = gpu_steps.crops_of(run.photographs.train, run.table[step].long(), CONSTANT, True)
        losses = training_step(fabric, players, Crops(*(x.contiguous() for x in batch)), step, steps)
        with capturable():
            run.replay(1)
        assert run.names == tuple(losses)
        torch.testing.assert_close(run.sums, torch.stack(list(losses.values())), rtol=1e-4, atol=1e-8)
        run.sums.zero_()


@pytest.mark.parametrize("name", [*gpu_rows.ROWS, gpu_rows.PHOTO])
def test_a_step_asks_the_device_nothing(bundle, name):
    """A fake tensor has no values, so a step that asked for one, and could not be recorded, fails."""
    training = gpu_steps.Training(name=name, model=name, profile=CONSTANT, steps=12)
    run = gpu_photo.kind_of_run(name)(training, gpu_steps.Photographs(bundle, CPU, 1), None, CPU)
    with FakeTensorMode(allow_non_fake_inputs=True), capturable():
        for opening in {False, run.opening() > 0}:
            run.body(opening)


def test_a_call_writes_weights_and_cards_and_the_next_goes_on(bundle, capsys):
    command = ["--bundle", str(bundle), "--out", str(bundle / "out"), "--profile", "smoke", "--minutes", "2"]
    for only in ("sisr", "sisr,e2ent2-mse"):
        gpu.main([*command, "--device", "cpu", "--only", only])
    assert capsys.readouterr().out.count("done sisr") == 1
    files = {}
    for pack in (bundle / "out").glob("weights-*.tar"):
        with tarfile.open(pack) as tar:
            files |= {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
    names = {"sisr", "sisr-pretrained", "e2ent2-mse"}
    assert {Path(n).stem for n in files} == names
    for name in names:
        card = json.loads(files[f"{name}.json"])
        assert card["model"] == name and card["steps"] == {"sisr-pretrained": 5}.get(name, 12)
        build_model(name, SMOKE).load_state_dict(load(files[f"{name}.safetensors"]))


LACKING = ("tyro", "imagehash", "pooch", "lightning_fabric", "tabulate", "matplotlib", "typst")


def test_it_runs_without_the_packages_that_a_gpu_machine_may_lack():
    code = f"import sys; sys.modules.update(dict.fromkeys({LACKING}))\n"
    code += "from benchmarks import gpu, gpu_rows, gpu_trials\nfrom e2ent2lib.systems import photo"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


def test_the_photo_network_sees_what_it_sees_elsewhere():
    torch.manual_seed(0)
    encoder = build_model("e2ent2-photo", SMOKE).encoder
    images = torch.from_numpy(np.stack([picture(48, 48, seed=k) for k in range(3)])).permute(0, 3, 1, 2) / 255
    small = gpu_steps.reduced(images, 4)
    with torch.no_grad():
        query, dense = encoder(small), refined.dense_features(encoder, images.roll((5, 9), (2, 3)), 4)
        of_cells = encoder(gpu_steps.reduced(images.roll((5, 9), (2, 3)), 4))
        expected = refined.refine(query, [dense], match(query, [of_cells]), 4)
        torch.testing.assert_close(gpu_photo.dense_features(encoder, images.roll((5, 9), (2, 3)), 4), dense)
        row, column, cosine, found = gpu_photo.best_places(query, dense, 4)
    same = (row == expected.row) & (column == expected.column)
    assert same.float().mean() > 0.95  # ties, and a neighbour's place that several rounds find
    torch.testing.assert_close(cosine[same], expected.score[same])
    at = refined.Places(torch.zeros_like(row), row, column, cosine)
    torch.testing.assert_close(found, refined.look_up([dense], at))
    torch.testing.assert_close(gpu_photo.swap_at(images, row, column, 4), refined.swap_at([images], at, 4))


def test_the_photo_networks_crops_are_degraded_as_elsewhere():
    crops = [picture(48, 64, seed=k)[:, :48] for k in range(6)]
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255
    degradation = gpu_photo.Degradation(48, 4)
    assert (gpu_photo.KERNELS, gpu_photo.CLEAN) == (degraded.KERNELS, degraded.CLEAN)
    for k, kernel in enumerate(degraded.KERNELS[:3], 1):
        rows = degradation.kernels[k]
        mine = gpu_steps.round8(rows @ gpu_steps.round8(images @ rows.T))
        theirs = np.stack([np.asarray(Image.fromarray(c).resize((12, 12), kernel)) for c in crops])
        assert np.abs(255 * mine.permute(0, 2, 3, 1).numpy() - theirs).max() <= 2
    for quality in (50, 90):
        mine = 255 * degradation.as_jpeg(images, torch.full((6,), quality)).permute(0, 2, 3, 1).numpy()
        theirs = np.stack([degraded.as_jpeg(c, quality) for c in crops]).astype(float)
        assert np.abs(mine - theirs).mean() < 0.3 * np.abs(theirs - np.stack(crops)).mean()
    lots = gpu_photo.drawn(3000, 0)
    assert 0.47 < (lots["kernel"] == 0).mean() < 0.53 and 0.2 < (lots["quality"] > 0).mean() < 0.3


def test_rows_have_one_budget():
    rows = {t.name: t for t in gpu_rows.plan(SMOKE, Path(), 1.0)}
    for name, first in (("e2ent2", 0.4), ("e2ent2-mse", 0.4), ("sisr-gan", 0.4), ("passrnet", 0.0), ("sisr", 0.0)):
        assert rows[name].budget + first == pytest.approx(1.0)
    ablations = [t for t in rows.values() if "_seed" in t.name]
    assert len(ablations) == 27 and len({t.steps for t in ablations}) == 1
