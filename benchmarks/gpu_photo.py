"""The training of ``e2ent2-photo`` as a step that asks nothing of the host: ``data.degraded`` and the refined match on
the device.

On small crops a card compares each patch with all that begin at any pixel faster than with a few. JPEG is the
standard's transform, not a library's.
"""

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks.gpu_steps import Run, crops_of, floats, reduced, round8
from e2ent2lib.crops import Crops
from e2ent2lib.exact.gather import of_neighbours, overlap_weights
from e2ent2lib.models.network import Outputs
from e2ent2lib.photos.coarse import NEAR, ROUNDS
from e2ent2lib.photos.refined import REACH
from e2ent2lib.systems.parts import shrink

KERNELS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS, Image.Resampling.BICUBIC)
CLEAN = 0.5
"""Both as in ``data.degraded``, which needs packages that a GPU machine may lack."""
BLURS = np.linspace(0.3, 1.5, 13)
"""Standard deviations, in pixels, of the light blur."""
LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61), (12, 12, 14, 19, 26, 58, 60, 55), (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62), (18, 22, 37, 56, 68, 109, 103, 77), (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101), (72, 92, 95, 98, 112, 100, 103, 99),
)  # fmt: skip
CHROMA = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
"""JPEG's tables for quality 50 (ITU-T T.81, K.1 and K.2); what the second leaves out is 99."""
TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def kernels(crop: int, scale: int) -> np.ndarray:
    """(n, crop/scale, crop): how a row is reduced: Pillow's bicubic, then ``KERNELS``, the last one blurred."""
    eye = np.eye(crop, dtype=np.float32)

    def of(kernel: Image.Resampling) -> np.ndarray:
        return np.asarray(Image.fromarray(eye).resize((crop, crop // scale), kernel))

    made = [of(Image.Resampling.BICUBIC), *map(of, KERNELS[:-1])]
    far = np.abs(np.arange(crop)[:, None] - np.arange(crop))
    for sigma in BLURS:
        blur = np.exp(-0.5 * (far / sigma) ** 2)
        made.append(of(KERNELS[-1]) @ (blur / blur.sum(1, keepdims=True)))
    return np.stack(made).astype(np.float32)


def drawn(count: int, seed: int) -> dict[str, np.ndarray]:
    """What ``data.degraded`` draws, for so many samples: half of them clean."""
    rng = np.random.default_rng([seed, 91])
    dirty = rng.random(count) >= CLEAN

    def one_in(n: float) -> np.ndarray:
        return dirty & (rng.random(count) < 1 / n)

    kernel = rng.integers(1, len(KERNELS) + 1, count)
    blurred = len(KERNELS) + rng.integers(len(BLURS), size=count)
    kernel = np.where(kernel == len(KERNELS), blurred, kernel)
    angle = np.where(turned := one_in(3), np.radians(rng.uniform(-5, 5, count)), 0)
    zoom = np.where(turned, np.exp(rng.uniform(-0.1, 0.1, count)), 1)
    gains = np.exp(rng.uniform(np.log(0.6), np.log(1.6), count))[:, None] * rng.uniform(0.85, 1.15, (count, 3))
    return {
        "oriented": rng.integers(8, size=count),
        "kernel": np.where(dirty, kernel, 0),
        "noise": np.where(one_in(3), rng.uniform(1, 8, count), 0).astype(np.float32),
        "seed": rng.integers(1 << 22, size=count),
        "quality": np.where(one_in(2), rng.integers(50, 96, count), 0),
        "turned": np.stack([np.cos(angle) / zoom, np.sin(angle) / zoom], 1).astype(np.float32),
        "light": np.where(dirty[:, None], np.c_[gains, rng.uniform(0.8, 1.25, count)], 1).astype(np.float32),
    }


class Degradation(nn.Module):
    """``data.degraded`` for a batch of crops on the device."""

    def __init__(self, crop: int, scale: int):
        super().__init__()
        self.scale = scale
        place = np.arange(crop * crop).reshape(crop, crop)
        ways = [np.rot90(place, k)[:, ::mirrored].reshape(-1) for mirrored in (1, -1) for k in range(4)]
        table = np.full((2, 8, 8), 99)
        table[0], table[1, :4, :4] = LUMA, CHROMA
        n = np.arange(8)
        dct = np.cos((2 * n + 1) * n[:, None] * np.pi / 16) / 2
        dct[0] /= np.sqrt(2)
        noise = np.random.default_rng(17).normal(size=(1 << 22) + 3 * (crop // scale) ** 2)
        for name, value in {
            "ways": np.stack(ways),
            "kernels": kernels(crop, scale),
            "tables": table[[0, 1, 1]].astype(np.float32),
            "dct": dct.astype(np.float32),
            "ycc": np.array(TO_YCC, np.float32),
            "rgb": np.linalg.inv(np.array(TO_YCC)).astype(np.float32),
            "noise": noise.astype(np.float32),
        }.items():
            self.register_buffer(name, torch.from_numpy(value))

    def forward(self, batch: Crops, lot: dict[str, Tensor]) -> Crops:
        """The crops as ``lot`` of ``drawn`` says; images in [0, 1], of whole grey levels."""
        hr, ref = (self.oriented(x, lot["oriented"]) for x in (batch.hr, batch.ref))
        kernel = self.kernels[lot["kernel"]][:, None]
        lr = round8(kernel @ round8(hr @ kernel.transpose(2, 3)))  # columns first, as Pillow
        span = torch.arange(lr[0].numel(), device=lr.device)
        noise = self.noise[lot["seed"][:, None] + span].view_as(lr)
        lr = round8(lr + lot["noise"].view(-1, 1, 1, 1) / 255 * noise)
        lr = torch.where(lot["quality"].view(-1, 1, 1, 1) > 0, self.as_jpeg(lr, lot["quality"]), lr)
        gains, gamma = lot["light"].view(-1, 4, 1, 1).split([3, 1], dim=1)
        ref = round8(self.turned(ref, lot["turned"]).clamp_min(1e-6) ** gamma * gains)
        return Crops(hr, lr, ref, reduced(ref, self.scale))

    def oriented(self, image: Tensor, way: Tensor) -> Tensor:
        """Turned by a multiple of 90° and mirrored."""
        at = self.ways[way][:, None].expand(-1, 3, -1)
        return image.flatten(2).gather(2, at).view_as(image)

    def as_jpeg(self, image: Tensor, quality: Tensor) -> Tensor:
        """As JPEG gives it back, chroma at half the resolution."""
        height, width = image.shape[2:]
        whole = F.pad(image, (0, -width % 16, 0, -height % 16), mode="replicate")
        ycc = torch.einsum("kc,bchw->bkhw", self.ycc, 255 * whole)
        y, chroma = ycc[:, :1] - 128, F.avg_pool2d(ycc[:, 1:], 2)
        percent = (200 - 2 * quality).view(-1, 1, 1, 1).float()
        steps = torch.floor((self.tables * percent + 50) / 100).clamp(1, 255)
        y, chroma = (self._coarse(x, s) for x, s in ((y, steps[:, :1]), (chroma, steps[:, 1:])))
        chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear")
        ycc = torch.cat([y + 128, chroma], 1).round()
        return round8(torch.einsum("kc,bchw->bkhw", self.rgb, ycc) / 255)[..., :height, :width]

    def _coarse(self, plane: Tensor, steps: Tensor) -> Tensor:
        """Planes whose 8 × 8 blocks keep multiples of ``steps`` of their cosine transform."""
        blocks = plane.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
        steps = steps[:, :, None, None]
        kept = torch.round(self.dct @ blocks @ self.dct.T / steps) * steps
        return (self.dct.T @ kept @ self.dct).transpose(3, 4).flatten(4, 5).flatten(2, 3)

    def turned(self, image: Tensor, how: Tensor) -> Tensor:
        """Turned and scaled about the middle, black outside; ``how`` are cosine and sine over the scale."""
        cos, sin = how.unbind(1)
        none = torch.zeros_like(cos)
        matrix = torch.stack([torch.stack([cos, sin, none], 1), torch.stack([-sin, cos, none], 1)], 1)
        grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
        moved = F.grid_sample(image, grid, mode="bicubic", padding_mode="zeros", align_corners=False)
        same = ((cos == 1) & (sin == 0)).view(-1, 1, 1, 1)
        return torch.where(same, image, round8(moved))


def dense_features(encoder: nn.Module, ref: Tensor, scale: int) -> Tensor:
    """As ``photos.refined.dense_features``, all shifts that leave as many cells in one batch."""
    b, _, height, width = ref.shape
    dense = None
    for down, right in product((range(1), range(1, scale)), repeat=2):
        h, w = (n // scale - min(shifts) for n, shifts in ((height, down), (width, right)))
        shifted = [ref[..., dy : dy + h * scale, dx : dx + w * scale] for dy in down for dx in right]
        phi = encoder(round8(shrink(torch.cat(shifted), scale)).contiguous(memory_format=torch.channels_last))
        phi = phi.float().view(len(down), len(right), b, -1, h, w)
        if dense is None:
            dense = phi.new_zeros(b, phi.shape[3], h, scale, w, scale)
        rows, columns = slice(down.start, down.stop), slice(right.start, right.stop)
        dense[:, :, :h, rows, :w, columns] = phi.permute(2, 3, 4, 0, 5, 1)
    return dense.view(b, -1, height, width)[..., : height - scale + 1, : width - scale + 1]


def best_places(query: Tensor, dense: Tensor, scale: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Row, column and cosine (b, h, w) of the pixel where the refined match's middle cell begins, and its features.

    As ``photos.refined.refine`` finds it, but from the cosines of all patches, wherever they begin.
    """
    b, c, h, w = query.shape
    patches = F.unfold(F.pad(query.float(), (1, 1, 1, 1), mode="replicate"), 3)
    keys = F.unfold(dense, 3, dilation=scale)
    patches, keys = (F.normalize(x, dim=1, eps=1e-12) for x in (patches, keys))
    before, torch.backends.cuda.matmul.fp32_precision = torch.backends.cuda.matmul.fp32_precision, "tf32"
    cosines = (patches.transpose(1, 2) @ keys).unflatten(2, [n - 2 * scale for n in dense.shape[2:]])
    torch.backends.cuda.matmul.fp32_precision = before
    of_cells = cosines[..., ::scale, ::scale]
    at = of_cells.flatten(2).argmax(2).view(b, h, w)
    row, column = scale * (at // of_cells.shape[3]), scale * (at % of_cells.shape[3])
    row, column, cosine = _best_around(cosines, row, column, REACH)
    for axis, way in ROUNDS * [(0, 1), (0, -1), (1, 1), (1, -1)]:
        there = [_beside(x, axis + 1, way) + way * scale * (axis == own) for own, x in enumerate((row, column))]
        other = _best_around(cosines, *there, NEAR)
        better = (other[2] > cosine) & ((there[0] != row) | (there[1] != column))
        row, column, cosine = (torch.where(better, x, y) for x, y in zip(other, (row, column, cosine)))
    row, column = row + scale, column + scale
    found = dense.flatten(2).gather(2, (row * dense.shape[3] + column).view(b, 1, -1).expand(-1, c, -1))
    return row, column, cosine, found.view(b, c, h, w)


def _beside(x: Tensor, axis: int, way: int) -> Tensor:
    """Each cell gets its neighbour's value; at the border its own."""
    first, last = x.narrow(axis, 0, 1), x.narrow(axis, x.shape[axis] - 1, 1)
    parts = (first, x.narrow(axis, 0, x.shape[axis] - 1)) if way > 0 else (x.narrow(axis, 1, x.shape[axis] - 1), last)
    return torch.cat(parts, axis)


def _best_around(cosines: Tensor, row: Tensor, column: Tensor, reach: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and cosine of the best patch up to ``reach`` pixels from each place; all (b, h, w)."""
    step = torch.arange(-reach, reach + 1, device=row.device)
    rows, columns = torch.broadcast_tensors(row[..., None, None] + step[:, None], column[..., None, None] + step)
    high, wide = cosines.shape[2:]
    kept = rows.clamp(0, high - 1), columns.clamp(0, wide - 1)
    score = cosines.flatten(2).gather(2, (kept[0] * wide + kept[1]).flatten(3).flatten(1, 2)).view(*row.shape, -1)
    inside = ((kept[0] == rows) & (kept[1] == columns)).flatten(3)
    best, which = torch.where(inside, score, -torch.inf).max(3, keepdim=True)
    return *(x.flatten(3).gather(3, which)[..., 0] for x in kept), best[..., 0]


def swap_at(values: Tensor, row: Tensor, column: Tensor, scale: int) -> Tensor:
    """As ``photos.refined.swap_at``, of one reference."""
    b, c, height, width = values.shape
    sample = torch.arange(b, device=row.device).view(-1, 1, 1)
    shift = torch.arange(9, device=row.device)
    cell = of_neighbours((sample * height + row) * width + column)
    cell = cell + scale * ((shift // 3 - 1) * width + shift % 3 - 1)
    inside = torch.arange(scale, device=row.device)
    pixels = cell[:, :, None, :, None] + inside.view(-1, 1, 1, 1) * width + inside.view(-1, 1)
    weights = overlap_weights(row).float()[:, :, None, :, None].expand_as(pixels)
    rows = values.permute(0, 2, 3, 1).reshape(-1, c).float()
    taken = rows.index_select(0, pixels.clamp(0, len(rows) - 1).flatten())
    out = (taken.view(-1, 9, c) * weights.reshape(-1, 9, 1)).sum(1)
    return out.view(b, scale * row.shape[1], scale * row.shape[2], c).permute(0, 3, 1, 2)


class _Photo(nn.Module):
    """``systems.photo``'s forward pass, in a form that a CUDA graph can record."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, batch: Crops) -> Outputs:
        """Of a batch of crops."""
        net, r = self.net, self.net.profile.scale
        inputs = net.of_input(batch.lr)
        with torch.no_grad():
            dense = dense_features(net.encoder, batch.ref, r)
            with torch.autocast(dense.device.type, enabled=False):
                row, column, cosine, found = best_places(inputs[:, : net.profile.channels], dense, r)
        values = net.encoder(batch.ref)
        with torch.autocast(dense.device.type, enabled=False):
            swapped = swap_at(values, row, column, r)
        return net.compose(swapped.to(inputs.dtype), inputs, batch.lr, torch.cat([found, cosine[:, None]], dim=1))


class PhotoRun(Run):
    """A training of ``e2ent2-photo`` under way."""

    def __init__(self, plan, photographs, start, device):
        super().__init__(plan, photographs.whole(), start, device)
        form = self.profile
        self.degradation = Degradation(form.crop, form.scale).to(device)
        table = drawn(plan.steps * form.batch, plan.seed)
        self.lots = {
            k: torch.from_numpy(v).to(device).view(plan.steps, form.batch, *v.shape[1:]) for k, v in table.items()
        }

    def _drawn(self, start):
        net, critics = super()._drawn(None)
        if start is not None:
            net.load_state_dict({k: v.float() for k, v in start.items()})
        return net, critics

    def batch(self) -> Crops:
        """This step's crops, half of them degraded."""
        boxes = self.table.index_select(0, self.step.view(1))[0].long()
        clean = crops_of(self.photographs.train, boxes, self.profile, True)
        return self.degradation(clean, {k: v.index_select(0, self.step.view(1))[0] for k, v in self.lots.items()})

    def outputs_of(self, batch: Crops) -> Outputs:
        """What the network makes of a batch, in float32."""
        return floats(_Photo(self.net)(batch))

    def call(self, state: dict, batch: Crops) -> Outputs:
        """The network with other weights, float32; views sample by sample, since their match is large."""
        named = {f"net.{k}": v for k, v in state.items()}
        at_once = len(batch.hr) if batch.ref.shape[2] <= self.profile.crop else 1
        parts = zip(*(x.split(at_once) for x in batch))
        made = [torch.func.functional_call(_Photo(self.net), named, (Crops(*part),)) for part in parts]
        return Outputs(*(torch.cat([getattr(m, k) for m in made]) for k in ("sr", "sisr")))


def kind_of_run(model: str) -> type[Run]:
    """The class of a model's training."""
    return PhotoRun if model == "e2ent2-photo" else Run
