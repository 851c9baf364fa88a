"""Where a number comes from: commit, versions, machine."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1]
ROOT = LIBRARY.parent if (LIBRARY.parent / "pyproject.toml").is_file() else Path.cwd()
"""The checkout; of an installed package the folder where the user stands."""
PACKAGES = ("torch", "numpy", "scikit-image", "pillow")


def need_checkout(what: str) -> None:
    """Raise FileNotFoundError unless this is a checkout, whose scores, notebooks and pages ``what`` is made of."""
    if ROOT != LIBRARY.parent:
        raise FileNotFoundError(f"{what} needs the repository, which the package lacks; clone it and call it there")


def commit() -> str:
    """The commit of the checkout, "+changes" behind it where the library or weights differ from it, else "unknown"."""
    if ROOT != LIBRARY.parent:
        return "unknown"
    try:
        run = {"cwd": ROOT, "capture_output": True, "text": True, "check": True}
        head = subprocess.run(["git", "rev-parse", "HEAD"], **run).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--", "e2ent2lib", "weights"], **run).stdout.strip()
        return head + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """The processor, its cores, the accelerator if any, the system."""
    import torch  # here, for the command line asks this module only where the checkout is

    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.is_file() else None
    name = found[1].strip() if found else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}, {platform.system()}"


def here() -> dict:
    """All of it, with the time, as a result row or a model card keeps it."""
    return {
        "commit": commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
