"""Trainings side by side on one device until they are done or the time is over, and their files."""

import hashlib
import io
import json
import tarfile
import time
import traceback
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from threading import Thread

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from benchmarks.gpu_photo import kind_of_run
from benchmarks.gpu_steps import Photographs, Run, Training
from benchmarks.gpu_views import Views
from e2ent2lib.runs import provenance
from e2ent2lib.systems import recipe_of

SPARE = 12
"""Seconds before the deadline by which a training that fills the time is to be done."""
FEEDERS = 4
"""Threads that hand the device its steps."""


class Packs:
    """Finished files in a few archives, closed as they fill: at most ``most`` bytes each."""

    def __init__(self, out: Path, most: int = 9 << 20):
        self.out, self.most, self.count, self.size = out, most, 0, 0
        out.mkdir(parents=True, exist_ok=True)
        for pack in sorted(out.glob("weights-*.tar")):  # of a call before this one
            self.count, self.size = int(pack.stem.split("-")[1]), pack.stat().st_size

    def done(self) -> set[str]:
        """Names of the trainings whose weights are there."""
        found = set()
        for pack in self.out.glob("weights-*.tar"):
            with tarfile.open(pack) as tar:
                found |= {Path(n).stem for n in tar.getnames() if n.endswith(".json")}
        return found

    def add(self, name: str, content: bytes) -> None:
        """One more file; it is on the disk at once."""
        if self.size + len(content) > self.most:
            self.count, self.size = self.count + 1, 0
        with tarfile.open(self.out / f"weights-{self.count}.tar", "a") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        self.size += len(content) + 1024


class Schedule:
    """Runs trainings side by side until all are done or the time is over.

    Threads hand the device its steps; this one begins, measures and saves.
    """

    def __init__(
        self,
        trainings: list[Training],
        photographs: Photographs,
        starts: Path,
        out: Path,
        device: torch.device,
        deadline: float,
        slots: int = 10,
        views: Views | None = None,
    ):
        self.waiting, self.photographs, self.starts, self.device = list(trainings), photographs, starts, device
        self.deadline, self.views = deadline, views
        self.packs, self.log, self.weights = Packs(out), {}, {}
        self.out, self.active, self.begun, self.over = out, [], time.perf_counter(), False
        self.marks: list = []
        self.cuda = device.type == "cuda"
        self.slots, self.prepared = slots if self.cuda else 1, {}
        self.side = torch.cuda.Stream() if self.cuda else None
        log = out / "log.json"
        self.log = json.loads(log.read_text()) if log.is_file() else {}
        self.waiting = [t for t in self.waiting if t.name not in self.packs.done()]
        self.names = {t.name for t in self.waiting}

    def prepare(self) -> None:
        """Record all steps before any is trained: cuDNN measures its kernels then, with nothing else beside."""
        for plan in sorted(self.waiting, key=lambda p: -p.priority):
            tick = time.perf_counter()
            try:
                stream = torch.cuda.Stream(priority=-1 if plan.priority >= 90 else 0) if self.cuda else None
                with torch.cuda.stream(stream) if self.cuda else nullcontext():
                    run = kind_of_run(plan.model)(plan, self.photographs, None, self.device)
                    run.stream = stream
                    if self.cuda:
                        run.capture()
                        if run.opening():
                            run.done = run.opening()
                            run.step.fill_(run.done)
                            run.capture()
                self.prepared[plan.name] = run
            except Exception:
                self.waiting.remove(plan)
                self.log.setdefault(plan.name, {})["error"] = traceback.format_exc()[-3000:]
                self.say("FAILED", plan.name, self.log[plan.name]["error"][-300:])
            self.say("prepared", plan.name, f"{time.perf_counter() - tick:.2f} s")
        if self.cuda:
            torch.cuda.synchronize()
        torch.backends.cudnn.benchmark = False

    def say(self, *told) -> None:
        """Print, with the time."""
        print(f"{time.perf_counter() - self.begun:7.1f}", *told, flush=True)

    def go(self) -> None:
        """Until the deadline; what is unfinished then is told in the log."""
        self.prepare()
        last = time.perf_counter()
        threads = [Thread(target=self.feed, args=(k,), daemon=True) for k in range(FEEDERS if self.cuda else 1)]
        for thread in threads:
            thread.start()
        while (self.waiting or self.active) and time.perf_counter() < self.deadline:
            ended = [r for r in self.active if r.failed or (r.fed and all(e.query() for e in r.pending))]
            for run in ended:
                self.end(run)
            begun = len(self.active) < self.slots and bool(self.waiting) and self.begin_one()
            if not ended and not begun:
                time.sleep(0.003)
            if time.perf_counter() - (self.marks[-1][0] if self.marks else 0) > 0.5:
                self.marks.append((time.perf_counter(), {r.plan.name: r.done for r in self.active}))
            if time.perf_counter() - last > 15:
                last = time.perf_counter()
                self.say(", ".join(f"{r.plan.name} {r.done}/{r.plan.steps}" for r in self.active))
                self.write_log()
        if self.waiting or self.active:
            self.say("the time is over")
        self.over = True
        for thread in threads:
            thread.join()
        for run in list(self.active):
            self.log.setdefault(run.plan.name, {})["unfinished"] = run.done
            try:
                self.finish(run, whole=False)
            except Exception:
                self.log[run.plan.name]["error"] = traceback.format_exc()
        for plan in self.waiting:
            self.log.setdefault(plan.name, {})["unfinished"] = 0
        self.write_log()

    def write_log(self) -> None:
        """What is known so far."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "log.json").write_text(json.dumps(self.log, indent=1) + "\n")

    def ready(self, plan: Training) -> bool:
        """Whether the weights that it starts from are there."""
        if plan.after is None or plan.after not in self.names:
            return True
        run = next((r for r in self.active if r.plan.name == plan.after), None)
        return plan.after in self.weights or (run is not None and run.kept is not None)

    def begin_one(self) -> bool:
        """Begin the most urgent training that can be; whether there was one."""
        plan = next((p for p in sorted(self.waiting, key=lambda p: -p.priority) if self.ready(p)), None)
        if plan is None:
            return False
        self.waiting.remove(plan)
        try:
            start, run = self.start_of(plan), self.prepared.pop(plan.name)
            with torch.cuda.stream(run.stream) if self.cuda else nullcontext():
                run.restart(start)
            run.begun = time.perf_counter()
            run.feeder = min(range(FEEDERS), key=lambda k: sum(r.feeder == k for r in self.active)) if self.cuda else 0
            self.active.append(run)
            self.say("begun", plan.name)
        except Exception:
            self.log.setdefault(plan.name, {})["error"] = traceback.format_exc()[-3000:]
            self.say("FAILED", plan.name, self.log[plan.name]["error"][-300:])
            self.weights.setdefault(plan.name, None)
        return True

    def feed(self, number: int) -> None:
        """A thread's work: keep the device supplied with steps of its runs."""
        while not self.over:
            moved = False
            for run in [r for r in list(self.active) if r.feeder == number and not r.failed]:
                try:
                    moved |= self.advance(run)
                except Exception:
                    run.failed = traceback.format_exc()[-3000:]
            if not moved:
                time.sleep(0.001)

    def advance(self, run: Run) -> bool:
        """Hand the device some more steps of a run, if it is short of them."""
        plan = run.plan
        if run.done >= run.goal:
            return False
        while run.pending and run.pending[0].query():
            run.pending.pop(0)
        if len(run.pending) >= 3:
            return False
        every = max(1, -(-plan.steps // max(1, plan.probes)))
        stop = min(run.goal, (run.done // every + 1) * every)
        if run.opening() > run.done:
            stop = min(stop, run.opening())
        chunk = max(4, int(0.05 * run.done / (time.perf_counter() - run.begun))) if self.cuda else 1
        with torch.cuda.stream(run.stream) if self.cuda else nullcontext():
            if plan.fills:
                run.set_goal(self.deadline - SPARE - time.perf_counter())
                stop = min(stop, max(run.goal, run.done + 1))
            run.replay(min(chunk, stop - run.done))
            if run.done % every == 0 or run.done >= run.goal:
                run.validate()
            if self.cuda:
                event = torch.cuda.Event()
                event.record()
                run.pending.append(event)
        run.fed = run.done >= run.goal
        return True

    def end(self, run: Run) -> None:
        """Save it and make room."""
        name = run.plan.name
        try:
            if run.failed:
                raise RuntimeError(run.failed)
            self.finish(run, whole=True)
        except Exception:
            self.log.setdefault(name, {})["error"] = traceback.format_exc()[-3000:]
            self.say("FAILED", name, self.log[name]["error"][-300:])
            self.weights.setdefault(name, None)
        self.active.remove(run)
        run.graphs.clear()

    def start_of(self, plan: Training) -> dict | None:
        """The weights a training starts from: of a training of this call, or a file of the bundle."""
        wanted = plan.file or recipe_of(plan.model).start_from
        if plan.after in self.names:
            run = next((r for r in self.active if r.plan.name == plan.after), None)
            if run is not None and run.kept is not None:
                if run.stream:
                    run.stream.synchronize()
                return {k: v.cpu() for k, v in run.kept.items()}
            if self.weights.get(plan.after) is None:
                raise RuntimeError(f"{plan.after} failed")
            return self.weights[plan.after]
        path = self.starts / "starts" / plan.profile.name / f"{wanted}.safetensors"
        return load_file(path) if wanted and path.is_file() else None  # without the file it starts from drawn weights

    def finish(self, run: Run, whole: bool) -> None:
        """Scores, weights to the host, files."""
        plan, entry = run.plan, self.log.setdefault(run.plan.name, {})
        if self.cuda:  # one stream for all, whose memory is used again
            self.side.wait_stream(run.stream)
        with torch.cuda.stream(self.side) if self.cuda else nullcontext():
            if plan.views and self.views and whole:
                entry["views"] = {
                    kind: self.views.scores(run, run.flat.state(kind == "ema")) for kind in ("last", "ema")
                }
            final = {k: v.cpu() for k, v in run.flat.state(True).items()}
            if "views" in entry:
                entry["views"] = {k: {n: round(float(x), 4) for n, x in v.items()} for k, v in entry["views"].items()}
            entry |= run.result()
        finite = all(v.isfinite().all() for v in final.values() if v.is_floating_point())
        entry |= {"seconds": round(time.perf_counter() - run.begun, 2), "steps": run.done, "finite": finite}
        entry |= {"graphs": len(run.graphs), "plan": asdict(plan), "vgg": run.vgg}
        self.weights[plan.name] = None
        if finite:  # what others start from
            self.weights[plan.name] = final if run.kept is None else {k: v.cpu() for k, v in run.kept.items()}
        if finite and (whole or run.done > plan.steps / 2):
            self.keep(entry, run, plan.name + "-cut" * (not whole), final, run.done)
            if run.kept is not None:
                self.keep(entry, run, f"{plan.model}-pretrained", run.kept, plan.keep_at)
        self.say("done" if whole else "cut", plan.name, run.done, *entry["history"][-1:], entry.get("views", ""))

    def keep(self, entry: dict, run: Run, name: str, weights: dict[str, Tensor], step: int) -> None:
        """Weights and card into an archive."""
        form = getattr(torch, run.plan.form)
        content = save(
            {k: v.cpu().to(form if v.is_floating_point() else v.dtype).contiguous() for k, v in weights.items()}
        )
        card = self.card(entry, run, step) | {"sha256": hashlib.sha256(content).hexdigest()}
        self.packs.add(f"{name}.safetensors", content)
        self.packs.add(f"{name}.json", (json.dumps(card, indent=1, ensure_ascii=False) + "\n").encode())

    def card(self, entry: dict, run: Run, step: int) -> dict:
        """What a model card says of the weights of a step."""
        plan, data = run.plan, run.photographs.manifest
        history = [r for r in entry["history"] if r["step"] <= step]
        history = [{k.replace("ema_", "val_"): v for k, v in r.items() if not k.startswith("last_")} for r in history]
        return {
            "model": plan.model if step == run.done else f"{plan.model}-pretrained",
            "data": data["data"],
            "seed": plan.seed,
            "steps": step,
            "selected_step": step,
            "selection": f"none by score: the moving average of the weights (decay {plan.ema}) at that step",
            "seconds": round(entry["seconds"] * step / max(1, run.done)),
            "budget": {"core_hours": round(plan.budget * step / plan.steps, 3), "table": "benchmarks/step_cost.json"},
            "profile": asdict(plan.profile) | {run.recipe.steps: run.done},
            "history": history,
            "licence": "weights: MIT, as the project; the photographs keep their own terms",
            **provenance.here(),
            "commit": data["commit"],
            "provisional": False,
            "in_tables": plan.profile.name != "smoke",
            "started_from": {"model": plan.file or run.recipe.start_from} if run.recipe.start_from else None,
            "recipe": run.recipe.facts(run.loss) | {"ema": plan.ema},
            "vgg": run.vgg,
        }
