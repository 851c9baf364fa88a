"""The paper's figures as far as a program can draw them, in our own drawing: Fig. 1 and 7 here, the others beside it.

``FIGURES[n](profile)`` draws Fig. n with the profile's checkpoints; ``draw_all`` writes them all. Notebook 10.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Rectangle
from tqdm.auto import tqdm

from e2ent2lib.data.pairs import dataset
from e2ent2lib.measure.evaluate import prepared
from e2ent2lib.measure.metrics import Protocol, psnr
from e2ent2lib.photos.images import downscale
from e2ent2lib.photos.inference import super_resolve
from e2ent2lib.report.diagrams import Drawing, diagram, render
from e2ent2lib.report.examples import CROP, Pixels, Window, cut, engine, example_model, finish
from e2ent2lib.report.match_figures import backward_pass, forward_pass
from e2ent2lib.report.plots import COLOURS, use_style
from e2ent2lib.runs.checkpoints import available_models, shipped_card, shipped_folder
from e2ent2lib.runs.files import whole_file
from e2ent2lib.systems import SYSTEMS

PLACES = {
    "tank": (392, 176, 96, 72),
    "lamp": (488, 100, 96, 72),
    "shelf": (384, 48, 96, 72),
    "wheel": (136, 252, 96, 72),
}
"""The crops of Fig. 7."""
MISSING = {8: "it shows the answers of a user study, and no responses have been collected (notebook 13)"}
"""The figures that are not drawn, and why."""


def titles() -> dict[str, str]:
    """The systems that the figures show, by our names."""
    return {name: system.title for name, system in SYSTEMS.items() if system.figures}


def enlarged(profile: str) -> Mapping[str, Pixels]:
    """The motorcycle ×4 by each system that has a checkpoint of the profile; computed once."""
    names = tuple(name for name in titles() if name in available_models(profile))
    return _enlarged(profile, names, str(shipped_folder()))


@lru_cache(maxsize=2)
def _enlarged(profile: str, names: tuple[str, ...], folder: str) -> Mapping[str, Pixels]:
    hr, ref = prepared(dataset("motorcycle").pairs()[0])
    lr = downscale(hr)
    return {name: super_resolve(lr, ref, model=name, profile=profile) for name in names}


def figure1(profile: str) -> Figure:
    """Fig. 1: the whole pair at the left, one crop by every system at the right."""
    hr, ref = prepared(dataset("motorcycle").pairs()[0])
    return zoomed(enlarged(profile), hr, ref, CROP, _sources(profile))


def figure7(profile: str) -> Figure:
    """Fig. 7: several crops (rows) by every system (columns)."""
    hr, ref = prepared(dataset("motorcycle").pairs()[0])
    return crops_by_system(enlarged(profile), hr, ref, PLACES, _sources(profile))


def zoomed(images: Mapping[str, Pixels], hr: Pixels, ref: Pixels, box: Window, sources: str) -> Figure:
    """HR with the box above the reference, and the box's content by every system of ``images``."""
    given, panels = "Input, ×1/4", {titles()[name]: cut(image, box) for name, image in images.items()}
    panels |= {"HR": cut(hr, box)}
    if len(panels) % 2:  # two full rows
        panels = {given: cut(downscale(hr), tuple(n // 4 for n in box))} | panels
    columns = -(-len(panels) // 2)
    figure = plt.figure(figsize=(11.2, 2 * 0.75 * 11.2 / (columns + 1.12) + 1.9), layout="constrained")
    grid = figure.add_gridspec(2, 1 + columns, width_ratios=[1.12, *[1] * columns])
    _show_pair(figure, (grid[0, 0], grid[1, 0]), hr, ref, {COLOURS[1]: box})
    for i, (title, image) in enumerate(panels.items()):
        axis = figure.add_subplot(grid[i // columns, 1 + i % columns])
        score = "" if title in ("HR", given) else f"\n{psnr(image, cut(hr, box)):.2f} dB"
        _show(axis, image, title + score)
    about = f"The held-out motorcycle stereo pair. PSNR of the crop shown, {box[2]}×{box[3]} pixels, {_protocol()}."
    return finish(figure, 1, "The engine of the motorcycle, ×4 by each system", f"{about} {sources}")


def crops_by_system(
    images: Mapping[str, Pixels], hr: Pixels, ref: Pixels, places: Mapping[str, Window], sources: str
) -> Figure:
    """The pair at the left, then a row a place and a column a system, PSNR below; the best of a row is bold."""
    columns, rows = [*images, "HR"], len(places)
    height = rows * (0.75 * 11.6 / (len(columns) + 2.2) + 0.25) + 1
    figure = plt.figure(figsize=(11.6, height), layout="constrained")
    grid = figure.add_gridspec(rows, 1 + len(columns), width_ratios=[2.2, *[1] * len(columns)])
    left = grid[: -(-rows // 2), 0], grid[rows // 2 :, 0]
    _show_pair(figure, left, hr, ref, dict(zip(COLOURS, places.values())))
    for row, (place, box) in enumerate(places.items()):
        crops = {name: cut(image, box) for name, image in images.items()}
        scores = {name: f"{psnr(crop, cut(hr, box)):.2f}" for name, crop in crops.items()}
        for column, name in enumerate(columns):
            axis = figure.add_subplot(grid[row, 1 + column])
            _show(axis, crops.get(name, cut(hr, box)), titles().get(name, name) if row == 0 else "")
            axis.spines[:].set(visible=True, color=COLOURS[row], linewidth=2)
            if name in scores:
                best = scores[name] == max(scores.values(), key=float)
                axis.set_xlabel(f"{scores[name]} dB", fontsize=9.5, weight="bold" if best else "normal")
            if column == 0:
                axis.set_ylabel(place, color=COLOURS[row], weight="bold")
    about = f"The held-out motorcycle stereo pair. PSNR of each crop, {_protocol()}; bold: the best of a row."
    return finish(figure, 7, f"{len(places)} places of the motorcycle, ×4 by each system", f"{about} {sources}")


def _show(axis: Axes, image: Pixels, title: str) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=9.5)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def _show_pair(
    figure: Figure, parts: tuple[SubplotSpec, SubplotSpec], hr: Pixels, ref: Pixels, boxes: Mapping[str, Window]
) -> None:
    """HR with boxes, each in its colour, above the reference."""
    left, right = (figure.add_subplot(part) for part in parts)
    _show(left, hr, "HR (left view)")
    _show(right, ref, "Reference (right view)")
    for colour, (x, y, width, height) in boxes.items():
        left.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, ec=colour, lw=2))


def _protocol() -> str:
    """What of the default protocol concerns PSNR, in words."""
    p = Protocol()
    return f"{p.channel.upper()}, border {p.border}, {p.resize} ×1/4, 8 bits"


def _sources(profile: str) -> str:
    """Profile and checkpoints of what is shown, and which systems are missing and why."""
    available = available_models(profile)
    cards = {n: shipped_card(n, profile) for n in titles() if n in available and not SYSTEMS[n].card}
    marks = ", ".join(f"{SYSTEMS[n].title} {c['sha256'][:8]}" for n, c in cards.items())
    missing = [title for name, title in titles().items() if name not in available]
    lines = [f"Profile {profile}; checkpoints: {marks or 'none'}."]
    lines += [f"No checkpoint of this profile yet: {', '.join(missing)}."] if missing else []
    return " ".join(lines)


FIGURES: dict[int, Callable[[str], Figure | Drawing]] = {
    1: figure1,
    2: lambda profile: diagram(2, example_model(profile), engine()),
    3: lambda profile: diagram(3, example_model(profile), engine()),
    4: lambda profile: forward_pass(example_model(profile), engine()),
    5: lambda profile: backward_pass(example_model(profile, ("e2ent2-mse", "e2ent2")), engine()),
    6: lambda profile: diagram(6, example_model(profile), engine()),
    7: figure7,
}


def save(figure: Figure | Drawing, name: str, folder: Path) -> list[Path]:
    """Write ``NAME.png`` and ``NAME.pdf``, each whole or not at all and without dates; returns both paths."""
    paths = []
    for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        path = Path(folder) / f"{name}.{kind}"
        with whole_file(path) as temporary:
            if isinstance(figure, Drawing):
                temporary.write_bytes(render(figure.svg, kind))
            else:
                figure.savefig(temporary, dpi=150, metadata=metadata)
        paths.append(path)
    return paths


def draw(figure: Callable[[], Figure | Drawing], name: str, folder: Path) -> list[Path]:
    """Draw a figure in the style of all and ``save`` it; the folder is made."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with plt.rc_context():
        use_style()
        paths = save(figure(), name, folder)
        plt.close("all")
    return paths


def draw_all(profile: str, folder: Path, progress: bool = True) -> list[Path]:
    """Draw every figure of ``FIGURES`` into ``folder`` (made if missing); returns the files."""
    paths = []
    for number, figure in (bar := tqdm(FIGURES.items(), unit="figure", disable=not progress)):
        bar.set_description(f"drawing Fig. {number}")
        paths += draw(partial(figure, profile), f"fig{number}", folder)
    return paths
