"""Fig. 4 and 5: match and swap forward and backward, on a real crop and a model's own features."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from torch import Tensor

from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import Matches, match, match_and_swap, swap
from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import to_image, to_tensor
from e2ent2lib.report.diagrams import Drawing
from e2ent2lib.report.examples import Example, Pixels, finish, principal_colours, provenance_of
from e2ent2lib.report.plots import COLOURS, heat

Square = tuple[int, int, int]
"""x, y and side of a patch, in pixels of its image."""


def textured(image: Pixels, count: int, apart: int) -> list[tuple[int, int]]:
    """Centres (y, x) of the ``count`` 3×3 patches with the largest variance, ``apart`` cells or more from each other.

    Border cells, whose patch would reach over the border, are left out.
    """
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(float), (3, 3), axis=(0, 1))
    return [(y + 1, x + 1) for y, x in largest(windows.var(axis=(-2, -1)).sum(-1), count, apart)]


def largest(values: Float[np.ndarray, "h w"], count: int, apart: int) -> list[tuple[int, int]]:
    """Where (y, x) the ``count`` largest values are, ``apart`` cells or more from each other, largest first."""
    places: list[tuple[int, int]] = []
    for flat in np.argsort(-values, axis=None, kind="stable"):
        y, x = (int(n) for n in np.unravel_index(flat, values.shape))
        if all(max(abs(y - b), abs(x - a)) >= apart for b, a in places):
            places.append((y, x))
        if len(places) == count:
            break
    return places


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
    features = principal_colours([phi_in, phi_down, phi_ref, swapped])
    squares = [patches(matches, c, down.shape[3], r) for c in textured(example.lr, count, 6)]
    figure, axes = plt.subplots(2, 4, figsize=(10.6, 5.6), layout="constrained")
    names = ("$I_{in}$", r"$I_{ref}^{\downarrow}$", "$I_{ref}$")
    names = (*names, "$I_{ref}$'s pixels, swapped"), (*(rf"$\phi$({name})" for name in names), r"$\mathcal{F}$")
    rows = zip(axes, ((example.lr, example.ref_down, example.ref, pixels), features), names, (3, phi_in.shape[1]))
    for row, images, titles, depth in rows:
        for column, (axis, image, title) in enumerate(zip(row, images, titles)):
            _panel(axis, image, f"{title}   {depth}×{image.shape[0]}×{image.shape[1]}")
            _outline(axis, [s[column] for s in squares])
    _links(axes[0], squares, ("Eq. 3: best match", "the same place", "Eq. 4: swap"))
    caption = (
        f"Our drawing. The {count} most textured of the {matches.index.numel():,} 3×3 patches of φ(I_in), the best "
        f"match of each in φ(I_ref↓), the {3 * r}×{3 * r} patch at the same place of φ(I_ref), and where it goes in F; "
        f"where patches overlap, F is their mean. Second row: three principal components as colours. "
        f"Crop of the motorcycle pair (held out). {provenance_of(model)}."
    )
    return finish(figure, 4, "Match and swap, forward pass", caption)


def _panel(axis: Axes, image: Pixels, title: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=10.5)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _outline(axis: Axes, squares: Sequence[Square]) -> None:
    for (x, y, side), colour in zip(squares, COLOURS):
        for width, edge in ((4, "white"), (2, colour)):
            axis.add_patch(Rectangle((x - 0.5, y - 0.5), side, side, fill=False, ec=edge, lw=width))


def _links(axes: Sequence[Axes], squares: Sequence[Sequence[Square]], labels: Sequence[str]) -> None:
    """Arrows from patch to patch, panel to panel, each in its patch's colour."""
    for column, label in enumerate(labels):
        for places, colour in zip(squares, COLOURS):
            (x0, y0, side0), (x1, y1, side1) = places[column : column + 2]
            start, end = (x0 + side0 - 0.5, y0 + side0 / 2 - 0.5), (x1 - 0.5, y1 + side1 / 2 - 0.5)
            link = ConnectionPatch(
                start, end, "data", "data", axesA=axes[column], axesB=axes[column + 1],
                arrowstyle="-|>", color=colour, lw=1.3, mutation_scale=10,
            )  # fmt: skip
            link.set_in_layout(False)
            axes[0].figure.add_artist(link)
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
    with torch.no_grad():
        maps = [model.encoder(x) for x in (lr, down, ref)]
    maps = [m.requires_grad_() for m in maps]
    swapped = match_and_swap(*maps, alphas, r, model.norm, error_down=model.error_down)
    leaf = swapped.detach().requires_grad_()
    sr = model.synthesis(leaf, maps[0].detach(), lr)
    (error,) = torch.autograd.grad(reconstruction_loss(sr, to_tensor(example.hr), "mse"), leaf)
    return Errors(error, *torch.autograd.grad(swapped, maps, error), sr.detach())


def backward_pass(model: E2ENT2, example: Example) -> Drawing:
    """Fig. 5: E at F, and the three error maps that Eq. 5 makes of it, beside the images whose features they meet."""
    errors = error_maps(model, example)
    maps = {name: error for name, error in errors._asdict().items() if name != "sr"}
    strength = {name: error[0].abs().sum(0).numpy() for name, error in maps.items()}
    high = {name: float(np.quantile(values, 0.995)) for name, values in strength.items()}
    images, r = example._asdict(), model.profile.scale
    return Drawing(
        "fig5",
        images | {"sr": to_image(errors.sr)} | {name: heat(values, high[name]) for name, values in strength.items()},
        {name: (3, *image.shape[:2]) for name, image in images.items()}
        | {name: tuple(error.shape[1:]) for name, error in maps.items()},
        f"Our drawing. Colour: |error| summed over the channels, each map on its own scale, clipped at its 99.5 % "
        f"quantile. Blue: shapes C×H×W. E↓: {model.error_down} of E over each {r}×{r} cell (our reading). J: MSE of "
        f"this crop of the motorcycle pair (held out). {provenance_of(model)}.",
        {"high": {name: f"{value:.1e}".replace("e-0", "e-") for name, value in high.items()}},
    )
