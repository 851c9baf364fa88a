"""Fig. 4 and 5: match and swap forward and backward, on a real crop and a model's own features."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from e2ent2lib.losses import reconstruction_loss
from e2ent2lib.matching import Matches, match, match_and_swap, swap
from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import to_image, to_tensor
from e2ent2lib.report import diagrams as d
from e2ent2lib.report.diagrams import Box
from e2ent2lib.report.examples import Example, Pixels, engine, example_model, finish, principal_colours, provenance_of
from e2ent2lib.report.plots import COLOURS

Square = tuple[int, int, int]
"""x, y and side of a patch, in pixels of its image."""


def figure4(profile: str) -> Figure:
    """Fig. 4 with the profile's model."""
    return forward_pass(example_model(profile), engine())


def figure5(profile: str) -> Figure:
    """Fig. 5 with the profile's MSE model."""
    return backward_pass(example_model(profile, ("e2ent2-mse", "e2ent2")), engine())


def textured(image: Pixels, count: int, apart: int) -> list[tuple[int, int]]:
    """Centres (y, x) of the ``count`` 3×3 patches with the largest variance, ``apart`` cells or more from each other.

    Border cells, whose patch would reach over the border, are left out.
    """
    windows = np.lib.stride_tricks.sliding_window_view(image.astype(float), (3, 3), axis=(0, 1))
    variance = windows.var(axis=(-2, -1)).sum(-1)
    found = []
    for flat in np.argsort(-variance, axis=None, kind="stable"):
        y, x = (int(n) + 1 for n in np.unravel_index(flat, variance.shape))
        if all(max(abs(y - b), abs(x - a)) >= apart for b, a in found):
            found.append((y, x))
        if len(found) == count:
            break
    return found


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
    names = (
        (d.I_IN, d.I_REF_DOWN, d.I_REF, f"{d.I_REF}'s pixels, swapped"),
        (d.PHI_IN, d.PHI_REF_DOWN, d.PHI_REF, d.SWAPPED),
    )
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


def backward_pass(model: E2ENT2, example: Example) -> Figure:
    """Fig. 5: E at F, and the three error maps that Eq. 5 makes of it, beside the images whose features they meet."""
    errors, r = error_maps(model, example), model.profile.scale
    figure, axis = d.canvas(12.6, 6.6)
    _loss(axis, errors, example)
    e, e_down = r"\mathcal{E}", r"\mathcal{E}^{\,\downarrow}"
    slope = rf"${e}=\partial\mathcal{{J}}/\partial\mathcal{{F}}$"
    centre = _heat(axis, Box(0.5, 1.35, 3.3, 2.475), errors.at_swapped, slope)
    rows = (
        (errors.at_in, rf"${e}^{{I_{{in}}}}$", rf"$\alpha_1\,{e_down}$", example.lr, d.I_IN),
        (errors.at_ref_down, rf"${e}^{{I_{{ref}}^\downarrow}}$", rf"$\alpha_2\sum_j{e_down}_{{\mathcal{{Q}}^j}}$",
         example.ref_down, d.I_REF_DOWN),
        (errors.at_ref, rf"${e}^{{I_{{ref}}}}$", rf"$\alpha_3\sum_j{e}_{{\mathcal{{Q}}^j}}$", example.ref, d.I_REF),
    )  # fmt: skip
    for y, (error, name, rule, image, title) in zip((4.6, 2.75, 0.9), rows):
        width = 1.2 * image.shape[1] / image.shape[0]
        box = _heat(axis, Box(7.6, y, width, 1.2), error, name)
        d.picture(axis, Box(10.5, y, width, 1.2), image, title, (3, *image.shape[:2]))
        start, end = (centre.at(1, 0.5)[0] + 0.95, centre.at(1, 0.5)[1]), box.at(0, 0.5)
        d.arrow(axis, start, (end[0] - 0.05, end[1]))
        middle = start[0] + 0.62 * (end[0] - start[0]), start[1] + 0.62 * (end[1] - start[1])
        axis.text(*middle, rule, ha="center", va="center", fontsize=12, bbox={"fc": "white", "ec": "none", "pad": 2})
    caption = (
        f"Our drawing. Colour: |error| summed over the channels, each map on its own scale, clipped at its 99.5 % "
        f"quantile. Blue: shapes C×H×W. E↓: {model.error_down} of E over each {r}×{r} cell (our reading). J: MSE of "
        f"this crop of the motorcycle pair (held out). {provenance_of(model)}."
    )
    return finish(figure, 5, "Match and swap, backward pass (Eq. 5) with α1 = α2 = α3 = 1", caption)


def _loss(axis: Axes, errors: Errors, example: Example) -> None:
    """I_sr and the truth, whose distance is the loss."""
    height = 1.45 * example.hr.shape[0] / example.hr.shape[1]
    for x, image, name in ((0.5, to_image(errors.sr), "$I_{sr}$"), (2.35, example.hr, "HR")):
        d.picture(axis, Box(x, 4.75, 1.45, height), image, name, (3, *image.shape[:2]))
    axis.text(2.15, 5.3, "–", ha="center", va="center", fontsize=16)
    axis.text(3.95, 5.3, r"$\mathcal{J}$ = MSE", va="center", fontsize=11)


def _heat(axis: Axes, box: Box, error: Tensor, name: str) -> Box:
    """An error map as a picture: the L1 norm over the channels, with its colour bar."""
    strength = error[0].abs().sum(0).numpy()
    scale = ScalarMappable(Normalize(0, float(np.quantile(strength, 0.995))), "magma")
    d.picture(axis, box, scale.to_rgba(strength, bytes=True)[..., :3], name, tuple(error.shape[1:]))
    width, height = axis.figure.get_size_inches()
    place = ((box.x + box.w + 0.1) / width, box.y / height, 0.1 / width, box.h / height)
    bar = axis.figure.colorbar(scale, cax=axis.figure.add_axes(place), extend="max")
    bar.formatter.set_powerlimits((0, 0))
    bar.locator = MaxNLocator(3)
    bar.ax.tick_params(labelsize=8)
    bar.ax.yaxis.get_offset_text().set(fontsize=8, ha="left")
    return box
