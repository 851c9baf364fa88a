"""The paper's figures as far as a program can draw them, in our own drawing; Fig. 2, 3 and 6 by ``diagrams``.

``FIGURES[n](profile)`` draws Fig. n with the profile's checkpoints; ``draw`` writes a figure's files. Notebook 10.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage.feature import peak_local_max
from torch import Tensor

from e2ent2lib.data.pairs import dataset
from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import Matches, match, match_and_swap, swap
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import Protocol, psnr
from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import downscale, to_image, to_tensor
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.report import plots
from e2ent2lib.report.diagrams import Drawing, diagram, render
from e2ent2lib.report.plots import COLOURS, CROP, Example, Pixels, Window, cut, engine, example_model, panel
from e2ent2lib.runs.checkpoints import available_models, shipped_card
from e2ent2lib.runs.files import whole_file
from e2ent2lib.systems import SYSTEMS

PART = (112, 24, 496, 360)
"""The part of the motorcycle's left view that all systems enlarge, half of it, for Fig. 1 and 7; x and y of the crops
below count from its corner."""
ENGINE = {"engine": (CROP[0] - PART[0], CROP[1] - PART[1], *CROP[2:])}
"""The crop of Fig. 1."""
PLACES = dict(tank=(280, 152, 96, 72), lamp=(376, 76, 96, 72), shelf=(272, 24, 96, 72), wheel=(24, 228, 96, 72))
"""The crops of Fig. 7."""
MISSING = {8: "it shows the answers of a user study, and no responses have been collected (notebook 13)"}
"""The figures that are not drawn, and why."""
Square = tuple[int, int, int]
"""x, y and side of a patch, in pixels of its image."""

# ---- Fig. 1 and 7: crops by every system ----


def titles() -> dict[str, str]:
    """The systems that the figures show, by our names."""
    return {name: system.title for name, system in SYSTEMS.items() if system.figures}


def part_of_pair() -> tuple[Pixels, Pixels]:
    """``PART`` of the motorcycle's left view, and the whole right view."""
    hr, ref = prepared(dataset("motorcycle").pairs()[0])
    return cut(hr, PART), ref


@lru_cache
def enlarged(profile: str) -> dict[str, Pixels]:
    """``PART`` of the motorcycle ×4 by each system that has a checkpoint of the profile; computed once."""
    hr, ref = part_of_pair()
    names = (name for name in titles() if name in available_models(profile))
    return {name: super_resolve(downscale(hr), ref, model=name, profile=profile) for name in names}


def crops_by_system(profile: str, number: int = 7, places: Mapping[str, Window] = PLACES, count: int = 2) -> Figure:
    """Fig. 1 or 7: the pair, and in ``count`` blocks a row a place, a column a system; the best PSNR is bold."""
    hr, ref = part_of_pair()
    images = {"Input, ×1/4": downscale(hr).repeat(4, 0).repeat(4, 1)} | enlarged(profile) | {"HR": hr}
    columns = -(-len(images) // count)
    blocks = np.array([*images, *["."] * (count * columns - len(images))]).reshape(count, columns)
    rows = [[name if name == "." else f"{place} {name}" for name in names] for names in blocks for place in places]
    mosaic = [["left" if k < len(rows) // 2 else "right", *names] for k, names in enumerate(rows)]
    share = min(2, 0.6 + 0.3 * len(rows))  # of the pair, in columns
    figure, axes = plt.subplot_mosaic(
        mosaic, figsize=(13, len(rows) * (0.75 * 13 / (columns + share) + 0.3) + 1),
        width_ratios=[share, *[1] * columns], layout="constrained",
    )  # fmt: skip
    panel(axes["left"], hr, "HR (part of the left view)")
    panel(axes["right"], ref, "Reference (right view)")
    for (place, box), colour in zip(places.items(), COLOURS):
        axes["left"].add_patch(Rectangle((box[0] - 0.5, box[1] - 0.5), *box[2:], fill=False, ec=colour, lw=2))
        crops = {name: cut(image, box) for name, image in images.items()}
        scores = {name: round(psnr(crop, crops["HR"]), 2) for name, crop in crops.items() if name in SYSTEMS}
        for name, crop in crops.items():
            axis = axes[f"{place} {name}"]
            panel(axis, crop, titles().get(name, name) if place == next(iter(places)) else "")
            axis.spines[:].set(visible=True, color=colour, linewidth=2)
            if name in scores:
                weight = "bold" if scores[name] == max(scores.values()) else "normal"
                axis.set_xlabel(f"{scores[name]:.2f} dB", fontsize=9.5, weight=weight)
        for names in blocks:
            axes[f"{place} {names[0]}"].set_ylabel(place, color=colour, weight="bold")
    what = f"{len(places)} places" if len(places) > 1 else f"The {next(iter(places))}"
    return plots.finish(figure, number, f"{what} of the motorcycle, ×4 by each system", _caption(profile))


def _caption(profile: str) -> str:
    """What of the default protocol concerns PSNR; profile and checkpoints; which systems are missing and why."""
    p, available = Protocol(), available_models(profile)
    marks = ", ".join(
        f"{title} {shipped_card(name, profile)['sha256'][:8]}"
        for name, title in titles().items()
        if name in available and not SYSTEMS[name].card
    )
    missing = ", ".join(title for name, title in titles().items() if name not in available)
    beyond = ", ".join(title for name, title in titles().items() if SYSTEMS[name].departure)
    return (
        f"The held-out motorcycle stereo pair. PSNR of each crop, {p.channel.upper()}, border {p.border}, {p.resize} "
        "×1/4, 8 bits; bold: the best of a place. "
        f"Profile {profile}; checkpoints: {marks or 'none'}. Not of the paper: {beyond}."
        + (f" No checkpoint of this profile yet: {missing}." if missing else "")
    )


# ---- Fig. 4 and 5: match and swap forward and backward, on a real crop and a model's own features ----


def textured(image: Pixels, count: int, apart: int) -> list[tuple[int, int]]:
    """Centres (y, x) of the ``count`` 3×3 patches inside of the largest variance, ``apart`` cells or more apart."""
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(float), (3, 3), axis=(0, 1))
    return [(y + 1, x + 1) for y, x in largest(windows.var(axis=(-2, -1)).sum(-1), count, apart)]


def largest(values: Float[np.ndarray, "h w"], count: int, apart: int) -> list[tuple[int, int]]:
    """The ``count`` highest peaks (y, x), highest first, ``apart`` cells or more apart; none if all are alike."""
    peaks = peak_local_max(values, min_distance=apart - 1, exclude_border=False, num_peaks=count)
    return [(y, x) for y, x in peaks.tolist()]


def patches(matches: Matches, centre: tuple[int, int], width: int, r: int) -> list[Square]:
    """Where the patch around ``centre`` (y, x) is in I_in, I_ref↓, I_ref and F; I_ref↓ is ``width`` cells wide.

    Patch i = v·(W−2) + u of I_ref↓ has its top left cell at (u, v); in I_ref it begins at (r·u, r·v), with side 3r.
    """
    y, x = centre
    v, u = divmod(int(matches.index[0, y, x]), width - 2)
    return [(x - 1, y - 1, 3), (u, v, 3), (r * u, r * v, 3 * r), (r * (x - 1), r * (y - 1), 3 * r)]


def forward_pass(model: E2ENT2, example: Example, count: int = 4) -> Figure:
    """Fig. 4: some patches, their matches, and what the swap makes of them; images above, features below."""
    r, (lr, ref, down) = model.profile.scale, example.tensors()
    with torch.no_grad():
        phi_in, phi_down, phi_ref = (model.encoder(x) for x in (lr, down, ref))
        matches = match(phi_in, phi_down, model.norm)
        swapped, pixels = swap(phi_ref, matches, r), to_image(swap(to_tensor(example.ref), matches, r))
    features = plots.principal_colours([phi_in, phi_down, phi_ref, swapped])
    squares = [patches(matches, c, down.shape[3], r) for c in textured(example.lr, count, 6)]
    figure, axes = plt.subplots(2, 4, figsize=(10.6, 5.6), layout="constrained")
    names = ("$I_{in}$", r"$I_{ref}^{\downarrow}$", "$I_{ref}$")
    names = (*names, "$I_{ref}$'s pixels, swapped"), (*(rf"$\phi$({name})" for name in names), r"$\mathcal{F}$")
    rows = zip(axes, ((example.lr, example.ref_down, example.ref, pixels), features), names, (3, phi_in.shape[1]))
    for row, images, headings, depth in rows:
        for column, (axis, image, heading) in enumerate(zip(row, images, headings)):
            panel(axis, image, f"{heading}   {depth}×{image.shape[0]}×{image.shape[1]}", fontsize=10.5)
            for (x, y, side), colour in zip((s[column] for s in squares), COLOURS):
                for width, edge in ((4, "white"), (2, colour)):
                    axis.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, ec=edge, lw=width))
    _links(axes[0], squares, ("Eq. 3: best match", "the same place", "Eq. 4: swap"))
    caption = (
        f"Our drawing. The {count} most textured of the {matches.index.numel():,} 3×3 patches of φ(I_in), the best "
        f"match of each in φ(I_ref↓), the {3 * r}×{3 * r} patch at the same place of φ(I_ref), and where it goes in F; "
        f"where patches overlap, F is their mean. Second row: three principal components as colours. "
        f"Crop of the motorcycle pair (held out). {plots.provenance_of(model)}."
    )
    return plots.finish(figure, 4, "Match and swap, forward pass", caption)


def _links(axes: Sequence[Axes], squares: Sequence[Sequence[Square]], labels: Sequence[str]) -> None:
    """Arrows from patch to patch, panel to panel, each in its patch's colour."""
    for column, label in enumerate(labels):
        for places, colour in zip(squares, COLOURS):
            (x0, y0, side0), (x1, y1, side1) = places[column : column + 2]
            start, end = (x0 + side0 - 0.5, y0 + side0 / 2 - 0.5), (x1 - 0.5, y1 + side1 / 2 - 0.5)
            arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.3, "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
            looks = {"arrowprops": arrow, "annotation_clip": False, "in_layout": False}
            axes[column + 1].annotate("", end, start, "data", axes[column].transData, **looks)
        axes[column].set_xlabel(f"{label} →", loc="right", fontsize=9)


class Errors(NamedTuple):
    """E at F and the three error maps of Eq. 5."""

    at_swapped: Tensor
    at_in: Tensor
    at_ref_down: Tensor
    at_ref: Tensor
    sr: Tensor


def error_maps(model: E2ENT2, example: Example, alphas: tuple[float, float, float] = (1, 1, 1)) -> Errors:
    """E = ∂J/∂F of the MSE of I_sr, and what Eq. 5 makes of it at the three feature maps; with I_sr."""
    r, (lr, ref, down) = model.profile.scale, example.tensors()
    maps = [model.encoder(x).detach().requires_grad_() for x in (lr, down, ref)]
    swapped = match_and_swap(*maps, alphas, r, model.norm, error_down=model.error_down)
    leaf = swapped.detach().requires_grad_()
    sr = model.synthesis(leaf, maps[0].detach(), lr)
    (error,) = torch.autograd.grad(reconstruction_loss(sr, to_tensor(example.hr), "mse"), leaf)
    return Errors(error, *torch.autograd.grad(swapped, maps, error), sr.detach())


def backward_pass(model: E2ENT2, example: Example) -> Drawing:
    """Fig. 5: E at F, and the three error maps that Eq. 5 makes of it, beside the images whose features they meet."""
    errors = error_maps(model, example)
    maps = {name: error[0] for name, error in errors._asdict().items() if name != "sr"}
    strength = {name: error.abs().sum(0).numpy() for name, error in maps.items()}
    high = {name: float(np.quantile(values, 0.995)) for name, values in strength.items()}
    images, r = example._asdict(), model.profile.scale
    return Drawing(
        "fig5",
        images | {"sr": to_image(errors.sr)} | {n: plots.heat(values, high[n]) for n, values in strength.items()},
        {n: (3, *image.shape[:2]) for n, image in images.items()} | {n: tuple(e.shape) for n, e in maps.items()},
        f"Our drawing. Colour: |error| summed over the channels, each map on its own scale, clipped at its 99.5 % "
        f"quantile. Blue: shapes C×H×W. E↓: {model.error_down} of E over each {r}×{r} cell (our reading). J: MSE of "
        f"this crop of the motorcycle pair (held out). {plots.provenance_of(model)}.",
        {"high": {name: f"{value:.1e}".replace("e-0", "e-") for name, value in high.items()}},
    )


# ---- all of them, and files ----


FIGURES: dict[int, Callable[[str], Figure | Drawing]] = {
    1: lambda profile: crops_by_system(profile, 1, ENGINE),
    2: lambda profile: diagram(2, example_model(profile), engine()),
    3: lambda profile: diagram(3, example_model(profile), engine()),
    4: lambda profile: forward_pass(example_model(profile), engine()),
    5: lambda profile: backward_pass(example_model(profile, ("e2ent2-mse", "e2ent2")), engine()),
    6: lambda profile: diagram(6, example_model(profile), engine()),
    7: crops_by_system,
}


def draw(figure: Callable[[], Figure | Drawing | None], name: str, folder: Path) -> list[Path]:
    """Write ``NAME.png`` and ``NAME.pdf``, each whole and without dates; returns the paths, none without a figure."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for kind in ("png", "pdf")]
    with plt.rc_context():
        plots.use_style()
        made = figure()
        for path, metadata in zip(paths if made else [], ({"Software": None}, {"CreationDate": None})):
            with whole_file(path) as temporary:
                if isinstance(made, Drawing):
                    temporary.write_bytes(render(made.svg, path.suffix[1:]))
                else:
                    made.savefig(temporary, dpi=150, metadata=metadata)
        plt.close("all")
    return paths if made else []
