"""Small frames with known masks, for the tests of what writers leave on disk."""

from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam_video.types import BoolMask, Frame, MaskFrame, ObjectMask, VideoInfo
from sam_video.writers.sink import Sink

HEIGHT, WIDTH = 46, 62
INFO = VideoInfo(WIDTH, HEIGHT, Fraction(30000, 1001), num_frames=None)
NOTHING = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)


def disc(x: float, y: float, radius: float = 9) -> BoolMask:
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    mask: BoolMask = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return mask


def picture() -> npt.NDArray[np.uint8]:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 4, columns * 4, 255 - rows * 2], axis=2).astype(np.uint8)


def confidence(mask: BoolMask) -> npt.NDArray[np.uint8]:
    """Make probabilities that fall off to the right, above one half on the mask alone."""
    slope = np.linspace(100, 0, mask.shape[1]).astype(np.uint8)
    return np.where(mask, 155 + slope, slope).astype(np.uint8)


def mask_frame(index: int, masks: dict[str, BoolMask], iou: float = 0.9) -> MaskFrame:
    objects = tuple(
        ObjectMask(name, object_index, mask, 1.0, iou, confidence=confidence(mask))
        for object_index, (name, mask) in enumerate(masks.items())
    )
    return MaskFrame(Frame(index, index / 25, picture()), objects)


def moving_discs(num_frames: int) -> list[MaskFrame]:
    return [
        mask_frame(index, {"dog": disc(10 + 3 * index, 20), "cat": disc(45, 30)})
        for index in range(num_frames)
    ]


def write_all(sink: Sink, frames: Iterable[MaskFrame]) -> list[Path]:
    with closing(sink):
        paths = [path for masks in frames for path in sink.prepare(masks)()]
        return paths + sink.finish()
