"""What the systems of Tables 1 to 3 are, from their own files: the one idea, sizes, losses; and a crop by each."""

import re
import sys
from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure
from torch import nn

from e2ent2lib.config import PAPER, get_profile
from e2ent2lib.measure.metrics import psnr
from e2ent2lib.photos.images import downscale
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.report.examples import Pixels, Window, cut
from e2ent2lib.report.plots import show
from e2ent2lib.runs.checkpoints import available_models, build_model, shipped_card
from e2ent2lib.systems import recipe_of, system_of
from e2ent2lib.systems.vgg import VGG19


def ideas(names: Iterable[str]) -> str:
    """A Markdown list: each system with the sentence "The idea: …" of its file, and a link to it."""
    lines = []
    for name in names:
        module = sys.modules[system_of(name).network_class().__module__]
        idea = re.search(r"The idea: (.+?)(?:\n\n|\Z)", module.__doc__, re.DOTALL)[1]
        file = module.__name__.replace(".", "/") + ".py"
        lines.append(f"- **{system_of(name).title}** ([`{file.split('/')[-1]}`](../{file})): {' '.join(idea.split())}")
    return "\n".join(lines)


def sizes(names: Iterable[str], profile: str) -> pd.DataFrame:
    """A line a trained system: parameters here and at the paper's size, its losses with their weights, its training."""
    lines = {}
    for name in names:
        model = build_model(name, get_profile(profile))
        counts = {profile: own_parameters(model), "paper": own_parameters(build_model(name, PAPER))}
        lines[system_of(name).title] = {f"parameters, {p}": f"{count:,}" for p, count in counts.items()}
        lines[system_of(name).title] |= _training(name, model)
    return pd.DataFrame(lines).T.rename_axis("system")


def own_parameters(model: nn.Module) -> int:
    """The network's parameters, stored layers of VGG19 aside."""
    vgg = {id(p) for part in model.modules() if isinstance(part, VGG19) for p in part.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in vgg)


def _training(name: str, model: nn.Module) -> dict[str, str]:
    recipe, profile = recipe_of(name), model.profile.name
    weights = recipe.make_loss(model.profile, model.branches).weights
    shown = {term: weight for term, weight in weights.items() if recipe.adversarial or not term.startswith("adv_")}
    line = {"loss": " + ".join(f"{weight:g}·{term}" for term, weight in shown.items() if weight)}
    line["adversary"] = recipe.adversarial or "none"
    if name not in available_models(profile):
        return line | {"VGG in the loss, down to": "–", "trained": f"not yet: e2ent2 train {name}"}
    card = shipped_card(name, profile)
    layers = (card.get("vgg") or {}).get("layers_of_the_loss") or ["–"]
    before = (card.get("started_from") or {}).get("model")
    after = f" after {before}" if before else ""
    crops, minutes = card["steps"] * card["profile"]["batch"], card["seconds"] / 60
    cores = f" on {card['threads']} core" + "s" * (card["threads"] > 1) if "threads" in card else ""
    trained = f"{crops:,} crops{after}, {minutes:.0f} min{cores}"
    return line | {"VGG in the loss, down to": layers[-1], "trained": trained}


def gallery(names: Iterable[str], hr: Pixels, ref: Pixels, box: Window, profile: str) -> Figure:
    """A crop of the picture by each available system, with the crop's PSNR; the whole of ``hr`` is enlarged.

    The truth stands last. A name without a checkpoint is left out.
    """
    lr, available = downscale(hr), available_models(profile)
    images = {}
    for name in (name for name in names if name in available):
        crop = cut(super_resolve(lr, ref, model=name, profile=profile), box)
        images[f"{system_of(name).title}\n{psnr(crop, cut(hr, box)):.2f} dB"] = crop
    return show(images | {"HR\n(truth)": cut(hr, box)}, columns=4, width=10)
