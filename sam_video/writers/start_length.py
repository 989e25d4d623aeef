"""Write masks as texts of run lengths along the rows: `rle.json` in the form `start_length`."""

from functools import partial
from pathlib import Path
from typing import IO, Any

from sam_video import rle
from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.atomic_files import atomic_path
from sam_video.writers.coco import object_entry, video_entry
from sam_video.writers.object_spool import EVERY_FRAME, ObjectSpool
from sam_video.writers.render import union
from sam_video.writers.sink import Step


class StartLengthWriter:
    """Write a text per frame, `"start length start length …"`, for the union and each object.

    Pixels are counted row by row from 0. There is one text for each processed frame, in the order
    of `frame_indices` and `timestamps`; it is empty if nothing is visible.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self._path = folder / "rle.json"
        self._info = info
        self._num_frames = 0
        self._objects: dict[int, dict[str, Any]] = {}
        self._spool = ObjectSpool()

    def prepare(self, masks: MaskFrame) -> Step:
        """Encode one frame; `finish` completes the file."""
        values = [masks.frame.index, masks.frame.pts_seconds, rle.start_length(union(masks))]
        objects = {item.object_index: object_entry(item) for item in masks.objects}
        texts = {item.object_index: rle.start_length(item.mask) for item in masks.objects}
        return partial(self._write, values, objects, texts)

    def _write(
        self, values: list[Any], objects: dict[int, dict[str, Any]], texts: dict[int, str]
    ) -> list[Path]:
        for index, text in texts.items():
            self._spool.append(index, self._num_frames, [text])
        self._spool.append(EVERY_FRAME, self._num_frames, values)
        self._objects |= objects
        self._num_frames += 1
        return []

    def finish(self) -> list[Path]:
        """Write the file, object by object, and return its path."""
        with atomic_path(self._path) as path, path.open("wb") as file:
            file.write(b"{")
            self._write_head(file)
            file.write(b',\n"objects": [')
            for position, index in enumerate(sorted(self._objects)):
                file.write(b",\n{" if position else b"\n{")
                self._write_object(file, index)
                file.write(b"}")
            file.write(b"\n]}\n")
        return [self._path]

    def close(self) -> None:
        """Remove the spooled texts."""
        self._spool.close()

    def _write_head(self, file: IO[bytes]) -> None:
        video = video_entry(self._info, self._num_frames)
        values = {"order": "row", "base": 0, "video": video}
        columns = ("frame_indices", "timestamps", "rle")
        self._spool.write_members(file, values, EVERY_FRAME, columns, num_rows=self._num_frames)

    def _write_object(self, file: IO[bytes], object_index: int) -> None:
        values = self._objects[object_index]
        self._spool.write_members(
            file, values, object_index, ("rle",), num_rows=self._num_frames, absent=b'""'
        )
