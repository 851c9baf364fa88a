"""One training as a step that asks nothing of the host: crops cut on the device, critics and generator updated there.

So a CUDA graph can record it. On a CPU the same step runs as it is.
"""

import gc
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.models import Critic
from e2ent2lib.models.network import Outputs, trained_images
from e2ent2lib.photos.images import as_rgb
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.systems import Recipe, recipe_of
from e2ent2lib.systems.parts import ADVERSARIES
from e2ent2lib.systems.srntt import OPENING
from e2ent2lib.systems.vgg import VGG19, load_vgg

_CAPTURE = Lock()
BETAS, EPS = (0.9, 0.999), 1e-10
ALIGNED = 16
"""Numbers after which a weight may begin: cuDNN is five times as slow with one that lies across a 16-byte line."""
FLOAT32 = ("join",)
"""Modules whose convolution runs in float32 always."""


class Photographs:
    """All training photographs as one row of bytes on the device."""

    def __init__(self, folder: Path, device: torch.device, workers: int = 16):
        self.manifest = json.loads((folder / "manifest.json").read_text())
        self.device = device
        names = self.manifest["train"] + self.manifest["validation"] + self.manifest.get("whole", {}).get("train", [])
        with ThreadPoolExecutor(workers) as pool:
            images = dict(zip(names, pool.map(lambda n: as_rgb(folder / n), names)))
        self.images = images
        self.train = self.store([images[n] for n in self.manifest["train"]])
        self._whole = None
        self.held = self.store([images[n] for n in self.manifest["validation"]])

    def whole(self) -> "Photographs":
        """With those that rows of one budget do without."""
        if self._whole is None:
            self._whole = copy(self)
            self._whole.manifest = self.manifest | self.manifest.get("whole", {})
            self._whole.train = self.store([self.images[n] for n in self._whole.manifest["train"]])
        return self._whole

    def store(self, images: list[np.ndarray]) -> dict:
        """Their pixels in a row, where each begins and how wide it is, and their sizes."""
        sizes = np.array([im.shape[:2] for im in images])
        begins = np.concatenate([[0], np.cumsum(sizes.prod(1) * 3)[:-1]])
        flat = torch.from_numpy(np.concatenate([im.reshape(-1) for im in images]))
        facts = torch.from_numpy(np.stack([begins, sizes[:, 1]], 1)).long()
        return {"pixels": flat.to(self.device), "facts": facts.to(self.device), "sizes": sizes}


def draw_boxes(sizes: np.ndarray, profile: Profile, count: int, seed: int, views: list) -> np.ndarray:
    """(count, 6): image, y, x of the input, the same of the reference: ``CropTwice.boxes``, all at once.

    ``views`` as of ``registered_views``.
    """
    rng, crop, n = np.random.default_rng([seed, 77]), profile.crop, len(sizes)

    def between(low, high):
        return np.floor(low + rng.random(len(low)) * (high - low + 1)).clip(low, high).astype(np.int64)

    i = rng.integers(n, size=count)
    room = sizes[i] - crop
    reach = max(sizes.max(), 1) if profile.max_offset is None else profile.max_offset
    if profile.stereo:
        shift = between(np.zeros(count), np.minimum(reach, room[:, 1]))
        y = between(np.zeros(count), room[:, 0])
        x = between(np.zeros(count), room[:, 1] - shift)
        return np.stack([i, y, x, i, y, x + shift], 1)
    first = np.stack([between(np.zeros(count), room[:, k]) for k in (0, 1)], 1)

    def near(place, room):
        place = np.minimum(place, room)
        low, high = np.maximum(0, place - reach), np.minimum(room, place + reach)
        free = np.stack([between(low[:, k], high[:, k]) for k in (0, 1)], 1)
        r = profile.scale
        whole = [place[:, k] + r * between(-((place - low)[:, k] // r), (high - place)[:, k] // r) for k in (0, 1)]
        return free, np.stack(whole, 1)

    free, whole = near(first, room)
    second = np.where(rng.random((count, 1)) < profile.aligned, whole, free)
    lot, j = rng.random(count), i.copy()
    other = (i + rng.integers(1, max(n, 2), size=count)) % n
    elsewhere = np.stack([between(np.zeros(count), sizes[other][:, k] - crop) for k in (0, 1)], 1)
    unrelated = (lot < profile.unrelated) & (n > 1)
    j = np.where(unrelated, other, i)
    second = np.where(unrelated[:, None], elsewhere, second)
    if views:  # where the other view shows the same; it is never laid over, as ``CropTwice`` does with two in three
        seen = np.flatnonzero(~unrelated & (lot < profile.unrelated + profile.views))
        one, two, to = (np.array(x) for x in zip(*views))
        pair = rng.integers(len(views), size=len(seen))
        i[seen], j[seen] = one[pair], two[pair]
        first[seen] = rng.random((len(seen), 2)) * (sizes[i[seen]] - crop + 1)
        middle = np.c_[first[seen, ::-1] + crop / 2, np.ones(len(seen))]
        x, y, depth = np.einsum("nij,nj->in", to[pair], middle)
        place = np.stack([y, x], 1) / np.maximum(depth, 1e-9)[:, None] - crop / 2
        place += rng.uniform(-crop / 8, crop / 8, place.shape)
        second[seen] = place.clip(0, sizes[j[seen]] - crop)
    return np.concatenate([i[:, None], first, j[:, None], second], 1)


def cut(store: dict, image: Tensor, y: Tensor, x: Tensor, crop: int) -> Tensor:
    """(n, 3, crop, crop) float32 in [0, 1], channels last in memory."""
    facts, side = store["facts"][image], torch.arange(crop, device=image.device)
    rows = facts[:, 0, None] + (y[:, None] + side) * (3 * facts[:, 1, None])
    columns = (x[:, None] + side) * 3
    place = rows[:, :, None] + columns[:, None, :]
    index = place[..., None] + torch.arange(3, device=image.device)
    return (store["pixels"][index].float() / 255).permute(0, 3, 1, 2)


def reduced(image: Tensor, scale: int) -> Tensor:
    """×1/scale as Pillow does it: antialiased bicubic, columns first, each pass rounded to 8 bits."""
    height, width = (n // scale for n in image.shape[2:])
    for size in ((image.shape[2], width), (height, width)):
        image = round8(F.interpolate(image, size=size, mode="bicubic", antialias=True))
    return image.contiguous(memory_format=torch.channels_last)


def crops_of(store: dict, boxes: Tensor, profile: Profile, reference: bool) -> Crops:
    """The images of 3.1 of these boxes; without ``reference`` only the input's."""
    parts = boxes.view(-1, 2, 3) if reference else boxes.view(-1, 2, 3)[:, :1]
    image, y, x = parts.transpose(0, 1).reshape(-1, 3).unbind(1)
    both = cut(store, image, y, x, profile.crop)
    small = reduced(both, profile.scale)
    if not reference:
        return Crops(both, small, None, None)
    (hr, ref), (lr, ref_down) = both.chunk(2), small.chunk(2)
    return Crops(hr, lr, ref, ref_down)


class Flat:
    """A network's trained weights in one float32 vector with Adam's state, and their average; convolutions use a
    bfloat16 copy of it, where ``half``."""

    def __init__(self, net: nn.Module, half: bool, decay: float):
        named = [(n, p) for n, p in net.named_parameters() if p.requires_grad]
        convs = {
            f"{m}.{k}" for m, c in net.named_modules() if isinstance(c, nn.Conv2d) and m.split(".")[-1] not in FLOAT32
            for k in ("weight", "bias")
        }  # fmt: skip
        self.net, self.half, self.decay = net, half, decay
        self.named = [x for x in named if x[0] in convs] + [x for x in named if x[0] not in convs]
        self.shapes = {n: p.shape for n, p in self.named}
        self.room = {n: -(-p.numel() // ALIGNED) * ALIGNED for n, p in self.named}
        self.nothing = torch.zeros(ALIGNED, device=self.named[0][1].device)
        count = sum(self.room[n] for n, _ in self.named if n in convs) if half else 0
        with torch.no_grad():
            self.w = torch.cat(self._rows([p.float() for _, p in self.named]))
            self.low = self.w[:count].bfloat16()
            begin = 0
            for n, p in self.named:
                source = self.low if begin < count else self.w
                p.data = _shaped(source[begin : begin + p.numel()], p.shape)
                begin += self.room[n]
        self.m, self.v, self.ema = torch.zeros_like(self.w), torch.zeros_like(self.w), self.w.clone()
        self.t = torch.zeros((), device=self.w.device)

    def update(self, loss: Tensor, lr: Tensor) -> None:
        """One step of Adam, as torch.optim.Adam does it."""
        found = torch.autograd.grad(loss, [p for _, p in self.named], allow_unused=True)
        with torch.no_grad():
            found = [torch.zeros_like(p) if g is None else g for g, (_, p) in zip(found, self.named)]
            count, halves = len(self.low), sum(p.dtype == torch.bfloat16 for _, p in self.named)
            lows, highs = self._rows(found[:halves]), self._rows(found[halves:], halves)
            parts = ([torch.cat(lows).float()] if lows else []) + ([torch.cat(highs)] if highs else [])
            g = torch.cat(parts) if len(parts) > 1 else parts[0]
            self.t += 1
            self.m.lerp_(g, 1 - BETAS[0])
            self.v.mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
            size = lr / (1 - BETAS[0] ** self.t)
            root = (1 - BETAS[1] ** self.t).sqrt()
            self.w.addcdiv_(self.m * size, self.v.sqrt().div_(root).add_(EPS), value=-1)
            if count:
                self.low.copy_(self.w[:count])
            if self.decay:
                self.ema.lerp_(self.w, (1 - torch.clamp((1 + self.t) / (10 + self.t), max=self.decay)))

    def _rows(self, tensors: list[Tensor], first: int = 0) -> list[Tensor]:
        """One after another, each with zeros up to where the next one begins."""
        made = []
        for x, (n, _) in zip(tensors, self.named[first:]):
            made.append(_row(x))
            if self.room[n] > x.numel():
                made.append(self.nothing[: self.room[n] - x.numel()].to(x.dtype))
        return made

    @torch.no_grad()
    def fill(self, state: dict[str, Tensor]) -> None:
        """Take a network's state over, in place, and forget Adam's."""
        self.w.copy_(torch.cat(self._rows([state[n].to(self.w) for n, _ in self.named])))
        self.low.copy_(self.w[: len(self.low)])
        self.ema.copy_(self.w)
        for x in (self.m, self.v, self.t):
            x.zero_()
        for n, x in self.net.state_dict().items():
            if n not in self.shapes:
                x.copy_(state[n])

    def state(self, average: bool) -> dict[str, Tensor]:
        """The network's state, trained weights in float32, the last ones or their average."""
        begin, made = 0, {n: x.detach() for n, x in self.net.state_dict().items()}
        vector = self.ema if average and self.decay else self.w
        for n, shape in self.shapes.items():
            made[n] = _shaped(vector[begin : begin + shape.numel()], shape)
            begin += self.room[n]
        return made


def _row(x: Tensor) -> Tensor:
    """As memory has it where channels are last."""
    return x.permute(0, 2, 3, 1).reshape(-1) if x.ndim == 4 else x.reshape(-1)


def _shaped(row: Tensor, shape: torch.Size) -> Tensor:
    if len(shape) != 4:
        return row.view(shape)
    o, i, h, w = shape
    return row.view(o, h, w, i).permute(0, 3, 1, 2)


def outputs_of(model: nn.Module, batch: Crops) -> Outputs:
    """What a network makes of a batch, in float32."""
    return floats(model(*batch[1:]) if batch.ref is not None else model(batch.lr))


def floats(x: Any) -> Any:
    """A result with all its floating-point tensors in float32."""
    if isinstance(x, Tensor):
        return x.float() if x.is_floating_point() else x
    if isinstance(x, tuple):
        return type(x)(*map(floats, x))
    return [floats(one) for one in x] if isinstance(x, list) else x


@dataclass(kw_only=True)
class Training:
    """One training to be done."""

    name: str
    """Its own name, under which its files go."""
    model: str
    """The model's name, and so its network and recipe."""
    profile: Profile
    steps: int
    seed: int = 0
    start: str = "copy"
    """How ζ starts, where it starts from a SISR network: "copy" (``Synthesis.start_from``), "mixed": the same, but
    with F's weights drawn, "cold": all drawn."""
    file: str | None = None
    """The file of ``starts`` that it starts from, if not its recipe's."""
    fills: bool = False
    """Whether it takes all the time there is, and ``steps`` at most: its schedule follows the rate that it has."""
    after: str | None = None
    """The training whose weights it starts from (at ``keep_at``, if it keeps some); else a file of ``starts``."""
    keep_at: int | None = None
    ema: float = 0.999
    priority: int = 0
    critic_lr: float = 1.0
    """Factor on the critics' step size."""
    views: bool = False
    """Whether it is measured on the validation views at its end."""
    budget: float = 0.0
    """Core-hours of its steps at the stored cost."""
    probes: int = 8
    """Validations on the way."""
    form: str = "float32"
    """The number format of its file."""


class Run:
    """A training under way: its networks, its step, and its graph."""

    def __init__(self, plan: Training, photographs: Photographs, start: dict | None, device: torch.device):
        self.plan, self.device, self.photographs = plan, device, photographs
        profile = self.profile = plan.profile
        self.recipe: Recipe = recipe_of(plan.model)
        self.half = device.type == "cuda" or profile.precision != "32-true"
        self.net, critics = self._drawn(start)
        self.net.to(device, memory_format=torch.channels_last).train()
        self.loss = self.recipe.make_loss(profile, self.net.branches).to(device)
        self.vgg = load_vgg(self.net, self.loss)
        for m in self.loss.modules():
            if isinstance(m, VGG19):
                m.to(device, memory_format=torch.channels_last)
                m.autocast = self.autocast
                if self.half:
                    m.body.bfloat16()
        self.adversary = ADVERSARIES[self.recipe.adversarial] if self.recipe.adversarial else None
        critics = [c.to(device, memory_format=torch.channels_last) for c in critics]
        self.flat = Flat(self.net, self.half, plan.ema)
        self.critics = [Flat(c, self.half, 0.0) for c in critics]
        form = self.recipe.profile(profile)
        self.reference = self.net.references != "none"
        views, sizes = photographs.manifest["other_views"], photographs.train["sizes"]
        boxes = draw_boxes(sizes, form, plan.steps * profile.batch, plan.seed, views)
        self.table = torch.from_numpy(boxes).to(device, torch.int32).view(plan.steps, profile.batch, 6)
        epsilon = np.random.default_rng([plan.seed, 5]).random((plan.steps, profile.batch), dtype=np.float32)
        self.epsilon = torch.from_numpy(epsilon).to(device) if self.adversary and self.adversary.penalty else None
        # validation crops are drawn with the same seed for all, each as its recipe needs them
        form = replace(form, unrelated=0.0, aligned=0.0, views=0.0)
        boxes = draw_boxes(photographs.held["sizes"], form, 16, 1_000_003, [])
        self.validation = torch.from_numpy(boxes).to(device)
        self.step = torch.zeros((), dtype=torch.int64, device=device)
        self.total = torch.tensor(float(plan.steps), device=device)
        self.names, self.sums = None, torch.zeros(1, device=device)
        self.done, self.history, self.kept, self.graphs, self.failed = 0, [], None, {}, None
        self.goal, self.seen = plan.steps, (0.0, 0)
        self.pending: list = []
        self.feeder, self.fed = 0, False

    def _drawn(self, start: dict | None) -> tuple[nn.Module, list[nn.Module]]:
        """The network as its training begins, and its critics."""
        torch.manual_seed(self.plan.seed)
        net = build_model(self.plan.model, self.profile)
        if start is not None:
            weights = {k: v.float() if v.is_floating_point() else v for k, v in start.items()}
            net.single_image.load_state_dict(weights)
            if self.recipe.start_synthesis and self.plan.start != "cold":
                drawn = net.synthesis.res2[0].weight.detach().clone()
                net.synthesis.start_from(net.sisr)
                if self.plan.start == "mixed":
                    with torch.no_grad():
                        features = drawn.shape[1] - drawn.shape[0]
                        net.synthesis.res2[0].weight[:, :features] = drawn[:, :features]
        for m in net.modules():
            if isinstance(m, VGG19):
                m.load()
        return net, [Critic(self.profile) for _ in net.branches if self.recipe.adversarial]

    @torch.no_grad()
    def restart(self, start: dict | None) -> None:
        """Back to step 0, from these weights; the recorded graphs stay."""
        net, critics = self._drawn(start)
        self.flat.fill(net.state_dict())
        for flat, critic in zip(self.critics, critics):
            flat.fill(critic.state_dict())
        self.step.zero_()
        self.sums.zero_()
        self.done, self.history, self.kept, self.fed, self.pending = 0, [], None, False, []

    def autocast(self):
        """Bfloat16 convolutions, as the profile's precision asks."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.half else nullcontext()

    def batch(self) -> Crops:
        """This step's crops."""
        boxes = self.table.index_select(0, self.step.view(1))[0].long()
        return crops_of(self.photographs.train, boxes, self.profile, self.reference)

    def outputs_of(self, batch: Crops) -> Outputs:
        """What the network makes of a batch, in float32."""
        return outputs_of(self.net, batch)

    def body(self, opening: bool) -> None:
        """One step: critics (Eq. 9), then the generator (Eq. 8 and 10); ``opening`` is SRNTT's first share."""
        plan, profile = self.plan, self.profile
        batch = self.batch()
        progress = self.step / self.total
        shape = 1.0 if profile.schedule == "constant" else 0.5 * (1 + torch.cos(math.pi * progress))
        lr = profile.lr * shape * torch.ones_like(self.total)
        with self.autocast():
            outputs = self.outputs_of(batch)
        images, losses = trained_images(outputs, self.net.branches), {}
        for (branch, fake), critic in zip(images.items(), self.critics):
            with self.autocast():
                scores = critic.net(torch.cat([batch.hr, fake.detach()])).float()
            loss = self.adversary.critic_loss(*scores.chunk(2))
            if self.adversary.penalty:
                epsilon = self.epsilon.index_select(0, self.step.view(1)).view(-1, 1, 1, 1)
                with self.autocast():
                    loss = loss + self.adversary.penalty(critic.net, batch.hr, fake.detach(), epsilon)
            critic.update(loss, plan.critic_lr * lr)
            losses[f"critic_{branch}"] = loss.detach()
        told = (0.0 if opening else 1.0) if self.opening() else progress  # SRNTT's loss asks for a number
        terms = self.loss(outputs, batch, told)
        for (branch, fake), critic in zip(images.items(), self.critics):
            with self.autocast():
                with torch.no_grad():
                    real_scores = critic.net(batch.hr).float()
                fake_scores = critic.net(fake).float()
            terms[f"adv_{branch}"] = self.adversary.generator_loss(real_scores, fake_scores)
        self.flat.update(sum(self.loss.weights[n] * t for n, t in terms.items()), lr)
        losses |= {n: t.detach() for n, t in terms.items()}
        row = torch.stack([x.float() for x in losses.values()])
        if self.names != tuple(losses):
            self.names, self.sums = tuple(losses), torch.zeros_like(row)
        self.sums += row
        self.step += 1

    @torch.no_grad()
    def validate(self) -> None:
        """Add to the history: mean losses since the last, and PSNR of 16 validation crops, last weights and average."""
        row = {"step": self.done, "losses": (self.names, self.sums.clone())}
        self.sums.zero_()
        batch = crops_of(self.photographs.held, self.validation, self.profile, self.reference)
        self.net.eval()
        for kind in ("last", "ema"):
            images = trained_images(self.call(self.flat.state(kind == "ema"), batch), self.net.branches)
            for branch, image in images.items():
                error = (round8(image) - batch.hr).square().mean((1, 2, 3))
                row[f"{kind}_{branch}"] = (-10 * error.log10()).mean()
        self.net.train()
        self.history.append(row)

    def call(self, state: dict, batch: Crops) -> Outputs:
        """The network with other weights, float32."""
        return torch.func.functional_call(_Outputs(self.net), {f"net.{k}": v for k, v in state.items()}, (batch,))

    def set_goal(self, left: float, every: float = 10) -> None:
        """As many steps as there is time for, ``left`` seconds, at the rate of the last ``every`` seconds or more."""
        now = time.perf_counter()
        if not self.seen[0]:
            self.seen = now, self.done
        elif now - self.seen[0] > every:
            rate = (self.done - self.seen[1]) / (now - self.seen[0])
            self.seen = now, self.done
            self.goal = min(self.plan.steps, max(self.done + 1, int(self.done + rate * left)))
            self.total.fill_(float(self.goal))

    def opening(self) -> int:
        """Steps of SRNTT's opening."""
        return math.ceil(self.plan.steps * OPENING) if self.plan.model == "srntt" else 0

    def replay(self, count: int) -> None:
        """So many steps, from the graph if there is one."""
        for _ in range(count):
            key = self.done < self.opening()
            graph = self.graphs.get(key)
            graph.replay() if graph else self.body(key)
            self.done += 1
            if self.done == self.plan.keep_at:
                self.kept = {k: v.clone() for k, v in self.flat.state(True).items()}

    def capture(self) -> None:
        """Record the step; three real ones before it. Raises whatever stands in the way."""
        self.replay(min(3, self.plan.steps - self.done))
        key = self.done < self.opening()
        graph = torch.cuda.CUDAGraph()
        with _CAPTURE:
            gc.disable()
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                self.body(key)
            finally:
                graph.capture_end()
                gc.enable()
        self.graphs[key] = graph

    def result(self) -> dict:
        """Everything on the host."""
        history = []
        for row in self.history:
            names, sums = row["losses"]
            before = history[-1]["step"] if history else 0
            means = {n: x / max(1, row["step"] - before) for n, x in zip(names, sums.tolist())}
            scores = {k: float(v) for k, v in row.items() if k not in ("step", "losses")}
            history.append({"step": row["step"]} | {k: float(f"{v:.6g}") for k, v in (means | scores).items()})
        return {"history": history, "names": self.names}


class _Outputs(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, batch: Crops) -> Outputs:
        return outputs_of(self.net, batch)


def round8(image: Tensor) -> Tensor:
    """In 8 bits, [0, 1]."""
    return torch.round(255 * image.float().clamp(0, 1)) / 255
