"""Two claims of the paper about cost, each as ratios measured in one run; ``e2ent2 claims`` reads them.

    python benchmarks/claims.py [--quick]

Writes claims.json beside itself. Run it on a quiet machine. *VGG features* (section 1): the features of all three
images and their match, as SRNTT does it (VGG19's relu1_1, relu2_1 and relu3_1 of images enlarged to high resolution)
against E2ENT²'s (φ of I_in, I_ref↓ and I_ref), at two sizes of φ. *Matching at low resolution* (section 3.3): φ(I_in)
in φ(I_ref↓) against φ(I_in↑) in φ(I_ref↓↑), bicubic, on crops of the motorcycle pair. Memory (Linux only) is the peak
of a fresh process beyond its inputs and weights.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import skimage.data
import torch
from match_and_swap import memory, take_turns
from torch import Tensor, nn
from tqdm.auto import tqdm

from e2ent2lib import config, load_model
from e2ent2lib.matching import match
from e2ent2lib.models import FeatureEncoder
from e2ent2lib.photos.images import downscale, to_tensor, upscale_bicubic
from e2ent2lib.runs import provenance
from e2ent2lib.runs.probes import displacement
from e2ent2lib.systems.vgg import VGG19

HERE = Path(__file__).parent
SIZE = (80, 125)  # cells of I_in and of I_ref↓: photographs of 500×320
CROP = 32  # cells a side of a crop to be matched
PLACES = [(y, x) for y in (32, 140, 248, 340) for x in (96, 224, 352)]  # of crops of the left view, HR pixels
WIDER = 72  # HR pixels by which a crop of the right view begins further left: the largest disparity is 61
WITHIN = 4  # HR pixels


class SRFeatures(nn.Module):
    """E2ENT²'s: φ of the three images, and the match at low resolution."""

    def __init__(self, profile: str):
        super().__init__()
        profile = config.get_profile(profile)
        self.phi = FeatureEncoder(profile.channels, profile.encoder_blocks)

    def forward(self, lr: Tensor, down: Tensor, ref: Tensor) -> list[Tensor]:
        """Everything that the synthesis needs."""
        maps = [self.phi(x) for x in (lr, down, ref)]
        return [*maps, match(*maps[:2]).index]


class VGGFeatures(nn.Module):
    """SRNTT's: relu3_1 of the enlarged images for the match, three layers of the reference for the swap."""

    def __init__(self):
        super().__init__()
        self.vgg, self.match = VGG19("relu1_1", "relu2_1", "relu3_1"), VGG19("relu3_1")

    def forward(self, lr: Tensor, down: Tensor, ref: Tensor) -> list[Tensor]:
        """Everything that the texture transfer needs."""
        large = [nn.functional.interpolate(x, scale_factor=4, mode="bicubic") for x in (lr, down)]
        maps = [self.match(x)["relu3_1"] for x in large]
        return [*self.vgg(ref).values(), match(*maps).index]


def networks(profile: str) -> dict[str, nn.Module]:
    """Both, with random weights: time and memory do not depend on them."""
    return {"vgg": VGGFeatures().eval(), "sr": SRFeatures(profile).eval().requires_grad_(False)}


def images() -> tuple[Tensor, Tensor, Tensor]:
    """I_in, I_ref↓ and I_ref of noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    h, w = SIZE
    return tuple(torch.rand(1, 3, *size, generator=generator) for size in ((h, w), (h, w), (4 * h, 4 * w)))


@torch.inference_mode()
def times(profile: str, rounds: int) -> list[float]:
    """VGG's seconds over SR's, round by round."""
    made, given = networks(profile), images()
    calls = {name: lambda net=net: net(*given) for name, net in made.items()}
    take_turns(calls, 1)  # warm up
    found = [take_turns(calls, 1) for _ in tqdm(range(rounds), desc=f"features, {profile}")]
    return [t["vgg"] / t["sr"] for t in found]


def peaks(profile: str, rounds: int) -> list[float]:
    """VGG's peak memory over SR's, each of a fresh process."""

    def peak(name: str) -> float:
        script = [sys.executable, __file__, "--peak", name, profile]
        return float(subprocess.run(script, check=True, capture_output=True, text=True).stdout)

    return [peak("vgg") / peak("sr") for _ in tqdm(range(rounds), desc=f"memory, {profile}")]


@torch.inference_mode()
def print_peak(name: str, profile: str) -> None:
    """The other side of ``peaks``: MiB. A small pass first, so that libraries and compiled code are loaded."""
    net, given = networks(profile)[name], images()
    net(*(torch.rand(1, 3, n, n) for n in (8, 8, 32)))
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    kept = net(*given)
    print(memory("VmHWM") - before, end="")
    del kept


def within(across: np.ndarray, down: np.ndarray, disparity: np.ndarray, shift: int, step: int) -> float:
    """The share of matches within 4 HR pixels of the truth; displacements in cells of ``step`` HR pixels."""
    known = np.isfinite(disparity)
    off = np.abs(step * across - shift + disparity)[known], np.abs(step * down)[known]
    return float((np.maximum(*off) <= WITHIN).mean())


@torch.inference_mode()
def grids(places: list[tuple[int, int]]) -> dict[str, list[float]]:
    """Upsampled over LR in time, LR over upsampled in quality, crop by crop."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    phi, side = load_model("e2ent2", "compact").encoder, 4 * CROP
    found: dict[str, list[float]] = {"time": [], "quality": []}
    for y, x in tqdm(places, desc="grids"):
        truth = disparity[y : y + side, x : x + side].astype(float)
        small = [downscale(view[y : y + side, a : x + side]) for view, a in ((left, x), (right, x - WIDER))]
        at_lr = [to_tensor(image) for image in small]
        upsampled = [to_tensor(upscale_bicubic(image)) for image in small]
        calls = {
            "lr": lambda maps=at_lr: match(*(phi(m) for m in maps)),
            "upsampled": lambda maps=upsampled: match(*(phi(m) for m in maps)),
        }
        seconds = take_turns(calls, 2)
        width = small[1].shape[1]
        # a crop of the right view begins WIDER pixels further left, so a match at the same column is WIDER off
        quality = {
            "lr": within(*displacement(calls["lr"](), width), truth[2::4, 2::4], WIDER, 4),
            "upsampled": within(*displacement(calls["upsampled"](), 4 * width), truth, WIDER, 1),
        }
        found["time"].append(seconds["upsampled"] / seconds["lr"])
        found["quality"].append(quality["lr"] / quality["upsampled"])
    return found


def main() -> None:
    """Measure all, write claims.json, print means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    parser.add_argument("--peak", nargs=2, metavar=("NAME", "PROFILE"), help="used by itself")
    arguments = parser.parse_args()
    if arguments.peak:
        print_peak(*arguments.peak)
        return
    rounds, places = (2, PLACES[:2]) if arguments.quick else (7, PLACES)
    ratios: dict[str, list[float]] = {}
    for size in ("compact", "paper"):
        ratios[f"time of VGG19 features over φ's, {size}"] = times(size, rounds)
        ratios[f"memory of VGG19 features over φ's, {size}"] = peaks(size, min(rounds, 5))
    measured = grids(places)
    ratios["time of matching upsampled over LR"] = measured["time"]
    ratios["quality of LR matches over upsampled"] = measured["quality"]
    for name, values in ratios.items():
        print(f"{name}: {np.exp(np.mean(np.log(values))):.2f} ({min(values):.2f} to {max(values):.2f})")
    if not arguments.quick:
        facts = {"ratios": ratios, "threads": torch.get_num_threads(), **provenance.here()}
        (HERE / "claims.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
