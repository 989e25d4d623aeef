"""Encode masks as run lengths; the only module that uses pycocotools.

COCO's runs go down the columns, start with background, and are packed into text:
https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.h
The runs of `start_length` go along the rows and list the object's runs only.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from sam_video.types import BoolMask


class CocoRle(TypedDict):
    """A mask in the form that `pycocotools.mask.decode` reads and JSON can hold."""

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
    """Decode an RLE made by `encode` or pycocotools to `(H, W)` bool, C-contiguous."""
    mask: BoolMask = np.ascontiguousarray(coco_mask.decode(rle)).view(np.bool_)
    return mask


def area(rle: CocoRle) -> int:
    """Count the pixels of the object."""
    return int(coco_mask.area(rle))


def bbox_xywh(rle: CocoRle) -> tuple[int, int, int, int]:
    """Return left, top, width and height of the object's box in pixels; zeros for no object."""
    x, y, width, height = coco_mask.toBbox(rle)
    return int(x), int(y), int(width), int(height)


def ious(masks: Sequence[CocoRle], others: Sequence[CocoRle]) -> npt.NDArray[np.float64]:
    """Return the intersections over unions of N masks with M others, `(N, M)`; 0 for empty ones."""
    if not masks or not others:
        return np.zeros((len(masks), len(others)))
    found: npt.NDArray[np.float64] = coco_mask.iou(list(masks), list(others), [0] * len(others))
    return np.nan_to_num(found)


def start_length(mask: BoolMask) -> str:
    """Encode a mask, `(H, W)` bool, as `"start length start length …"`, row by row from 0.

    A run continues at the start of the next row. An empty mask gives an empty text.
    """
    # Background at both ends gives every run an edge at its start and one at its end.
    pixels = np.zeros(mask.size + 2, dtype=np.bool_)
    pixels[1:-1] = mask.ravel()
    starts, ends = np.flatnonzero(pixels[1:] != pixels[:-1]).reshape(-1, 2).T
    return " ".join(map(str, np.stack([starts, ends - starts], axis=1).ravel().tolist()))
