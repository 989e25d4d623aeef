"""Write boxes as a prediction for Label Studio's videos: `label_studio.json`."""

from functools import partial
from pathlib import Path
from typing import IO, Any

from sam_video import rle
from sam_video.disk_spool import DiskSpool
from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.atomic_files import atomic_path
from sam_video.writers.sink import Step, json_bytes


class LabelStudioWriter:
    """Write one task with a `videorectangle` per object, a keyframe on every frame that shows it.

    Frames count from 1, and places are percents of the frame. The last keyframe of each stretch
    that shows the object is not `enabled`, which ends it. The labelling interface names its video
    `video` and its rectangles `box`.

    Args:
        folder: An existing folder for `label_studio.json`.
        info: Size and frame rate of the source.
        video_name: The address or name of the video, for Label Studio to find it.
    """

    def __init__(self, folder: Path, info: VideoInfo, video_name: str) -> None:
        self._path = folder / "label_studio.json"
        self._info = info
        self._video_name = video_name
        self._names: dict[int, str] = {}
        self._num_frames = self._last_index = 0
        self._spool = DiskSpool()

    def prepare(self, masks: MaskFrame) -> Step:
        """Find one frame's boxes; `finish` completes the file."""
        boxes = {item.object_index: rle.bbox_xywh(rle.encode(item.mask)) for item in masks.objects}
        shown = {number: self._keyframe(masks, box) for number, box in boxes.items() if box[2]}
        names = {item.object_index: item.object_id for item in masks.objects}
        return partial(self._write, masks.frame.index, shown, names)

    def _keyframe(self, masks: MaskFrame, box: tuple[int, int, int, int]) -> dict[str, Any]:
        sizes = (self._info.width, self._info.height) * 2
        x, y, width, height = (
            round(100 * value / size, 4) for value, size in zip(box, sizes, strict=True)
        )
        place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        time = round(masks.frame.pts_seconds, 4)
        return {"frame": masks.frame.index + 1, "time": time, **place, "enabled": True}

    def _write(
        self, index: int, shown: dict[int, dict[str, Any]], names: dict[int, str]
    ) -> list[Path]:
        for number, keyframe in shown.items():
            self._spool.put(number, self._num_frames, json_bytes(keyframe))
        self._names |= names
        self._num_frames += 1
        self._last_index = index
        return []

    def finish(self) -> list[Path]:
        """Write the file, object by object, and return its path."""
        with atomic_path(self._path) as path, path.open("wb") as file:
            file.write(b'[{"data": %b,\n' % json_bytes({"video": self._video_name}))
            file.write(b'"predictions": [{"model_version": "sam_video", "result": [')
            for position, (number, name) in enumerate(sorted(self._names.items())):
                file.write(b",\n" if position else b"\n")
                self._write_track(file, number, name)
            file.write(b"\n]}]}]\n")
        return [self._path]

    def _write_track(self, file: IO[bytes], number: int, name: str) -> None:
        num_frames = self._info.num_frames or self._last_index + 1
        head = {"id": f"object_{number + 1}", "type": "videorectangle"}
        names = {"from_name": "box", "to_name": "video"}
        value = {
            "framesCount": num_frames,
            "duration": round(float(num_frames / self._info.frame_rate), 4),
            "labels": [name],
        }
        file.write(json_bytes({**head, **names})[:-1] + b', "value": ')
        file.write(json_bytes(value)[:-1] + b', "sequence": [')
        self._write_sequence(file, number)
        file.write(b"]}}")

    def _write_sequence(self, file: IO[bytes], number: int) -> None:
        enabled, disabled = b'"enabled": true', b'"enabled": false'
        last: tuple[int, bytes] | None = None
        for position, keyframe in self._spool.rows(number):
            if last is not None:
                is_gap = position > last[0] + 1
                file.write(last[1].replace(enabled, disabled) if is_gap else last[1])
                file.write(b",\n")
            last = position, keyframe
        if last is not None:
            is_over = last[0] + 1 < self._num_frames
            file.write(last[1].replace(enabled, disabled) if is_over else last[1])

    def close(self) -> None:
        """Remove the spooled boxes."""
        self._spool.close()
