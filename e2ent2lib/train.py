"""One trainer for every model and profile: stage 1 (SISR) and stage 2 (SISR and RefSR together), 4.1 of the paper.

Lightning Fabric places it: one CPU, one GPU, or several machines through ``torchrun``. Notebooks 02 and 04.
"""

import io
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate
from tqdm.auto import tqdm

from e2ent2lib.config import Profile
from e2ent2lib.data.crops import Crops, CropTwice, TrainingImages, training_images
from e2ent2lib.matching import NotFiniteError
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models import Critic, Network, Outputs
from e2ent2lib.models.network import trained_images
from e2ent2lib.photos.images import to_image
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import build_model, load_model, save_model, shipped_folder
from e2ent2lib.runs.files import whole_file
from e2ent2lib.runs.probes import probe
from e2ent2lib.systems import Recipe, recipe_of, system_of
from e2ent2lib.systems.adversaries import ADVERSARIES, Adversary, gradient_penalty
from e2ent2lib.systems.vgg import LICENCE, VGG19

ADAM_EPS = 1e-10
"""Adam's ε. Of 1e-2 · MSE gradients of 1e-8 are left, beside which the usual 1e-8 would halve and quarter the steps."""


MAY_CHANGE = ("lr", "checkpoint_every", "probe_every", "workers", "cache", "name")
"""Fields of a profile that may be others when a run is resumed; and so may the number of steps."""
MAY_CHANGE += tuple(field.name for field in fields(Profile) if field.name.startswith("steps_"))


class Player(NamedTuple):
    """A network as Fabric wraps it, and its optimizer."""

    net: nn.Module
    adam: torch.optim.Optimizer


class Players(NamedTuple):
    """The generator, one critic a branch (of the SISR branch, then of the RefSR branch), and the generator's loss."""

    generator: Player
    critics: list[Player]
    loss: nn.Module

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
    """The model and the critics its recipe asks for, on Fabric's devices, each with Adam (4.1); and the loss."""
    loss = fabric.to_device(recipe.make_loss(profile, model.branches))
    for part in loss.modules():
        if isinstance(part, VGG19):
            part.autocast = fabric.autocast
    nets = [model, *(Critic(profile) for _ in model.branches if recipe.adversarial)]
    nets = [net.to(memory_format=torch.channels_last) for net in nets]
    learnt = [[p for p in net.parameters() if p.requires_grad] for net in nets]
    adams = [torch.optim.Adam(weights, lr=profile.lr, eps=ADAM_EPS) for weights in learnt]
    players = [Player(*fabric.setup(net, adam)) for net, adam in zip(nets, adams)]
    return Players(players[0], players[1:], loss)


def training_step(
    fabric: Fabric, players: Players, batch: Crops, recipe: Recipe, profile: Profile, step: int = 0
) -> dict[str, Tensor]:
    """One step of the critics (Eq. 9), then one of the generator (Eq. 8 and 10); returns the losses, unweighted.

    With several processes the means E[C(x)] of Eq. 9 and 10 are taken over all of them, gradients included.
    """

    def mean(scores: Tensor) -> Tensor:
        return fabric.all_gather(scores, sync_grads=True).mean()

    outputs = forward(players.generator.net, batch)
    images = trained_images(outputs, players.generator.net.module.branches)
    adversary, losses = ADVERSARIES.get(recipe.adversarial), {}
    for (branch, fake), critic in zip(images.items(), players.critics):
        losses[f"critic_{branch}"] = critic_step(fabric, critic, adversary, batch.hr, fake.detach(), mean, step)

    progress = step / getattr(profile, recipe.steps)
    terms = players.loss(outputs, batch, progress)
    for (branch, fake), critic in zip(images.items(), players.critics):
        net = critic.net.module.requires_grad_(False)  # unwrapped: its gradients are not wanted
        with fabric.autocast():
            real_scores, fake_scores = net(batch.hr), net(fake)
        net.requires_grad_(True)
        terms[f"adv_{branch}"] = adversary.generator_loss(real_scores.float(), fake_scores.float(), mean)
    players.generator.adam.zero_grad()
    fabric.backward(sum(players.loss.weights[name] * term for name, term in terms.items()))
    adam_step(players.generator, "the generator", terms)
    return losses | {name: term.detach() for name, term in terms.items()}


def critic_step(
    fabric: Fabric, critic: Player, adversary: Adversary, real: Tensor, fake: Tensor, mean: Callable, step: int
) -> Tensor:
    """One step of a critic on real and made images; returns its loss, with the penalty where there is one."""
    scores = critic.net(torch.cat([real, fake]))
    loss = adversary.critic_loss(*scores.chunk(2), mean)
    if adversary.penalty:
        loss = loss + adversary.penalty * gradient_penalty(critic.net.module, real, fake, seed=step)
    critic.adam.zero_grad()
    fabric.backward(loss)
    adam_step(critic, "a critic", {"its loss": loss})
    return loss.detach()


def adam_step(player: Player, who: str, losses: dict[str, Tensor]) -> None:
    """One step of Adam. Raises NotFiniteError, before any weight has moved, if the gradient is not finite."""
    norm = nn.utils.get_total_norm([p.grad for p in player.net.parameters() if p.grad is not None])
    if not norm.isfinite():
        told = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
        raise NotFiniteError(f"the gradient of {who} has length {norm.item():g} at {told}")
    player.adam.step()


def forward(net: nn.Module, batch: Crops) -> Outputs:
    """What a network makes of a batch."""
    return net(*(x.contiguous(memory_format=torch.channels_last) for x in batch[1:]))


@torch.no_grad()
def validate(model: Network, crops: CropTwice) -> dict[str, float]:
    """Mean PSNR in dB of each branch over validation crops, RGB, 8 bits, float32."""
    device = next(model.parameters()).device
    model.eval()
    scores = []
    for crop in (crops[i] for i in range(len(crops))):
        outputs = forward(model, Crops(*(x[None].to(device) for x in crop)))
        images = trained_images(outputs, model.branches)
        scores.append([psnr(to_image(x), to_image(crop.hr[None])) for x in images.values()])
    model.train()
    return dict(zip((f"val_{name}" for name in model.branches), torch.tensor(scores).mean(0).tolist()))


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
    in_tables: bool = True,
) -> tuple[nn.Module, list[dict]]:
    """Train a model by its recipe and write ``NAME.safetensors`` with its card into ``out`` (runs/NAME-PROFILE).

    ``data`` is "embedded", a name in data/ or E2ENT2_DATA, or a folder of photographs; ``start_from`` the folder of the
    model it starts from. The run is saved at each validation and on Ctrl-C: ``state.pt``, and its weights so far in
    ``best`` and ``last``; ``resume`` goes on from there and ends with the same weights, to the bit, as an unbroken run
    on the same machine. The checkpoint is the one with the best validation PSNR, of an ablation the last one; beside
    ``sisr`` its weights after ``steps_pretraining`` steps are written too, where stage 2 starts. Returns the model and
    the history.
    ``provisional`` and ``in_tables`` only mark the card: less training than meant, and too little for the tables.
    Raises FileExistsError if ``out`` holds a run and ``resume`` is off, ValueError or FileNotFoundError for bad input,
    NotFiniteError with a diagnosis if training diverges, and OSError if there is no room; what was saved stays whole.
    """
    out = Path(out or f"runs/{name}-{profile.name}")
    recipe, saved = recipe_of(name), out / "state.pt"
    if saved.is_file() and not resume:
        raise FileExistsError(f"{out} holds a run already; add --resume to go on with it, or choose another --out")
    fabric = make_fabric(profile, accelerator, devices)
    torch.manual_seed(seed)
    model = build_model(name, profile)
    started = _start(model, recipe, profile, start_from)
    images = training_images(data, profile, progress=progress and fabric.is_global_zero)
    players = make_players(fabric, model, recipe, profile)
    vgg = load_vgg(model, players.loss)
    run = {
        "step": 0,
        "seconds": 0.0,
        "history": [],
        "losses": {},
        "best": None,
        "kept": None,
        "best_psnr": -math.inf,
        "data": images.facts,
        "made": {"model": name, "seed": seed} | {k: v for k, v in asdict(profile).items() if k not in MAY_CHANGE},
    }
    if saved.is_file():
        run |= _resume(saved, run, players)

    def card_now(last: bool) -> dict:
        card = _card(name, profile, run, seed, last) | {"provisional": provisional, "in_tables": in_tables}
        return card | {"started_from": started, "recipe": recipe.facts(players.loss), "vgg": vgg}

    with alone_in(out, fabric.is_global_zero):
        keep = partial(_keep, fabric, out, name, model, card_now)
        try:
            _loop(fabric, players, recipe, profile, images, run, keep, getattr(profile, recipe.steps), seed, progress)
        except NotFiniteError as error:
            raise NotFiniteError(_diagnosis(error, run, profile, model, out)) from error
        if not recipe.ablation:
            model.load_state_dict(run["best"])
        card = card_now(recipe.ablation)
        if fabric.is_global_zero:
            save_model(model, card, out, name)
            if recipe.keeps:
                _save_kept(recipe.keeps, profile, run["kept"], card, out)
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
    own = Path(f"runs/{system_of(recipe.start_from).trained_as}-{profile.name}")
    default = own if (own / f"{recipe.start_from}.safetensors").is_file() else shipped_folder() / profile.name
    first = load_model(recipe.start_from, profile, folder or default)
    model.get_submodule(recipe.part).load_state_dict(first.state_dict())
    if recipe.start_synthesis:
        model.synthesis.start_from(model.sisr)
    return {"model": recipe.start_from, "sha256": first.card["sha256"]}


def load_vgg(network: nn.Module, loss: nn.Module) -> dict | None:
    """Give all VGG19 parts of a network and its loss their weights; returns what a card says of them, None if none.

    Raises FileNotFoundError or ValueError if the weights are not at hand.
    """
    inside, outside = ([m.load() for m in part.modules() if isinstance(m, VGG19)] for part in (network, loss))
    if not inside + outside:
        return None
    stored = sorted({layer for part in inside for layer in part.body})
    measured = sorted({layer for part in outside for layer in part.layers})
    source = (inside + outside)[0].source
    return {"weights": source, "stored": stored, "layers_of_the_loss": measured, "licence": LICENCE}


def _resume(saved: Path, now: dict, players: Players) -> dict:
    """The saved run, ``players`` brought to its state. Raises ValueError if it is damaged, or not of this training."""
    try:
        run = torch.load(saved, weights_only=True, map_location="cpu")
        fingerprint, made = run["data"]["fingerprint"], run.get("made", now["made"])
    except Exception as error:  # of a damaged file torch raises whatever its parts do
        raise ValueError(
            f"{saved}: damaged ({type(error).__name__}); {saved.parent / 'last'} holds the weights without the rest, "
            "and another --out starts anew"
        ) from error
    if fingerprint != now["data"]["fingerprint"]:
        raise ValueError(f"{saved} was trained on other photographs; give the same --data, or another --out")
    other = [f"{k} {made.get(k)}, now {v}" for k, v in now["made"].items() if made.get(k) != v]
    if other:
        raise ValueError(f"{saved} is of another training ({'; '.join(other)}); give the same, or another --out")
    players.load_state(run.pop("players"))
    return run


def _loop(
    fabric: Fabric,
    players: Players,
    recipe: Recipe,
    profile: Profile,
    images: TrainingImages,
    run: dict,
    keep: Callable,
    steps: int,
    seed: int,
    progress: bool,
) -> None:
    """Step until ``steps``; validate and ``keep`` every ``checkpoint_every`` steps, at the end, and when interrupted.

    An ablation does so every ``probe_every`` steps, and its history begins before the first one.
    """
    form = recipe.crops(profile)
    validation = CropTwice(images.validation, replace(form, unrelated=0.0, views=0.0), length=16, seed=1_000_003)
    length, done = steps * profile.batch, run["step"] * profile.batch
    crops = CropTwice(images.train, form, length=length, seed=seed, start=done, scenes=images.scenes)
    loader = DataLoader(crops, batch_size=profile.batch // fabric.world_size, num_workers=profile.workers)
    loader = fabric.setup_dataloaders(loader)
    bar = tqdm(total=steps, initial=run["step"], unit="step", disable=not (progress and fabric.is_global_zero))
    model, tick = players.generator.net.module, time.perf_counter()
    every = profile.probe_every if recipe.ablation else profile.checkpoint_every

    def look() -> dict[str, float]:
        if not all(p.isfinite().all() for p in model.parameters()):
            raise NotFiniteError("a weight is not finite")
        return validate(model, validation) | (_probe(model, validation, recipe, profile) if recipe.ablation else {})

    if recipe.ablation and not run["step"]:
        run["history"].append({"step": 0} | look())
    with stop_signal() as stop, bar:
        for batch in loader:
            players.set_lr(learning_rate(profile, run["step"], steps))
            losses = training_step(fabric, players, Crops(*batch), recipe, profile, run["step"])
            losses["stop"] = torch.tensor(float(stop.is_set()), device=fabric.device)
            # one exchange: the losses of the whole batch, and whether any process was told to stop, so that all do
            *values, stopping = fabric.all_reduce(torch.stack(list(losses.values())), reduce_op="mean").tolist()
            if not all(map(math.isfinite, values)):
                raise NotFiniteError(", ".join(f"{name} is {value:g}" for name, value in zip(losses, values)))
            for name, value in zip(losses, values):
                run["losses"].setdefault(name, []).append(value)
            run["step"] += 1
            bar.update()
            if recipe.keeps and run["step"] == min(profile.steps_pretraining, steps):
                seconds = run["seconds"] + time.perf_counter() - tick
                run["kept"] = {"weights": _copy(model), "step": run["step"], "seconds": round(seconds)}
            due = run["step"] % every == 0 or run["step"] == steps
            if due:
                row = {name: sum(values) / len(values) for name, values in run["losses"].items()}
                row |= {"step": run["step"]} | look()
                run["losses"].clear()
                run["history"].append(row)
                score = row[f"val_{model.branches[-1]}"]
                if score > run["best_psnr"]:
                    run |= {"best": _copy(model), "best_psnr": score, "best_step": run["step"]}
                bar.set_postfix({"PSNR": f"{score:.2f} dB"})
            if due or stopping:
                run["seconds"] += time.perf_counter() - tick
                tick = time.perf_counter()
                keep(run, players)
            if stopping and run["step"] < steps:
                raise KeyboardInterrupt(f"stopped after step {run['step']} of {steps}; go on with --resume")


def _probe(model: nn.Module, validation: CropTwice, recipe: Recipe, profile: Profile) -> dict[str, float]:
    """``probe`` on as many validation crops as a step of training takes."""
    batch = default_collate([tuple(validation[i]) for i in range(min(profile.batch, len(validation)))])
    device = next(model.parameters()).device
    return probe(model, Crops(*(x.to(device) for x in batch)), recipe.rec)


def _save_kept(name: str, profile: Profile, kept: dict, card: dict, out: Path) -> None:
    """Write the weights that stage 2 starts from, with what of the whole run's card is true of them."""
    model, step = build_model(name, profile), kept["step"]
    model.load_state_dict(kept["weights"])
    history = [row for row in card["history"] if row["step"] <= step]
    facts = {"model": name, "steps": step, "selected_step": step, "seconds": kept["seconds"], "history": history}
    save_model(model, card | facts | {"selection": "none: as it was at that step"}, out, name)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}


def _diagnosis(error: Exception, run: dict, profile: Profile, model: nn.Module, out: Path) -> str:
    """What is known of a training that diverged, and what to do."""
    lately = ", ".join(f"{name} {values[-1]:.4g}" for name, values in run["losses"].items() if values)
    largest = max(float(p.detach().abs().max()) for p in model.parameters())
    saved = f"{out / 'last'} and {out / 'best'} hold the last good weights, saved before"
    if not (out / "state.pt").is_file():
        saved = f"nothing was saved yet, which --checkpoint-every does every {profile.checkpoint_every} steps"
    return (
        f"training stopped at step {run['step'] + 1}: {error}. The losses before it: {lately or 'none yet'}; the "
        f"largest weight now: {largest:.3g}; step size {profile.lr:g}. {saved[0].upper()}{saved[1:]}. A smaller "
        f"step size may help: --lr {profile.lr / 3:.1g} --resume"
    )


def _keep(
    fabric: Fabric, out: Path, name: str, model: nn.Module, card: Callable[[bool], dict], run: dict, players: Players
) -> None:
    """Write all that ``_resume`` needs, and then the last and the best weights as checkpoints to use meanwhile.

    Raises OSError that says what to do if there is no room; what was there before is whole then.
    """
    if fabric.is_global_zero:
        content = io.BytesIO()
        torch.save(run | {"players": players.state()}, content)  # to memory: a full disk is then one plain OSError
        try:
            with whole_file(out / "state.pt") as temporary:
                temporary.write_bytes(content.getbuffer())
            save_model(model, card(True), out / "last", name)
            if run["best"] and run["best_step"] == run["step"]:
                save_model(model, card(False), out / "best", name)
        except OSError as error:
            raise OSError(
                f"{out}: cannot be written at step {run['step']} ({error.strerror or error}); make room, then go on "
                "with --resume: what was saved before is whole"
            ) from error
    fabric.barrier()


@contextmanager
def alone_in(out: Path, writes: bool) -> Iterator[None]:
    """Make the folder, take away what a killed run left half-written, and keep other runs out of it.

    Raises FileExistsError if another run is at work there. Of several processes only the one that ``writes`` does so.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not writes:
        yield
        return
    try:
        with FileLock(out / ".lock", timeout=0):
            for folder in (out, out / "last", out / "best"):
                for left in (*folder.glob(".*-*.pt"), *folder.glob(".*-*.safetensors"), *folder.glob(".*-*.json")):
                    left.unlink()
            yield
    except Timeout:
        raise FileExistsError(f"{out}: another run is at work there; wait for it, or choose another --out") from None


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


def _card(name: str, profile: Profile, run: dict, seed: int, last: bool) -> dict:
    """What is known of the weights of the last step, or else of those that validated best."""
    best = "not validated yet"
    if run["best"]:
        best = f"best mean PSNR on 16 validation crops: {run['best_psnr']:.2f} dB"
    selection = f"none: the last step; {best}" + (f", at step {run['best_step']}" if run["best"] else "")
    return {
        "model": name,
        "data": run["data"],
        "seed": seed,
        "steps": run["step"],
        "selected_step": run["step"] if last else run["best_step"],
        "selection": selection if last else best,
        "seconds": round(run["seconds"]),
        "threads": torch.get_num_threads(),
        "profile": asdict(profile),
        "history": [{k: v if k == "step" else float(f"{v:.6g}") for k, v in row.items()} for row in run["history"]],
        "licence": "weights: MIT, as the project; the photographs keep their own terms",
        **provenance.here(),
    }
