"""What a run leaves in its folder so that it may be interrupted at any moment: ``state.pt``, whole or not there."""

import io
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from e2ent2lib.config import Profile
from e2ent2lib.runs import provenance
from e2ent2lib.runs.files import whole_file
from e2ent2lib.train import AVERAGE, Players, State

STEPS = [f.name for f in fields(Profile) if f.name.startswith("steps_")]
MAY_CHANGE = ("lr", "checkpoint_every", "probe_every", "workers", "cache", "name", *STEPS)
"""Fields of a profile that may be others when a run is resumed."""


@dataclass(kw_only=True)
class RunState(State):
    """All that ``state.pt`` holds beside the players: how far a run has come, and what it has kept."""

    data: dict
    """``TrainingImages.facts`` of the photographs."""
    made: dict
    """The model's name, the seed and the profile less ``MAY_CHANGE``: what a resumed run must share."""
    seconds: float = 0.0
    """Of training and validation, up to the last time it was saved."""
    kept: dict | None = None
    """The weights that stage 2 starts from, with their step and the seconds until then."""

    def card(self, profile: Profile, facts: dict) -> dict:
        """What a model card says of the weights as they are now, and the ``facts`` of their training."""
        return {
            "model": self.made["model"],
            "data": self.data,
            "seed": self.made["seed"],
            "steps": self.step,
            "selection": f"the moving average of the weights, decay {AVERAGE}, at the last step",
            "seconds": round(self.seconds),
            "threads": torch.get_num_threads() * int(os.environ.get("WORLD_SIZE", 1)),
            "profile": asdict(profile),
            "history": [{k: v if k == "step" else float(f"{v:.6g}") for k, v in row.items()} for row in self.history],
            "licence": "weights: MIT, as the project; the photographs keep their own terms",
            **provenance.here(),
            **facts,
        }

    def save(self, path: Path, players: Players) -> None:
        """Write ``state.pt``. Raises OSError if there is no room; what was there before is whole then."""
        content = io.BytesIO()
        torch.save(vars(self) | {"players": players.state()}, content)  # to memory: a full disk is then a plain OSError
        with whole_file(path) as temporary:
            temporary.write_bytes(content.getbuffer())

    def resumed(self, path: Path, players: Players) -> "RunState":
        """The saved state, ``players`` brought to it. Raises ValueError if it is damaged, or of another training."""
        try:
            saved = torch.load(path, weights_only=True, map_location="cpu")
            weights = saved.pop("players")
            state = RunState(**saved)
            fingerprint = state.data["fingerprint"]
        except Exception as error:  # of a damaged file torch raises whatever its parts do
            raise ValueError(
                f"{path}: damaged ({type(error).__name__}); {path.parent / 'last'} holds the weights without the rest, "
                "and another --out starts from the beginning"
            ) from error
        if fingerprint != self.data["fingerprint"]:
            raise ValueError(f"{path} was trained on other photographs; give the same --data, or another --out")
        if other := [f"{k} {state.made.get(k)}, now {v}" for k, v in self.made.items() if state.made.get(k) != v]:
            raise ValueError(f"{path} is of another training ({'; '.join(other)}); give the same, or another --out")
        players.load_state(weights)
        return state


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Make the folder, clear it of half-written files. Raises FileExistsError if another run is at work there."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / ".lock", timeout=0):
            for left in (*out.glob(".part-*"), *(out / "last").glob(".part-*")):
                left.unlink()
            yield
    except Timeout:
        raise FileExistsError(f"{out}: another run is at work there; wait for it, or choose another --out") from None


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that a step is never cut in half."""
    stop = threading.Event()
    in_main = threading.current_thread() is threading.main_thread()  # no other thread may handle signals
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM) if in_main}
    try:
        yield stop
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
