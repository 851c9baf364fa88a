"""E2ENT²: end-to-end learning for reference-based image super-resolution (Xie et al., 2020), as code to read."""

from e2ent2lib import matching, metrics
from e2ent2lib.checkpoints import available_models, load_model
from e2ent2lib.config import PROFILES, Profile, get_profile
from e2ent2lib.inference import super_resolve
from e2ent2lib.metrics import Protocol

__all__ = [
    "PROFILES",
    "Profile",
    "Protocol",
    "available_models",
    "get_profile",
    "load_model",
    "matching",
    "metrics",
    "super_resolve",
]
