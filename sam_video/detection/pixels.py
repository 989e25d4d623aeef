"""Images on their way to a detector's network."""

import torch
from torch import Tensor

from sam_video.types import RGBImage


def on_device(image: RGBImage, device: torch.device) -> Tensor:
    """Return the `(H, W, 3)` uint8 pixels of an image; on a CPU they may share its memory."""
    is_plain = image.flags.writeable and image.flags.c_contiguous  # or torch warns, or refuses
    return torch.from_numpy(image if is_plain else image.copy()).to(device)
