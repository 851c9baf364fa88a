"""Trained models as files: weights in safetensors (no code runs on loading), facts in a JSON card beside them."""

import json
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from e2ent2lib.config import Profile, get_profile
from e2ent2lib.models.network import Network
from e2ent2lib.runs.files import file_sha256, whole_file
from e2ent2lib.runs.provenance import ROOT
from e2ent2lib.systems import SYSTEMS, system_of


def build_model(name: str, profile: Profile) -> Network:
    """The untrained network of a system. Raises ValueError for a name that does not exist."""
    return system_of(name).build(profile)


def shipped_folder() -> Path:
    """Where checkpoints ship: ``E2ENT2_WEIGHTS`` if set, else ``weights/`` of the checkout or of the wheel."""
    if os.environ.get("E2ENT2_WEIGHTS"):
        return Path(os.environ["E2ENT2_WEIGHTS"])
    inside = Path(__file__).parents[1] / "weights"
    return inside if inside.is_dir() else ROOT / "weights"


def available_models(profile: str | None = None) -> list[str]:
    """Names of the systems that can run here: those without weights, and those with a checkpoint of this profile."""
    folder = shipped_folder() / get_profile(profile).name
    pairs = {file.stem for file in folder.glob("*.safetensors") if file.with_suffix(".json").is_file()}
    return [name for name, system in SYSTEMS.items() if system.card or name in pairs]


def load_model(name: str, profile: str | Profile | None = None, folder: str | os.PathLike | None = None) -> Network:
    """A trained model, ready for inference, with its model card as ``model.card``.

    ``folder`` holds ``NAME.safetensors`` and ``NAME.json``; by default the shipped ones of the profile. ``profile`` is
    a name, or a variant of one's own. A system without weights needs no files.
    Raises ValueError for an unknown name or profile and a damaged file, FileNotFoundError for a missing one.
    """
    chosen = profile if isinstance(profile, Profile) else get_profile(profile)
    model = build_model(name, chosen)
    if model.card:
        return model.eval()
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
    if missing := [file for file in (path, card) if not file.is_file()]:
        made_by = system_of(path.stem).trained_as
        raise FileNotFoundError(
            f"{missing[0]}: no such checkpoint. Train it: `e2ent2 train {made_by} --profile {profile}`, "
            f"then name its folder; or choose one of {', '.join(available_models(profile))}"
        )
    try:
        facts = json.loads(card.read_text(encoding="utf-8"))
        return facts | {"sha256": facts["sha256"]}
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{card}: damaged model card ({error}); fetch the pair of files again") from error


def shipped_card(name: str, profile: str) -> dict:
    """The card of a shipped model. Raises as ``read_card``."""
    return system_of(name).card or read_card(shipped_folder() / profile / f"{name}.safetensors", profile)


def save_model(model: Network, card: dict, folder: str | os.PathLike, name: str) -> Path:
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
