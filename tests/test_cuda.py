"""On a card: matching, networks and a training step give what they give on a CPU; ``make gpu`` runs this.

It needs no fixture and none of the packages that only tests or the command line use.
"""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import gpu_photo, gpu_steps
from e2ent2lib.config import SMOKE
from e2ent2lib.exact import capturable
from e2ent2lib.matching import match_and_swap
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.systems import SYSTEMS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
DEVICES = (torch.device("cpu"), torch.device("cuda"))
NETWORKS = [name for name, system in SYSTEMS.items() if system.recipe]


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch):
    """No TF32, and random VGG weights."""
    monkeypatch.setenv("E2ENT2_VGG_WEIGHTS", "random")
    conv = torch.backends.cudnn.conv
    before, conv.fp32_precision = conv.fp32_precision, "ieee"
    yield
    conv.fp32_precision = before


@pytest.mark.parametrize("form", ["exact", "capturable", "recorded"])
@pytest.mark.parametrize("references", [1, 2])
def test_match_swap_and_their_gradients(references, form):
    def results(f_in, *refs):
        swapped, matches, *_ = match_and_swap(f_in, refs[:references], refs[references:], return_matches=True)
        weights = torch.arange(swapped.numel(), device=f_in.device).view_as(swapped) / swapped.numel()
        return [swapped.detach(), *matches, *torch.autograd.grad((swapped * weights).sum(), [f_in, *refs])]

    sizes = [(12, 15), *[(9, 11), (8, 13)][:references], *[(36, 44), (32, 52)][:references]]
    maps = [torch.randn(2, 16, *size, generator=torch.Generator().manual_seed(k)) for k, size in enumerate(sizes)]
    cpu, cuda = ([x.to(device).requires_grad_() for x in maps] for device in DEVICES)
    with nullcontext() if form == "exact" else capturable():
        found = results(*cuda)
        if form == "recorded":
            found = recorded(lambda: results(*cuda))
    torch.testing.assert_close([x.cpu() for x in found], results(*cpu), rtol=1e-4, atol=1e-4)


def recorded(call):
    """What a CUDA graph of a call gives; the call was made before, so that libraries are loaded."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = call()
    graph.replay()
    torch.cuda.synchronize()
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_same_image(name):
    torch.manual_seed(0)
    model = build_model(name, SMOKE).eval()
    ref = torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    lr, down = (torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(k)) for k in (2, 3))
    with torch.inference_mode():
        cpu, cuda = (model.to(d)(*(x.to(d) for x in (lr, ref, down))).sr.cpu() for d in DEVICES)
    torch.testing.assert_close(cuda, cpu, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["sisr", "e2ent2", "srntt", "passrnet", "drcn", "e2ent2-photo"])
def test_a_recorded_training_step_is_that_of_a_cpu(name, tmp_path):
    """Losses of two steps, convolutions in bfloat16 on the card."""
    for k in range(4):
        pixels = np.random.default_rng(k).normal(size=(70 + 5 * k, 90, 3)).cumsum(0).cumsum(1)
        Image.fromarray(np.uint8(np.clip(128 + 12 * pixels, 0, 255))).save(tmp_path / f"{k}.png")
    names = [f"{k}.png" for k in range(4)]
    facts = {"train": names[:3], "validation": names[3:], "other_views": []}
    (tmp_path / "manifest.json").write_text(json.dumps(facts))
    training = gpu_steps.Training(name=name, model=name, profile=replace(SMOKE, schedule="constant"), steps=100)
    losses = []
    for device in DEVICES:
        on_card = device.type == "cuda"
        with capturable(), torch.cuda.stream(torch.cuda.Stream()) if on_card else nullcontext():
            run = gpu_photo.kind_of_run(name)(training, gpu_steps.Photographs(tmp_path, device), None, device)
            if on_card:
                run.capture()
            run.restart(None)
            run.replay(2)
            losses.append(run.sums.cpu())
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=1e-3)
