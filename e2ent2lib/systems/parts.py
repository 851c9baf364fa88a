"""What several baselines share: luma and chroma, enlargement of tensors, and losses on VGG features."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Images = Float[Tensor, "b 3 h w"]
_LUMA = (
    (65.481 / 255, 128.553 / 255, 24.966 / 255),
    (-37.797 / 255, -74.203 / 255, 112.0 / 255),
    (112.0 / 255, -93.786 / 255, -18.214 / 255),
)
_OFFSET = (16 / 255, 128 / 255, 128 / 255)


def to_ycbcr(rgb: Images) -> Images:
    """ITU-R BT.601 with limited range (Y from 16/255 to 235/255), as MATLAB's rgb2ycbcr; RGB in [0, 1]."""
    matrix, offset = (rgb.new_tensor(x) for x in (_LUMA, _OFFSET))
    return torch.einsum("oi,bihw->bohw", matrix, rgb) + offset.view(1, 3, 1, 1)


def to_rgb(ycbcr: Images) -> Images:
    """The reverse of ``to_ycbcr``, not clipped."""
    matrix, offset = (torch.tensor(x, dtype=torch.float64) for x in (_LUMA, _OFFSET))
    back = torch.linalg.inv(matrix).to(ycbcr)
    return torch.einsum("oi,bihw->bohw", back, ycbcr - offset.to(ycbcr).view(1, 3, 1, 1))


def enlarge(image: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c R*h R*w"]:
    """Bicubic × ``scale`` with Pillow's kernel (Keys, a = −0.5), not rounded."""
    return F.interpolate(image.float(), scale_factor=scale, mode="bicubic", antialias=True)


def shrink(image: Float[Tensor, "b c h w"], scale: int) -> Float[Tensor, "b c h/R w/R"]:
    """Bicubic × 1/``scale`` with Pillow's antialiased kernel, not rounded; the degradation of 4.1, with gradients."""
    return F.interpolate(image.float(), scale_factor=1 / scale, mode="bicubic", antialias=True)


def gram(features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c c"]:
    """Sums over positions of the products of two channels each, float32."""
    flat = features.float().flatten(2)
    with torch.autocast(flat.device.type, enabled=False):
        return flat @ flat.transpose(1, 2)
