"""Resize frames to the network's input and masks to the frame; turn masks into bits and levels."""

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate, pad

from sam_video.types import BoolMask, RGBImage


def resize_image(image: RGBImage, size: int) -> RGBImage:
    """Resize to `(size, size, 3)`, dropping the aspect ratio, with Pillow's bicubic filter.

    SAM 2 does the same to folders of JPEG images (`sam2.utils.misc._load_img_as_tensor`).
    """
    return np.asarray(Image.fromarray(image).resize((size, size)))


def enlarge(logits: Tensor, frame_hw: tuple[int, int]) -> Tensor:
    """Resize `(N, M, h, w)` mask logits to a frame's height and width."""
    return interpolate(logits, size=frame_hw, mode="bilinear", align_corners=False)


def resize_masks(masks: Tensor, size: int, *, antialias: bool = False) -> Tensor:
    """Resize `(N, M, H, W)` masks or logits to `(N, M, size, size)`."""
    if masks.shape[-2:] == (size, size):
        return masks
    return interpolate(
        masks, size=(size, size), mode="bilinear", align_corners=False, antialias=antialias
    )


def confidence_levels(logits: Tensor, masks: Tensor) -> Tensor:
    """Return probabilities as 0 to 255, uint8: 128 and more inside the masks, less outside."""
    levels = (logits.sigmoid() * 255 - 0.5).ceil().to(torch.uint8)
    # The sigmoid of a logit close to 0 is 0.5, whether the pixel is in the mask or not.
    return torch.where(masks, levels.clamp(min=128), levels.clamp(max=127))


def pack_masks(masks: Tensor) -> Tensor:
    """Pack `(..., W)` bool into `(..., ceil(W / 8))` uint8, the first pixel in the highest bit.

    Packed masks are an eighth of the bytes to copy from a GPU.
    """
    padded = pad(masks, (0, -masks.shape[-1] % 8)).unflatten(-1, (-1, 8))
    packed: Tensor = (padded * _bits(masks.device)).sum(dim=-1, dtype=torch.uint8)
    return packed


@cache
def _bits(device: torch.device) -> Tensor:
    """Return the weights of eight pixels; making them anew would wait for the GPU every time."""
    return torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=device)


def unpack_masks(packed: npt.NDArray[np.uint8], width: int) -> BoolMask:
    """Return the `(..., W)` bool that `pack_masks` has packed."""
    return np.unpackbits(packed, axis=-1, count=width).view(np.bool_)
