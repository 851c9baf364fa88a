"""E2ENT²: end-to-end learning for reference-based image super-resolution (Xie et al., 2020), as code to read.

Each public name is imported from its home when it is first asked for, so that ``import e2ent2lib.matching`` loads torch
and no reader of photographs.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "PROFILES": "config",
    "Profile": "config",
    "Protocol": "measure.metrics",
    "available_models": "runs.checkpoints",
    "get_profile": "config",
    "load_model": "runs.checkpoints",
    "losses": "losses",
    "matching": "matching",
    "metrics": "measure.metrics",
    "super_resolve": "photos.inference",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    value = getattr(module, name, module)  # "losses", "matching" and "metrics" are modules themselves
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
