"""Trained models as files: weights in safetensors (no code runs on loading), facts in a JSON card beside them."""

import json
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from e2ent2lib.config import Profile, get_profile
from e2ent2lib.models import E2ENT2, SISRBranch
from e2ent2lib.runs.files import file_sha256, whole_file
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems.drcn import DRCN
from e2ent2lib.systems.enhancenet import EnhanceNet
from e2ent2lib.systems.feature_presisr import FeaturePreSISR
from e2ent2lib.systems.feature_vgg import FeatureVGG
from e2ent2lib.systems.gated import GatedE2ENT2, GatedSubcellE2ENT2
from e2ent2lib.systems.passrnet import PASSRnet
from e2ent2lib.systems.srgan import SRResNet
from e2ent2lib.systems.srntt import SRNTT
from e2ent2lib.systems.stereosr import StereoSR
from e2ent2lib.systems.subcell import SubcellE2ENT2

ALPHAS = {
    "e2ent2-mse": (0.25, 0.25, 0.5),
    "e2ent2-mse-related": (0.25, 0.25, 0.5),
    "e2ent2-mse-gated": (0.25, 0.25, 0.5),
    "e2ent2-mse-subcell": (0.25, 0.25, 0.5),
    "e2ent2-mse-subcell-gated": (0.25, 0.25, 0.5),
    "e2ent2": (0.25, 0.25, 0.5),
    "e2ent2-alpha-100": (1.0, 0.0, 0.0),
    "e2ent2-alpha-010": (0.0, 1.0, 0.0),
    "e2ent2-alpha-001": (0.0, 0.0, 1.0),
    "e2ent2-ablation": (0.25, 0.25, 0.5),
    "e2ent2-error-sum": (0.25, 0.25, 0.5),
    "e2ent2-noresidual": (0.25, 0.25, 0.5),
    "e2ent2-plain-gan": (0.25, 0.25, 0.5),
}
OPTIONS = {"e2ent2-error-sum": {"error_down": "sum"}, "e2ent2-noresidual": {"residual": False}}
"""In what else a network differs from E2ENT²'s."""
DEPARTURES = {
    "e2ent2-mse-gated": GatedE2ENT2,
    "e2ent2-mse-subcell": SubcellE2ENT2,
    "e2ent2-mse-subcell-gated": GatedSubcellE2ENT2,
}
"""What is not the paper's network, under names of their own."""
NETWORKS = {
    "drcn": DRCN,
    "enhancenet": EnhanceNet,
    "srresnet": SRResNet,
    "srgan": SRResNet,
    "sisr-pretrained": SISRBranch,
    "sisr": SISRBranch,
    "sisr-gan": SISRBranch,
    "srntt": SRNTT,
    "stereosr": StereoSR,
    "passrnet": PASSRnet,
    "feature-vgg": FeatureVGG,
    "feature-presisr": FeaturePreSISR,
} | {name: DEPARTURES.get(name, E2ENT2) for name in ALPHAS}
"""The network of each model's name, in the order of the tables."""
MODELS = tuple(NETWORKS)
MADE_BY = {"sisr-pretrained": "sisr"}
"""Models that are saved on the way to another."""
UNTRAINED = {"bicubic": "none", "landmark": "any"}
"""Systems that have no weights, and what use they make of a reference."""


def network_of(name: str) -> type[nn.Module]:
    """The class of a model's network. Raises ValueError for a name that does not exist, or has no weights."""
    if name in UNTRAINED:
        raise ValueError(f"{name} has no weights to load; super_resolve(..., model={name!r}) needs none")
    if name not in NETWORKS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join([*UNTRAINED, *MODELS])}")
    return NETWORKS[name]


def build_model(name: str, profile: Profile) -> nn.Module:
    """The untrained network of a model's name. Raises ValueError for a name that does not exist."""
    network = network_of(name)
    options = {"alphas": ALPHAS[name]} | OPTIONS.get(name, {}) if name in ALPHAS else {}
    model = network(profile, **options)
    model.card = None  # an untrained model has no card, and refuses to run
    return model


def use_of_references(name: str) -> str:
    """What use a system makes of references: "none", "any", or "stereo" (a rectified pair of one size)."""
    return UNTRAINED[name] if name in UNTRAINED else network_of(name).references


def shipped_folder() -> Path:
    """Where checkpoints ship: ``E2ENT2_WEIGHTS`` if set, else ``weights/`` of the checkout or of the wheel."""
    if os.environ.get("E2ENT2_WEIGHTS"):
        return Path(os.environ["E2ENT2_WEIGHTS"])
    inside = Path(__file__).parents[1] / "weights"
    return inside if inside.is_dir() else ROOT / "weights"


def available_models(profile: str | None = None) -> list[str]:
    """Names of the systems that can run here: the ``UNTRAINED`` first, then those with a checkpoint of this profile."""
    folder = shipped_folder() / get_profile(profile).name
    whole = [m for m in MODELS if all((folder / f"{m}{end}").is_file() for end in (".safetensors", ".json"))]
    return [*UNTRAINED, *whole]


def load_model(name: str, profile: str | Profile | None = None, folder: str | os.PathLike | None = None) -> nn.Module:
    """A trained model, ready for inference, with its model card as ``model.card``.

    ``folder`` holds ``NAME.safetensors`` and ``NAME.json``; by default the shipped ones of the profile. ``profile`` is
    a name, or a variant of one's own.
    Raises ValueError for an unknown name or profile and a damaged file, FileNotFoundError for a missing one.
    """
    chosen = profile if isinstance(profile, Profile) else get_profile(profile)
    model = build_model(name, chosen)
    path = Path(folder or shipped_folder() / chosen.name) / f"{name}.safetensors"
    card = read_card(path, chosen.name)
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{path}: not the weights of {name!r} at profile {chosen.name!r} ({error})") from error
    if file_sha256(path) != card["sha256"]:
        raise ValueError(f"{path}: its SHA-256 is not the one in its card; fetch the pair of files again")
    model.card = card
    return model.eval().requires_grad_(False)


def read_card(path: Path, profile: str) -> dict:
    """The card beside a checkpoint. Raises FileNotFoundError that says how to train it, ValueError if damaged."""
    card = path.with_suffix(".json")
    if not (path.is_file() and card.is_file()):
        missing = path if not path.is_file() else card
        made_by = MADE_BY.get(path.stem, path.stem)
        raise FileNotFoundError(
            f"{missing}: no such checkpoint. Train it: `e2ent2 train {made_by} --profile {profile}`, "
            f"then name its folder; or choose one of {', '.join(available_models(profile))}"
        )
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
        return facts | {"sha256": facts["sha256"]}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{card}: damaged model card ({error}); fetch the pair of files again") from error


def shipped_card(name: str, profile: str) -> dict:
    """The card of a shipped model. Raises as ``read_card``."""
    return read_card(shipped_folder() / profile / f"{name}.safetensors", profile)


def save_model(model: nn.Module, card: dict, folder: str | os.PathLike, name: str) -> Path:
    """Write ``NAME.safetensors`` and then ``NAME.json`` with its hash; each whole or not at all.

    Raises OSError if there is no room.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    with whole_file(path) as temporary:
        temporary.write_bytes(save({k: v.contiguous() for k, v in model.state_dict().items()}))
    card = card | {"sha256": file_sha256(path)}
    with whole_file(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
