"""Write the bounding boxes of masks, in `boxes.json`."""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sam_video.types import BoolMask, MaskFrame
from sam_video.writers.atomic_files import AtomicFile, errors_naming
from sam_video.writers.coco import words_entry
from sam_video.writers.sink import Step, json_bytes


class BoxWriter:
    """Write the box of every visible object on every frame, in `boxes.json`.

    The file's keys are the frames' indices in the source, as text. A box is `[x0, y0, x1, y1]` in
    whole pixels and half-open: `x1 - x0` is its width. An object that words have found has its
    concept and its detection score.

    Args:
        folder: An existing folder for `boxes.json`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "boxes.json"
        self._output = AtomicFile(self._path)
        self._separator = b"{\n"

    def prepare(self, masks: MaskFrame) -> Step:
        """Compute the boxes of one frame; `finish` completes the file."""
        key = json_bytes(str(masks.frame.index))
        return partial(self._write, key + b": " + json_bytes(_entries(masks)))

    def _write(self, member: bytes) -> list[Path]:
        with errors_naming(self._path):
            self._output.file.write(self._separator + member)
        self._separator = b",\n"
        return []

    def finish(self) -> list[Path]:
        """Complete the file and return its path."""
        with errors_naming(self._path):
            self._output.file.write(b"{}\n" if self._separator == b"{\n" else b"\n}\n")
        return [self._output.finish()]

    def close(self) -> None:
        """Remove the file if it is not complete."""
        self._output.close()


def _entries(masks: MaskFrame) -> list[dict[str, Any]]:
    return [
        {
            "frame_index": masks.frame.index,
            "object_id": item.object_id,
            "bbox": box,
            "timestep": masks.frame.pts_seconds,
            **words_entry(item),
        }
        for item in masks.objects
        if (box := _box_xyxy(item.mask))
    ]


def _box_xyxy(mask: BoolMask) -> tuple[int, int, int, int] | None:
    """Return left, top, right and bottom of the mask, half-open; None for an empty mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return (x, y, x + width, y + height) if width else None
