"""From photographs to a sharper photograph: one call for every system of the tables."""

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from e2ent2lib.baselines import landmark
from e2ent2lib.checkpoints import UNTRAINED, load_model, shipped_folder
from e2ent2lib.config import get_profile
from e2ent2lib.images import Picture, as_rgb, crop_to_multiple, downscale, to_image, to_tensor, upscale_bicubic
from e2ent2lib.matching import match_and_swap
from e2ent2lib.models import Outputs, image_of


def super_resolve(
    lr: Picture,
    ref: Picture | Sequence[Picture] | None = None,
    model: str | nn.Module = "e2ent2",
    profile: str | None = None,
) -> UInt8[np.ndarray, "4*h 4*w 3"]:
    """The low-resolution picture ×4 as uint8 (4H, 4W, 3), with textures of the reference(s) where the model uses them.

    ``lr`` and ``ref`` are paths, PIL images or uint8 arrays; ``ref`` is one, a list, or None for the SISR branch. A
    reference is high-resolution, of any size from 12×12, and is cropped to a multiple of 4. ``model`` is a name of
    ``available_models()`` or a loaded model. Bicubic and SISR models make no use of a reference; stereo models need one
    of 4× the input's size, the right view of a rectified pair.
    Raises ValueError or FileNotFoundError that name the file, and RuntimeError for an untrained model.
    """
    lr = as_rgb(lr, "the low-resolution picture")
    refs = [as_rgb(r, f"reference {i}") for i, r in enumerate(_as_list(ref), 1)]
    if isinstance(model, str) and model in UNTRAINED:
        return upscale_bicubic(lr) if model == "bicubic" else landmark.super_resolve(lr, refs).round().astype(np.uint8)
    if isinstance(model, str):
        model = _shipped(model, get_profile(profile).name, str(shipped_folder()))
    return super_resolve_with(model, lr, refs)


def super_resolve_with(
    model: nn.Module, lr: UInt8[np.ndarray, "h w 3"], refs: Sequence[UInt8[np.ndarray, "h w 3"]] = ()
) -> UInt8[np.ndarray, "4*h 4*w 3"]:
    """``super_resolve`` with a loaded model, on arrays. Raises RuntimeError if the model is untrained."""
    if getattr(model, "card", None) is None:
        raise RuntimeError("this model is untrained (it has no card); load_model gives a trained one, train makes one")
    if model.references != "none" and refs:
        return to_image(image_of(run(model, lr, refs)))
    return to_image(run_sisr(model, lr))


@torch.inference_mode()
def run_sisr(model: nn.Module, lr: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "1 3 4*h 4*w"]:
    """One forward pass without a reference on an 8-bit picture, as tensor; of a RefSR model its SISR branch alone.

    Raises ValueError for a model that has none.
    """
    branch = model if model.references == "none" else model.sisr
    if branch is None:
        name = model.card["model"] if getattr(model, "card", None) else type(model).__name__
        raise ValueError(f"{name} has no SISR branch, it needs a reference; give one, or choose model='sisr'")
    return image_of(branch(to_tensor(lr).to(device_of(model))))


@torch.inference_mode()
def run(
    model: nn.Module, lr: UInt8[np.ndarray, "h w 3"], refs: Sequence[UInt8[np.ndarray, "h w 3"]]
) -> Outputs | tuple | Tensor:
    """One forward pass of a RefSR model on 8-bit pictures; ``image_of`` takes I_sr from what it returns."""
    device = device_of(model)
    ready = [prepare_reference(x, model.profile.scale, f"reference {i}") for i, x in enumerate(refs, 1)]
    return model(to_tensor(lr).to(device), *([x.to(device) for x in maps] for maps in zip(*ready)))


def prepare_reference(
    ref: UInt8[np.ndarray, "h w 3"], r: int = 4, name: str = "a reference"
) -> tuple[Float[Tensor, "1 3 H W"], Float[Tensor, "1 3 H/r W/r"]]:
    """(I_ref, I_ref↓) of 3.1. Raises ValueError if a side is under 3·r, for then there is no 3×3 patch to match."""
    if min(ref.shape[:2]) < 3 * r:
        raise ValueError(f"{name} of {ref.shape[1]}×{ref.shape[0]} pixels is too small; it needs {3 * r}×{3 * r}")
    ref = crop_to_multiple(ref, r)
    return to_tensor(ref), to_tensor(downscale(ref, r))


@torch.inference_mode()
def feature_distance(
    model: nn.Module,
    lr: UInt8[np.ndarray, "h w 3"],
    refs: Sequence[UInt8[np.ndarray, "h w 3"]],
    hr: UInt8[np.ndarray, "H W 3"],
    swapped: Float[Tensor, "1 c H W"] | None = None,
) -> tuple[float, float]:
    """Table 3's "feature distance" between F and φ(HR): the mean over positions of the L1 norm over channels.

    The second number is scale-free: divided by the mean L1 norm of φ(HR). Any model with an encoder φ will do;
    ``swapped`` is F if it is at hand already.
    """
    phi, device = model.encoder, device_of(model)
    if swapped is None:
        ready = [prepare_reference(x, model.profile.scale) for x in refs]
        full, down = ([phi(x.to(device)) for x in maps] for maps in zip(*ready))
        swapped = match_and_swap(phi(to_tensor(lr).to(device)), down, full, scale=model.profile.scale)
    target = phi(to_tensor(hr).to(device))
    distance = (swapped - target).abs().sum(1).mean().item()
    return distance, distance / target.abs().sum(1).mean().item()


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device


def _as_list(ref: Picture | Sequence[Picture] | None) -> list[Picture]:
    if ref is None:
        return []
    return list(ref) if isinstance(ref, (list, tuple)) else [ref]


@lru_cache(maxsize=4)
def _shipped(name: str, profile: str, folder: str) -> nn.Module:
    model = load_model(name, profile, os.path.join(folder, profile))
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
