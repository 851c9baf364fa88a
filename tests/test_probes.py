"""What the probes see of an encoder: against autograd, and in cases whose answer is known."""

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector

from e2ent2lib.config import SMOKE
from e2ent2lib.crops import Crops
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import match, match_and_swap
from e2ent2lib.runs import probes
from e2ent2lib.runs.checkpoints import build_model


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    sizes = (48, 12, 48, 12)
    return Crops(*(torch.rand(2, 3, n, n, generator=generator, dtype=torch.float64) for n in sizes))


def network(name="e2ent2"):
    torch.manual_seed(0)
    return build_model(name, SMOKE).double()


@pytest.mark.parametrize("name", ["e2ent2", "e2ent2-error-sum", "e2ent2-noresidual"])
@pytest.mark.parametrize("way, alphas", [("in", (1, 0, 0)), ("ref_down", (0, 1, 0)), ("ref", (0, 0, 1))])
def test_each_gradient_is_autograds_through_f_with_one_alpha_at_one(batch, name, way, alphas):
    model = network(name)
    maps = [model.encoder(x) for x in (batch.lr, batch.ref_down, batch.ref)]
    swapped = match_and_swap(*maps, alphas, error_down=model.error_down)
    loss = reconstruction_loss(model.synthesis(swapped, maps[0].detach(), batch.lr), batch.hr, "mse")
    right = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.encoder.parameters()))])
    found = probes.gradients(model, batch, "mse")
    assert right.norm() > 0
    torch.testing.assert_close(found[way], right, rtol=1e-9, atol=1e-9 * right.abs().max().item())


def test_the_ways_add_up_to_the_gradient_of_a_training_step(batch):
    model = network()
    out = model(batch.lr, batch.ref, batch.ref_down)
    loss = sum(reconstruction_loss(image, batch.hr) for image in (out.sr, out.sisr))
    right = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.encoder.parameters()))])
    g = probes.gradients(model, batch)
    total = g["res1"] + g["sisr"] + sum(a * g[n] for a, n in zip(model.alphas, ("in", "ref_down", "ref")))
    torch.testing.assert_close(total, right, rtol=1e-8, atol=1e-8 * right.abs().max().item())


def test_a_frozen_encoder_has_no_gradients_but_is_matched(batch):
    model = build_model("feature-presisr", SMOKE)
    assert probes.gradients(model, Crops(*(x.float() for x in batch))) == {}
    row = probes.probe(model, Crops(*(x.float() for x in batch)))
    assert set(row) == {"self_match", "disparity"}


def test_a_probe_leaves_the_network_as_it_was(batch):
    model = network().float().train()
    before = parameters_to_vector(model.parameters()).clone()
    row = probes.probe(model, Crops(*(x.float() for x in batch)))
    assert torch.equal(parameters_to_vector(model.parameters()), before) and model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert row["grad_ref"] > 0 and -1 <= row["cos_in"] <= 1 and 0 <= row["disparity"] <= 1


def test_self_match_counts_interior_patches_that_find_themselves():
    phi = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1))
    assert probes.self_match_rate(phi, "l2") == 1.0
    # one cell a hundred times as large: by L1 the patches that hold it lose to nobody, and others lose to them
    by_hand = (match(phi, phi, "l1").index[:, 1:-1, 1:-1].flatten(1) == torch.arange(20)).float().mean().item()
    assert probes.self_match_rate(phi, "l1") == pytest.approx(by_hand)


def test_a_displacement_is_the_patchs_centre_less_the_querys():
    key = torch.randn(1, 4, 5, 9, generator=torch.Generator().manual_seed(2))
    across, down = probes.displacement(match(key[:, :, 1:, 2:], key), 9)
    assert (across[1:-1, 1:-1] == 2).all() and (down[1:-1, 1:-1] == 1).all()


def test_agreement_with_the_disparity_is_one_for_an_encoder_that_knows_it(monkeypatch):
    """Two views of stripes of random colours, the right one 8 pixels (2 cells) further left."""
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 256, (12, 30, 3)).astype(np.uint8)
    wide = np.kron(cells, np.ones((4, 4, 1), np.uint8))
    left, right = wide[:, :112], wide[:, 8:]
    views = (left, right, np.full(left.shape[:2], 8.0, np.float32))
    monkeypatch.setattr(probes.skimage.data, "stereo_motorcycle", lambda: views)
    identity = torch.nn.Conv2d(3, 3, 1, bias=False)
    torch.nn.init.dirac_(identity.weight)
    with torch.no_grad():
        assert probes.disparity_agreement(identity) > 0.75  # the padded border has no twin
        torch.nn.init.zeros_(identity.weight)
        assert probes.disparity_agreement(identity) < 0.1  # all scores are 0: the first patch everywhere
