"""A photograph of any size in bounded memory, by single-image networks and by those that match cell by cell.

A convolution sees a few pixels around its own. So networks work on tiles with that much around them, and the seams
cannot be found. What cannot be cut is the match, which looks everywhere; it needs φ(I_in) and φ(I_ref↓) alone, both of
low resolution, and goes band by band. φ(I_ref), the largest map, is computed where the match points. Notebook 14.
"""

import copy
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from e2ent2lib.exact.gather import from_rows, swap_plan, to_rows
from e2ent2lib.matching import Map, Matches, match
from e2ent2lib.models.network import Network, receptive_field
from e2ent2lib.photos.coarse import Places, match_coarse
from e2ent2lib.photos.images import downscale, to_image, to_pixels, to_tensor
from e2ent2lib.photos.options import Options, Precision
from e2ent2lib.photos.photograph import Pixels
from e2ent2lib.photos.refined import as_rows, dense_features, look_up, refine, swap_rows
from e2ent2lib.runs.files import whole_file

Tile = tuple[slice, slice]
"""Rows and columns."""
TILE = 128
"""Side of a tile in cells of the low-resolution grid."""
BAND = 15_000_000_000
"""Pairs of patches matched at a time: about 15 seconds on two cores, which is what an interruption loses."""
KEPT = 3 << 29
"""Bytes of φ(I_ref) that are kept; tiles beyond that are computed again when they are needed again."""

SINGLE = 100_000_000
"""Numbers of φ(I_ref) that are held in single precision where F is refined to the pixel; three megapixels."""


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
    swapped: Float[Tensor, "1 c H W"] | None = None
    """F; of networks that take a picture as a whole."""
    references: Sequence[Pixels] = ()
    """As they were matched: those given, and those that the network made of them (``Network.offered``)."""


def can_tile(model: Network, references: bool) -> bool:
    """Whether ``enlarge`` can run a network: it matches whole cells, or it uses no reference and only convolves."""
    if references and model.references != "none":
        return bool(model.swaps)
    return model.single_image is not None and model.single_image.receptive_field is not None


@torch.inference_mode()
def enlarge(model: Network, lr: Pixels, refs: Sequence[Pixels] = (), options: Options = Options()) -> Enlarged:
    """The picture ×4 by a network that ``can_tile``; references have sides that are multiples of the scale."""
    model, device = channels_last(model), next(model.parameters()).device
    bar = partial(tqdm, disable=not options.progress, leave=False)
    r, size, matches = model.profile.scale, lr.shape[:2], None
    image = np.empty((r * size[0], r * size[1], 3), np.uint8 if options.rounded else np.float32)
    with autocast(device, options.precision):
        if refs and model.references != "none":
            around = receptive_field(model.single_image or model.encoder)  # at least as far as ``of_input`` sees
            inputs = in_tiles(model.of_input, lr, device, around)
            downs = [in_tiles(model.encoder, downscale(ref, r), device) for ref in refs]
            phi_in = inputs[:, : downs[0].shape[1]]
            saved = SavedMatches(options.saved, identity(model, (lr, *refs), options)) if options.saved else None
            matching = partial(match_in_bands, bar=bar, saved=saved)
            if options.matching == "coarse":
                matching = partial(match_coarse, first=matching, bar=partial(bar, desc="looking around"))
            matches = matching(phi_in, downs, model.norm)
            kind = RefinedTexture if model.swaps == "pixels" else CellTexture
            texture = kind(model.encoder, phi_in, refs, matches, r)
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


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """The precision of convolutions."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def tiles(size: tuple[int, int], side: int) -> Iterator[Tile]:
    """Rows and columns of the tiles that cover ``size``, row by row; of about one size, none larger than ``side``."""
    counts = [-(-n // side) for n in size]
    edges = ([n * i // count for i in range(count + 1)] for n, count in zip(size, counts))
    yield from product(*([slice(*ends) for ends in pairwise(part)] for part in edges))


def widened(tile: Tile, around: int, size: tuple[int, int]) -> tuple[Tile, Tile]:
    """(``tile`` with so much ``around`` it, but for the ends of the map; where ``tile`` is in that)."""
    wide = tuple(slice(max(0, part.start - around), min(n, part.stop + around)) for part, n in zip(tile, size))
    return wide, tuple(slice(part.start - w.start, part.stop - w.start) for part, w in zip(tile, wide))


def in_tiles(
    network: Callable,
    image: Pixels,
    device: torch.device,
    around: int | None = None,
    dtype: torch.dtype = torch.float32,
) -> Float[Tensor, "1 c h w"]:
    """A network's map of an 8-bit image at the image's size, as φ makes it; as if the image were whole.

    ``around`` is how far it sees, if it is not a module that tells.
    """
    around, result = receptive_field(network) if around is None else around, None
    for tile in tiles(image.shape[:2], TILE):
        part = _tile(network, image, tile, around, device).to(dtype)
        if result is None:
            result = part.new_empty(1, *image.shape[:2], part.shape[1]).permute(0, 3, 1, 2)
        result[..., *tile] = part
    return result


def _tile(network: nn.Module, image: Pixels, tile: Tile, around: int, device: torch.device) -> Map:
    """A network's map of one tile of an image."""
    wide, inner = widened(tile, around, image.shape[:2])
    return network(_input(image[wide], device))[..., *inner]


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
        """The rows matched before, as a list of one; empty if there are none, or of other pictures, or damaged ones."""
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
    facts = f"{model.card['sha256']} {model.norm} {options.precision} {options.matching}"
    digest = hashlib.sha256(facts.encode())
    for picture in pictures:
        digest.update(str(picture.shape).encode() + np.ascontiguousarray(picture).tobytes())
    return digest.hexdigest()


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


class RefinedTexture:
    """F of ``systems.photo``, of matches that are refined to the pixel; all at once, since a cell asks its neighbours.

    Two maps are held, one after the other: φ(I_ref↓) of the cell that begins at each pixel, and φ(I_ref); of large
    references in half precision.
    """

    def __init__(self, encoder: nn.Module, phi_in: Map, refs: Sequence[Pixels], matches: Matches, scale: int):
        self.scale = scale
        numbers = phi_in.shape[1] * sum(ref.shape[0] * ref.shape[1] for ref in refs)
        dtype = torch.float16 if numbers > SINGLE else torch.float32
        dense = [dense_features(encoder, _input(ref, phi_in.device), scale, dtype) for ref in refs]
        self.places = refine(phi_in, dense, matches, scale)
        self.found = torch.cat([look_up(dense, self.places).float(), self.places.score[:, None]], dim=1)
        del dense
        self.rows = as_rows([in_tiles(encoder, ref, phi_in.device, dtype=dtype) for ref in refs])
        self.sizes = [ref.shape[:2] for ref in refs]

    def tile(self, tile: Tile) -> tuple[Map, Map]:
        """F of these rows and columns of cells, and the evidence for it that ``compose`` takes."""
        wide, inner = widened(tile, 1, self.places.row.shape[1:])
        places = Places(*(field[:, *wide] for field in self.places))
        swapped = swap_rows(self.rows, self.sizes, places, self.scale)
        return swapped[..., *_scaled(inner, self.scale)], self.found[..., *tile]


class CellTexture:
    """F of Eq. 4, of which a tile is made from those of φ(I_ref) that it needs."""

    def __init__(self, encoder: nn.Module, phi_in: Map, refs: Sequence[Pixels], matches: Matches, scale: int):
        self.matches, self.reference = matches, ReferenceFeatures(encoder, refs, scale, phi_in.device)

    def tile(self, tile: Tile) -> tuple[Map, Float[Tensor, "1 h w"]]:
        """F of these rows and columns of cells, and the confidence of their matches."""
        return swapped_tile(self.matches, self.reference, tile), self.matches.confidence[:, *tile]


class ReferenceFeatures:
    """φ(I_ref) of all references as rows, one an r × r cell, computed a tile at a time where it is asked for."""

    def __init__(self, encoder: nn.Module, refs: Sequence[Pixels], scale: int, device: torch.device):
        self.encoder, self.refs, self.scale, self.device = encoder, refs, scale, device
        self.sizes = [(ref.shape[0] // scale, ref.shape[1] // scale) for ref in refs]
        self._places = [(n, tile) for n, size in enumerate(self.sizes) for tile in tiles(size, TILE)]
        self._around = receptive_field(encoder)
        self._tiles: dict[int, Tensor] = {}
        self._random = random.Random(0)  # which tile is dropped does not change what is computed, only how often
        # For each cell of all references, one after another: which tile holds it, and as which of its rows.
        count = sum(h * w for h, w in self.sizes)
        self._tile_of, self._row_of = torch.empty(2, count, dtype=torch.int32)
        starts = np.cumsum([0] + [h * w for h, w in self.sizes])
        for number, (n, tile) in enumerate(self._places):
            span = slice(starts[n], starts[n + 1])
            self._tile_of[span].view(self.sizes[n])[tile] = number
            rows = self._row_of[span].view(self.sizes[n])[tile]
            rows.copy_(torch.arange(rows.numel()).view(rows.shape))

    def rows(self, cells: Int[Tensor, " n"]) -> Float[Tensor, "n wide"]:
        """The features of these cells, counted row by row and one reference after another; each C·r² numbers."""
        which, row = self._tile_of[cells.cpu()], self._row_of[cells.cpu()].long()
        order = which.argsort(stable=True)  # tile by tile
        numbers, counts = which.unique(return_counts=True)
        parts = zip(numbers.tolist(), row[order].split(counts.tolist()))
        values = torch.cat([self._tile(number)[rows].float() for number, rows in parts])
        return values[order.argsort()]

    def _tile(self, number: int) -> Tensor:
        if number not in self._tiles:
            n, cells = self._places[number]
            pixels = _scaled(cells, self.scale)
            rows = to_rows(_tile(self.encoder, self.refs[n], pixels, self._around, self.device), self.scale)[0]
            while self._tiles and rows.nbytes + sum(tile.nbytes for tile in self._tiles.values()) > KEPT:
                del self._tiles[self._random.choice(list(self._tiles))]
            self._tiles[number] = rows.contiguous()
        return self._tiles[number]


def moved(sr: Map, sisr: Map, r: int) -> Float[np.ndarray, "h w"]:
    """``Enlarged.changed`` of two images in [0, 1]."""
    difference = (sr.float().clamp(0, 1) - sisr.float().clamp(0, 1)).abs().mean(1, keepdim=True)
    return 255 * F.avg_pool2d(difference, r)[0, 0].cpu().numpy()


def swapped_tile(matches: Matches, reference: ReferenceFeatures, tile: Tile) -> Float[Tensor, "1 c R*h R*w"]:
    """F of Eq. 4 for these rows and columns of cells, as ``matching.swap`` makes it."""
    wide, inner = widened(tile, 1, matches.index.shape[1:])
    part = Matches(*(field[:, *wide] for field in matches))
    cells, weights = (plan[0, *inner].flatten(0, 1) for plan in swap_plan(part, reference.sizes))
    used, bags = cells.unique(return_inverse=True)
    values = reference.rows(used)
    out = F.embedding_bag(bags, values, mode="sum", per_sample_weights=weights.to(values.dtype))
    return from_rows(out[None], tuple(part.stop - part.start for part in tile), reference.scale)
