"""The trainings of the tables that are missing, one a core at low priority; a second call goes on from there.

    python -m benchmarks.trainings --data train   # rows of Tables 1 and 2, then the ablations with three seeds
    python -m benchmarks.trainings --data train --only e2ent2

Each is begun as soon as the one that it starts from is finished. What is finished is in ``--out``, checkpoint and card;
what is under way is in ``--runs``. Run it in a checkout of its own, so that work on the code doesn't disturb it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import tyro

from benchmarks.gpu_rows import HOURS, plan
from benchmarks.gpu_steps import Training
from e2ent2lib.config import get_profile
from e2ent2lib.runs.files import whole_file, write_text
from e2ent2lib.systems import recipe_of


def main(
    data: str,
    out: Path = Path("weights/next"),
    runs: Path = Path("runs/queue"),
    profile: str = "compact",
    hours: float = HOURS,
    jobs: int = os.cpu_count() or 1,
    only: tuple[str, ...] = (),
    one: str | None = None,
) -> None:
    """Train what is missing.

    Args:
        data: photographs, as ``e2ent2 train --data`` takes them.
        out: where finished checkpoints go; other seeds into seed-1, seed-2.
        runs: where unfinished ones are.
        hours: core-hours of a row.
        jobs: how many at a time, each on one core.
        only: names of trainings.
        one: do this one in this process; for the queue itself.
    """
    trainings = {t.name: t for t in plan(get_profile(profile), Path(), hours) if not t.fills}
    if one:
        with suppress(
            OSError
        ):  # Linux shares the processor among sessions first: ``nice`` alone counts within this one
            Path("/proc/self/autogroup").write_text("19")
        train(trainings[one], trainings, data, out, runs)
        return
    missing = [t for t in trainings.values() if not finished(t, out) and (not only or t.name in only)]
    running: dict[str, subprocess.Popen] = {}
    failed: set[str] = set()
    command = [sys.executable, "-m", "benchmarks.trainings", "--data", data, "--out", str(out), "--runs", str(runs)]
    command += ["--profile", profile, "--hours", str(hours)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends the runs too, as Ctrl-C does
    try:
        while missing or running:
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if running.pop(name).returncode:
                    failed.add(name)
            ready = [t for t in missing if not t.after or finished(trainings[t.after], out)]
            for training in sorted(ready, key=lambda t: -t.priority)[: jobs - len(running)]:
                missing.remove(training)
                runs.mkdir(parents=True, exist_ok=True)
                with (runs / f"{training.name}.log").open("a") as log:
                    environment = os.environ | {"OMP_NUM_THREADS": "1"}
                    process = subprocess.Popen(
                        ["nice", "-n", "19", *command, "--one", training.name],
                        env=environment,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                running[training.name] = process
            print(f"running: {', '.join(running) or 'none'}; waiting: {len(missing)}", flush=True)
            if not running:
                break
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():  # each saves its state first
            process.wait()
    if missing or failed:
        raise SystemExit(
            f"not finished: {', '.join(sorted(failed | {t.name for t in missing}))}; the logs are in {runs}"
        )


def place(training: Training, out: Path) -> Path:
    """The folder of its finished checkpoint."""
    folder = out / f"seed-{training.seed}" if training.seed else out
    return folder / training.profile.name


def finished(training: Training, out: Path) -> bool:
    """Whether its checkpoint and card are there."""
    return all((place(training, out) / f"{training.model}.{end}").is_file() for end in ("safetensors", "json"))


def train(training: Training, trainings: dict[str, Training], data: str, out: Path, runs: Path) -> None:
    """Train one, or continue it, and copy what it gives."""
    from e2ent2lib.runs.run import RunOptions  # these take seconds
    from e2ent2lib.runs.run import train as train_system

    profile = replace(training.profile, **{recipe_of(training.model).steps: training.steps})
    if training.keep_at:
        profile = replace(profile, steps_pretraining=training.keep_at)
    if training.probes:
        profile = replace(profile, probe_every=max(1, training.steps // training.probes))
    start = place(trainings[training.after], out) if training.after else None
    folder = runs / training.name
    options = RunOptions(data=data, out=folder, seed=training.seed, start_from=start, resume=True, progress=False)
    train_system(training.model, profile, options)
    place(training, out).mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.safetensors"):
        with whole_file(place(training, out) / path.name) as temporary:
            shutil.copyfile(path, temporary)
    for path in folder.glob("*.json"):  # last, as ``finished`` looks
        card = json.loads(path.read_text(encoding="utf-8"))
        hours = training.budget * card["steps"] / training.steps
        card["budget"] = {"core_hours": round(hours, 3), "table": "benchmarks/step_cost.json"}
        if start:
            before = json.loads((start / f"{card['started_from']['model']}.json").read_text(encoding="utf-8"))
            hours += before["budget"]["with_what_it_starts_from"]
        card["budget"]["with_what_it_starts_from"] = round(hours, 3)
        write_text(place(training, out) / path.name, json.dumps(card, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    tyro.cli(main)
