"""What the comparer shows, computed: one picture by any system of the tables, scores of a crop, difference maps.

Of the motorcycle the results ship, ``data/results/explorer/``; ``python -m e2ent2lib.explore.comparison`` makes them
again. No widgets here. Notebook 12.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from e2ent2lib.explore.photos import Photos, available_pairs
from e2ent2lib.measure.metrics import psnr, ssim
from e2ent2lib.measure.results import read_rows, result_file, results_folder
from e2ent2lib.photos.images import downscale, read_image
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.report.plots import Pixels, Window, cut
from e2ent2lib.runs import provenance
from e2ent2lib.runs.checkpoints import available_models, shipped_card
from e2ent2lib.runs.files import whole_file
from e2ent2lib.systems import SYSTEMS

TRUTH, INPUT = "hr", "lr"
LEAST = 11
"""Pixels a side that SSIM needs."""


def shown() -> tuple[str, ...]:
    """The rows of Tables 1 and 2, and the departures."""
    return tuple(n for n, s in SYSTEMS.items() if s.figures or s.departure or (s.recipe and s.recipe.stereo))


def called(name: str) -> str:
    """What a system, the truth or the input is called."""
    if name not in SYSTEMS:
        return {TRUTH: "HR (truth)", INPUT: "LR input"}[name]
    system = SYSTEMS[name]
    return f"{system.short} (ablation)" if system.ablation else system.title


class Comparison:
    """One pair of photographs, the first of them made small and enlarged again by any system, each once."""

    def __init__(self, photos: Photos, shipped: Path | None = None, profile: str = "compact"):
        self.hr, self.ref, self.profile = photos.hr, photos.ref, profile
        self.lr = downscale(self.hr)
        rows, columns = (np.arange(n) // 4 for n in self.hr.shape[:2])
        self.images = {TRUTH: self.hr, INPUT: self.lr[rows][:, columns]}  # its pixels as squares
        tables = (name for name in available_models(profile) if SYSTEMS[name].recipe or SYSTEMS[name].card)
        self.systems = [name for name in tables if photos.stereo or SYSTEMS[name].references != "stereo"]
        if shipped is not None:
            self.images |= read_shipped(shipped, profile)

    def image(self, name: str) -> Pixels:
        """The picture by a system; computed on the first call. Raises as ``super_resolve``."""
        if name not in self.images:
            self.images[name] = super_resolve(self.lr, self.ref, model=name, profile=self.profile)
        return self.images[name]

    def difference(self, one: str, other: str, gain: int = 4) -> Pixels:
        """|one − other| of each channel, ``gain`` times, so that a fault of 1 in 64 is white."""
        return (np.abs(self.image(one).astype(int) - self.image(other)) * gain).clip(0, 255).astype(np.uint8)

    def score(self, name: str, box: Window) -> tuple[float, float]:
        """PSNR in dB and SSIM of a crop against the truth, by the default protocol. SSIM needs 11×11, else NaN."""
        one, truth = cut(self.image(name), box), cut(self.hr, box)
        return psnr(one, truth), ssim(one, truth) if min(truth.shape[:2]) >= LEAST else float("nan")

    def summary(self, one: str, other: str, box: Window) -> str:
        """The crop by two systems in one sentence."""
        x, y, width, height = box

        def said(name: str) -> str:
            if name == TRUTH:
                return called(name)
            decibels, similarity = self.score(name, box)
            return f"{called(name)} {decibels:.2f} dB / {similarity:.3f}"

        return f"crop x {x}, y {y}, {width}×{height} pixels: {said(one)}; {said(other)} (PSNR / SSIM, RGB)"


def expected_seconds(name: str, pixels: int, profile: str = "compact") -> float:
    """About how long a system takes for a picture of so many pixels, from the stored measurement; NaN if there is none.

    As many seconds a pixel as the motorcycle took on the machine that measured it.
    """
    rows = read_rows(result_file(results_folder(), profile, "motorcycle", name))
    return rows[0]["seconds"] * pixels / (740 * 500) if rows else float("nan")


def shipped_results() -> Path:
    """Where the motorcycle's pictures by each system are; they are used for checkpoints of the same hash alone."""
    return provenance.ROOT / "data" / "results" / "explorer" / "motorcycle"


def read_shipped(folder: Path, profile: str) -> dict[str, Pixels]:
    """The stored pictures whose checkpoint is still the one that ships."""
    facts = folder / "provenance.json"
    stored = json.loads(facts.read_text(encoding="utf-8"))["systems"] if facts.is_file() else {}
    hashes = {name: shipped_card(name, profile)["sha256"] for name in available_models(profile) if name in stored}
    names = [name for name, sha256 in hashes.items() if stored[name]["checkpoint_sha256"] == sha256]
    return {name: read_image(folder / f"{name}.webp") for name in names if (folder / f"{name}.webp").is_file()}


def save_shipped(folder: Path, names: Sequence[str] = (), profile: str = "compact") -> None:
    """Enlarge the motorcycle by each system, by default all ``shown``: lossless WebP files.

    Where they come from stands in provenance.json.
    """
    comparison = Comparison(available_pairs()["motorcycle"](), profile=profile)
    folder.mkdir(parents=True, exist_ok=True)
    systems, everything = {}, (0, 0, comparison.hr.shape[1], comparison.hr.shape[0])
    for name in tqdm(names or shown(), unit="system"):
        with whole_file(folder / f"{name}.webp") as temporary:
            Image.fromarray(comparison.image(name)).save(temporary, lossless=True, quality=100, method=6)
        decibels, similarity = comparison.score(name, everything)
        sha256 = shipped_card(name, profile)["sha256"]
        systems[name] = {"checkpoint_sha256": sha256, "psnr": decibels, "ssim": similarity}
    facts = {"profile": profile, "data": "motorcycle", **provenance.here(), "systems": systems}
    with whole_file(folder / "provenance.json") as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    save_shipped(shipped_results())
