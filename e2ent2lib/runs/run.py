"""A training run of any system, from its name to its checkpoint: what the command ``e2ent2 train`` does."""

import os
import threading
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from pkgutil import resolve_name

import torch
from lightning_fabric import Fabric
from torch.utils.data import default_collate

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.data.training import CropTwice, TrainingImages, training_images
from e2ent2lib.matching import NotFiniteError
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.models.network import Network, trained_images
from e2ent2lib.photos.images import to_image
from e2ent2lib.runs import RunOptions
from e2ent2lib.runs.checkpoints import build_model, load_model, save_model
from e2ent2lib.runs.files import check_folder, check_free
from e2ent2lib.runs.probes import probe
from e2ent2lib.runs.state import MAY_CHANGE, RunState, alone_in, stop_signal
from e2ent2lib.systems import Recipe, recipe_of, system_of
from e2ent2lib.systems.parts import ADVERSARIES
from e2ent2lib.systems.vgg import VGG19, load_vgg
from e2ent2lib.train import Plan, Players, fit, inputs_of, make_players


def train(name: str, profile: Profile, options: RunOptions = RunOptions()) -> tuple[Network, list[dict]]:
    """Train a system by its recipe and write ``NAME.safetensors`` with its card into ``options.out``.

    The run is saved at each validation and on Ctrl-C: ``state.pt``, and its weights so far in ``last``. A resumed
    run ends with the same weights, to the bit, as an unbroken one on the same machine. What is validated and written is
    the moving average of the weights; beside ``sisr`` also the one after ``steps_pretraining`` steps, where stage 2
    starts. Returns the model and the history.
    Raises FileExistsError if ``out`` holds a run and ``resume`` is off, ValueError or FileNotFoundError for bad input,
    NotFiniteError with a diagnosis if training diverges, KeyboardInterrupt after Ctrl-C or SIGTERM, and OSError if
    there is no room; what was saved stays whole.
    """
    recipe, out = recipe_of(name), Path(options.out or f"runs/{name}-{profile.name}")
    profile = recipe.profile(profile)
    if options.lr is not None:
        profile = replace(profile, lr=options.lr)
    if (out / "state.pt").is_file() and not options.resume:
        raise FileExistsError(f"{out} holds a run already; add --resume to continue it, or choose another --out")
    weights = [out / f"{made}{suffix}" for made in (name, recipe.keeps) if made for suffix in (".safetensors", ".json")]
    check_free(weights, again=(out / "state.pt").is_file())
    check_folder(out)
    fabric = make_fabric(profile, options.accelerator, options.devices)
    torch.manual_seed(options.seed)
    model = build_model(name, profile)
    started_from = start(model, name, recipe, profile, options.start_from)
    progress = options.progress and fabric.is_global_zero
    images = training_images(options.data, profile, progress=progress)
    players = players_for(fabric, model, recipe, profile)
    facts = {"started_from": started_from, "recipe": recipe.facts(players.loss), "vgg": load_vgg(model, players.loss)}
    made = {"model": name, "seed": options.seed} | {k: v for k, v in asdict(profile).items() if k not in MAY_CHANGE}
    state = RunState(data=images.facts, made=made)
    if (out / "state.pt").is_file():
        state = state.resumed(out / "state.pt", players)
        if state.step > getattr(profile, recipe.steps):
            raise ValueError(f"{out}: {state.step} steps are done; give --steps {state.step} or more, or another --out")
    with alone_in(out) if fabric.is_global_zero else nullcontext(), stop_signal() as stop:
        run = Run(fabric, players, recipe, profile, state, out, facts, stop)
        plan = run.plan(images, progress)
        try:
            if recipe.ablation and not state.step:
                state.add_row(plan.validate())
            fit(fabric, players, plan, profile, state)
        except NotFiniteError as error:
            raise NotFiniteError(run.diagnosis(error)) from error
        model.card = run.finish()
    return model.eval().requires_grad_(False), state.history


def make_fabric(profile: Profile, accelerator: str = "auto", devices: int | str = "auto") -> Fabric:
    """Fabric on the devices asked for; under ``torchrun`` on those it started. Raises ValueError if they do not fit."""
    nodes = 1
    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=profile.precision)
        fabric.launch()
    except Exception as error:  # Fabric raises what its parts do
        raise ValueError(f"devices {devices!r} of accelerator {accelerator!r} cannot be used: {error}") from error
    if profile.batch % fabric.world_size:
        raise ValueError(f"a batch of {profile.batch} does not split over {fabric.world_size} processes")
    return fabric


def players_for(fabric: Fabric, model: Network, recipe: Recipe, profile: Profile) -> Players:
    """``make_players`` with the loss and the adversary of a recipe."""
    loss = recipe.make_loss(profile, model.branches)
    for part in loss.modules():
        if isinstance(part, VGG19):
            part.autocast = fabric.autocast  # Fabric does so for the networks alone
    adversary = ADVERSARIES[recipe.adversarial] if recipe.adversarial else None
    return make_players(fabric, model, loss, adversary, profile)


def start(model: Network, name: str, recipe: Recipe, profile: Profile, folder: str | os.PathLike | None) -> dict | None:
    """Load the weights that a recipe starts from, or its own if they alone are in ``folder``; returns which they were.

    Raises FileNotFoundError that says how to train them, or ValueError if they are damaged.
    """
    if recipe.start_from is None:
        return None
    held = [one for one in (recipe.start_from, name) if folder and (Path(folder) / f"{one}.safetensors").is_file()]
    if held == [name]:
        model.load_state_dict((first := load_model(name, profile, folder)).state_dict())
        return {k: first.card[k] for k in ("model", "sha256", "steps", "seconds", "threads", "started_from")}
    own = Path(f"runs/{system_of(recipe.start_from).trained_as}-{profile.name}")
    own = own if (own / f"{recipe.start_from}.safetensors").is_file() else None
    first = load_model(recipe.start_from, profile, folder or own)  # or else the shipped one
    model.single_image.load_state_dict(first.state_dict())
    if recipe.start_synthesis:
        model.synthesis.start_from(model.sisr)
    return {"model": recipe.start_from, "sha256": first.card["sha256"]}


@torch.no_grad()
def validate(model: Network, crops: CropTwice) -> dict[str, float]:
    """Mean PSNR in dB of each branch over crops (RGB, 8 bits). Raises NotFiniteError if a weight is not finite."""
    if not all(p.isfinite().all() for p in model.parameters()):
        raise NotFiniteError("a weight is not finite")
    device = next(model.parameters()).device
    model.eval()
    scores = []
    for crop in (crops[i] for i in range(len(crops))):
        batch = Crops(*(x[None].to(device) for x in crop))
        images = trained_images(model(*inputs_of(batch)), model.branches)
        scores.append([psnr(to_image(x), to_image(crop.hr[None])) for x in images.values()])
    model.train()
    return dict(zip((f"val_{name}" for name in model.branches), torch.tensor(scores).mean(0).tolist()))


@dataclass
class Run:
    """A run at work, which saves itself at each validation and when one of its processes is told to stop."""

    fabric: Fabric
    players: Players
    recipe: Recipe
    profile: Profile
    state: RunState
    out: Path
    facts: dict
    """What its card says beyond ``RunState.card``."""
    stop: threading.Event
    """Set by Ctrl-C and SIGTERM."""

    def __post_init__(self) -> None:
        self.steps = getattr(self.profile, self.recipe.steps)
        self.since = time.perf_counter()

    def plan(self, images: TrainingImages, progress: bool) -> Plan:
        """The steps that are left, and what is validated on the way; an ablation's encoder is probed too."""
        model, profile, state = self.players.model, self.profile, self.state
        length, start = self.steps * profile.batch, state.step * profile.batch
        seed, scenes = state.made["seed"], images.scenes
        cut = resolve_name(self.recipe.crops)
        crops = cut(images.train, profile, length=length, seed=seed, start=start, scenes=scenes)
        alike = replace(profile, unrelated=0.0, aligned=0.0, views=0.0)
        validation = CropTwice(images.validation, alike, length=16, seed=1_000_003)
        first = default_collate([tuple(validation[i]) for i in range(min(profile.batch, len(validation)))])
        batch = Crops(*(x.to(self.fabric.device) for x in first))

        def look() -> dict[str, float]:
            scores = validate(self.average, validation)
            return scores | probe(model, batch, self.recipe.rec) if self.recipe.ablation else scores

        every = profile.probe_every if self.recipe.ablation else profile.checkpoint_every
        return Plan(crops, look, self.steps, every, progress, self.stop.is_set, self.after_step)

    def after_step(self, row: dict[str, float] | None, stopping: bool) -> None:
        """Keep what is to be kept, and save. Raises KeyboardInterrupt if the run is stopped, OSError as ``save``."""
        state = self.state
        seconds = state.seconds + time.perf_counter() - self.since
        if self.recipe.keeps and state.step == min(self.profile.steps_pretraining, self.steps):
            weights = {k: v.detach().cpu().clone() for k, v in self.average.state_dict().items()}
            state.kept = {"weights": weights, "step": state.step, "seconds": round(seconds)}
        if row or stopping:
            state.seconds, self.since = seconds, time.perf_counter()
            self.save()
        if stopping and state.step < self.steps:
            raise KeyboardInterrupt(f"stopped after step {state.step} of {self.steps}; continue with --resume")

    def save(self) -> None:
        """Write ``state.pt``, then the weights so far. Raises OSError without room; what was there stays whole."""
        state = self.state
        if self.fabric.is_global_zero:
            try:
                state.save(self.out / "state.pt", self.players)
                save_model(self.average, state.card(self.profile, self.facts), self.out / "last", state.made["model"])
            except OSError as error:
                raise OSError(
                    f"{self.out}: cannot be written at step {state.step} ({error.strerror or error}); make room, then "
                    "continue with --resume: what was saved before is whole"
                ) from error
        self.fabric.barrier()

    def finish(self) -> dict:
        """Write the checkpoint that the run was for, whose weights the model then has; returns its card."""
        state, model, card = self.state, self.players.model, self.state.card(self.profile, self.facts)
        model.load_state_dict(self.average.state_dict())
        if self.fabric.is_global_zero:
            save_model(model, card, self.out, state.made["model"])
            if kept := self.recipe.keeps:
                pretrained = build_model(kept, self.profile)
                pretrained.load_state_dict(state.kept["weights"])
                step, seconds = state.kept["step"], state.kept["seconds"]
                of_then = {"model": kept, "steps": step, "seconds": seconds}
                of_then["history"] = [row for row in card["history"] if row["step"] <= step]
                save_model(pretrained, card | of_then, self.out, kept)
        self.fabric.barrier()
        return card

    @property
    def average(self) -> Network:
        """The generator with the moving average of its weights."""
        return self.players.average.module

    def diagnosis(self, error: Exception) -> str:
        """What is known of a training that diverged, and what to do."""
        state, profile, out = self.state, self.profile, self.out
        lately = ", ".join(f"{name} {values[-1]:.4g}" for name, values in state.losses.items() if values)
        largest = max(float(p.detach().abs().max()) for p in self.players.model.parameters())
        saved = f"{out / 'last'} holds the last good weights, saved before"
        if not (out / "state.pt").is_file():
            saved = f"Nothing was saved yet, which --checkpoint-every does every {profile.checkpoint_every} steps"
        return (
            f"training stopped at step {state.step + 1}: {error}. The losses before it: {lately or 'none yet'}; the "
            f"largest weight now: {largest:.3g}; learning rate {profile.lr:g}. {saved}. A smaller learning rate may "
            f"help: --lr {profile.lr / 3:.1g} --resume"
        )
