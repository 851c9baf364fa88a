"""What measuring a 500×333 pair costs beyond the model: shrink, PSNR, SSIM, fingerprint; must be under 0.5 s.

    python benchmarks/measuring.py

Run it on a quiet machine with two cores.
"""

import time
from collections.abc import Callable

import skimage.data

from e2ent2lib.data.pairs import Pair, fingerprint
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import Protocol, psnr, ssim
from e2ent2lib.photos.images import downscale, upscale_bicubic

LIMIT = 0.5


def seconds(call: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of ``repeats`` calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Print each part's seconds and the sum; raises RuntimeError if the default protocol is over the limit."""
    left, right, _ = skimage.data.stereo_motorcycle()
    pair = Pair("motorcycle_left", left[:333, :500], (right[:333, :500],))
    hr = prepared(pair)[0]
    for protocol in (Protocol(), Protocol(channel="y"), Protocol(resize="matlab-bicubic")):
        sr = upscale_bicubic(downscale(hr, kernel=protocol.resize), kernel=protocol.resize)
        parts = {
            "shrink": lambda p=protocol: downscale(hr, kernel=p.resize),
            "PSNR": lambda p=protocol, sr=sr: psnr(sr, hr, p),
            "SSIM": lambda p=protocol, sr=sr: ssim(sr, hr, p),
            "fingerprint": lambda p=protocol: fingerprint(prepared(pair, p)),
        }
        found = {name: seconds(call) for name, call in parts.items()}
        total = sum(found.values())
        told = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        print(f"{protocol.channel}, {protocol.resize}: {total:.3f} s ({told})")
        if total > LIMIT and protocol == Protocol():
            raise RuntimeError(f"measuring took {total:.3f} s beyond the model, over {LIMIT} s: is the machine quiet?")


if __name__ == "__main__":
    main()
