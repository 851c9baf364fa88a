"""PSNR and LPIPS on validation views, on the device: with the next view as reference, with an unrelated photograph, and
with something else in F's place."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.gpu_steps import Photographs, Run, reduced, round8
from e2ent2lib.crops import Crops
from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import resize


class Lpips:
    """LPIPS 0.1 with AlexNet (Zhang et al., CVPR 2018), from the two files of weights."""

    FILES = ("alexnet_features.safetensors", "lpips_lin.safetensors")

    def __init__(self, folder: Path, device: torch.device):
        convs = load_file(folder / self.FILES[0])
        lin = load_file(folder / self.FILES[1])
        names = [f"features.{i}" for i in (0, 3, 6, 8, 10)]
        self.convs = [[convs[f"{n}.{k}"].to(device) for k in ("weight", "bias")] for n in names]
        self.lin = [lin[f"lin{i}.model.1.weight"].to(device) for i in range(5)]
        self.shift = torch.tensor([-0.030, -0.088, -0.188], device=device).view(1, 3, 1, 1)
        self.scale = torch.tensor([0.458, 0.448, 0.450], device=device).view(1, 3, 1, 1)

    @torch.no_grad()
    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """(n,) distances of images in [0, 1]."""
        x = (2 * torch.cat([a, b]) - 1 - self.shift) / self.scale
        total = 0
        for k, ((weight, bias), lin) in enumerate(zip(self.convs, self.lin)):
            if k in (1, 2):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, weight, bias, *((4, 2) if k == 0 else (1, 2) if k == 1 else (1, 1))))
            unit = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)
            first, second = unit.chunk(2)
            total = total + F.conv2d((first - second) ** 2, lin).mean((1, 2, 3))
        return total


class Views:
    """Crops of validation views with the next view as reference, and an unrelated one; on the device."""

    def __init__(self, folder: Path, photographs: Photographs, device: torch.device, side: int = 256):
        pairs, high, wide = photographs.manifest["views"], 336, 448
        self.measure, self.device = Lpips(folder, device), device
        others = [n for n in photographs.manifest["validation"] if not n.startswith("scenes")]
        others = [photographs.images[n] for n in others]
        others = [o for o in others if o.shape[0] >= high and o.shape[1] >= wide]
        hrs, refs, unrelated = [], [], []
        rng = np.random.default_rng(4)
        for first, second in pairs:
            a, b = (view(photographs.images[n]) for n in (first, second))
            for _ in range(2):
                y, x = (int(rng.integers((n - side) // 4 + 1)) * 4 for n in a.shape[:2])
                hrs.append(a[y : y + side, x : x + side])
                v = min(max(0, y + side // 2 - high // 2), b.shape[0] - high)
                u = min(max(0, x + side // 2 - wide // 2), b.shape[1] - wide)
                refs.append(b[v : v + high, u : u + wide])
                unrelated.append(others[len(hrs) % len(others)][:high, :wide])
        self.hr, self.ref, self.other = (_tensor(np.stack(x), device) for x in (hrs, refs, unrelated))
        self.lr, self.down, self.other_down = (reduced(x, 4) for x in (self.hr, self.ref, self.other))

    @torch.no_grad()
    def scores(self, run: Run, state: dict) -> dict[str, Tensor]:
        """PSNR and LPIPS with F swapped, unrelated, zero and true, and of the SISR branch; means, on the device."""
        net, hr, lr, images = run.net, self.hr, self.lr, {}
        net.eval()
        if net.references == "none":
            images["sisr"] = run.call(state, Crops(hr, lr, None, None)).sr
        elif net.references == "any":
            images["related"] = run.call(state, Crops(hr, lr, self.ref, self.down)).sr
            images["unrelated"] = run.call(state, Crops(hr, lr, self.other, self.other_down)).sr
        if isinstance(net, E2ENT2):
            named = {f"net.{k}": v for k, v in state.items()}
            for what in ("sisr", "zeros", "true"):
                images[what] = torch.func.functional_call(_Part(net), named, (what, hr, lr))
        net.train()
        found = {}
        for name, image in images.items():
            image = round8(image)
            found[f"{name}_psnr"] = (-10 * (image - hr).square().mean((1, 2, 3)).log10()).mean()
            found[f"{name}_lpips"] = self.measure(image, hr).mean()
        return found


class _Part(nn.Module):
    """Parts of E2ENT² with something else in F's place."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, what: str, hr: Tensor, lr: Tensor) -> Tensor:
        phi = self.net.encoder(lr)
        if what == "sisr":
            return self.net.sisr.reconstruct(phi, lr)
        swapped = self.net.encoder(hr)
        return self.net.synthesis(torch.zeros_like(swapped) if what == "zeros" else swapped, phi, lr)


def view(image: np.ndarray, longest: int = 512) -> np.ndarray:
    """Reduced as ``data.pairs`` reduces the validation views."""
    ratio = longest / max(image.shape[:2])
    height, width = (round(n * ratio) for n in image.shape[:2])
    return resize(image, height, width).round().astype(np.uint8)


def _tensor(images: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
