"""Masks as bits, an eighth of the bytes to copy from a GPU."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import pad

from sam_video.types import BoolMask


def packed(masks: Tensor) -> Tensor:
    """Pack `(..., W)` bool into `(..., ceil(W / 8))` uint8, the first pixel in the highest bit."""
    padded = pad(masks, (0, -masks.shape[-1] % 8)).unflatten(-1, (-1, 8))
    bits = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=masks.device)
    whole: Tensor = (padded * bits).sum(dim=-1, dtype=torch.uint8)
    return whole


def unpacked(masks: npt.NDArray[np.uint8], width: int) -> BoolMask:
    """Return the `(..., W)` bool that `packed` has packed."""
    return np.unpackbits(masks, axis=-1, count=width).view(np.bool_)
