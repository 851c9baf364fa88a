"""What a model card says of a training, and what is said of one that diverged."""

from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from e2ent2lib.config import Profile
from e2ent2lib.runs import provenance
from e2ent2lib.runs.state import RunState


def run_card(profile: Profile, state: RunState, *, last: bool) -> dict:
    """What is known of the weights of the last step, or else of those that validated best."""
    best = "not validated yet"
    if state.best:
        best = f"best mean PSNR on 16 validation crops: {state.best_psnr:.2f} dB"
    selection = f"none: the last step; {best}" + (f", at step {state.best_step}" if state.best else "")
    return {
        "model": state.made["model"],
        "data": state.data,
        "seed": state.made["seed"],
        "steps": state.step,
        "selected_step": state.step if last else state.best_step,
        "selection": selection if last else best,
        "seconds": round(state.seconds),
        "threads": torch.get_num_threads(),
        "profile": asdict(profile),
        "history": [{k: v if k == "step" else float(f"{v:.6g}") for k, v in row.items()} for row in state.history],
        "licence": "weights: MIT, as the project; the photographs keep their own terms",
        **provenance.here(),
    }


def kept_card(name: str, kept: dict, card: dict) -> dict:
    """Of the whole run's card what is true of the weights kept on the way, under the ``name`` they are saved by."""
    return card | {
        "model": name,
        "steps": kept["step"],
        "selected_step": kept["step"],
        "selection": "none: as it was at that step",
        "seconds": kept["seconds"],
        "history": [row for row in card["history"] if row["step"] <= kept["step"]],
    }


def diagnosis(error: Exception, state: RunState, profile: Profile, model: nn.Module, out: Path) -> str:
    """What is known of a training that diverged, and what to do."""
    lately = ", ".join(f"{name} {values[-1]:.4g}" for name, values in state.losses.items() if values)
    largest = max(float(p.detach().abs().max()) for p in model.parameters())
    saved = f"{out / 'last'} and {out / 'best'} hold the last good weights, saved before"
    if not (out / "state.pt").is_file():
        saved = f"nothing was saved yet, which --checkpoint-every does every {profile.checkpoint_every} steps"
    return (
        f"training stopped at step {state.step + 1}: {error}. The losses before it: {lately or 'none yet'}; the "
        f"largest weight now: {largest:.3g}; learning rate {profile.lr:g}. {saved[0].upper()}{saved[1:]}. A smaller "
        f"learning rate may help: --lr {profile.lr / 3:.1g} --resume"
    )
