"""Fig. 2, 3 and 6: the network, its SISR branch and its synthesis, with what one forward pass of a model recorded.

The drawings lie in ``svg/``, laid out by hand. Their placeholders (``{{ … }}``, Jinja) are filled here from the model
in memory, so a diagram can't say something that the code does not do. Typst renders them, with matplotlib's fonts.
"""

import io
import textwrap
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import jinja2
import matplotlib
import torch
import typst
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from e2ent2lib.models import E2ENT2
from e2ent2lib.models.blocks import ResidualBlock
from e2ent2lib.photos.images import to_image
from e2ent2lib.report.plots import JPEG, Example, Pixels, data_uri, principal_colours, provenance_of

Shape = tuple[int, ...]
SVG = Path(__file__).parent / "svg"
WIDTH = "13.4in"
_PAGE = f"""#set page(width: auto, height: auto, margin: 0pt)
#set document(date: none)
#image(bytes(sys.inputs.svg), format: "svg", width: {WIDTH})"""


class Trace(NamedTuple):
    """What one forward pass did: shapes by module, a list over its calls, without the batch; and the result."""

    inputs: dict[str, list[tuple[Shape, ...]]]
    outputs: dict[str, list[Shape]]
    result: object


def record(model: nn.Module, *inputs: object) -> Trace:
    """Run ``model(*inputs)`` once without gradients and note the shapes that go into and come out of each module."""
    seen_in, seen_out = defaultdict(list), defaultdict(list)
    names = {module: name for name, module in model.named_modules() if name}

    def note(module: nn.Module, arguments: tuple, output: object) -> None:
        if name := names.get(module):
            seen_in[name].append(tuple(tuple(a.shape[1:]) for a in arguments if isinstance(a, Tensor)))
        if name and isinstance(output, Tensor):
            seen_out[name].append(tuple(output.shape[1:]))

    with register_module_forward_hook(note), torch.no_grad():
        result = model(*inputs)
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


class Drawing:
    """An SVG of ``svg/`` with its placeholders filled; ``figures.draw`` writes it, a notebook shows it as JPEG.

    ``pictures`` become ``{{ picture.NAME }}``, ``shapes`` ``{{ shape.NAME }}``; ``facts`` holds what else the file
    names. Raises jinja2.UndefinedError for a placeholder without a value.
    """

    def __init__(
        self, name: str, pictures: Mapping[str, Pixels], shapes: Mapping[str, Shape], caption: str, facts: Mapping
    ):
        self.name = name
        template = (SVG / f"{name}.svg").read_text(encoding="utf-8")
        self.svg = jinja2.Template(template, autoescape=True, undefined=jinja2.StrictUndefined).render(
            facts,
            picture={key: data_uri(_sharp(image)) for key, image in pictures.items()},
            shape={key: written(shape) for key, shape in shapes.items()},
            caption=textwrap.wrap(caption, 165),
        )

    def __repr__(self) -> str:
        return f"Drawing({self.name!r})"  # a notebook keeps it: an address in memory would change with every run

    def _repr_jpeg_(self) -> bytes:
        image, buffer = Image.open(io.BytesIO(render(self.svg, "png", dpi=110))), io.BytesIO()
        image.save(buffer, "jpeg", **JPEG)
        return buffer.getvalue()


def render(svg: str, kind: Literal["png", "pdf"], dpi: float = 150) -> bytes:
    """An SVG as a file of ``WIDTH``: the same bytes each time, without dates and without the fonts of the machine."""
    fonts = {"font_paths": [Path(matplotlib.get_data_path(), "fonts", "ttf")], "ignore_system_fonts": True}
    file = typst.compile(_PAGE.encode(), format=kind, ppi=2 * dpi, sys_inputs={"svg": svg}, **fonts)
    if kind == "pdf":
        return file
    buffer = io.BytesIO()  # drawn twice as large, since Typst makes photographs smaller by leaving pixels out
    Image.open(io.BytesIO(file)).convert("RGB").reduce(2).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _sharp(image: Pixels) -> Pixels:
    """A small picture with its pixels as squares, since a PDF viewer would smooth them."""
    times = -(-400 // image.shape[1])
    return image.repeat(times, 0).repeat(times, 1)


def diagram(number: Literal[2, 3, 6], model: E2ENT2, example: Example) -> Drawing:
    """Fig. 2 (the framework), Fig. 3 (its SISR branch) or Fig. 6 (its synthesis) of a model."""
    lr, ref, down = example.tensors()
    trace = record(model, lr, ref, down)
    maps = [*(model.encoder(x).detach() for x in (lr, down, ref)), trace.result.swapped]
    colours = zip(("phi_in", "phi_ref_down", "phi_ref", "swapped"), principal_colours(maps))
    images = {"lr": example.lr, "ref_down": example.ref_down, "ref": example.ref}
    images |= {"sr": to_image(trace.result.sr), "sisr": to_image(trace.result.sisr)}
    share = {
        2: "Feature maps: three principal components as colours. ",
        3: f"This branch: {parameters(model.sisr):,} of ",
        6: f"Feature maps: three principal components as colours. ζ: {parameters(model.synthesis):,} of ",
    }[number]
    return Drawing(
        f"fig{number}",
        images | dict(colours),
        {name: (3, *image.shape[:2]) for name, image in images.items()},
        f"Our drawing, from the model in memory. Blue: shapes C×H×W in one forward pass on a crop of the motorcycle "
        f"pair (held out). {share}{parameters(model):,} parameters in all. {provenance_of(model)}.",
        {
            "scale": model.profile.scale,
            "into": lambda module, argument=0: written(trace.inputs[module][0][argument]),
            "out": lambda module, call=0: written(trace.outputs[module][call]),
            "layers": lambda module: describe(model.get_submodule(module)).split("\n"),
            "count": lambda module: f"{parameters(model.get_submodule(module)):,}",
        },
    )
