"""Masks become COCO's run-length encoding and back; the one door to pycocotools.

The runs go down the columns, start with background, and are packed into text:
https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
"""

from typing import TypedDict

import numpy as np
from pycocotools import mask as coco_mask

from sam_video.types import BoolMask


class CocoRle(TypedDict):
    """A mask as `pycocotools.mask.decode` and JSON take it."""

    size: list[int]
    """`[height, width]`."""
    counts: str
    """COCO's compressed string, ASCII."""


def encode(mask: BoolMask) -> CocoRle:
    """Encode a mask, `(H, W)` bool."""
    assert mask.ndim == 2
    assert mask.dtype == np.bool_
    encoded = coco_mask.encode(np.asfortranarray(mask).view(np.uint8))
    height, width = mask.shape
    return {"size": [height, width], "counts": encoded["counts"].decode("ascii")}


def decode(rle: CocoRle) -> BoolMask:
    """Decode an encoding made by `encode` or pycocotools to `(H, W)` bool, C-contiguous."""
    mask: BoolMask = np.ascontiguousarray(coco_mask.decode(rle)).view(np.bool_)
    return mask


def area(rle: CocoRle) -> int:
    """Count the pixels of the object."""
    return int(coco_mask.area(rle))


def bbox_xywh(rle: CocoRle) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the object's box, in pixels; zeros if it is empty."""
    x, y, width, height = coco_mask.toBbox(rle)
    return int(x), int(y), int(width), int(height)
