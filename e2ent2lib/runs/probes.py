"""What α trains: the encoder's gradient by each of Eq. 5's three ways, and what its features match. Notebook 09."""

import numpy as np
import skimage.data
import torch
from jaxtyping import Float
from torch import Tensor, nn

from e2ent2lib.crops import Crops
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import Matches, match, match_and_swap
from e2ent2lib.photos.images import crop_to_multiple, downscale, to_tensor


def gradients(model: nn.Module, batch: Crops, rec: str = "l1") -> dict[str, Tensor]:
    """The encoder's gradients of L_rec (Eq. 8) of I_sr, each as one vector; none for a frozen encoder.

    "in", "ref_down" and "ref" go through F alone, by the first, second and third line of Eq. 5, each α at 1; "res1"
    goes through φ(I_in) into Res1, "sisr" through the SISR branch, and no α weighs those. Images in [0, 1].
    """
    if not (weights := [w for w in model.encoder.parameters() if w.requires_grad]):
        return {}

    def gradient(of: Tensor, error: Tensor | None = None) -> Tensor:
        pieces = torch.autograd.grad(of, weights, error, retain_graph=True)
        return torch.cat([piece.flatten() for piece in pieces])

    def loss(image: Tensor) -> Tensor:
        return reconstruction_loss(image, batch.hr, rec)

    with torch.enable_grad():
        maps = [model.encoder(images) for images in (batch.lr, batch.ref_down, batch.ref)]
        ones, r = (1.0, 1.0, 1.0), model.profile.scale
        swapped = match_and_swap(*maps, ones, r, norm=model.norm, error_down=model.error_down)
        through_f = loss(model.synthesis(swapped, maps[0].detach(), batch.lr))
        errors = torch.autograd.grad(through_f, maps, retain_graph=True)
        ways = {name: gradient(m, e) for name, m, e in zip(("in", "ref_down", "ref"), maps, errors)}
        ways["res1"] = gradient(loss(model.synthesis(swapped.detach(), maps[0], batch.lr)))
        return ways | {"sisr": gradient(loss(model.sisr.reconstruct(maps[0], batch.lr)))}


@torch.no_grad()
def self_match_rate(phi: Float[Tensor, "b c h w"], norm: str = "l1") -> float:
    """The share of interior patches of a map that find themselves in it; with L2 all do but those with a twin."""
    height, width = phi.shape[2:]
    itself = torch.arange((height - 2) * (width - 2), device=phi.device).view(height - 2, width - 2)
    return (match(phi, phi, norm).index[:, 1:-1, 1:-1] == itself).float().mean().item()


def displacement(matches: Matches, key_width: int) -> tuple[np.ndarray, np.ndarray]:
    """How far right and down each query position's patch lies, in cells (h, w); ``key_width`` is the reference's."""
    index = matches.index[0].cpu().numpy()
    rows, columns = np.indices(index.shape)
    v, u = np.divmod(index, key_width - 2)
    return u + 1 - columns, v + 1 - rows


@torch.no_grad()
def disparity_agreement(encoder: nn.Module, norm: str = "l2") -> float:
    """The share of cells of the motorcycle's left view whose match in the right view is within a cell of the truth.

    Also diagonally; of the cells whose disparity is known and whose twin is in the right view. The truth is the data
    set's (Middlebury 2014; inside scikit-image), at the middle of each cell.
    """
    device = next(encoder.parameters()).device
    left, right, disparity = skimage.data.stereo_motorcycle()
    maps = [encoder(to_tensor(downscale(crop_to_multiple(view))).to(device)) for view in (left, right)]
    across, down = displacement(match(*maps, norm), maps[1].shape[3])
    height, width = across.shape
    true = disparity[2::4, 2::4][:height, :width].astype(float) / 4
    known = np.isfinite(true) & (np.arange(width) - np.nan_to_num(true, posinf=0.0) >= 0)
    near = (np.abs(across[known] + true[known]) <= 1) & (np.abs(down[known]) <= 1)
    return float(near.mean())


def probe(model: nn.Module, batch: Crops, rec: str = "l1") -> dict[str, float]:
    """Of a network in training: lengths of ``gradients``, cosines of the first two to the third, and how it matches.

    "grad_…" are lengths, "cos_…" cosines; "self_match" is the L1 self-match rate of the batch's φ(I_in), "disparity"
    ``disparity_agreement``. The network's state is left as it was.
    """
    training = model.training
    model.eval()
    ways = gradients(model, batch, rec)
    row = {f"grad_{name}": gradient.norm().item() for name, gradient in ways.items()}
    if ways:
        row |= {f"cos_{n}": torch.cosine_similarity(ways[n], ways["ref"], dim=0).item() for n in ("in", "ref_down")}
    with torch.no_grad():
        row["self_match"] = self_match_rate(model.encoder(batch.lr))
    row["disparity"] = disparity_agreement(model.encoder)
    model.train(training)
    return row
