"""Write masks as COCO's run lengths, object by object: `rle.json` in the form `youtube_vis`."""

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import IO, Any

from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.atomic_files import atomic_path
from sam_video.writers.coco import mask_entry, rounded, words_entry
from sam_video.writers.object_spool import EVERY_FRAME, ObjectSpool
from sam_video.writers.sink import Step, json_bytes


class YouTubeVisWriter:
    """Write every object's masks as one annotation over all frames, as in YouTube-VIS.

    `segmentations`, `bboxes` and `areas` have one entry per processed frame, which is null if the
    object is not visible; an object that is never visible has no annotation. `score` is the mean of
    the predicted IoU over the frames that show the object. `file_names` are those that
    `ffmpeg -i VIDEO -start_number 0 video/%05d.jpg` gives to the frames.

    The category is the concept of an object that words have found, and `object` for all others.

    The form is that of https://github.com/youtubevos/cocoapi, with `object_id` added to
    annotations, `concept` and `detection_score` to those that words have found, and `frame_rate`,
    `frame_indices` and `timestamps` to the video.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self._path = folder / "rle.json"
        self._info = info
        self._num_frames = 0
        self._id_of: dict[int, str] = {}
        self._words_of: dict[int, dict[str, Any]] = {}
        self._ious: defaultdict[int, _Mean] = defaultdict(_Mean)
        self._spool = ObjectSpool()

    def prepare(self, masks: MaskFrame) -> Step:
        """Encode one frame; `finish` completes the file."""
        index = masks.frame.index
        values = [f"video/{index:05d}.jpg", index, masks.frame.pts_seconds]
        visible = [item for item in masks.objects if item.mask.any()]
        entries = [list(mask_entry(item.mask).values()) for item in visible]
        objects = [(o.object_index, o.object_id, o.predicted_iou, words_entry(o)) for o in visible]
        return partial(self._write, values, objects, entries)

    def _write(
        self,
        values: list[Any],
        objects: list[tuple[int, str, float, dict[str, Any]]],
        entries: list[list[Any]],
    ) -> list[Path]:
        self._spool.append(EVERY_FRAME, self._num_frames, values)
        for (index, name, iou, words), entry in zip(objects, entries, strict=True):
            self._spool.append(index, self._num_frames, entry)
            self._id_of[index] = name
            self._words_of[index] = words
            self._ious[index].add(iou)
        self._num_frames += 1
        return []

    def finish(self) -> list[Path]:
        """Write the file, object by object, and return its path."""
        with atomic_path(self._path) as path, path.open("wb") as file:
            file.write(b'{"videos": [{')
            self._write_video(file)
            ids = self._category_ids()
            categories = [
                {"id": number, "name": name, "supercategory": "object"}
                for name, number in ids.items()
            ]
            file.write(b'}],\n"categories": %b,\n"annotations": [' % json_bytes(categories))
            for position, index in enumerate(sorted(self._id_of)):
                file.write(b",\n{" if position else b"\n{")
                self._write_annotation(file, index, ids)
                file.write(b"}")
            file.write(b"\n]}\n")
        return [self._path]

    def close(self) -> None:
        """Remove the spooled masks."""
        self._spool.close()

    def _category_ids(self) -> dict[str, int]:
        """Number the categories: `object` is 1, and the concepts follow, in the objects' order."""
        words = (self._words_of[index] for index in sorted(self._id_of))
        names = ["object", *(found["concept"] for found in words if found)]
        return {name: number for number, name in enumerate(dict.fromkeys(names), 1)}

    def _write_video(self, file: IO[bytes]) -> None:
        size = {"width": self._info.width, "height": self._info.height}
        rate = {"length": self._num_frames, "frame_rate": float(self._info.frame_rate)}
        columns = ("file_names", "frame_indices", "timestamps")
        self._spool.write_members(
            file, {"id": 1, **size, **rate}, EVERY_FRAME, columns, num_rows=self._num_frames
        )

    def _write_annotation(
        self, file: IO[bytes], object_index: int, category_ids: dict[str, int]
    ) -> None:
        words = self._words_of[object_index]
        values = {
            "id": object_index + 1,
            "video_id": 1,
            "category_id": category_ids[words.get("concept", "object")],
            "object_id": self._id_of[object_index],
            **words,
            "width": self._info.width,
            "height": self._info.height,
            "iscrowd": 0,
            "score": rounded(self._ious[object_index].value),
        }
        columns = ("segmentations", "bboxes", "areas")
        self._spool.write_members(file, values, object_index, columns, num_rows=self._num_frames)


class _Mean:
    """The running mean of numbers."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._count = 0

    def add(self, number: float) -> None:
        self._sum += float(number)
        self._count += 1

    @property
    def value(self) -> float:
        return self._sum / self._count
