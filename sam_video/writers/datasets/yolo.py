"""Write masks as outlines for YOLO's segmentation: `yolo.zip`, one text per frame."""

from functools import partial
from pathlib import Path

import numpy as np

from sam_video.types import BoolMask, MaskFrame, VideoInfo
from sam_video.writers.atomic_zip import AtomicZip
from sam_video.writers.datasets.outlines import Polygon, bridged, pixel_outlines
from sam_video.writers.sink import Step, json_bytes

_LEAST_POINTS = 3


class YoloWriter:
    """Write `labels/video_{frame_index:05d}.txt` and `data.yaml`, in `yolo.zip`.

    A line is `class x1 y1 x2 y2 …`, with the object's index as its class and coordinates in 0 to 1;
    a frame without objects has an empty file. Holes are lost. The images that belong to the labels
    are those of `ffmpeg -i VIDEO -start_number 0 images/video_%05d.jpg`.

    Args:
        folder: An existing folder for `yolo.zip`.
        info: Size of the frames.
        splits_parts: Give each part of an object a line of its own, and do not join them.
    """

    def __init__(self, folder: Path, info: VideoInfo, *, splits_parts: bool = False) -> None:
        self._zip = AtomicZip(folder / "yolo.zip")
        self._size = np.array([info.width, info.height])
        self._splits_parts = splits_parts
        self._names: dict[int, str] = {}

    def prepare(self, masks: MaskFrame) -> Step:
        """Trace one frame's masks."""
        lines = [
            f"{item.object_index} {self._numbers(polygon)}\n"
            for item in masks.objects
            for polygon in _polygons(item.mask, splits_parts=self._splits_parts)
        ]
        names = {item.object_index: item.object_id for item in masks.objects}
        return partial(self._write, masks.frame.index, "".join(lines).encode(), names)

    def _numbers(self, polygon: Polygon) -> str:
        return " ".join(f"{number:.6f}" for number in (polygon / self._size).ravel())

    def _write(self, index: int, text: bytes, names: dict[int, str]) -> list[Path]:
        self._zip.add(f"labels/video_{index:05d}.txt", text)
        self._names |= names
        return []

    def finish(self) -> list[Path]:
        """Add the list of classes, and return the path."""
        lines = [b"path: .\ntrain: images\nval: images\nnames:\n"]
        # Texts of JSON are texts of YAML.
        lines += [b"  %d: %b\n" % (i, json_bytes(self._names[i])) for i in sorted(self._names)]
        self._zip.add("data.yaml", b"".join(lines))
        return [self._zip.finish()]

    def close(self) -> None:
        """Remove an incomplete zip."""
        self._zip.close()


def _polygons(mask: BoolMask, *, splits_parts: bool) -> list[Polygon]:
    """Return the polygons of a mask; a part of fewer points than three repeats its last one."""
    outlines = [
        np.pad(outline, ((0, max(0, _LEAST_POINTS - len(outline))), (0, 0)), mode="edge")
        for outline in pixel_outlines(mask)
    ]
    return outlines if splits_parts or not outlines else [bridged(outlines)]
