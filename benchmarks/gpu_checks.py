"""What match, swap and a whole network cost on a card, against a convolution and a plain product."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from e2ent2lib import matching
from e2ent2lib.config import COMPACT
from e2ent2lib.runs.checkpoints import build_model


def seconds(call: Callable, device: torch.device, times: int = 5) -> dict[str, float]:
    """The least of several calls, and the memory it took at most, in GiB."""
    call()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    base, spent = torch.cuda.memory_allocated(device), []
    for _ in range(times):
        start = time.perf_counter()
        call()
        torch.cuda.synchronize(device)
        spent.append(time.perf_counter() - start)
    peak = (torch.cuda.max_memory_allocated(device) - base) / 2**30
    return {"seconds": round(min(spent), 6), "gib": round(peak, 3)}


def by_convolution(query: Tensor, key: Tensor) -> Tensor:
    """The arg max of Eq. 4 with the reference's patches as the weights of a convolution; one sample."""
    patches = F.unfold(key, 3)[0].T
    patches = patches / patches.norm(dim=1, keepdim=True)
    weight = patches.view(len(patches), key.shape[1], 3, 3)
    return F.conv2d(F.pad(query, (1, 1, 1, 1), mode="replicate"), weight).argmax(1)


def costs(device: torch.device) -> dict:
    """For the 500×333 pair and a megapixel: seconds, memory, and the share of the rate of a large float32 product."""
    a = torch.randn(8192, 8192, device=device)
    rate = 2 * 8192**3 / seconds(lambda: a @ a, device)["seconds"] / 1e12
    sizes = {"500x333": (83, 125), "1 megapixel": (204, 306)}
    return {"float32_tflops": round(rate, 1)} | {name: costs_at(*size, device, rate) for name, size in sizes.items()}


def costs_at(h: int, w: int, device: torch.device, rate: float) -> dict:
    """Of a query and a key of h × w cells."""
    q, k = (torch.randn(1, 32, h, w, device=device) for _ in range(2))
    v = torch.randn(1, 32, 4 * h, 4 * w, device=device)
    work = 2 * h * w * (h - 2) * (w - 2) * 288 / 1e12
    rows = {
        "match, exact": seconds(lambda: matching.match(q, k), device, 2),
        "match, plain (unfold and bmm)": seconds(lambda: matching.plain_match(q, k), device),
        "match, convolution": seconds(lambda: by_convolution(q, k), device, 2),
    }
    for row in rows.values():
        row["of_gemm_rate"] = round(work / row["seconds"] / rate, 3)
    index = matching.match(q, k).index
    rows["swap"] = seconds(lambda: matching.swap(v, index), device)
    model = build_model("e2ent2-mse", COMPACT).to(device).eval()
    lr, ref = torch.rand(1, 3, h, w, device=device), torch.rand(1, 3, 4 * h, 4 * w, device=device)
    with torch.inference_mode():
        rows["whole network, exact"] = seconds(lambda: model(lr, ref, lr), device, 2)
    return rows
