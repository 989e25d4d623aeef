"""Masks wait on disk until their frame's turn in the output comes."""

import json
import tempfile
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from sam_video import rle
from sam_video.types import ConfidenceMap, ObjectMask


class MaskSpool:
    """A temporary file that keeps masks by frame, and in memory only where each frame begins.

    The backward pass makes masks from the last frame to the first, the output needs them from the
    first to the last. The file has no name and is gone when the spool is closed, also after a
    crash.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115, closed by __exit__
        self._offsets: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def append(self, frame_index: int, objects: Sequence[ObjectMask]) -> None:
        """Store the masks of a frame; frames come in any order, each once.

        Raises:
            OSError: The disk of the temporary directory is full.
        """
        assert frame_index not in self._offsets
        offset = self._file.seek(0, 2)
        line = json.dumps([_to_json(item) for item in objects])
        self._file.write(line.encode("ascii") + b"\n")
        self._offsets[frame_index] = offset

    def read(self, frame_index: int) -> tuple[ObjectMask, ...]:
        """Return the masks of a frame as they were appended; empty if they never were."""
        offset = self._offsets.get(frame_index)
        if offset is None:
            return ()
        self._file.seek(offset)
        return tuple(_from_json(item) for item in json.loads(self._file.readline()))


def _to_json(item: ObjectMask) -> dict[str, Any]:
    confidence = None if item.confidence is None else _packed(item.confidence)
    return {
        "object_id": item.object_id,
        "object_index": item.object_index,
        "mask": rle.encode(item.mask),
        "object_score": item.object_score,
        "predicted_iou": item.predicted_iou,
        "confidence": confidence,
    }


def _from_json(item: dict[str, Any]) -> ObjectMask:
    mask = rle.decode(item["mask"])
    packed = item["confidence"]
    confidence = None if packed is None else _unpacked(packed).reshape(mask.shape)
    return ObjectMask(**{**item, "mask": mask, "confidence": confidence})


def _packed(confidence: ConfidenceMap) -> str:
    return b64encode(zlib.compress(confidence.tobytes(), level=1)).decode("ascii")


def _unpacked(packed: str) -> ConfidenceMap:
    return np.frombuffer(zlib.decompress(b64decode(packed)), np.uint8)
