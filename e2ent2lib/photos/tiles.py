"""A photograph of any size in bounded memory, by single-image networks and by those that match and swap.

A convolution sees a few pixels around its own. So networks work on tiles with that much around them, and the seams
cannot be found. What cannot be cut is the match, which looks everywhere; it needs φ(I_in) and φ(I_ref↓) alone, both of
low resolution, and goes band by band. The largest map that is held is φ(I_ref). Notebook 14.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from e2ent2lib.data.pairs import fingerprint
from e2ent2lib.matching import Map, Matches, match
from e2ent2lib.models.network import Network, receptive_field
from e2ent2lib.photos.coarse import Places, match_coarse, places_of
from e2ent2lib.photos.images import downscale, to_image, to_pixels, to_tensor
from e2ent2lib.photos.options import Options
from e2ent2lib.photos.photograph import Pixels
from e2ent2lib.photos.refined import LOOKS, Candidate, dense_features, evidence, in_place, mixed, refine, swap_rows
from e2ent2lib.runs.files import whole_file

Tile = tuple[slice, slice]
"""Rows and columns."""
TILE = 128
"""Side of a tile in cells of the low-resolution grid."""
BAND = 15_000_000_000
"""Pairs of patches matched at a time: about 15 seconds on two cores, which is what an interruption loses."""
SINGLE = {"cells": 400_000_000, "pixels": 100_000_000}
"""Numbers of φ(I_ref) that are held in single precision, by ``Network.swaps``; twelve and three megapixels."""


class Enlarged(NamedTuple):
    """What ``enlarge`` gives: the picture, and what a report says of how it was made."""

    image: Pixels
    """I_sr in 8 bits; float32 if not ``Options.rounded``."""
    sisr: Pixels | None = None
    """The SISR branch's image; None where the network has none, or nothing was matched."""
    matches: Matches | None = None
    changed: Float[np.ndarray, "h w"] | None = None
    """How far the reference moved each cell's pixels, in 8-bit steps: the mean of |I_sr − SISR image|."""
    confidence: Float[np.ndarray, "h w"] | None = None
    """``Matches.confidence``."""
    references: Sequence[Pixels] = ()
    """As they were matched (``Offered.matched``)."""
    agreement: Float[np.ndarray, "h w"] | None = None
    """``confidence.agreement``; None where nothing was matched."""
    registered: bool = False
    """Whether one was laid over the result (``Offered.in_place``)."""
    tried: float | None = None
    """dB that the references add where the truth is known, if that was tried (``systems.photo``)."""
    used: bool = True
    """Whether the references were used; not if the network does without those that don't seem to help."""


def can_tile(model: Network, references: bool) -> bool:
    """Whether ``enlarge`` can run a network: it ``swaps``, or it uses no reference and only convolves."""
    if references and model.references != "none":
        return bool(model.swaps)
    return model.single_image is not None and model.single_image.receptive_field is not None


@torch.inference_mode()
def enlarge(
    model: Network,
    lr: Pixels,
    refs: Sequence[Pixels] = (),
    options: Options = Options(),
    in_place: Sequence[Pixels] = (),
) -> Enlarged:
    """The picture ×4 by a network that ``can_tile``; references have sides that are multiples of the scale.

    ``in_place`` as in ``Offered``.
    """
    model, device = channels_last(model), next(model.parameters()).device
    bar = partial(tqdm, disable=not options.progress, leave=False)
    r, size, matches = model.profile.scale, lr.shape[:2], None
    image = np.empty((r * size[0], r * size[1], 3), np.uint8 if options.rounded else np.float32)
    with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
        if refs and model.references != "none":
            around = receptive_field(model.single_image or model.encoder)  # at least as far as ``of_input`` sees
            inputs = in_tiles(model.of_input, lr, device, around=around)
            downs = [in_tiles(model.encoder, downscale(ref, r), device) for ref in refs]
            phi_in = inputs[:, : downs[0].shape[1]]
            saved = SavedMatches(options.saved, identity(model, (lr, *refs), options)) if options.saved else None
            matching = partial(match_in_bands, bar=bar, saved=saved)
            if options.matching == "coarse":
                matching = partial(match_coarse, first=matching, bar=partial(bar, desc="looking around"))
            matches = matching(phi_in, downs, model.norm)
            texture = Texture(model, phi_in, refs, matches, in_place)
            sisr, changed = np.empty(image.shape, np.uint8), np.empty(size, np.float32)
        around = receptive_field(model.synthesis) if matches else model.single_image.receptive_field
        for tile in bar(list(tiles(size, TILE)), desc="enlarging", unit="tile"):
            wide, inner = widened(tile, around, size)
            inner, where = (..., *_scaled(inner, r)), _scaled(tile, r)
            if matches:
                swapped, evidence = texture.tile(wide)
                out = model.compose(swapped, inputs[..., *wide], _input(lr[wide], device), evidence)
                if out.sisr is not None:
                    sisr[where] = to_image(out.sisr[inner])
                    changed[tile] = moved(out.sr[inner], out.sisr[inner], r)
            else:
                out = model.single_image(_input(lr[wide], device))
            image[where] = to_image(out.sr[inner]) if options.rounded else to_pixels(out.sr[inner])
    if options.saved:
        options.saved.unlink(missing_ok=True)
    if not matches:
        return Enlarged(image)
    if out.sisr is None:
        sisr = changed = None
    return Enlarged(image, sisr, matches, changed, matches.confidence[0].cpu().numpy())


def channels_last(model: nn.Module) -> nn.Module:
    """The model, or a copy with its weights so laid out: convolutions are fastest if images and weights both are."""
    layout = torch.channels_last
    if all(p.is_contiguous(memory_format=layout) for p in model.parameters() if p.ndim == 4):
        return model
    return copy.deepcopy(model).to(memory_format=layout)


def tiles(size: tuple[int, int], side: int) -> Iterator[Tile]:
    """Rows and columns of the tiles that cover ``size``, row by row; of about one size, none larger than ``side``."""
    counts = [-(-n // side) for n in size]
    edges = ([n * i // count for i in range(count + 1)] for n, count in zip(size, counts))
    yield from product(*([slice(*ends) for ends in pairwise(part)] for part in edges))


def widened(tile: Tile, around: int, size: tuple[int, int]) -> tuple[Tile, Tile]:
    """(``tile`` widened by ``around``, clipped to the map; where ``tile`` lies in that)."""
    wide = tuple(slice(max(0, part.start - around), min(n, part.stop + around)) for part, n in zip(tile, size))
    return wide, tuple(slice(part.start - w.start, part.stop - w.start) for part, w in zip(tile, wide))


def in_tiles(
    network: Callable,
    image: Pixels,
    device: torch.device,
    *,
    around: int | None = None,
    side: int | None = None,
    out: Map | None = None,
) -> Float[Tensor, "1 c h w"]:
    """A network's map of an 8-bit image at the image's size, as φ makes it; as if the image were whole.

    ``around`` is how far it sees, if it is not a module that tells; ``side`` is a tile's, if not ``TILE``; ``out`` is a
    map to write to, in its dtype, if not a new one in float32.
    """
    around = receptive_field(network) if around is None else around
    for tile in tiles(image.shape[:2], side or TILE):
        wide, inner = widened(tile, around, image.shape[:2])
        part = network(_input(image[wide], device))[..., *inner]
        if out is None:
            out = torch.empty(1, *image.shape[:2], part.shape[1], device=device).permute(0, 3, 1, 2)
        out[..., *tile] = part
    return out


def _input(image: Pixels, device: torch.device) -> Float[Tensor, "1 3 h w"]:
    return to_tensor(image).to(device).contiguous(memory_format=torch.channels_last)  # the faster order of convolutions


def _scaled(tile: Tile, r: int) -> Tile:
    return tuple(slice(r * part.start, r * part.stop) for part in tile)


class SavedMatches(NamedTuple):
    """A file with the matches of the first rows, from which an interrupted call resumes."""

    path: Path
    identity: str
    """What the matches belong to; those of anything else are not used."""

    def read(self, device: torch.device) -> list[Matches]:
        """The rows matched before, as a list of one; empty if the file is missing, damaged or another pair's."""
        with suppress(SafetensorError, OSError), safe_open(self.path, "pt") as file:
            if (file.metadata() or {}).get("identity") == self.identity:
                return [Matches(*(file.get_tensor(name).to(device) for name in Matches._fields))]
        return []

    def write(self, bands: list[Matches]) -> None:
        """Keep them; where there is no room for that, the call goes on without."""
        fields = {n: torch.cat(parts, dim=1).cpu() for n, parts in zip(Matches._fields, zip(*bands))}
        with suppress(OSError, SafetensorError), whole_file(self.path) as temporary:
            save_file(fields, temporary, {"identity": self.identity})


def identity(model: nn.Module, pictures: Sequence[np.ndarray], options: Options) -> str:
    """What matches belong to: the weights, the pictures' pixels, precision and kind of matching."""
    return f"{model.card['sha256']} {model.norm} {options.precision} {options.matching} {fingerprint(pictures)}"


def match_in_bands(
    query: Map, keys: Sequence[Map], norm: str, *, bar: Callable = tqdm, saved: SavedMatches | None = None
) -> Matches:
    """``match``, a band of the query's rows at a time, with a bar; the bands so far are kept in ``saved``."""
    h, w = query.shape[2:]
    patches = sum((key.shape[2] - 2) * (key.shape[3] - 2) for key in keys)
    step = max(1, BAND // max(1, patches * w))
    bands = saved.read(query.device) if saved else []
    start = sum(band.index.shape[1] for band in bands)
    with bar(total=h, initial=start, desc="matching", unit="row") as shown:
        for first in range(start, h, step):
            bands.append(match(query, list(keys), norm, rows=slice(first, min(h, first + step))))
            shown.update(bands[-1].index.shape[1])
            if saved and (len(bands) > 1 or first + step < h):
                saved.write(bands)
    return Matches(*(torch.cat(fields, dim=1) for fields in zip(*bands)))


class Texture:
    """F, of which ``tile`` gives a part: Eq. 4's, or of matches refined to the pixel as in ``systems.photo``.

    φ(I_ref) is held, in half precision for large references. To refine, φ(I_ref↓) of the cell that begins at each pixel
    is held first, all at once, since a cell asks its neighbours.
    """

    def __init__(
        self, model: Network, phi_in: Map, refs: Sequence[Pixels], matches: Matches, in_place: Sequence[Pixels] = ()
    ):
        self.encoder, self.phi_in, self.in_place = model.encoder, phi_in, in_place
        self.scale, self.sizes, device = model.profile.scale, [ref.shape[:2] for ref in refs], phi_in.device
        counts, channels = [h * w for h, w in self.sizes], phi_in.shape[1]
        dtype = torch.float32 if channels * sum(counts) <= SINGLE[model.swaps] else torch.float16
        if model.swaps == "pixels":
            dense = [dense_features(model.encoder, _input(ref, device), self.scale, dtype) for ref in refs]
            self.places = refine(phi_in, dense, matches, self.scale)
            self.evidence = evidence(dense, self.places)
            del dense
        else:
            self.places = places_of(matches, [w // self.scale for _, w in self.sizes], self.scale)
            self.evidence = matches.confidence
        self.rows = torch.empty(1, sum(counts), channels, dtype=dtype, device=device)
        for ref, size, rows in zip(refs, self.sizes, self.rows.split(counts, dim=1)):
            out = rows.view(1, *size, channels).permute(0, 3, 1, 2)
            in_tiles(model.encoder, ref, device, side=self.scale * TILE, out=out)

    def tile(self, tile: Tile) -> tuple[Map, Float[Tensor, "1 *c h w"]]:
        """F of these rows and columns of cells, and the evidence for it that ``compose`` takes."""
        around = receptive_field(self.encoder) + LOOKS if self.in_place else 1
        wide, inner = widened(tile, around, self.places.row.shape[1:])
        places = Places(*(field[:, *wide] for field in self.places))
        found = Candidate(swap_rows(self.rows, self.sizes, places, self.scale), self.evidence[..., *wide])
        if self.in_place:
            query, crops = self.phi_in[..., *wide], (ref[_scaled(wide, self.scale)] for ref in self.in_place)
            others = (in_place(self.encoder, query, _input(crop, query.device), self.scale) for crop in crops)
            found = mixed([found, *others], self.scale)
        return found.swapped[..., *_scaled(inner, self.scale)], found.evidence[..., *inner]


def moved(sr: Map, sisr: Map, r: int) -> Float[np.ndarray, "h w"]:
    """``Enlarged.changed`` of two images in [0, 1]."""
    difference = (sr.float().clamp(0, 1) - sisr.float().clamp(0, 1)).abs().mean(1, keepdim=True)
    return 255 * F.avg_pool2d(difference, r)[0, 0].cpu().numpy()
