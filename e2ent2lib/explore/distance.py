"""The feature-distance explorer (Table 3): how far F is from φ(HR), by place, layer and encoder. Notebook 12."""

import re
from contextlib import ExitStack

import ipywidgets as w
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from e2ent2lib.explore.explorer import CHART, Photos, PlaceExplorer, choice, row
from e2ent2lib.explore.match import FEATURES, encoder
from e2ent2lib.explore.view import Picture, around, bars, face, mark, strip
from e2ent2lib.matching import match, swap
from e2ent2lib.models.blocks import ResidualBlock
from e2ent2lib.photos.images import downscale, to_image, to_tensor
from e2ent2lib.photos.inference import prepare_reference
from e2ent2lib.report.figures import largest
from e2ent2lib.report.plots import Pixels, heat, png

FORMS = ("as the paper has it", "scale-free")
"""Mean L1 norm over channels, of Table 3; and the same divided by the mean L1 norm of φ(HR)."""
OUTPUT = "φ"
SHOWN, APART = 6, 5
"""So many of the largest distances are shown, so many cells or more from each other."""


class PairDistances:
    """One pair through one encoder: a map of distances for each of its layers, in cells of 4×4 pixels.

    F of a layer is that layer's features of the reference, put where the matches of φ (Eq. 3, L2) say.
    """

    def __init__(self, photos: Photos, features: str):
        phi, r = encoder(features), 4
        full, down = prepare_reference(photos.ref)
        self.hr = photos.hr
        with torch.inference_mode():
            matches = match(phi(to_tensor(downscale(photos.hr))), phi(down))
            self.pixels = to_image(swap(full, matches))
            """The reference's pixels, swapped: what F is the features of, but for the borders of patches."""
            ref, hr = layers(phi, full), layers(phi, to_tensor(photos.hr))
            self.maps: dict[str, dict[str, Float[np.ndarray, "h w"]]] = {form: {} for form in FORMS}
            """The distance in each cell, by form and layer. Of φ itself the mean is Table 3's feature distance."""
            for name, target in hr.items():
                apart = (swap(ref[name], matches) - target).abs().sum(1, keepdim=True)
                cells = nn.functional.avg_pool2d(apart, r)[0, 0].numpy()
                length = target.abs().sum(1).mean().item() or 1.0  # φ of black may be 0
                self.maps[FORMS[0]][name], self.maps[FORMS[1]][name] = cells, cells / length


def layers(phi: nn.Module, image: Float[Tensor, "1 3 h w"]) -> dict[str, Float[Tensor, "1 c h w"]]:
    """What an encoder's convolutions outside of residual blocks, its blocks and φ make of an image, in order."""
    outputs: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for path, part in phi.named_modules():
            name = layer_name(path)
            if isinstance(part, nn.Conv2d | ResidualBlock) and ", conv" not in name:
                hooks.enter_context(part.register_forward_hook(lambda *io, name=name: outputs.update({name: io[2]})))
        outputs[OUTPUT] = phi(image)
    return outputs


def layer_name(path: str) -> str:
    """What readers call a part of the encoder: "body.0.2" is block 3, "body.1" the convolution after the blocks."""
    if block := re.fullmatch(r"body\.0\.(\d+)(?:\.body\.([02]))?", path):
        return f"block {int(block[1]) + 1}" + (f", conv {int(block[2]) // 2 + 1}" if block[2] else "")
    return "last conv" if path == "body.1" else path.rsplit(".", 1)[-1]


class DistanceExplorer(PlaceExplorer):
    """A pair through four encoders. It opens at the largest distance."""

    def __init__(self, pair: str = "motorcycle, a part"):
        self._distances: dict[str, PairDistances] = {}
        self.features = choice("encoder φ", list(FEATURES), "end-to-end")
        self.layer = choice("layer", [OUTPUT], tip="of the encoder; φ is its output")
        self.form = choice("distance", list(FORMS), tip="scale-free: divided by the mean length of φ(HR)")
        titles = ("HR: point at a place", "F as pixels: the reference's, swapped", "")
        self.truth, self.swapped, self.map = pictures = [Picture(title=t, pointable=True, width=380) for t in titles]
        numbers = self.choose_place((0, 0), *pictures)
        self.here, self.worst = w.HTML(), w.HTML()
        self.by_layer, self.by_encoder = w.HTML(layout=CHART), w.HTML(layout=CHART)
        super().__init__(
            "Feature-distance explorer",
            "Table 3 has one number for how far the swapped features F are from φ(HR). This is its map: bright is far.",
            pair,
            [self.features, self.layer, self.form, *numbers],
            [row(*pictures), row(self.here, self.worst), row(self.by_layer, self.by_encoder)],
        )
        self.on(self._show, self.features, self.layer, self.form)

    @property
    def now(self) -> PairDistances:
        """The chosen encoder's distances."""
        return self._distances[self.features.value]

    @property
    def values(self) -> Float[np.ndarray, "h w"]:
        """The map that is shown."""
        return self.now.maps[self.form.value][self.layer.value]

    def largest(self, count: int = SHOWN) -> list[tuple[int, int]]:
        """The (row, column) with the largest distances, largest first."""
        return largest(self.values, count, APART)

    def summary(self) -> str:
        """The picture's distance, and that of the place."""
        here, mean = self.values[self.row.value, self.column.value], self.values.mean(dtype=float)
        return (
            f"{self.features.value}, {self.layer.value}: feature distance {mean:.3g} over the picture "
            f"({self.form.value}); {here:.3g} at row {self.row.value}, column {self.column.value}, "
            f"{here / (mean or 1):.1f} times the mean"
        )

    def figure(self) -> Figure:
        """The three pictures, and the places with the largest distances."""
        patches = {f"no. {caption}": patch for caption, patch in self._patches(3).items()}
        return face([self.truth, self.swapped, self.map], patches, self.summary(), 3)

    def load(self) -> None:
        """Other photographs, through all encoders."""
        chosen, distances = self.chosen(), {}
        for number, name in enumerate(FEATURES, 1):
            self.say(f"working: {name}: features, matches and distances, {number} of {len(FEATURES)} …")
            distances[name] = PairDistances(chosen, name)
        self._distances = distances
        self.say(chosen.note)
        self.truth.data = png(chosen.hr)
        self.limit_place(*(n // 4 for n in chosen.hr.shape[:2]))
        self._show()
        self.go(*np.unravel_index(self.values.argmax(), self.values.shape))

    def show_place(self) -> None:
        """What lies at the place."""
        y, x = self.row.value, self.column.value
        self.truth.marks = self.swapped.marks = self.map.marks = [mark("best", x, y)]
        caption = f"HR | swapped in: {self.values[y, x]:.3g}"
        self.here.value = "<b>this place</b>" + strip({caption: self._two(y, x)}, 120)

    def _show(self) -> None:
        """Another encoder, layer or form of the same photographs."""
        means = {name: float(values.mean(dtype=float)) for name, values in self.now.maps[self.form.value].items()}
        if list(self.layer.options) != list(means):
            chosen = self.layer.value
            self.layer.options = list(means)
            self.layer.value = chosen if chosen in means else OUTPUT
        high = float(np.quantile(self.values, 0.995))
        self.swapped.data, self.map.data = png(self.now.pixels), png(heat(self.values, high))
        self.map.title = f"|F − φ(HR)| in {self.layer.value}: bright from {high:.3g}"
        legend = f"distance, {self.form.value}"
        self.by_layer.value = bars(means, f"{self.features.value}: by layer", legend)
        every = {n: float(d.maps[self.form.value][OUTPUT].mean(dtype=float)) for n, d in self._distances.items()}
        self.by_encoder.value = bars(every, "by encoder, φ", legend)
        self.worst.value = "<b>largest distances</b>: HR above what was swapped in" + strip(self._patches(SHOWN), 120)
        self.go(self.row.value, self.column.value)

    def _patches(self, count: int) -> dict[str, Pixels]:
        places = enumerate(self.largest(count), 1)
        return {f"{i}: {self.values[y, x]:.3g}, row {y}, column {x}": self._two(y, x) for i, (y, x) in places}

    def _two(self, y: int, x: int) -> Pixels:
        """What lies around a cell in HR, and in the swapped reference below it, so that a strip's tiles are square."""
        above, below = (around(image, y, x, 12)[4:-4] for image in (self.now.hr, self.now.pixels))
        return np.concatenate([above, np.full_like(above[:2], 255), below])
