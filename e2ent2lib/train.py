"""How the networks are trained (4.1): one step, Eq. 8 to 10, and the loop around it. Notebooks 02 and 04.

Lightning Fabric places the tensors: one CPU, one GPU, or several processes, each with its part of the batch. Users
call ``runs.run.train``, which reads the photographs, saves, resumes, and writes the checkpoint.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from e2ent2lib.config import Profile
from e2ent2lib.crops import Crops
from e2ent2lib.losses import Adversary
from e2ent2lib.matching import NotFiniteError
from e2ent2lib.models import Critic, Network
from e2ent2lib.models.network import trained_images

ADAM_EPS = 1e-10
"""Adam's ε. Gradients of 1e-2 · MSE are near 1e-8, so the usual 1e-8 would cut the steps to a half or a quarter."""
AVERAGE = 0.999
"""The decay of the moving average of the weights, which is validated and shipped: an adversary keeps moving the weights
until the last step, which would hide small effects. The paper mentions none."""


class Player(NamedTuple):
    """A network as Fabric wraps it, and its optimizer."""

    net: nn.Module
    adam: torch.optim.Optimizer


class Players(NamedTuple):
    """Who plays the game of Eq. 9 and 10, and for what: the generator, and a critic for each of its branches."""

    generator: Player
    critics: list[Player]
    """Of the SISR branch, then of the RefSR branch; none without an adversarial loss."""
    loss: nn.Module
    """The generator's: all terms but the adversarial ones, from (outputs, crops, progress), and ``weights`` of all."""
    adversary: Adversary | None
    average: AveragedModel
    """The moving average of the generator's weights."""

    @property
    def model(self) -> Network:
        """The generator as it was before Fabric wrapped it."""
        return self.generator.net.module

    def state(self) -> dict:
        """All weights and optimizer states, for ``torch.save``."""
        players = {str(i): (p.net.state_dict(), p.adam.state_dict()) for i, p in enumerate(self.all())}
        return players | {"average": self.average.state_dict()}

    def load_state(self, state: dict) -> None:
        """The reverse of ``state``."""
        for i, player in enumerate(self.all()):
            player.net.load_state_dict(state[str(i)][0])
            player.adam.load_state_dict(state[str(i)][1])
        self.average.load_state_dict(state["average"])

    def all(self) -> list[Player]:
        """The generator, then the critics."""
        return [self.generator, *self.critics]


def make_players(
    fabric: Fabric, model: Network, loss: nn.Module, adversary: Adversary | None, profile: Profile
) -> Players:
    """The model, and its critics if there is an adversary, on Fabric's devices, each with Adam (4.1)."""
    loss = fabric.to_device(loss)
    nets = [model, *(Critic(profile) for _ in model.branches if adversary)]
    nets = [net.to(memory_format=torch.channels_last) for net in nets]
    learnt = [[p for p in net.parameters() if p.requires_grad] for net in nets]
    adams = [torch.optim.Adam(weights, lr=profile.lr, eps=ADAM_EPS) for weights in learnt]
    players = [Player(*fabric.setup(net, adam)) for net, adam in zip(nets, adams)]
    average = AveragedModel(model, multi_avg_fn=move_average, use_buffers=True)
    return Players(players[0], players[1:], loss, adversary, average)


@torch.no_grad()
def move_average(averages: list[Tensor], weights: list[Tensor], steps: Tensor) -> None:
    """Move averages towards the weights; at first by larger parts, so that the start is soon forgotten."""
    decay = min(AVERAGE, (1 + int(steps)) / (10 + int(steps)))
    for average, weight in zip(averages, weights):
        average.copy_(average + (1 - decay) * (weight - average))  # batch norm's counter is an integer, so no ``lerp_``


def training_step(
    fabric: Fabric, players: Players, batch: Crops, step: int = 0, steps: int = 1
) -> dict[str, Float[Tensor, ""]]:
    """One step of the critics (Eq. 9), then one of the generator (Eq. 8 and 10); returns the losses, unweighted.

    ``step`` of ``steps`` matters only to losses that change during training, and seeds what a loss draws.
    With several processes the means E[C(x)] of Eq. 9 and 10 are taken over all of them, gradients included.
    Raises NotFiniteError, before the generator's weights have moved, if a gradient is not finite.
    """

    def mean(scores: Tensor) -> Tensor:
        return fabric.all_gather(scores, sync_grads=True).mean()

    outputs = players.generator.net(*inputs_of(batch))
    images = trained_images(outputs, players.model.branches)  # I_sr of each branch
    losses = {}
    for (branch, fake), critic in zip(images.items(), players.critics):
        losses[f"critic_{branch}"] = critic_step(fabric, critic, players.adversary, batch.hr, fake.detach(), mean, step)

    terms = players.loss(outputs, batch, step / steps)  # L_rec, Eq. 8
    for (branch, fake), critic in zip(images.items(), players.critics):
        net = critic.net.module.requires_grad_(False)  # unwrapped: its gradients are not wanted
        with fabric.autocast():
            real_scores, fake_scores = net(batch.hr), net(fake)
        net.requires_grad_(True)
        # L_G, Eq. 10
        terms[f"adv_{branch}"] = players.adversary.generator_loss(real_scores.float(), fake_scores.float(), mean)
    players.generator.adam.zero_grad()
    fabric.backward(sum(players.loss.weights[name] * term for name, term in terms.items()))  # J
    losses |= {name: term.detach() for name, term in terms.items()}
    check_gradients(players, losses)
    players.generator.adam.step()
    return losses


def critic_step(
    fabric: Fabric, critic: Player, adversary: Adversary, real: Tensor, fake: Tensor, mean: Callable, step: int
) -> Float[Tensor, ""]:
    """One step of a critic on real and generated images (b, 3, H, W); its loss, L_D of Eq. 9. ``step`` is a seed."""
    scores = critic.net(torch.cat([real, fake]))
    loss = adversary.critic_loss(*scores.chunk(2), mean)
    if adversary.penalty:
        loss = loss + adversary.penalty(critic.net.module, real, fake, step)
    critic.adam.zero_grad()
    fabric.backward(loss)
    critic.adam.step()
    return loss.detach()


def check_gradients(players: Players, losses: dict[str, Tensor]) -> None:
    """Raise NotFiniteError if a gradient isn't finite: the one place where ``training_step`` waits for a GPU."""
    gradients = [[p.grad for p in player.net.parameters() if p.grad is not None] for player in players.all()]
    lengths = torch.stack([nn.utils.get_total_norm(grads) for grads in gradients])
    if not lengths.isfinite().all():
        who = ["the generator", *(f"the critic of {branch}" for branch in players.model.branches)]
        seen = ", ".join(f"of {name} {length:g}" for name, length in zip(who, lengths.tolist()))
        at = ", ".join(f"{name} {value.item():.4g}" for name, value in losses.items())
        raise NotFiniteError(f"the lengths of the gradients are {seen}, at {at}")


def inputs_of(batch: Crops) -> list[Tensor]:
    """The network's inputs from a batch: I_in, I_ref and I_ref↓."""
    return [x.contiguous(memory_format=torch.channels_last) for x in batch[1:]]


def learning_rate(profile: Profile, step: int, steps: int) -> float:
    """Adam's learning rate at ``step`` of ``steps``: constant as in 4.1, or half a cosine to 0."""
    if profile.schedule == "constant":
        return profile.lr
    return profile.lr * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Plan:
    """What a training sees, how long it is, and what a run does in its loop beyond training."""

    crops: Dataset
    """One ``Crops`` per item, in the order of training, from the state's step on."""
    validate: Callable[[], dict[str, float]]
    """Scores of the generator's moving average; "val_sisr" and "val_ref" are the PSNR of its branches in dB."""
    steps: int
    every: int
    """Steps between two validations."""
    progress: bool = False
    stop_requested: Callable[[], bool] = lambda: False
    """Whether this process should stop; if one should, all stop after the same step."""
    after_step: Callable[[dict[str, float] | None, bool], None] = lambda row, stopping: None
    """Called after each step, with the history's new row if there was a validation, and whether the run stops."""


@dataclass
class State:
    """How far a training has come."""

    step: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)
    """Of each step since the last validation."""
    history: list[dict[str, float]] = field(default_factory=list)
    """A row for each validation: its scores, and the mean losses since the one before."""

    def add_row(self, scores: dict[str, float]) -> dict[str, float]:
        """Add a validation's row to the history and return it."""
        means = {name: sum(values) / len(values) for name, values in self.losses.items()}
        self.losses.clear()
        self.history.append(means | {"step": self.step} | scores)
        return self.history[-1]


def fit(fabric: Fabric, players: Players, plan: Plan, profile: Profile, state: State) -> None:
    """Train from ``state`` to the plan's end. Raises NotFiniteError if a loss, a gradient or a weight is not finite."""
    loader = DataLoader(plan.crops, batch_size=profile.batch // fabric.world_size, num_workers=profile.workers)
    with tqdm(total=plan.steps, initial=state.step, unit="step", disable=not plan.progress) as bar:
        for batch in fabric.setup_dataloaders(loader):
            for player in players.all():
                player.adam.param_groups[0]["lr"] = learning_rate(profile, state.step, plan.steps)
            losses = training_step(fabric, players, Crops(*batch), state.step, plan.steps)
            players.average.update_parameters(players.model)
            losses, stopping = over_all_processes(fabric, losses, plan.stop_requested())
            for name, value in losses.items():
                state.losses.setdefault(name, []).append(value)
            state.step += 1
            bar.update()

            row = None
            if state.step % plan.every == 0 or state.step == plan.steps:
                row = state.add_row(plan.validate())
                bar.set_postfix({"PSNR": f"{row[f'val_{players.model.branches[-1]}']:.2f} dB"})
            plan.after_step(row, stopping)


def over_all_processes(fabric: Fabric, losses: dict[str, Tensor], stop: bool) -> tuple[dict[str, float], bool]:
    """Mean losses and whether any process stops, in one exchange. Raises NotFiniteError if a loss is not finite."""
    own = torch.stack([*losses.values(), torch.tensor(float(stop), device=fabric.device)])
    *values, stopping = fabric.all_reduce(own, reduce_op="mean").tolist()
    if not all(map(math.isfinite, values)):
        raise NotFiniteError(", ".join(f"{name} is {value:g}" for name, value in zip(losses, values)))
    return dict(zip(losses, values)), stopping > 0
