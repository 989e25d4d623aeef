"""Write masks as COCO's run lengths, frame by frame: `rle.json` in the form `coco`."""

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from sam_video import rle
from sam_video.types import BoolMask, MaskFrame, ObjectMask, VideoInfo
from sam_video.writers.atomic_files import atomic_path, discard, errors_naming
from sam_video.writers.sink import Step, json_bytes


class CocoWriter:
    """Write every object's mask on every frame as COCO run lengths, frame by frame.

    It must get every processed frame: their number is the file's `num_frames`. A frame lists the
    objects that are visible on it; `objects` lists all objects that are tracked on any frame.
    `score` is the predicted IoU: the network's estimate (0 to 1) of the quality of the mask. An
    object with candidates lists these too. In `objects`, one that words have found has its concept
    and its detection score.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self._path = folder / "rle.json"
        self._info = info
        self._num_frames = 0
        self._objects: dict[int, dict[str, Any]] = {}
        # The head of the file is known last, so the frames wait in a file without a name.
        self._frames = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (close does)

    def prepare(self, masks: MaskFrame) -> Step:
        """Encode one frame; `finish` completes the file."""
        objects = {item.object_index: object_entry(item) for item in masks.objects}
        return partial(self._write, json_bytes(_frame_entry(masks)), objects)

    def _write(self, entry: bytes, objects: dict[int, dict[str, Any]]) -> list[Path]:
        with errors_naming(self._path):
            self._frames.write(b",\n" + entry if self._num_frames else entry)
        self._num_frames += 1
        self._objects |= objects
        return []

    def finish(self) -> list[Path]:
        """Write the head and the frames into the file and return its path."""
        video = video_entry(self._info, self._num_frames)
        objects = [entry for _, entry in sorted(self._objects.items())]
        with atomic_path(self._path) as path, path.open("wb") as file:
            self._frames.seek(0)
            file.write(b'{"video": %b,\n' % json_bytes(video))
            file.write(b'"objects": %b,\n"frames": [\n' % json_bytes(objects))
            shutil.copyfileobj(self._frames, file)
            file.write(b"\n]}\n")
        return [self._path]

    def close(self) -> None:
        """Remove the temporary file of the frames."""
        discard(self._frames)


def video_entry(info: VideoInfo, num_frames: int) -> dict[str, Any]:
    """Return the JSON object of the whole video."""
    return {
        "width": info.width,
        "height": info.height,
        "frame_rate": float(info.frame_rate),
        "num_frames": num_frames,
    }


def object_entry(item: ObjectMask) -> dict[str, Any]:
    """Return the JSON object of an object over all frames; `index` counts from 1."""
    return {"object_id": item.object_id, "index": item.object_index + 1, **words_entry(item)}


def words_entry(item: ObjectMask) -> dict[str, Any]:
    """Return the members of an object that words have found; none for other objects."""
    if item.concept is None:
        return {}
    score = item.detection_score
    return {"concept": item.concept, "detection_score": score if score is None else rounded(score)}


def mask_entry(mask: BoolMask) -> dict[str, Any]:
    """Return COCO's run lengths of a mask, `(H, W)` bool, with its box and number of pixels."""
    segmentation = rle.encode(mask)
    return {
        "segmentation": segmentation,
        "bbox": rle.bbox_xywh(segmentation),
        "area": rle.area(segmentation),
    }


def rounded(score: float) -> float:
    """Round a score to its significant digits."""
    return round(float(score), 4)


def _frame_entry(masks: MaskFrame) -> dict[str, Any]:
    return {
        "frame_index": masks.frame.index,
        "timestamp": masks.frame.pts_seconds,
        "objects": [
            {"object_id": item.object_id, **_scored(item.mask, item.predicted_iou)}
            | _candidates(item)
            for item in masks.objects
            if item.mask.any() or item.candidates
        ],
    }


def _candidates(item: ObjectMask) -> dict[str, Any]:
    if not item.candidates:
        return {}
    scored = [_scored(candidate.mask, candidate.predicted_iou) for candidate in item.candidates]
    return {"candidates": scored}


def _scored(mask: BoolMask, predicted_iou: float) -> dict[str, Any]:
    return {**mask_entry(mask), "score": rounded(predicted_iou)}
