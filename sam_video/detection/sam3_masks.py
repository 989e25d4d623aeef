"""Masks as SAM 3 handles them: frames to its input, duplicates, specks and holes.

`transformers` takes the functions for duplicates and specks from a package that needs a GPU and the
network, and without it leaves them out. The ones here give the same on any device.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from sam_video.detection.pixels import on_device
from sam_video.types import RGBImage


def to_pixels(image: RGBImage, size: int, device: torch.device) -> Tensor:
    """Return an image as the `(3, size, size)` float32 input of SAM 3, -1 to 1.

    The aspect is not kept, and grey levels stay whole numbers when they are resized, as in the
    original (`sam3.model.sam3_image_processor`).
    """
    levels = on_device(image, device).permute(2, 0, 1)[None].float()
    resized = interpolate(
        levels, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return (resized[0].round().clamp(0, 255) / 255 - 0.5) / 0.5


def mask_ious(masks: Tensor) -> Tensor:
    """Return the `(N, N)` intersection over union of `(N, H, W)` bool masks with one another."""
    flat = masks.flatten(1).float()
    intersection = flat @ flat.T
    areas = flat.sum(dim=1)
    return intersection / (areas[:, None] + areas - intersection).clamp(min=1)


def without_duplicates(ious: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Return the indices of those that no surer one overlaps, the surest first.

    Args:
        ious: `(N, N)` intersection over union.
        scores: `(N,)`.
        threshold: Where two overlap by more than this, the less sure one goes.
    """
    order = scores.argsort(descending=True, stable=True)
    overlaps = (ious > threshold)[order][:, order].tolist()
    kept: list[int] = []
    for row, overlapping in enumerate(overlaps):
        if not any(overlapping[other] for other in kept):
            kept.append(row)
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]


def component_areas(masks: Tensor, largest: int) -> Tensor:
    """Return the area of the connected component (8 neighbours) that each pixel belongs to.

    Args:
        masks: `(N, 1, H, W)` bool.
        largest: Areas up to this one are counted, in as many steps; `H * W + 1` stands for more.

    Returns:
        `(N, 1, H, W)` int64, 0 outside the masks.
    """
    num_pixels = masks.shape[-2] * masks.shape[-1]
    own = torch.arange(1, num_pixels + 1, device=masks.device).view(1, 1, *masks.shape[-2:])
    labels = own * masks.float()
    for _ in range(largest):  # each component of that many pixels ends with one label
        labels = max_pool2d(labels, 3, stride=1, padding=1) * masks
    unlike = (max_pool2d(labels, 3, stride=1, padding=1) != labels) & masks
    index = labels.long().flatten(1)
    counts = torch.zeros(len(masks), num_pixels + 1, dtype=torch.long, device=masks.device)
    counts.scatter_add_(1, index, torch.ones_like(index))
    counts.scatter_add_(1, index, unlike.flatten(1) * (num_pixels + 1))  # it goes on beside it
    counts[:, 0] = 0
    areas = counts.gather(1, index).view_as(masks)
    return areas.where(areas <= largest, num_pixels + 1) * masks


class Sam3Kernels:
    """What `transformers.models.sam3_video` calls `cv_utils_kernel`.

    Args:
        largest: The area in pixels of the largest speck or hole that the network removes.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest

    def generic_nms(
        self, ious: Tensor, scores: Tensor, threshold: float, *, use_iou_matrix: bool
    ) -> Tensor:
        """Return the indices of detections without duplicates."""
        assert use_iou_matrix
        return without_duplicates(ious, scores, threshold)

    def cc_2d(self, masks: Tensor, *, get_counts: bool) -> tuple[Tensor, Tensor]:
        """Return `(N, 1, H, W)` masks, and int32 areas of the components of their pixels."""
        assert get_counts
        areas = component_areas(masks.bool(), self._largest)
        return masks, areas.int()
