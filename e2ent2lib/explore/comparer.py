"""The SR comparer (Tables 1 and 2, Fig. 7): any two systems over each other, with the scores of what is seen.

Of the motorcycle the results ship, ``data/results/explorer/``; ``python -m e2ent2lib.explore.comparer`` makes them
again. Notebook 12.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as w
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from tqdm.auto import tqdm

from e2ent2lib.explore.explorer import Job, PairExplorer, Photos, available_pairs, choice, row
from e2ent2lib.explore.view import Wipe, face, strip
from e2ent2lib.measure.metrics import psnr, ssim
from e2ent2lib.photos.images import as_rgb, downscale
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.report.plots import CROP, Pixels, Window, cut, png
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import available_models, shipped_card
from e2ent2lib.runs.files import whole_file, write_text
from e2ent2lib.systems import SYSTEMS

TRUTH, INPUT = "hr", "lr"
LEAST = 11
"""Pixels a side that SSIM needs."""
SHIPPED = provenance.ROOT / "data" / "results" / "explorer" / "motorcycle"
"""Where the motorcycle's pictures by each system are."""


def shown() -> tuple[str, ...]:
    """The rows of Tables 1 and 2, and the departures."""
    return tuple(n for n, s in SYSTEMS.items() if s.figures or s.departure or s.references == "stereo")


def called(name: str) -> str:
    """What a system, the truth or the input is called."""
    if name not in SYSTEMS:
        return {TRUTH: "HR (truth)", INPUT: "LR input"}[name]
    system = SYSTEMS[name]
    return f"{system.short} (ablation)" if system.ablation else system.title


class Comparison:
    """One pair of photographs, the first of them made small and enlarged again by any system, each once."""

    def __init__(self, photos: Photos, shipped: Path | None = None):
        self.hr, self.ref, self.lr = photos.hr, photos.ref, downscale(photos.hr)
        self.images = {TRUTH: self.hr, INPUT: self.lr.repeat(4, 0).repeat(4, 1)}  # its pixels as squares
        tables = (name for name in available_models("compact") if SYSTEMS[name].recipe or SYSTEMS[name].card)
        self.systems = [name for name in tables if photos.stereo or SYSTEMS[name].references != "stereo"]
        self.images |= read_shipped(shipped) if shipped else {}

    def image(self, name: str) -> Pixels:
        """The picture by a system; computed on the first call. Raises as ``super_resolve``."""
        if name not in self.images:
            self.images[name] = super_resolve(self.lr, self.ref, model=name, profile="compact")
        return self.images[name]

    def difference(self, one: str, other: str) -> Pixels:
        """|one − other| of each channel, four times, so that a fault of 1 in 64 is white."""
        return (np.abs(self.image(one).astype(int) - self.image(other)) * 4).clip(0, 255).astype(np.uint8)

    def score(self, name: str, box: Window) -> tuple[float, float]:
        """PSNR in dB and SSIM of a crop against the truth, by the default protocol. SSIM needs 11×11, else NaN."""
        one, truth = cut(self.image(name), box), cut(self.hr, box)
        return psnr(one, truth), ssim(one, truth) if min(truth.shape[:2]) >= LEAST else float("nan")

    def scored(self, name: str, box: Window, colon: str = "") -> str:
        """What a system is called, with its scores of a crop; of the truth, which has none, its name alone."""
        decibels, similarity = self.score(name, box)
        return called(name) + ("" if name == TRUTH else f"{colon} {decibels:.2f} dB / {similarity:.3f}")

    def crops(self, box: Window) -> dict[str, Pixels]:
        """The crop by each system of ``shown`` that is ready, by its name and scores; the truth last."""
        ready = [name for name in (*shown(), TRUTH) if name in self.images]
        return {self.scored(name, box, ":"): cut(self.images[name], box) for name in ready}


def read_shipped(folder: Path) -> dict[str, Pixels]:
    """The stored pictures whose checkpoint is still the one that ships."""
    facts = folder / "provenance.json"
    stored = json.loads(facts.read_text(encoding="utf-8"))["systems"] if facts.is_file() else {}
    current = {name: shipped_card(name, "compact")["sha256"] for name in available_models("compact") if name in stored}
    names = [name for name, sha256 in current.items() if stored[name]["checkpoint_sha256"] == sha256]
    return {name: as_rgb(folder / f"{name}.webp") for name in names if (folder / f"{name}.webp").is_file()}


def save_shipped(folder: Path, names: Sequence[str] = ()) -> None:
    """Enlarge the motorcycle by each system, by default all ``shown``: lossless WebP files, and provenance.json."""
    comparison = Comparison(available_pairs()["motorcycle"]())
    folder.mkdir(parents=True, exist_ok=True)
    systems, everything = {}, (0, 0, comparison.hr.shape[1], comparison.hr.shape[0])
    for name in tqdm(names or shown(), unit="system"):
        with whole_file(folder / f"{name}.webp") as temporary:
            Image.fromarray(comparison.image(name)).save(temporary, lossless=True, quality=100, method=6)
        decibels, similarity = comparison.score(name, everything)
        sha256 = shipped_card(name, "compact")["sha256"]
        systems[name] = {"checkpoint_sha256": sha256, "psnr": decibels, "ssim": similarity}
    facts = {"profile": "compact", "data": "motorcycle", **provenance.here(), "systems": systems}
    write_text(folder / "provenance.json", json.dumps(facts, indent=1) + "\n")


class Comparer(PairExplorer):
    """Two systems on one pair; ``box`` is what is seen, (x, y, width, height)."""

    def __init__(self, pair: str = "motorcycle", left: str = "bicubic", right: str = "e2ent2-mse"):
        self.left, self.right = choice("left", [left]), choice("right", [right])
        self.mode = choice("shown as", ["wipe", "side by side", "difference"])
        self.wipe, self.job, self.every = Wipe(layout=w.Layout(max_width="900px")), Job(self), w.HTML()
        self.all = w.Button(description="what is seen, by every system", layout=w.Layout(width="auto"))
        super().__init__(
            "SR comparer",
            "A photograph made four times smaller and enlarged again, by any two systems of the tables.",
            pair,
            [self.left, self.right, self.mode, self.job],
            [self.wipe, row(self.all), self.every],
        )
        self.on(self.tell, self.wipe, trait="box")
        self.on(self._choose, self.left, self.right)
        w.dlink((self.mode, "value"), (self.wipe, "mode"))
        self.on(self._show_all, self.all)
        self.on(self._follow, self.job.stop)

    def summary(self, box: Window | None = None) -> str:
        """The scores of what is seen, or of another crop."""
        box = box or tuple(self.wipe.box)
        x, y, width, height = box
        scores = "; ".join(self.comparison.scored(name, box) for name in self.ready)
        return f"crop x {x}, y {y}, {width}×{height} pixels: {scores} (PSNR / SSIM, RGB)"

    def figure(self) -> Figure:
        """The crop of Fig. 1 by every system that is ready, as a montage."""
        whole = tuple(self.wipe.box) == (0, 0, *self.wipe.size)
        box = CROP if whole and self.wipe.size[0] >= sum(CROP[::2]) else tuple(self.wipe.box)
        crops = {caption.replace(": ", "\n"): crop for caption, crop in self.comparison.crops(box).items()}
        return face([], crops, f"{self.pair.value}, {self.summary(box)}", 6)

    def load(self) -> None:
        """Other photographs; bicubic is shown until the chosen systems are ready."""
        chosen = self.chosen()
        self.comparison = Comparison(chosen, SHIPPED if self.pair.value == "motorcycle" else None)
        self.job.cancel()
        self._note, self.every.value, self.ready = chosen.note, "", ("bicubic", "bicubic")
        systems = [TRUTH, INPUT, *self.comparison.systems]
        for control in (self.left, self.right):
            name = control.value if control.value in systems else "bicubic"
            control.options = [(called(system), system) for system in systems]
            control.value = name
        height, width = chosen.hr.shape[:2]
        self.wipe.size, self.wipe.box = [width, height], [0, 0, width, height]
        self._show()
        self._choose()

    def _choose(self) -> None:
        """Show the two chosen systems once both are ready; what is missing is computed beside the page."""
        wanted = (self.left.value, self.right.value)
        missing = [name for name in dict.fromkeys(wanted) if name not in self.comparison.images]
        if not missing:
            self.ready = wanted
            self._show()
            return

        def show(_: Pixels) -> None:
            if missing[-1] in self.comparison.images:
                self._choose()

        work = map(self.comparison.image, missing)
        self.job.run(work, len(missing), show, f"{self.pair.value} by {' and '.join(map(called, missing))}")

    def _follow(self) -> None:
        """The work was stopped: the lists say again what is shown."""
        self.left.value, self.right.value = self.ready

    def _show(self) -> None:
        left, right = self.ready
        self.wipe.left, self.wipe.right = png(self.comparison.image(left)), png(self.comparison.image(right))
        self.wipe.names = [called(left), called(right)]
        self.wipe.difference = png(self.comparison.difference(left, right))
        self.say(self._note)
        self.tell()

    def _show_all(self) -> None:
        """What is seen by every row of the tables; those that are missing are computed first."""
        box = tuple(self.wipe.box)
        names = [n for n in shown() if n in self.comparison.systems and n not in self.comparison.images]

        def show(_: object = None) -> None:
            self.every.value = strip(self.comparison.crops(box), 170)

        if names:
            self.job.run(map(self.comparison.image, names), len(names), show, f"{len(names)} systems")
        show()


if __name__ == "__main__":
    save_shipped(SHIPPED)
