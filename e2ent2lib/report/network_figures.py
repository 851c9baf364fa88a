"""Fig. 2, 3 and 6: the network, its SISR branch and its synthesis, each drawn from the model it is given."""

from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from e2ent2lib.models import E2ENT2
from e2ent2lib.photos.images import to_image
from e2ent2lib.report import diagrams as d
from e2ent2lib.report.diagrams import Box, Chain, Trace, arrow, block, describe, parameters, picture, skip, written
from e2ent2lib.report.examples import Example, Pixels, engine, example_model, finish, principal_colours, provenance_of


def figure2(profile: str) -> Figure:
    """Fig. 2 with the profile's model."""
    return framework(example_model(profile), engine())


def figure3(profile: str) -> Figure:
    """Fig. 3 with the profile's model."""
    return sisr_branch(example_model(profile), engine())


def figure6(profile: str) -> Figure:
    """Fig. 6 with the profile's model."""
    return synthesis(example_model(profile), engine())


def framework(model: E2ENT2, example: Example) -> Figure:
    """Fig. 2: φ on three images, match and swap ψ, synthesis ζ, and the SISR branch beside them."""
    lr, ref, down = example.tensors()
    trace = d.record(model, lr, ref, down)
    shapes = trace.outputs["sisr.encoder"]  # of I_in, I_ref↓ and I_ref, in the order of the calls
    figure, axis = d.canvas(13.4, 6)
    inputs = _inputs(axis, example, model.profile.scale)
    phi = Box(2.45, 0.7, 1.6, 3.95)
    blocks = describe(model.encoder.body[0]).replace("\n", " ")
    text = f"conv\n{blocks}\nconv\nlong skip\n(Fig. 3)\n\none φ for all three"
    block(axis, phi, "feature encoding φ", f"{text}\n\n{parameters(model.encoder):,}\nparameters", None, d.PHI)
    features = [model.encoder(x).detach() for x in (lr, down, ref)]
    colours = principal_colours([*features, trace.result.swapped])
    maps = [
        picture(axis, Box(4.6, b.y, b.w, b.h), image, name, shape)
        for b, image, name, shape in zip(inputs, colours, (d.PHI_IN, d.PHI_REF_DOWN, d.PHI_REF), shapes)
    ]
    for given, made in zip(inputs, maps):
        arrow(axis, given.at(1, 0.5), (phi.x, given.at(0, 0.5)[1]))
        arrow(axis, (phi.x + phi.w, given.at(0, 0.5)[1]), made.at(0, 0.5))
    swapped = _match_and_swap(axis, model, maps, colours[3], trace)
    _ends(axis, model, maps[0], swapped, trace)
    return finish(figure, 2, "The framework: feature encoding, match and swap, image synthesis", _caption(model))


def _inputs(axis: Axes, example: Example, r: int) -> list[Box]:
    """The three images, one above the other; returns their boxes."""
    rows = ((3.95, example.lr, d.I_IN), (2.5, example.ref_down, d.I_REF_DOWN), (1.15, example.ref, d.I_REF))
    boxes = []
    for y, image, name in rows:
        box = Box(0.75, y - 0.4, 0.8 * image.shape[1] / image.shape[0], 0.8)
        boxes.append(picture(axis, box, image, name, (3, *image.shape[:2])))
    arrow(axis, boxes[2].at(0, 0.5), boxes[1].at(0, 0.5), bend=-0.5)
    middle = (boxes[2].at(0, 0.5)[1] + boxes[1].at(0, 0.5)[1]) / 2
    axis.text(0.3, middle, f"bicubic ×1/{r}", rotation=90, ha="right", va="center", fontsize=d.SMALL)
    return boxes


def _match_and_swap(axis: Axes, model: E2ENT2, maps: list[Box], colours: Pixels, trace: Trace) -> Box:
    """The box of ψ between the feature maps and F; returns the box of F."""
    side = 3 * model.profile.scale
    psi = Box(6.45, 0.7, 1.95, 2.7)
    text = (
        f"match 3×3 patches\nof {d.PHI_IN} and {d.PHI_REF_DOWN}\n(Eq. 3)\n\n"
        f"swap in {side}×{side} patches\nof {d.PHI_REF} (Eq. 4)\n\nno parameters"
    )
    block(axis, psi, "match and swap ψ", text, None, d.PSI)
    arrow(axis, maps[0].at(1, 0.25), psi.at(0.25, 1), bend=-0.15)
    for one in maps[1:]:
        arrow(axis, one.at(1, 0.5), (psi.x, one.at(0, 0.5)[1]))
    y = psi.at(0, 0.5)[1]
    height = 1.3 * colours.shape[0] / colours.shape[1]
    box = picture(axis, Box(8.75, y - height / 2, 1.3, height), colours, d.SWAPPED, trace.inputs["synthesis"][0][0])
    arrow(axis, psi.at(1, 0.5), box.at(0, 0.5))
    return box


def _ends(axis: Axes, model: E2ENT2, phi_in: Box, swapped: Box, trace: Trace) -> None:
    """The synthesis with I_sr, and above it the rest of the SISR branch with its image."""
    y = swapped.at(0, 0.5)[1]
    zeta, tail = Box(10.4, y - 1.05, 1.25, 2.1), Box(6.45, 4.15, 1.95, 1.1)
    text = f"Res1, ⊕, Res2,\n+ {d.I_IN}↑\n(Eq. 7, Fig. 6)\n\n{parameters(model.synthesis):,}\nparameters"
    block(axis, zeta, "synthesis ζ", text, None, d.ZETA)
    block(axis, tail, "SISR tail", f"(Fig. 3)\n{parameters(model.sisr.tail):,} parameters", None, d.TAIL)
    for source, image, name, x in (
        (zeta, trace.result.sr, "$I_{sr}$", 11.9),
        (tail, trace.result.sisr, "$I_{sr}$ without reference", 8.75),
    ):
        height = 1.3 * image.shape[2] / image.shape[3]
        box = Box(x, source.at(0, 0.5)[1] - height / 2, 1.3, height)
        picture(axis, box, to_image(image), name, tuple(image.shape[1:]))
        arrow(axis, source.at(1, 0.5), box.at(0, 0.5))
    arrow(axis, swapped.at(1, 0.5), zeta.at(0, 0.5))
    arrow(axis, phi_in.at(1, 0.75), tail.at(0, 0.4), bend=0.1)
    arrow(axis, phi_in.at(1, 0.5), zeta.at(0.5, 1), bend=-0.13)


def sisr_branch(model: E2ENT2, example: Example) -> Figure:
    """Fig. 3: the SISR branch inside the joint model, the feature encoding module in a d.dashed line."""
    trace = d.record(model, *example.tensors())
    figure, axis = d.canvas(14, 5.4)
    chain = Chain(axis, model, trace, y=3.35, gap=0.28, width=1.27)
    lr = chain.picture(example.lr, d.I_IN, (3, *example.lr.shape[:2]))
    head, *_ = [chain.module([f"sisr.encoder.{n}"], d.PHI, "sisr.") for n in ("head", "body.0", "body.1")]
    inner = chain.sign("+")
    d.dashed(axis, Box(head.x - 0.14, 2.5, inner.x + inner.w + 0.28 - head.x, 2.35), "feature encoding module φ")
    skip(axis, (head.x + head.w + 0.1, 3.35), inner.at(0.5, 1), 4.28, "long skip")
    axis.text(inner.x + inner.w + 0.2, 3.42, d.PHI_IN, fontsize=11)
    chain.x += 0.45
    chain.stages("sisr.tail.0", d.TAIL, "sisr.")
    chain.module(["sisr.tail.1"], d.TAIL, "sisr.")
    total = chain.sign("+")
    chain.picture(to_image(trace.result.sisr), "$I_{sr}$", tuple(trace.result.sisr.shape[1:]))
    start = (lr.at(0.5, 0)[0], lr.y - 0.3)
    skip(axis, start, total.at(0.5, 0), 2.1, f"{d.I_IN}↑: bilinear ×{model.profile.scale}", d.BLUE)
    _residual_block(axis, model)
    return finish(figure, 3, "The single-image (SISR) branch", _caption(model, model.sisr, "This branch"))


def _residual_block(axis: Axes, model: E2ENT2) -> None:
    """What one residual block is, and what becomes of the size, below the chain of Fig. 3."""
    one, y = model.encoder.body[0][0], 1.05
    axis.text(
        0.3, y, f"one residual block\n{parameters(one):,} parameters\nno batch norm", fontsize=d.SMALL, va="center"
    )
    first, relu, second = (Box(x, y - 0.16, w, 0.32) for x, w in ((2.4, 0.95), (3.65, 0.75), (4.7, 0.95)))
    for box, layer in ((first, one.body[0]), (relu, one.body[1]), (second, one.body[2])):
        block(axis, box, "", describe(layer).split("\n")[0], None, d.PHI)
    total = d.circle(axis, (6.1, y), "+")
    ends = [(2.0, y), first, relu, second, total, (6.65, y)]
    for left, right in pairwise(ends):
        arrow(axis, *(end.at(u, 0.5) if isinstance(end, Box) else end for end, u in ((left, 1), (right, 0))))
    skip(axis, (2.15, y), total.at(0.5, 1), 1.62, "skip")
    sizes = "φ keeps height and width (3.1);\neach stage of the tail doubles them."
    axis.text(7.6, y, sizes, fontsize=d.SMALL, va="center")


def synthesis(model: E2ENT2, example: Example) -> Figure:
    """Fig. 6: feature transfer and synthesis, the synthesis module in a d.dashed line."""
    lr, ref, down = example.tensors()
    trace = d.record(model, lr, ref, down)
    phi, swapped = principal_colours([model.encoder(lr).detach(), trace.result.swapped])
    shape_f, shape_phi, shape_lr = trace.inputs["synthesis"][0]
    figure, axis = d.canvas(14, 5.6)
    chain = Chain(axis, model, trace, y=2.5, gap=0.22, width=1.27)
    start = chain.picture(phi, d.PHI_IN, shape_phi)
    first = chain.module(["synthesis.res1.0"], d.ZETA, "synthesis.")
    chain.stages("synthesis.res1.1", d.ZETA, "synthesis.")
    chain.x += 0.4
    concat = chain.sign("⊕")
    chain.x += 0.4
    for name in ("res2.0", "res2.1", "res2.2"):
        chain.module([f"synthesis.{name}"], d.ZETA, "synthesis.")
    total = chain.sign("+")
    chain.picture(to_image(trace.result.sr), "$I_{sr}$", tuple(trace.result.sr.shape[1:]))
    d.dashed(axis, Box(first.x - 0.11, 1.65, total.x + total.w + 0.22 - first.x, 2.0), "image synthesis module ζ")
    both = f"concatenation\n{written(trace.inputs['synthesis.res2.0'][0][0])}"
    axis.text(*concat.at(0.5, -0.4), both, ha="center", va="top", fontsize=d.SMALL, color=d.BLUE)
    height = swapped.shape[0] / swapped.shape[1]
    given = picture(axis, Box(concat.x - 0.35, 4.1, 1, height), swapped, "", shape_f)
    axis.text(given.x - 0.1, 4.1 + height / 2, d.SWAPPED, ha="right", va="center", fontsize=12)
    arrow(axis, (concat.at(0.5, 0)[0], 3.8), concat.at(0.5, 1))
    low = picture(axis, Box(start.x, 0.75, 1, example.lr.shape[0] / example.lr.shape[1]), example.lr, "", shape_lr)
    axis.text(low.x + 1.08, low.y, d.I_IN, fontsize=11, va="bottom")
    skip(
        axis, low.at(1, 0.5), total.at(0.5, 0), low.at(0, 0.5)[1], f"{d.I_IN}↑: bilinear ×{model.profile.scale}", d.BLUE
    )
    return finish(figure, 6, "Feature transfer and image synthesis", _caption(model, model.synthesis, "ζ"))


def _caption(model: E2ENT2, part: nn.Module | None = None, name: str = "") -> str:
    """What was recorded on what."""
    colours = "" if part is model.sisr else " Feature maps: three principal components as colours."
    share = "" if part is None else f"{name}: {parameters(part):,} of "
    return (
        f"Our drawing, from the model in memory. Blue: shapes C×H×W in one forward pass on a crop of the motorcycle "
        f"pair (held out).{colours} {share}{parameters(model):,} parameters in all. {provenance_of(model)}."
    )
