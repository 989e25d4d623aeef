"""Keep masks on disk until their frame is written."""

import json
import zlib
from collections.abc import Sequence

import numpy as np

from sam_video import rle
from sam_video.disk_spool import DiskSpool
from sam_video.types import ConfidenceMap, ObjectMask


class MaskSpool:
    """Keeps the masks of frames on disk.

    The backward pass makes masks from the last frame to the first; the output needs them from the
    first to the last.
    """

    def __init__(self) -> None:
        self._spool = DiskSpool()

    def close(self) -> None:
        """Forget all masks."""
        self._spool.close()

    def append(self, frame_index: int, objects: Sequence[ObjectMask]) -> None:
        """Store the masks of a frame; frames come in any order, each once.

        Raises:
            OSError: The disk of the temporary folder is full.
        """
        for position, item in enumerate(objects):
            self._spool.put(frame_index, position, _to_bytes(item))

    def read(self, frame_index: int) -> tuple[ObjectMask, ...]:
        """Return the masks of a frame as they were appended; empty if they never were."""
        rows = list(self._spool.rows(frame_index))  # none is left half-read by a cancellation
        return tuple(_from_bytes(data) for _, data in rows)


def _to_bytes(item: ObjectMask) -> bytes:
    """Return a line of JSON and, if there is a confidence, its compressed levels."""
    content = {
        "object_id": item.object_id,
        "object_index": item.object_index,
        "mask": rle.encode(item.mask),
        "object_score": item.object_score,
        "predicted_iou": item.predicted_iou,
    }
    line = json.dumps(content).encode("ascii") + b"\n"
    if item.confidence is None:
        return line
    return line + zlib.compress(item.confidence.tobytes(), level=1)


def _from_bytes(data: bytes) -> ObjectMask:
    line, _, compressed = data.partition(b"\n")
    content = json.loads(line)
    mask = rle.decode(content.pop("mask"))
    confidence: ConfidenceMap | None = None
    if compressed:
        levels = np.frombuffer(zlib.decompress(compressed), np.uint8)
        confidence = levels.reshape(mask.shape)
    return ObjectMask(**content, mask=mask, confidence=confidence)
