"""What makes a training survive and be known: its options, state, checkpoints, probes, provenance."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How one run is made, apart from the model and its profile."""

    data: Path | str = "embedded"
    """"embedded", a name in data/ or E2ENT2_DATA, or a folder of photographs."""
    out: Path | str | None = None
    """The folder of the run; runs/NAME-PROFILE if not given."""
    start_from: Path | str | None = None
    """The folder of the model that this one starts from, or of its own weights to train on; in runs/ or the shipped one
    if not given."""
    lr: float | None = None
    """Adam's learning rate; the profile's or the system's own if not given."""
    seed: int = 0
    """Of weights and crops."""
    resume: bool = False
    """Continue the run in ``out``, if there is one."""
    accelerator: str = "auto"
    """Fabric's: "cpu", "gpu", "auto"."""
    devices: int | str = "auto"
    """How many, or "auto"."""
    progress: bool = True
    """Show progress bars."""
