"""E2ENT²: end-to-end learning for reference-based image super-resolution (Xie et al., 2020), as code to read.

Each public name is imported from its home when it is first asked for, so that ``import e2ent2lib.matching`` loads torch
and no reader of photographs.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "PROFILES": "config",
    "Profile": "config",
    "Protocol": "measure.metrics",
    "available_models": "runs.checkpoints",
    "get_profile": "config",
    "load_model": "runs.checkpoints",
    "super_resolve": "photos.inference",
}
_MODULES = {"losses": "losses", "matching": "matching", "metrics": "measure.metrics"}

__all__ = sorted((*_NAMES, *_MODULES))


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_NAMES.get(name) or _MODULES[name]}")
    value = getattr(module, name) if name in _NAMES else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
