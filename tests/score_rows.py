"""Rows of result files with made-up scores."""

from e2ent2lib.measure.results import read_results, result_file, write_rows

LABELS = {"cufed5": "CUFED5", "flickr1024": "Flickr1024", "motorcycle": "motorcycle", "sunhays": "Sun Hays 80"}


def row(model="e2ent2", data="cufed5", image="000_0", label=None, psnr=24.5, ssim=0.7, reference="level 1", **changes):
    """A row as ``evaluate`` makes it; an older one, whose protocol has fewer fields."""
    weights = model != "bicubic"
    return {
        "model": model,
        "dataset": data,
        "label": label or LABELS.get(data, data),
        "profile": "compact",
        "checkpoint_sha256": "c" * 64 if weights else None,
        "data_fingerprint": "f" * 64,
        "protocol": {"channel": "rgb", "border": 0, "ssim_window": "gaussian", "reference": reference},
        "seed": None,
        "commit": "abc123",
        "machine": "a made-up machine",
        "versions": {"torch": "0"},
        "date": "2000-01-01T00:00:00+00:00",
        "code": "d" * 64,
        "image": image,
        "psnr": psnr,
        "ssim": ssim,
        "feature_distance": 30.0 if weights else None,
        "feature_distance_relative": 0.5 if weights else None,
        "seconds": 0.1,
    } | changes


def stored(folder, *rows):
    """Write rows where ``evaluate`` would, and read them all as one frame."""
    files = {}
    for r in rows:
        path = result_file(folder, "compact", r["dataset"], r["model"], r["protocol"]["reference"])
        files.setdefault(path, []).append(r)
    for path, part in files.items():
        write_rows(path, part)
    return read_results(folder, "compact")
