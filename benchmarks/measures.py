"""How thin the project is: each measure's limit, and what it is today. `make measures`; ends with 1 if one is over.

Lines are counted as ``wc -l`` counts them; the processor time of ``e2ent2 --help`` is the least of three runs. That
``make reproduce`` leaves the working tree as it was is a test of its own, in ``tests/test_reproduce.py``.
"""

import re
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARY = ROOT / "e2ent2lib"
PAPER = [LIBRARY / f"{name}.py" for name in ("__init__", "config", "crops", "matching", "losses", "train")]
NAMED = "e2ent2-mse-related"
FIRST_IMPORTS = {"torch", "numpy", "jaxtyping"}
"""What the paper's files may load; numba only when something is matched."""


def lines(paths: Iterable[Path]) -> int:
    """Lines of these files together."""
    return sum(path.read_bytes().count(b"\n") for path in paths)


def loaded_by(statement: str) -> set[str]:
    """Top-level packages in site-packages that a Python statement loads, directly or not."""
    script = f"{statement}\nimport sys\nfor m in list(sys.modules.values()): print(getattr(m, '__file__', None) or '')"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return {found[1].removesuffix(".py") for found in re.finditer(r"site-packages/([^/\n]+)", out)}


def help_seconds() -> float:
    """Processor seconds of ``e2ent2 --help``."""
    runs = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "e2ent2lib.cli", "--help"]
        subprocess.run(command, capture_output=True, check=True, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(runs)


def main() -> int:
    """Print the table; 1 if a measure is over its limit."""
    python = sorted(LIBRARY.rglob("*.py"))
    texts = [path for path in LIBRARY.rglob("*.*") if path.suffix in (".py", ".toml", ".csv", ".json", ".jinja", ".js")]
    beyond = loaded_by("import e2ent2lib.matching") - loaded_by(f"import {', '.join(sorted(FIRST_IMPORTS))}")
    measures = [
        ("the paper's files, lines", lines([*PAPER, *(LIBRARY / "models").glob("*.py")]), 1600),
        ("matching.py", lines([LIBRARY / "matching.py"]), 260),
        ("train.py", lines([LIBRARY / "train.py"]), 260),
        ("library, lines of Python", lines(python), 10_000),
        ("tests, lines", lines((ROOT / "tests").rglob("*.py")), 10_500),
        (f"library files that name {NAMED}", sum(NAMED in path.read_text("utf-8") for path in texts), 2),
        ("packages beyond torch's, numpy's, jaxtyping's", len(beyond), 0),
        ("e2ent2 --help, processor seconds", round(help_seconds(), 2), 1.0),
        ("README, bytes", (ROOT / "README.md").stat().st_size, 15_000),
    ]
    print(f"{'':48}{'today':>8}{'at most':>10}")
    for name, today, limit in measures:
        print(f"{name:48}{today:>8}{limit:>10}{'' if today <= limit else '  over'}")
    if beyond:
        print("import e2ent2lib.matching also loads:", ", ".join(sorted(beyond)))
    return any(today > limit for _, today, limit in measures)


if __name__ == "__main__":
    sys.exit(main())
