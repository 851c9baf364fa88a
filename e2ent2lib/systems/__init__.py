"""The systems of the tables: what each is called, its network, how it is trained, which tables show it.

The records are in systems.toml; each baseline and departure is a file beside it. A system of your own is one file, with
a subclass of ``models.Network`` that says "The idea: …" in its docstring, and one record, or a ``System`` put into
``SYSTEMS``. It can then be trained, evaluated and used by its name, and stands in the tables.

Networks and losses are named by their import paths and imported on use, so that a list of systems needs no PyTorch.

Every system uses the profile's photographs, crops, batch, optimiser and learning rate, not those of its own paper,
except for a recipe's ``changes``. The number of steps is one of the profile's.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from e2ent2lib.config import Profile

if TYPE_CHECKING:
    from torch import nn

    from e2ent2lib.models.network import Network


@dataclass(frozen=True)
class Recipe:
    """How a system is trained."""

    steps: str
    """The field of the profile that holds the number of steps."""
    loss: str | None = None
    """Import path of a baseline's own loss: its ``weights``, terms from (outputs, crops, progress); or the paper's."""
    rec: str = "l1"
    """The paper's reconstruction loss: "l1" (Eq. 8) or "mse"."""
    adversarial: str | None = None
    """A name of ``parts.ADVERSARIES``; "ragan" is Eq. 9 and 10."""
    start_from: str | None = None
    """The model whose weights it starts from: those of its ``Network.single_image``."""
    keeps: str | None = None
    """The name under which it also saves its weights after ``steps_pretraining`` steps, for stage 2 to start from."""
    start_synthesis: bool = False
    """Whether ζ starts as the SISR branch's tail too, ``Synthesis.start_from``."""
    crops: str = "e2ent2lib.data.training:CropTwice"
    """Import path of the data set that cuts its crops."""
    ablation: bool = False
    """A row of Tables 3 and 4: training looks at the encoder too (``probes.probe``, every ``probe_every`` steps)."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the profile that have another value for this system, by name."""

    def make_loss(self, profile: Profile, branches: tuple[str, ...]) -> "nn.Module":
        """The loss with its weights for this profile, and for the branches that ``Network.branches`` names."""
        if self.loss:
            return resolve_name(self.loss)(profile)
        return resolve_name("e2ent2lib.losses:PaperLoss")(profile, self.rec, branches)

    def profile(self, profile: Profile) -> Profile:
        """The profile with this system's ``changes``."""
        return replace(profile, **self.changes)

    def facts(self, loss: "nn.Module") -> dict:
        """What a model card says of it."""
        return asdict(self) | {"loss": type(loss).__name__, "weights": loss.weights}


@dataclass(frozen=True)
class System:
    """One system of the tables."""

    name: str
    """What commands, files and results call it."""
    title: str
    """What it is called in text."""
    network: str
    """Import path of its class, a ``models.Network``."""
    label: str = ""
    """What it is called among its kind, in figures and tables; the title if empty."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class, beside the profile."""
    recipe: Recipe | None = None
    """How it is trained; None if it has no weights, or another's training ``keeps`` them."""
    rows: Mapping[int, str] = field(default_factory=dict)
    """Rows of the tables beside the paper's: what it is called there, by the table's number."""
    figures: bool = False
    """Whether Fig. 1 and 7 show it."""
    departure: bool = False
    """Whether it departs from the paper on purpose, under a name of its own."""

    @property
    def short(self) -> str:
        """The label, or without one the title."""
        return self.label or self.title

    @property
    def references(self) -> str:
        """What use it makes of references: "none", "any", or "stereo" (a rectified pair of one size)."""
        return self.network_class().references

    @property
    def trained_as(self) -> str | None:
        """The name under which it is trained, mostly its own; None if it has no weights."""
        if self.recipe:
            return self.name
        return next((s.name for s in SYSTEMS.values() if s.recipe and s.recipe.keeps == self.name), None)

    @property
    def card(self) -> dict | None:
        """What stands for the model card of a system without weights; None for the others."""
        return {"model": self.name, "sha256": None} if self.trained_as is None else None

    @property
    def ablation(self) -> bool:
        """Whether it is a row of Tables 3 and 4, trained on their budget."""
        return self.recipe is not None and self.recipe.ablation

    def network_class(self) -> "type[Network]":
        """The class of its network; imports its file."""
        return resolve_name(self.network)

    def build(self, profile: Profile) -> "Network":
        """Its network with random weights, and so without a card; one that has no weights is ready for use."""
        model = self.network_class()(profile, **self.options)
        model.card = self.card
        return model


def system_of(name: str) -> System:
    """The record of that name. Raises ValueError for a name that does not exist, or no longer."""
    if name in _FILE["replaced"]:
        raise ValueError(f"{name} has been replaced by {_FILE['replaced'][name]}; choose that")
    if name not in SYSTEMS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def recipe_of(name: str) -> Recipe:
    """How a system is trained. Raises ValueError if the name does not exist, or is not trained under it."""
    record = system_of(name)
    if record.recipe:
        return record.recipe
    if record.trained_as:
        raise ValueError(f"{name} is saved on the way to {record.trained_as}; train that")
    raise ValueError(f"{name} has no weights to train")


_FILE = tomllib.loads(Path(__file__).with_name("systems.toml").read_text(encoding="utf-8"))


def _recipe(like: str = "", **fields: Any) -> Recipe:
    return replace(_recipe(**_FILE["recipes"][like]), **fields) if like else Recipe(**fields)


def _system(name: str, rows: Mapping = {}, options: Mapping = {}, recipe: Mapping = {}, **fields: Any) -> System:
    rows = {int(number): row for number, row in rows.items()}  # TOML has no keys but strings, and lists for tuples
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return System(name, rows=rows, options=options, recipe=_recipe(**recipe) if recipe else None, **fields)


SYSTEMS: dict[str, System] = {name: _system(name, **fields) for name, fields in _FILE["systems"].items()}
"""All systems, in the order of the tables."""
DEFAULT: str = _FILE["default"]
"""The system that enlarges a photograph if none is named."""
