"""The few building blocks of Fig. 3 and Fig. 6: residual blocks without batch norm, pixel-shuffle upsampling."""

from jaxtyping import Float
from torch import Tensor, nn


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """A 3×3 convolution that keeps the size (or halves it, with stride 2)."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


class ResidualBlock(nn.Module):
    """x + conv(ReLU(conv(x))), no batch norm (3.2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(conv3(channels, channels), nn.ReLU(inplace=True), conv3(channels, channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same shape out as in."""
        return x + self.body(x)


def residual_blocks(channels: int, count: int) -> nn.Sequential:
    """``count`` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))


def doublings(scale: int) -> int:
    """How many ×2 stages make ``scale``. Raises ValueError if it is not a power of two."""
    if scale < 1 or scale & (scale - 1):
        raise ValueError(f"scale {scale}: choose a power of two, since each stage doubles the size")
    return scale.bit_length() - 1


def upsampling(channels: int, scale: int) -> nn.Sequential:
    """Pixel-shuffle stages ×2 up to ``scale``, a power of two (Fig. 3, Fig. 6)."""
    stages = []
    for _ in range(doublings(scale)):
        stages += [conv3(channels, 4 * channels), nn.PixelShuffle(2), nn.ReLU(inplace=True)]
    return nn.Sequential(*stages)


def output_conv(channels: int) -> nn.Conv2d:
    """The last convolution to RGB, started near zero, so that training begins at the bilinear skip."""
    last = conv3(channels, 3)
    nn.init.normal_(last.weight, std=1e-3)
    nn.init.zeros_(last.bias)
    return last
