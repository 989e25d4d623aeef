"""Between the size of a frame and the sizes that the network has."""

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from sam_video.types import RGBImage


def resize_image(image: RGBImage, size: int) -> RGBImage:
    """Resize to `(size, size, 3)`, dropping the aspect ratio, with Pillow's bicubic filter.

    That is what SAM 2 does to folders of JPEG images (`sam2.utils.misc._load_img_as_tensor`).
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
