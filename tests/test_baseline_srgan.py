"""SRResNet and SRGAN: the network of Fig. 4, batch norm, and what the two losses measure."""

import pytest
import torch
from tiny import for_loss, images, untrained
from torch import nn

from e2ent2lib.config import SMOKE
from e2ent2lib.models import Outputs
from e2ent2lib.systems.srgan import NormalisedBlock, SRGANLoss, SRResNetLoss

pytestmark = pytest.mark.usefixtures("no_weight_file")


def test_the_image_is_half_of_what_the_network_makes_plus_a_half():
    model = untrained("srresnet").eval()
    lr = images(1, 3, 6, 5)
    torch.testing.assert_close(model(lr).sr, model.tail(model.features(lr)) / 2 + 0.5)
    nn.init.zeros_(model.tail[-1].weight), nn.init.constant_(model.tail[-1].bias, -1.0)
    assert (model(lr).sr == 0).all()  # −1 is black


def test_the_skips_go_around_each_block_and_around_all_of_them():
    model = untrained("srresnet")
    lr = images(2, 3, 7, 5)
    for block in model.modules():
        if isinstance(block, NormalisedBlock):
            nn.init.zeros_(block.body[-1].weight)
            x = images(2, SMOKE.channels, 5, 6) - 0.5
            torch.testing.assert_close(block(x), x)
    nn.init.zeros_(model.body[-1].weight)
    torch.testing.assert_close(model.features(lr), model.head(lr))


def test_in_training_an_image_depends_on_its_batch():
    model, lr = untrained("srresnet"), images(3, 3, 6, 8)
    together = model.train()(lr).sr
    assert (together[:1] - model(lr[:1]).sr).abs().max() > 1e-3


# losses


def test_the_pixel_loss_is_the_mse_of_images_from_minus_1_to_1():
    black, grey = torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5)
    loss = SRResNetLoss(SMOKE)
    assert loss.weights == {"mse": 1.0}
    assert loss(Outputs(grey), for_loss(black), 0.0)["mse"].item() == pytest.approx(1.0)


def test_the_content_loss_is_the_mse_of_vgg_features_over_12_75_squared():
    sr, hr, loss = images(2, 3, 24, 20), images(2, 3, 24, 20, seed=1), SRGANLoss(SMOKE)
    ours, wanted = (loss.vgg(x)[loss.layer] for x in (sr, hr))
    total = sum((a - b) ** 2 for a, b in zip(ours.double().flatten().tolist(), wanted.double().flatten().tolist()))
    expected = total / ours.numel() / 12.75**2
    assert loss(Outputs(sr), for_loss(hr), 0.0)["content"].item() == pytest.approx(expected, rel=1e-4)
