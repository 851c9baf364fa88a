"""E2ENT²: end-to-end learning for reference-based image super-resolution (Xie et al., 2020), as code to read."""

from importlib import import_module

_HOMES = {
    "PROFILES": "config",
    "Profile": "config",
    "Protocol": "measure.metrics",
    "available_models": "runs.checkpoints",
    "get_profile": "config",
    "load_model": "runs.checkpoints",
    "matching": "matching",
    "metrics": "measure.metrics",
    "super_resolve": "photos.inference",
}
"""The public names, and where each lives; a module is loaded when a name of it is first used."""
__all__ = list(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(module, name, module)  # "matching" and "metrics" are modules themselves


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
