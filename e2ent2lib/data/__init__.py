"""Photographs: the data sets' pairs, and what a training cuts out of them. Its names are imported on first use."""

from importlib import import_module

HOMES = {
    "pairs": ("DATASETS", "DataSet", "Pair", "dataset", "embedded_photographs", "fingerprint", "photographs"),
    "training": ("CropTwice", "training_images"),
}
__all__ = [name for names in HOMES.values() for name in names]


def __getattr__(name: str) -> object:
    """A name of ``HOMES``, so that ``import e2ent2lib.data.leaks``, say, does not load all the others."""
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
