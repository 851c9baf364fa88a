"""Block diagrams of a model in memory: what one forward pass recorded, and the boxes and arrows that show it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path
from torch import Tensor, nn

from e2ent2lib.models.blocks import ResidualBlock

Shape = tuple[int, ...]
Point = tuple[float, float]
PHI, PSI, ZETA, TAIL = "#D6E9F5", "#F9DDCB", "#CDEBE0", "#EFEFEF"  # tints of Okabe and Ito colours, and grey
BLUE, RED = "#00507F", "#A34700"
SMALL = 9.3
I_IN, I_REF, I_REF_DOWN = r"$I_{in}$", r"$I_{ref}$", r"$I_{ref}^{\downarrow}$"
PHI_IN, PHI_REF, PHI_REF_DOWN = (rf"$\phi$({name})" for name in (I_IN, I_REF, I_REF_DOWN))
SWAPPED = r"$\mathcal{F}$"


class Trace(NamedTuple):
    """What one forward pass did: shapes by module, a list over its calls, without the batch; and the result."""

    inputs: dict[str, list[tuple[Shape, ...]]]
    outputs: dict[str, list[Shape]]
    result: object


def record(model: nn.Module, *inputs: object) -> Trace:
    """Run ``model(*inputs)`` once without gradients and note the shapes that go into and come out of each module."""
    seen_in, seen_out = defaultdict(list), defaultdict(list)

    def note(name: str):  # noqa: ANN202
        def hook(_: nn.Module, arguments: tuple, output: object) -> None:
            seen_in[name].append(tuple(tuple(a.shape[1:]) for a in arguments if isinstance(a, Tensor)))
            if isinstance(output, Tensor):
                seen_out[name].append(tuple(output.shape[1:]))

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            result = model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(dict(seen_in), dict(seen_out), result)


def parameters(module: nn.Module) -> int:
    """How many numbers a module learns."""
    return sum(p.numel() for p in module.parameters())


def describe(module: nn.Module) -> str:
    """The layers of a module in words, from the module itself."""
    if isinstance(module, nn.Conv2d):
        return f"conv {module.kernel_size[0]}×{module.kernel_size[1]}\n{module.in_channels} → {module.out_channels}"
    if isinstance(module, nn.PixelShuffle):
        return f"pixel shuffle ×{module.upscale_factor}"
    if isinstance(module, nn.Sequential) and all(isinstance(child, ResidualBlock) for child in module):
        return f"{len(module)} residual\nblock" + ("s" if len(module) != 1 else "")
    return type(module).__name__


def written(shape: Shape) -> str:
    """A shape as the figures write it, C×H×W."""
    return "×".join(str(n) for n in shape)


class Box(NamedTuple):
    """A rectangle on a canvas, in inches from the lower left corner."""

    x: float
    y: float
    w: float
    h: float

    def at(self, u: float, v: float) -> Point:
        """The point at fractions (u, v) of its width and height."""
        return self.x + u * self.w, self.y + v * self.h


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure with one pair of axes, whose unit is the inch."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    figure.set_layout_engine("none")  # unlike layout="none" this holds when the figure is saved under ``use_style``
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def block(axis: Axes, box: Box, name: str, text: str, shape: Shape | None, colour: str) -> Box:
    """A box with a module's name, its layers, and the shape that came out of it (in blue); returns ``box``."""
    key = f"{len(axis.patches)} {name}"
    look = FancyBboxPatch((box.x, box.y), box.w, box.h, boxstyle="round,pad=0,rounding_size=0.06", fc=colour, ec="0.3")
    axis.add_patch(look).set_gid(f"box {key}")
    for height, words, style in (
        (box.h - 0.07, name, {"va": "top", "weight": "bold"}),
        (box.h / 2, text, {"va": "center", "linespacing": 1.25}),
        (0.07, written(shape) if shape else "", {"va": "bottom", "color": BLUE}),
    ):
        label = axis.text(box.x + box.w / 2, box.y + height, words, ha="center", fontsize=SMALL, zorder=4, **style)
        label.set_gid(f"in {key}")
    return box


def picture(axis: Axes, box: Box, image: UInt8[np.ndarray, "h w 3"], name: str, shape: Shape) -> Box:
    """A small picture with its name above and its shape below; returns ``box``."""
    axis.imshow(image, extent=(box.x, box.x + box.w, box.y, box.y + box.h), aspect="auto", zorder=3)
    axis.add_patch(Rectangle((box.x, box.y), box.w, box.h, fill=False, ec="0.3", zorder=4))
    axis.text(box.x + box.w / 2, box.y + box.h + 0.07, name, ha="center", va="bottom", fontsize=12)
    axis.text(box.x + box.w / 2, box.y - 0.06, written(shape), ha="center", va="top", fontsize=SMALL, color=BLUE)
    return box


def arrow(axis: Axes, start: Point, end: Point, bend: float = 0) -> None:
    """An arrow between two points, curved if ``bend`` is not 0."""
    look = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "color": "0.2", "lw": 1.2, "mutation_scale": 11}
    axis.annotate("", end, start, arrowprops=look | {"connectionstyle": f"arc3,rad={bend}"}, zorder=2)


def skip(axis: Axes, start: Point, end: Point, level: float, text: str, colour: str = "0.2") -> None:
    """A skip connection: from ``start`` up (or down) to the height ``level``, along, and back to ``end``."""
    (x0, y0), (x1, y1) = start, end
    up = 1 if level > min(y0, y1) else -1
    bow0, bow1 = (min(0.4, abs(level - y)) for y in (y0, y1))
    points = [start, (x0, level - up * bow0), (x0, level), (x0 + bow0, level)]
    points += [(x1 - bow1, level), (x1, level), (x1, level - up * bow1), end]
    codes = [Path.MOVETO, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.LINETO, Path.CURVE3, Path.CURVE3, Path.LINETO]
    look = {"arrowstyle": "-|>", "mutation_scale": 11, "lw": 1.4, "color": colour, "fill": False, "zorder": 2}
    axis.add_patch(FancyArrowPatch(path=Path(points, codes), **look))
    patch = {"fc": "white", "ec": "none", "pad": 2}
    axis.text((x0 + x1) / 2, level, text, ha="center", va="center", fontsize=SMALL, color=colour, bbox=patch, zorder=3)


def circle(axis: Axes, centre: Point, sign: str) -> Box:
    """A sum or a concatenation; returns the square around the circle."""
    axis.add_patch(Circle(centre, 0.15, fc="white", ec="0.2", lw=1.2, zorder=3))
    axis.text(*centre, sign, ha="center", va="center_baseline", fontsize=12, zorder=4)
    return Box(centre[0] - 0.15, centre[1] - 0.15, 0.3, 0.3)


def dashed(axis: Axes, box: Box, label: str) -> None:
    """The dashed line that the captions of Fig. 3 and Fig. 6 speak of."""
    axis.add_patch(Rectangle((box.x, box.y), box.w, box.h, fill=False, ec="#D55E00", ls=(0, (5, 3)), lw=1.6, zorder=1))
    axis.text(box.x + 0.1, box.y + box.h - 0.09, label, va="top", fontsize=9.5, color=RED, weight="bold")


class Chain:
    """Boxes from left to right at one height, each linked to the one before by an arrow."""

    def __init__(self, axis: Axes, model: nn.Module, trace: Trace, *, y: float, gap: float, width: float):
        self.axis, self.model, self.trace = axis, model, trace
        self.x, self.y, self.gap, self.width = 0.3, y, gap, width
        self.last: Box | None = None

    def module(self, names: Sequence[str], colour: str, prefix: str) -> Box:
        """A box for modules in a row, named without ``prefix``; the shape is what came out of the last one first."""
        names = list(names)
        text = "\n".join(describe(self.model.get_submodule(n)) for n in names)
        title = names[0].removeprefix(prefix) + (f"–{names[-1].rsplit('.', 1)[1]}" if len(names) > 1 else "")
        box = Box(self.x, self.y - 0.65, self.width, 1.3)
        return self._link(block(self.axis, box, title, text, self.trace.outputs[names[-1]][0], colour))

    def stages(self, name: str, colour: str, prefix: str) -> None:
        """A box for each pixel-shuffle stage (convolution, shuffle, ReLU) of an upsampling module."""
        children = [f"{name}.{child}" for child, _ in self.model.get_submodule(name).named_children()]
        for i in range(0, len(children), 3):
            self.module(children[i : i + 3], colour, prefix)

    def sign(self, sign: str) -> Box:
        """A sum or a concatenation."""
        return self._link(circle(self.axis, (self.x + 0.15, self.y), sign))

    def picture(self, image: UInt8[np.ndarray, "h w 3"], name: str, shape: Shape) -> Box:
        """A picture one inch wide."""
        height = image.shape[0] / image.shape[1]
        return self._link(picture(self.axis, Box(self.x, self.y - height / 2, 1, height), image, name, shape))

    def _link(self, box: Box) -> Box:
        if self.last is not None:
            arrow(self.axis, self.last.at(1, 0.5), box.at(0, 0.5))
        self.last, self.x = box, box.x + box.w + self.gap
        return box
