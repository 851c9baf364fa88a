"""Match and swap against the field's two forms: times, memory, agreement, all in one run.

The forms are convolution, as ports of SRNTT have it, and unfold and a matrix product, as TTSR does: the library's own
readable form, ``plain_match`` and ``plain_swap``.

    python benchmarks/match_and_swap.py [--quick]

Writes match_and_swap.json and match_and_swap.png beside itself. Run it on a quiet machine: every time is the fastest of
several rounds in which the rivals take turns. Memory (Linux only) is the peak of a fresh process beyond its
inputs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from e2ent2lib import config, matching
from e2ent2lib.crops import Crops
from e2ent2lib.exact.search import compiled, patch_norm
from e2ent2lib.report.plots import COLOURS, use_style
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import build_model
from e2ent2lib.runs.run import make_fabric, players_for
from e2ent2lib.systems import recipe_of
from e2ent2lib.train import training_step

HERE = Path(__file__).parent
SIZES = ((40, 40), (80, 80), (80, 125), (160, 160), (250, 250))
LARGEST = 8e9  # bytes of similarities that the field's forms may hold here
CHANNELS = 64


def match_by_convolution(query: Tensor, key: Tensor) -> Tensor:
    """argmax of Eq. 3 with the key's normalised patches as convolution kernels, as ports of SRNTT do; (1, h, w)."""
    kernels = F.unfold(key, 3)[0].T.reshape(-1, key.shape[1], 3, 3) / patch_norm(key)[0].reshape(-1, 1, 1, 1)
    return F.conv2d(F.pad(query, (1, 1, 1, 1), mode="replicate"), kernels).argmax(1)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ours": lambda query, key: matching.match(query, key).index,
    "convolution": match_by_convolution,
    "unfold + bmm": lambda query, key: matching.plain_match(query, key).index,
}


def take_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The fastest of ``rounds`` calls of each, in seconds."""
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def gemm_rate() -> float:
    """Multiply-adds of a large float32 matrix product, 2 a pair, a second."""
    a, b = torch.randn(2, 1500, 1500)
    return 2 * 1500**3 / take_turns({"gemm": lambda: a @ b}, 10)["gemm"]


def maps(h: int, w: int) -> tuple[Tensor, Tensor]:
    """A query and a key of the benchmark's size, always the same ones."""
    return tuple(torch.randn(2, 1, CHANNELS, h, w, generator=torch.Generator().manual_seed(0)))


def peak(form: str, h: int, w: int) -> float:
    """MiB that a form needs beyond its inputs, in a fresh process."""
    script = [sys.executable, __file__, "--peak", form, str(h), str(w)]
    return float(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


def print_peak(form: str, h: int, w: int) -> None:
    """The other side of ``peak``. A small match first: what the compiler needs is not the form's."""
    FORMS[form](*torch.randn(2, 1, CHANNELS, 12, 12))
    query, key = maps(h, w)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    FORMS[form](query, key)
    print(memory("VmHWM") - before)


def memory(field: str) -> float:
    """A memory field of this process, in MiB, as Linux gives it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def compare_matches(sizes: tuple[tuple[int, int], ...], rate: float) -> pd.DataFrame:
    """One row a size and form: seconds, ratio, agreement with ours, peak memory, share of the GEMM rate."""
    rows = []
    for h, w in tqdm(sizes, unit="size"):
        query, key = maps(h, w)
        pairs, ours = h * w * (h - 2) * (w - 2), matching.match(query, key).index
        fits = 4 * pairs < LARGEST
        forms = {name: form for name, form in FORMS.items() if fits or name == "ours"}
        calls = {name: lambda form=form: form(query, key) for name, form in forms.items()}  # noqa: B023
        times = take_turns(calls, 5 if pairs < 2e8 else 2)
        for name in FORMS:
            row = {"size": f"{h}×{w}", "pairs": pairs, "form": name}
            if name in forms:
                seconds = times[name]
                row |= {"seconds": seconds, "times slower": seconds / times["ours"], "MiB": peak(name, h, w)}
                row["same"] = float((FORMS[name](query, key) == ours).double().mean())
                # the products of single cells are the least work there is; the field's forms do nine times as many
                row["of GEMM rate"] = 2 * CHANNELS * pairs / seconds / rate
            else:
                row["note"] = f"similarities alone: {4 * pairs / 1e9:.0f} GB"
            rows.append(row)
    return pd.DataFrame(rows)


def compare_swaps(rounds: int = 9) -> pd.DataFrame:
    """Swap, and match and swap together, forward and backward, against unfold, gather, fold under autograd."""
    generator = torch.Generator().manual_seed(0)
    value, query, error = (torch.randn(2, 32, n, n, generator=generator) for n in (160, 40, 160))
    down, leaf = F.avg_pool2d(value, 4), value.clone().requires_grad_()
    index = matching.match(query, down).index

    def together() -> Tensor:
        return torch.autograd.grad(matching.match_and_swap(query, down, leaf, (0, 0, 1)), leaf, error)[0]

    def field() -> Tensor:
        index = torch.cat([match_by_convolution(q[None], k[None]) for q, k in zip(query, down)])
        return torch.autograd.grad(matching.plain_swap(leaf, index), leaf, error)[0]

    def forward_and_back() -> Tensor:
        matching.swap(value, index)
        return matching.swap_adjoint(error, index, [(40, 40)])[0]

    def fold_and_back() -> Tensor:
        return torch.autograd.grad(matching.plain_swap(leaf, index), leaf, error)[0]

    tasks = {
        "swap, forward": (lambda: matching.swap(value, index), lambda: matching.plain_swap(value, index)),
        "swap, forward + backward": (forward_and_back, fold_and_back),
        "match and swap, forward + backward": (together, field),
    }
    rows = []
    for task, (ours, theirs) in tasks.items():
        times = take_turns({"ours": ours, "field": theirs}, rounds)
        apart = float((ours() - theirs()).abs().max())
        row = {"task": task, **times, "ratio": times["field"] / times["ours"], "largest difference": apart}
        rows.append(row)
    return pd.DataFrame(rows)


def share_of_training_step(steps: int = 8) -> dict[str, float]:
    """How much of a joint training step at the compact profile goes to match and swap; seconds a step."""
    profile = config.get_profile("compact")
    fabric = make_fabric(profile, "cpu", 1)
    players = players_for(fabric, build_model("e2ent2-mse", profile), recipe_of("e2ent2-mse"), profile)
    low, high = ((profile.batch, 3, n, n) for n in (profile.crop // profile.scale, profile.crop))
    batch = Crops(*(torch.rand(shape) for shape in (high, low, high, low)))
    spent = {"match": 0.0, "swap": 0.0, "swap_adjoint": 0.0}

    def timed(name: str, call: Callable) -> Callable:
        def wrapper(*args: object, **options: object) -> object:
            start = time.perf_counter()
            result = call(*args, **options)
            spent[name] += time.perf_counter() - start
            return result

        return wrapper

    training_step(fabric, players, batch)
    originals = {name: getattr(matching, name) for name in spent}
    for name, call in originals.items():
        setattr(matching, name, timed(name, call))
    start = time.perf_counter()
    for _ in range(steps):
        training_step(fabric, players, batch)
    step = (time.perf_counter() - start) / steps
    for name, call in originals.items():
        setattr(matching, name, call)
    parts = {name: seconds / steps for name, seconds in spent.items()}
    return {"step": step, **parts, "share": sum(parts.values()) / step}


def compiler() -> dict[str, float | str]:
    """What the first call of a new installation costs, apart from the times above: seconds and MiB."""
    if compiled() is None:
        return {"note": "numba is not installed; the matches took several passes"}
    code = (
        "import time, torch, match_and_swap as b; from e2ent2lib.matching import match; q = torch.randn(1, 8, 9, 9); "
        "m, s = b.memory('VmRSS'), time.perf_counter(); match(q, q); "
        "print(time.perf_counter() - s, b.memory('VmHWM') - m)"
    )
    with tempfile.TemporaryDirectory() as empty:
        run = {"check": True, "capture_output": True, "text": True, "cwd": HERE}
        run["env"] = os.environ | {"NUMBA_CACHE_DIR": empty}
        out, again = (subprocess.run([sys.executable, "-c", code], **run).stdout for _ in range(2))
    names = ("first seconds", "first MiB", "later seconds", "later MiB")
    return dict(zip(names, map(float, (out + again).split())))


def draw(matches: pd.DataFrame) -> None:
    """Time and memory against the number of patch pairs, both log-log."""
    use_style()
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, column, label in ((axes[0], "seconds", "time / s"), (axes[1], "MiB", "memory beyond the inputs / MiB")):
        for (name, part), colour in zip(matches.groupby("form", sort=False), COLOURS):
            axis.plot(part["pairs"], part[column], "o-", color=colour, label=name)
        axis.set(xscale="log", yscale="log", xlabel="pairs of patches, N·M", ylabel=label)
        axis.grid(alpha=0.3)
    axes[1].axhline(128, color="0.5", linestyle=":", label="128 MiB")
    for pairs, size in matches[["pairs", "size"]].drop_duplicates().itertuples(index=False):
        if size != "80×80":
            axes[0].annotate(size, (pairs, 1), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8)
    axes[1].legend()
    figure.suptitle(f"Match: {CHANNELS} channels, float32, {torch.get_num_threads()} threads", y=1.06)
    figure.savefig(HERE / "match_and_swap.png", bbox_inches="tight")


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 80×125, nothing is stored")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        return print_peak(options.peak[0], *map(int, options.peak[1:]))
    rate = gemm_rate()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, matrix product {rate / 1e9:.0f} GFLOP/s")
    matches = compare_matches(SIZES[:3] if options.quick else SIZES, rate)
    swaps, step, first = compare_swaps(), share_of_training_step(), compiler()
    print(matches.drop(columns="pairs").to_markdown(index=False, floatfmt=".3g"), end="\n\n")
    print(swaps.to_markdown(index=False, floatfmt=".3g"), end="\n\n")
    print(pd.Series(step).to_markdown(floatfmt=".3g"), end="\n\n")
    print("compiler:", first)
    if not options.quick:
        whole = matches.astype(object).where(matches.notna(), None)  # JSON has no NaN
        result = {"matches": whole.to_dict("records"), "swaps": swaps.to_dict("records"), "training step": step}
        result |= {"compiler": first, "GEMM GFLOP/s": rate / 1e9, "threads": torch.get_num_threads()}
        text = json.dumps(result | provenance.here(), indent=1, ensure_ascii=False)
        (HERE / "match_and_swap.json").write_text(text + "\n", encoding="utf-8")
        draw(matches)
    return None


if __name__ == "__main__":
    main()
