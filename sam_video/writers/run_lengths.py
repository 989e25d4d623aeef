"""Masks as run lengths, in `rle.json`."""

import shutil
import tempfile
from pathlib import Path
from typing import Any, Self

from sam_video import rle
from sam_video.types import MaskFrame, ObjectMask, VideoInfo
from sam_video.writers.sink import appearing, json_bytes


class RleWriter:
    """Write every object's mask on every frame as COCO run lengths, in `rle.json`.

    Hand it every frame that is processed: their number is the file's `num_frames`. A frame lists
    the objects that are visible on it; `objects` lists all that were tracked on any frame. `score`
    is the predicted IoU: the model's own estimate (0 to 1) of how good the mask is.

    Args:
        folder: Where `rle.json` goes; it exists.
        info: Of the source: its size and frame rate.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self._path = folder / "rle.json"
        self._info = info
        self._num_frames = 0
        self._index_of: dict[str, int] = {}
        # The head of the file is known last, so the frames wait in one that has no name.
        self._frames = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (__exit__ closes it)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()

    def write(self, masks: MaskFrame) -> list[Path]:
        """Add one frame; the file is not complete before `finish`."""
        separator = b",\n" if self._num_frames else b""
        self._frames.write(separator + json_bytes(_frame_entry(masks)))
        self._num_frames += 1
        for item in masks.objects:
            self._index_of[item.object_id] = item.object_index + 1
        return []

    def finish(self) -> list[Path]:
        """Put the head and the frames together and return the file's path."""
        video = {
            "width": self._info.width,
            "height": self._info.height,
            "frame_rate": float(self._info.frame_rate),
            "num_frames": self._num_frames,
        }
        by_index = sorted(self._index_of.items(), key=lambda pair: pair[1])
        objects = [{"object_id": object_id, "index": index} for object_id, index in by_index]
        self._frames.seek(0)
        with appearing(self._path) as partial, partial.open("wb") as file:
            file.write(b'{"video": %b,\n' % json_bytes(video))
            file.write(b'"objects": %b,\n"frames": [\n' % json_bytes(objects))
            shutil.copyfileobj(self._frames, file)
            file.write(b"\n]}\n")
        return [self._path]


def _frame_entry(masks: MaskFrame) -> dict[str, Any]:
    return {
        "frame_index": masks.frame.index,
        "timestamp": masks.frame.pts_seconds,
        "objects": [_object_entry(item) for item in masks.objects if item.mask.any()],
    }


def _object_entry(item: ObjectMask) -> dict[str, Any]:
    segmentation = rle.encode(item.mask)
    return {
        "object_id": item.object_id,
        "segmentation": segmentation,
        "bbox": rle.bbox_xywh(segmentation),
        "area": rle.area(segmentation),
        "score": round(float(item.predicted_iou), 4),
    }
