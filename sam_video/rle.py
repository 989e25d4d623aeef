"""Masks become run lengths; the one door to pycocotools.

COCO's runs go down the columns, start with background, and are packed into text:
https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
Those of `start_length` go along the rows, and name the runs of the object alone.
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


def start_length(mask: BoolMask) -> str:
    """Encode a mask, `(H, W)` bool, as `"start length start length …"`, row by row from 0.

    A run goes on at the start of the next row. The text of an empty mask is empty.
    """
    # With background at both ends, every run has an edge where it begins and one where it ends.
    pixels = np.zeros(mask.size + 2, dtype=np.bool_)
    pixels[1:-1] = mask.ravel()
    starts, ends = np.flatnonzero(pixels[1:] != pixels[:-1]).reshape(-1, 2).T
    return " ".join(map(str, np.stack([starts, ends - starts], axis=1).ravel().tolist()))
