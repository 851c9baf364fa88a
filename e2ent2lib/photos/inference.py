"""From photographs to a sharper photograph: one call for every system of the tables."""

import copy
import os
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from e2ent2lib.config import get_profile
from e2ent2lib.matching import match, swap
from e2ent2lib.models import Network, Outputs
from e2ent2lib.photos import tiles
from e2ent2lib.photos.confidence import agreement
from e2ent2lib.photos.images import as_rgb, crop_to_multiple, downscale, to_image, to_pixels, to_tensor
from e2ent2lib.photos.options import Matching, Options, Precision
from e2ent2lib.photos.photograph import Picture, Pixels
from e2ent2lib.photos.tiles import Enlarged
from e2ent2lib.runs.checkpoints import load_model, shipped_folder
from e2ent2lib.systems import DEFAULT
from e2ent2lib.systems.bicubic import Bicubic


def super_resolve(
    lr: Picture,
    ref: Picture | Sequence[Picture] | None = None,
    model: str | Network = DEFAULT,
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
    given = [] if ref is None else ref if isinstance(ref, (list, tuple)) else [ref]
    refs = [as_rgb(r, f"reference {i}") for i, r in enumerate(given, 1)]
    options = Options(precision=precision, matching=matching, progress=progress)
    return enlarge(shipped(model, profile) if isinstance(model, str) else model, lr, refs, options).image


def enlarge(model: Network, lr: Pixels, refs: Sequence[Pixels] = (), options: Options = Options()) -> Enlarged:
    """Enlarge with any system: the image that ``super_resolve`` returns and is scored, and what a report needs.

    In tiles where ``tiles.can_tile``, else as a whole. Raises RuntimeError for an untrained model, and ValueError for a
    reference that is too small, missing, or not what the system needs.
    """
    if model.card is None:
        raise RuntimeError("this model is untrained (it has no card); load_model gives a trained one, train makes one")
    if isinstance(model, Bicubic):
        model = copy.copy(model)
        model.kernel, model.rounded = options.kernel, options.rounded
    used = [] if model.references == "none" else refs
    refs = [usable_reference(ref, model.profile.scale, f"reference {i}") for i, ref in enumerate(used, 1)]
    refs, in_place = model.offered(lr, refs)
    if tiles.can_tile(model, bool(refs)):
        result = tiles.enlarge(model, lr, refs, options, in_place)
    else:
        result = _as_a_whole(model, lr, refs, options)
    result = result._replace(references=refs, registered=bool(in_place))
    if result.matches is not None:
        agreeing = agreement(result.matches, [ref.shape[1] // model.profile.scale for ref in refs])[0]
        result = result._replace(agreement=agreeing.cpu().numpy())
    return model.finished(result, lr, options)


@torch.inference_mode()
def _as_a_whole(model: Network, lr: Pixels, refs: list[Pixels], options: Options) -> Enlarged:
    """For systems that look along whole rows, swap at several scales or convolve nothing: all is in memory at once."""
    if refs and options.matching != "exact":
        raise ValueError("this model has no coarse matching; leave that option out")
    pixels = 16 * lr[..., 0].size + sum(ref[..., 0].size for ref in refs)
    needed, available = 16 * model.profile.channels * pixels, memory()
    if any(True for _ in model.parameters()) and needed > available:
        raise ValueError(
            f"this model needs over {needed / 2**30:.0f} GiB for these, and {available / 2**30:.0f} are there; "
            "choose e2ent2 or e2ent2-photo, which work in tiles, or give smaller pictures"
        )
    with torch.autocast(device_of(model).type, torch.bfloat16, enabled=options.precision == "bfloat16"):
        sr = run(model, lr, refs).sr
    return Enlarged(to_image(sr) if options.rounded else to_pixels(sr))


def memory() -> float:
    """Bytes of memory of this machine; infinite where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return float("inf")


@torch.inference_mode()
def run(model: Network, lr: Pixels, refs: Sequence[Pixels] = ()) -> Outputs:
    """One forward pass on 8-bit pictures; without references a RefSR model runs its SISR branch alone.

    Raises ValueError for a model that has no such branch.
    """
    network = model if refs else model.single_image
    if network is None:
        name = model.card["model"] if model.card else type(model).__name__
        raise ValueError(f"{name} has no SISR branch, it needs a reference; give one, or choose model='sisr'")
    device = device_of(model)
    prepared = [prepare_reference(x, model.profile.scale, f"reference {i}") for i, x in enumerate(refs, 1)]
    maps = [[image.to(device) for image in images] for images in zip(*prepared)]
    return network(to_tensor(lr).to(device), *maps)


def prepare_reference(
    ref: Pixels, r: int = 4, name: str = "a reference"
) -> tuple[Float[Tensor, "1 3 H W"], Float[Tensor, "1 3 H/r W/r"]]:
    """(I_ref, I_ref↓) of 3.1. Raises as ``usable_reference``."""
    ref = usable_reference(ref, r, name)
    return to_tensor(ref), to_tensor(downscale(ref, r))


def usable_reference(ref: Pixels, r: int = 4, name: str = "a reference") -> Pixels:
    """Cropped to a multiple of r. Raises ValueError if a side is under 3·r: then there is no 3×3 patch to match."""
    if min(ref.shape[:2]) < 3 * r:
        raise ValueError(f"{name} of {ref.shape[1]}×{ref.shape[0]} pixels is too small; it needs {3 * r}×{3 * r}")
    return crop_to_multiple(ref, r)


@torch.inference_mode()
def feature_distance(
    model: Network, lr: Pixels, refs: Sequence[Pixels], hr: Pixels, result: Enlarged | None = None
) -> tuple[float, float]:
    """Table 3's "feature distance" between F and φ(HR): the mean over positions of the L1 norm over channels.

    The second number is scale-free: divided by the mean L1 norm of φ(HR). Any model that ``encodes`` will do; the
    matches are those of ``result``, if ``enlarge`` made some.
    """
    phi, r, device = model.encoder, model.profile.scale, device_of(model)
    full, down = ([phi(x.to(device)) for x in maps] for maps in zip(*(prepare_reference(x, r) for x in refs)))
    matches = result.matches if result and result.matches else match(phi(to_tensor(lr).to(device)), down)
    swapped = swap(full, matches, r)
    target = phi(to_tensor(hr).to(device))
    distance = (swapped - target).abs().sum(1).mean().item()
    return distance, distance / target.abs().sum(1).mean().item()


def device_of(model: Network) -> torch.device:
    """Where a model's weights are; the CPU if it has none."""
    return next(model.parameters(), torch.empty(0)).device


def shipped(name: str, profile: str | None = None) -> Network:
    """A model that ships, on a GPU if there is one; the last few are kept. Raises as ``load_model``."""
    return _shipped(name, get_profile(profile).name, str(shipped_folder()))


@lru_cache(maxsize=4)
def _shipped(name: str, profile: str, folder: str) -> Network:
    model = load_model(name, profile, os.path.join(folder, profile))
    return model.to("cuda" if torch.cuda.is_available() else "cpu")
