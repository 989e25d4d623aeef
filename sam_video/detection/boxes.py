"""From a network's boxes and scores to detections: clipped, sorted, and each thing once."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam_video.detection.interface import Detection
from sam_video.types import Box

MAX_BOX_IOU = 0.5
"""Boxes of one concept that overlap by more are one thing, and the surest stays."""

MAX_DETECTIONS = 300
"""Of one concept in an image: the surest. It bounds what a threshold of 0 lets through."""

_Array = npt.NDArray[np.float32]


def corners(boxes: Tensor) -> Tensor:
    """Return `(N, 4)` boxes of centre and size as x0, y0, x1, y1."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat((centres - halves, centres + halves), dim=1)


def find_instances(
    boxes: Tensor, scores: Tensor, concepts: Sequence[str], hw: tuple[int, int], threshold: float
) -> list[Detection]:
    """Return the instances of each concept among the boxes of a network.

    Boxes are cut at the image's edges; those that leave less than a pixel are dropped, as are
    values that are no numbers. The order does not depend on the device: the surest first, and of
    equally sure ones that of the concept, then of the network.

    Args:
        boxes: `(N, 4)` float32, x0, y0, x1, y1 in pixels.
        scores: `(N, C)` float32, 0 to 1, one column for each concept.
        concepts: C texts.
        hw: Height and width of the image.
        threshold: The least score.
    """
    H, W = hw
    limits = torch.tensor((W, H, W, H), dtype=boxes.dtype, device=boxes.device)
    inside = boxes.clamp(min=0).minimum(limits)
    is_seen = (inside[:, 2:] - inside[:, :2] >= 1).all(dim=1)
    usable = scores.where(is_seen[:, None] & (scores >= threshold), -1.0)
    best, rows = usable.sort(dim=0, descending=True, stable=True)
    best, rows = best[:MAX_DETECTIONS], rows[:MAX_DETECTIONS]
    sure, sure_boxes = best.cpu().numpy(), inside[rows].cpu().numpy()
    found = [
        Detection(concept, float(sure[row, column]), Box(*sure_boxes[row, column].tolist()))
        for column, concept in enumerate(concepts)
        for row in _without_duplicates(sure_boxes[:, column][sure[:, column] >= 0])
    ]
    return sorted(found, key=lambda detection: -detection.score)


def _without_duplicates(boxes: _Array) -> list[int]:
    """Return the rows of boxes, the surest first, that no surer one that stays overlaps."""
    overlaps = _ious(boxes) > MAX_BOX_IOU
    is_left = np.ones(len(boxes), bool)
    for row in range(len(boxes)):
        if is_left[row]:
            is_left[row + 1 :] &= ~overlaps[row, row + 1 :]
    return np.flatnonzero(is_left).tolist()


def _ious(boxes: _Array) -> _Array:
    """Return the `(N, N)` intersection over union of `(N, 4)` boxes that are not empty."""
    starts = np.maximum(boxes[:, None, :2], boxes[:, :2])
    ends = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    intersections = np.prod(np.maximum(ends - starts, 0), axis=-1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1)
    ious: _Array = intersections / (areas[:, None] + areas - intersections)
    return ious
