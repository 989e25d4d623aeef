"""One label per pixel, for the formats in which objects cannot overlap."""

import numpy as np
import numpy.typing as npt

from sam_video.errors import RequestError
from sam_video.types import MaskFrame

LabelMap = npt.NDArray[np.uint16]
"""`(H, W)` uint16: 0 background, else the object's index + 1."""


def label_map(masks: MaskFrame, form: str, most: int) -> LabelMap:
    """Label each pixel; where objects overlap, the one of the higher index, as in drawings.

    Args:
        masks: The frame and its masks.
        form: Name of the format, for the message.
        most: The highest label that it holds.

    Raises:
        RequestError: There are more objects than that.
    """
    labels = np.zeros(masks.frame.image.shape[:2], np.uint16)
    for item in masks.objects:
        if item.object_index >= most:
            raise RequestError(
                f"export_formats has {form}, which holds at most {most} objects;"
                " expected fewer, or another format"
            )
        labels[item.mask] = item.object_index + 1
    return labels
