"""One trainer for every model and profile: stage 1 (SISR) and stage 2 (SISR and RefSR together), 4.1 of the paper.

Lightning Fabric places it: one CPU, one GPU, or several machines through ``torchrun``. Notebooks 02 and 04.
"""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from e2ent2lib import provenance
from e2ent2lib.checkpoints import build_model, load_model, save_model, shipped_folder
from e2ent2lib.config import Profile
from e2ent2lib.data.crops import Crops, CropTwice, TrainingImages, training_images
from e2ent2lib.images import to_image, whole_file
from e2ent2lib.losses import critic_loss, generator_loss, reconstruction_loss
from e2ent2lib.metrics import psnr
from e2ent2lib.models import E2ENT2, Critic


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What distinguishes the training of one row of the tables from another's."""

    steps: str
    """The field of the profile that holds the number of steps."""
    rec: str = "l1"
    """Reconstruction loss: "l1" (Eq. 8) or "mse"."""
    adversarial: bool = False
    """Whether Eq. 9 and 10 are on."""
    start_from: str | None = None
    """The model whose weights it starts from."""


RECIPES = {
    "sisr": Recipe(steps="steps_sisr"),
    "sisr-gan": Recipe(steps="steps_gan", adversarial=True, start_from="sisr"),
    "e2ent2-mse": Recipe(steps="steps_joint", rec="mse", start_from="sisr"),
} | {
    name: Recipe(steps="steps_joint", adversarial=True, start_from="sisr")
    for name in ("e2ent2", "e2ent2-alpha-100", "e2ent2-alpha-010", "e2ent2-alpha-001")
}


class Player(NamedTuple):
    """A network as Fabric wraps it, and its optimizer."""

    net: nn.Module
    adam: torch.optim.Optimizer


class Players(NamedTuple):
    """The generator and one critic a branch: of the SISR branch, then (stage 2) of the RefSR branch."""

    generator: Player
    critics: list[Player]

    def state(self) -> dict:
        """All weights and optimizer states, for ``torch.save``."""
        return {str(i): (p.net.state_dict(), p.adam.state_dict()) for i, p in enumerate(self._all())}

    def load_state(self, state: dict) -> None:
        """The reverse of ``state``."""
        for i, player in enumerate(self._all()):
            player.net.load_state_dict(state[str(i)][0])
            player.adam.load_state_dict(state[str(i)][1])

    def set_lr(self, lr: float) -> None:
        """One step size for all."""
        for group in (g for p in self._all() for g in p.adam.param_groups):
            group["lr"] = lr

    def _all(self) -> list[Player]:
        return [self.generator, *self.critics]


def make_players(fabric: Fabric, model: nn.Module, recipe: Recipe, profile: Profile) -> Players:
    """The model and the critics its recipe asks for, on Fabric's devices, each with Adam (4.1)."""
    branches = 0 if not recipe.adversarial else 2 if isinstance(model, E2ENT2) else 1
    nets = [model, *(Critic(profile) for _ in range(branches))]
    nets = [net.to(memory_format=torch.channels_last) for net in nets]
    players = [Player(*fabric.setup(net, torch.optim.Adam(net.parameters(), lr=profile.lr))) for net in nets]
    return Players(players[0], players[1:])


def training_step(fabric: Fabric, players: Players, batch: Crops, recipe: Recipe, profile: Profile) -> dict:
    """One step of the critics (Eq. 9), then one of the generator (Eq. 8 and 10); returns the losses.

    With several processes the means E[C(x)] of Eq. 9 and 10 are taken over all of them, gradients included.
    """

    def mean(scores: Tensor) -> Tensor:
        return fabric.all_gather(scores, sync_grads=True).mean()

    images = forward(players.generator.net, batch)
    losses = {}
    for branch, fake, critic in zip(("sisr", "ref"), images, players.critics):
        scores = critic.net(torch.cat([batch.hr, fake.detach()]))
        losses[f"critic_{branch}"] = loss = critic_loss(*scores.chunk(2), mean)
        critic.adam.zero_grad()
        fabric.backward(loss)
        critic.adam.step()

    total = 0
    weights = (profile.weight_sisr, 1.0) if len(images) == 2 else (1.0,)
    for i, (branch, fake, weight) in enumerate(zip(("sisr", "ref"), images, weights)):
        losses[f"rec_{branch}"] = rec = reconstruction_loss(fake, batch.hr, recipe.rec)
        total = total + weight * profile.weight_rec * rec
        if players.critics:
            critic = players.critics[i].net.module.requires_grad_(False)  # unwrapped: its gradients are not wanted
            with fabric.autocast():
                real_scores, fake_scores = critic(batch.hr), critic(fake)
            critic.requires_grad_(True)
            losses[f"adv_{branch}"] = adv = generator_loss(real_scores.float(), fake_scores.float(), mean)
            total = total + weight * profile.weight_adv * adv
    players.generator.adam.zero_grad()
    fabric.backward(total)
    players.generator.adam.step()
    return {name: value.detach() for name, value in losses.items()}


def forward(net: nn.Module, batch: Crops) -> tuple[Tensor, ...]:
    """The images a model makes of a batch: (SISR,) in stage 1, (SISR, RefSR) in stage 2."""
    inner = getattr(net, "module", net)
    lr, ref, ref_down = (x.contiguous(memory_format=torch.channels_last) for x in batch[1:])
    if not isinstance(inner, E2ENT2):
        return (net(lr),)
    out = net(lr, ref, ref_down)
    return out.sisr, out.sr


@torch.no_grad()
def validate(model: nn.Module, crops: CropTwice) -> dict[str, float]:
    """Mean PSNR in dB of each branch over validation crops, RGB, 8 bits, float32."""
    device = next(model.parameters()).device
    model.eval()
    scores = []
    for crop in (crops[i] for i in range(len(crops))):
        images = forward(model, Crops(*(x[None].to(device) for x in crop)))
        scores.append([psnr(to_image(x), to_image(crop.hr[None])) for x in images])
    model.train()
    names = ("val_sisr", "val_ref") if isinstance(model, E2ENT2) else ("val_sisr",)
    return dict(zip(names, torch.tensor(scores).mean(0).tolist()))


def learning_rate(profile: Profile, step: int, steps: int) -> float:
    """Adam's step size at ``step`` of ``steps``: constant as in 4.1, or half a cosine to 0."""
    if profile.schedule == "constant":
        return profile.lr
    return profile.lr * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(
    name: str,
    profile: Profile,
    *,
    data: str | os.PathLike = "embedded",
    out: str | os.PathLike | None = None,
    start_from: str | os.PathLike | None = None,
    seed: int = 0,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int | str = "auto",
    progress: bool = True,
    provisional: bool = False,
) -> tuple[nn.Module, list[dict]]:
    """Train a model by its recipe and write ``NAME.safetensors`` with its card into ``out`` (runs/NAME-PROFILE).

    ``data`` is "embedded", a name in data/ or E2ENT2_DATA, or a folder of photographs; ``start_from`` the folder of the
    model it starts from. The run is saved at each validation and on Ctrl-C; ``resume`` goes on from there and ends as
    an unbroken run does. The checkpoint is the one with the best validation PSNR. Returns the model and the history.
    Raises FileExistsError if ``out`` holds a run and ``resume`` is off, ValueError or FileNotFoundError for bad input.
    """
    out = Path(out or f"runs/{name}-{profile.name}")
    model, recipe = build_model(name, profile), RECIPES[name]
    saved = out / "state.pt"
    if saved.is_file() and not resume:
        raise FileExistsError(f"{out} holds a run already; add --resume to go on with it, or choose another --out")
    fabric = make_fabric(profile, accelerator, devices)
    torch.manual_seed(seed)
    model = build_model(name, profile)
    started = _start(model, recipe, profile, start_from)
    images = training_images(data, profile, progress=progress and fabric.is_global_zero)
    players = make_players(fabric, model, recipe, profile)
    run = {
        "step": 0,
        "seconds": 0.0,
        "history": [],
        "losses": {},
        "best": None,
        "best_psnr": -math.inf,
        "data": images.facts,
    }
    if saved.is_file():
        run |= _resume(saved, images.facts, players)
    out.mkdir(parents=True, exist_ok=True)
    _loop(fabric, players, recipe, profile, images, run, saved, getattr(profile, recipe.steps), seed, progress)
    model.load_state_dict(run["best"])
    card = _card(name, profile, recipe, run, seed, started, provisional)
    if fabric.is_global_zero:
        save_model(model, card, out, name)
    fabric.barrier()
    model.card = card
    return model.eval().requires_grad_(False), run["history"]


def make_fabric(profile: Profile, accelerator: str = "auto", devices: int | str = "auto") -> Fabric:
    """Fabric on the devices asked for; under ``torchrun`` on those it started. Raises ValueError if they do not fit."""
    nodes = 1
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=profile.precision)
    fabric.launch()
    if profile.batch % fabric.world_size:
        raise ValueError(f"a batch of {profile.batch} does not split over {fabric.world_size} processes")
    return fabric


def _start(model: nn.Module, recipe: Recipe, profile: Profile, folder: str | os.PathLike | None) -> dict | None:
    """Load the weights that stage 2 starts from; returns which ones they were."""
    if recipe.start_from is None:
        return None
    own = Path(f"runs/{recipe.start_from}-{profile.name}")
    default = own if (own / f"{recipe.start_from}.safetensors").is_file() else shipped_folder() / profile.name
    first = load_model(recipe.start_from, profile.name, folder or default)
    (model.sisr if isinstance(model, E2ENT2) else model).load_state_dict(first.state_dict())
    return {"model": recipe.start_from, "sha256": first.card["sha256"]}


def _resume(saved: Path, facts: dict, players: Players) -> dict:
    run = torch.load(saved, weights_only=True, map_location="cpu")
    if run["data"]["fingerprint"] != facts["fingerprint"]:
        raise ValueError(f"{saved} was trained on other photographs; give the same --data, or another --out")
    players.load_state(run.pop("players"))
    return run


def _loop(
    fabric: Fabric,
    players: Players,
    recipe: Recipe,
    profile: Profile,
    images: TrainingImages,
    run: dict,
    saved: Path,
    steps: int,
    seed: int,
    progress: bool,
) -> None:
    """Step until ``steps``; validate and save every ``checkpoint_every`` steps, at the end, and when interrupted."""
    held = replace(profile, unrelated=0.0)
    validation = CropTwice(images.validation, held, length=16, seed=1_000_003)
    crops = CropTwice(images.train, profile, length=steps * profile.batch, seed=seed, start=run["step"] * profile.batch)
    loader = DataLoader(crops, batch_size=profile.batch // fabric.world_size, num_workers=profile.workers)
    loader = fabric.setup_dataloaders(loader)
    bar = tqdm(total=steps, initial=run["step"], unit="step", disable=not (progress and fabric.is_global_zero))
    model, tick = players.generator.net.module, time.perf_counter()
    with stop_signal() as stop, bar:
        for batch in loader:
            players.set_lr(learning_rate(profile, run["step"], steps))
            losses = training_step(fabric, players, Crops(*batch), recipe, profile)
            losses["stop"] = torch.tensor(float(stop.is_set()), device=fabric.device)
            # one exchange: the losses of the whole batch, and whether any process was told to stop, so that all do
            *values, stopping = fabric.all_reduce(torch.stack(list(losses.values())), reduce_op="mean").tolist()
            for name, value in zip(losses, values):
                run["losses"].setdefault(name, []).append(value)
            run["step"] += 1
            bar.update()
            due = run["step"] % profile.checkpoint_every == 0 or run["step"] == steps
            if due:
                row = {name: sum(values) / len(values) for name, values in run["losses"].items()}
                row |= {"step": run["step"]} | validate(model, validation)
                run["losses"].clear()
                run["history"].append(row)
                score = row.get("val_ref", row["val_sisr"])
                if score > run["best_psnr"]:
                    best = {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
                    run |= {"best": best, "best_psnr": score, "best_step": run["step"]}
                bar.set_postfix({"PSNR": f"{score:.2f} dB"})
            if due or stopping:
                run["seconds"] += time.perf_counter() - tick
                tick = time.perf_counter()
                _save(fabric, saved, run, players)
            if stopping and run["step"] < steps:
                raise KeyboardInterrupt(f"stopped after step {run['step']} of {steps}; go on with --resume")


def _save(fabric: Fabric, saved: Path, run: dict, players: Players) -> None:
    if fabric.is_global_zero:
        with whole_file(saved) as temporary:
            torch.save(run | {"players": players.state()}, temporary)
    fabric.barrier()


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step is never cut in half."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)


def _card(
    name: str, profile: Profile, recipe: Recipe, run: dict, seed: int, started: dict | None, provisional: bool
) -> dict:
    return {
        "model": name,
        "provisional": provisional,
        "data": run["data"],
        "seed": seed,
        "steps": run["step"],
        "selected_step": run["best_step"],
        "selection": f"best mean PSNR on 16 validation crops: {run['best_psnr']:.2f} dB",
        "seconds": round(run["seconds"]),
        "started_from": started,
        "recipe": asdict(recipe),
        "profile": asdict(profile),
        "history": [{k: round(v, 6) for k, v in row.items()} for row in run["history"]],
        "licence": "weights: MIT, as the project; the photographs keep their own terms",
        **provenance.here(),
    }
