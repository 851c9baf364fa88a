"""E2ENT²: end-to-end learning for reference-based image super-resolution (Xie et al., 2020), as code to read."""

from e2ent2lib import matching
from e2ent2lib.config import PROFILES, Profile, get_profile
from e2ent2lib.measure import metrics
from e2ent2lib.measure.metrics import Protocol
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.runs.checkpoints import available_models, load_model

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
