"""From photographs to a sharper photograph: one call for every system of the tables."""

import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from e2ent2lib.config import get_profile
from e2ent2lib.matching import match_and_swap
from e2ent2lib.models import Outputs, image_of
from e2ent2lib.photos import tiles
from e2ent2lib.photos.images import as_rgb, crop_to_multiple, downscale, to_image, to_tensor, upscale_bicubic
from e2ent2lib.photos.options import Matching, Options, Precision
from e2ent2lib.photos.photograph import Picture
from e2ent2lib.photos.tiles import Enlarged, autocast
from e2ent2lib.runs.checkpoints import UNTRAINED, load_model, shipped_folder
from e2ent2lib.systems import landmark


def super_resolve(
    lr: Picture,
    ref: Picture | Sequence[Picture] | None = None,
    model: str | nn.Module = "e2ent2",
    profile: str | None = None,
    *,
    precision: Precision = "float32",
    matching: Matching = "exact",
    progress: bool = False,
) -> UInt8[np.ndarray, "4*h 4*w 3"]:
    """The low-resolution picture ×4 as uint8 (4H, 4W, 3), with textures of the reference(s) where the model uses them.

    ``lr`` and ``ref`` are paths, PIL images or uint8 arrays; ``ref`` is one, a list, or None for the SISR branch. A
    reference is high-resolution, of any size from 12×12, and is cropped to a multiple of 4; several are matched
    jointly, each patch with the best of all. ``model`` is a name of ``available_models()`` or a loaded model. Bicubic
    and SISR models make no use of a reference; stereo models need one of 4× the input's size, the right view of a
    rectified pair. ``precision="bfloat16"`` is faster where the processor or GPU has it; ``matching="coarse"`` is
    much faster for large pictures, and a little less exact; ``progress`` shows bars.
    Raises ValueError or FileNotFoundError that name the file, and RuntimeError for an untrained model.
    """
    lr = as_rgb(lr, "the low-resolution picture")
    refs = [as_rgb(r, f"reference {i}") for i, r in enumerate(_as_list(ref), 1)]
    options = Options(precision=precision, matching=matching, progress=progress)
    return enlarge(lr, refs, model, profile, options).image


def enlarge(
    lr: UInt8[np.ndarray, "h w 3"],
    refs: Sequence[UInt8[np.ndarray, "h w 3"]],
    model: str | nn.Module,
    profile: str | None = None,
    options: Options = Options(),
) -> Enlarged:
    """As ``super_resolve``, on arrays, with what a report says."""
    if isinstance(model, str) and model in UNTRAINED:
        made = upscale_bicubic(lr) if model == "bicubic" else landmark.super_resolve(lr, refs).round().astype(np.uint8)
        return Enlarged(made)
    return enlarge_with(shipped(model, profile) if isinstance(model, str) else model, lr, refs, options)


def super_resolve_with(
    model: nn.Module, lr: UInt8[np.ndarray, "h w 3"], refs: Sequence[UInt8[np.ndarray, "h w 3"]] = ()
) -> UInt8[np.ndarray, "4*h 4*w 3"]:
    """``super_resolve`` with a loaded model, on arrays. Raises RuntimeError if the model is untrained."""
    return enlarge_with(model, lr, refs).image


def enlarge_with(
    model: nn.Module,
    lr: UInt8[np.ndarray, "h w 3"],
    refs: Sequence[UInt8[np.ndarray, "h w 3"]] = (),
    options: Options = Options(),
) -> Enlarged:
    """``enlarge`` with a loaded model: in tiles where ``tiles.can_tile``, else as a whole."""
    if getattr(model, "card", None) is None:
        raise RuntimeError("this model is untrained (it has no card); load_model gives a trained one, train makes one")
    refs = [] if model.references == "none" else list(refs)
    if tiles.can_tile(model, bool(refs)):
        refs = [usable_reference(ref, model.profile.scale, f"reference {i}") for i, ref in enumerate(refs, 1)]
        return tiles.enlarge(model, lr, refs, options)
    if not refs:
        return Enlarged(to_image(run_sisr(model, lr)))
    if options.matching != "exact":
        raise ValueError("this model takes a picture as a whole and knows no coarse matching; leave that option out")
    return _as_a_whole(model, lr, refs, options.precision)


@torch.inference_mode()
def _as_a_whole(model: nn.Module, lr: np.ndarray, refs: list[np.ndarray], precision: Precision) -> Enlarged:
    """For networks that look along whole rows, or match between cells: all of the picture is in memory at once."""
    pixels = 16 * lr[..., 0].size + sum(ref[..., 0].size for ref in refs)
    needed, there = 16 * model.profile.channels * pixels, memory()
    if needed > there:
        raise ValueError(
            f"this model takes a picture as a whole, which needs over {needed / 2**30:.0f} GiB here where there are "
            f"{there / 2**30:.0f}; e2ent2, e2ent2-mse and e2ent2-mse-gated need little, or give smaller pictures"
        )
    with autocast(device_of(model), precision):
        out = run(model, lr, refs)
    made, sisr = image_of(out), getattr(out, "sisr", None)
    if not isinstance(sisr, Tensor):
        return Enlarged(to_image(made))
    confidence, changed = out.confidence[0].float().cpu().numpy(), tiles.moved(made, sisr, model.profile.scale)
    return Enlarged(to_image(made), to_image(sisr), changed=changed, confidence=confidence)


def memory() -> float:
    """Bytes of memory of this machine; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")


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
    """(I_ref, I_ref↓) of 3.1. Raises as ``usable_reference``."""
    ref = usable_reference(ref, r, name)
    return to_tensor(ref), to_tensor(downscale(ref, r))


def usable_reference(
    ref: UInt8[np.ndarray, "h w 3"], r: int = 4, name: str = "a reference"
) -> UInt8[np.ndarray, "H W 3"]:
    """Cropped to a multiple of r. Raises ValueError if a side is under 3·r: then there is no 3×3 patch to match."""
    if min(ref.shape[:2]) < 3 * r:
        raise ValueError(f"{name} of {ref.shape[1]}×{ref.shape[0]} pixels is too small; it needs {3 * r}×{3 * r}")
    return crop_to_multiple(ref, r)


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


def shipped(name: str, profile: str | None = None) -> nn.Module:
    """A model that ships, on a GPU if there is one; the last few are kept. Raises as ``load_model``."""
    return _shipped(name, get_profile(profile).name, str(shipped_folder()))


@lru_cache(maxsize=4)
def _shipped(name: str, profile: str, folder: str) -> nn.Module:
    model = load_model(name, profile, os.path.join(folder, profile))
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
