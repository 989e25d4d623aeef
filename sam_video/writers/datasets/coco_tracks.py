"""Write masks as a COCO data set with tracks: `coco_tracks.json`."""

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from sam_video import rle
from sam_video.types import BoolMask, MaskFrame, VideoInfo
from sam_video.writers.atomic_files import AtomicFile, discard, errors_naming
from sam_video.writers.datasets.outlines import edge_outlines, numbers
from sam_video.writers.sink import Step, json_bytes

_VIDEO = {"id": 1, "name": "video"}
_HEAD = b'{"info": {"description": "masks of one video"},\n"videos": [%b],\n"images": ['


class CocoTracksWriter:
    """Write one image per processed frame and one annotation per visible object on it.

    `track_id` is the object's index + 1, the same on all frames, and so is `category_id`: each
    object's name is a category. `iscrowd` is 0. The names of images are those that
    `ffmpeg -i VIDEO -start_number 0 video/%05d.jpg` gives.

    Args:
        folder: An existing folder for `coco_tracks.json`.
        info: Size of the frames.
        as_polygons: Give outlines, which lose holes, in place of run lengths.
    """

    def __init__(self, folder: Path, info: VideoInfo, *, as_polygons: bool = False) -> None:
        self._path = folder / "coco_tracks.json"
        self._size = {"width": info.width, "height": info.height}
        self._as_polygons = as_polygons
        self._names: dict[int, str] = {}
        self._num_images = self._num_annotations = 0
        self._output = AtomicFile(self._path)
        # Images come first in the file, so the annotations wait in one without a name.
        self._annotations = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (close does)

    def prepare(self, masks: MaskFrame) -> Step:
        """Encode one frame; `finish` completes the file."""
        visible = [item for item in masks.objects if item.mask.any()]
        entries = [
            {
                "category_id": item.object_index + 1,
                "track_id": item.object_index + 1,
                "iscrowd": 0,
                "score": round(float(item.predicted_iou), 4),
                **self._mask_entry(item.mask),
            }
            for item in visible
        ]
        names = {item.object_index: item.object_id for item in masks.objects}
        return partial(self._write, masks.frame.index, entries, names)

    def _mask_entry(self, mask: BoolMask) -> dict[str, Any]:
        encoded = rle.encode(mask)
        outlines = edge_outlines(mask) if self._as_polygons else []
        return {
            "segmentation": [numbers(line, 2) for line in outlines] or encoded,
            "bbox": rle.bbox_xywh(encoded),
            "area": rle.area(encoded),
        }

    def _write(
        self, index: int, entries: list[dict[str, Any]], names: dict[int, str]
    ) -> list[Path]:
        self._names |= names
        self._num_images += 1
        image = {
            "id": self._num_images,
            "file_name": f"video/{index:05d}.jpg",
            **self._size,
            "video_id": 1,
            "frame_id": index,
        }
        with errors_naming(self._path):
            start = _HEAD % json_bytes(_VIDEO) + b"\n" if self._num_images == 1 else b",\n"
            self._output.file.write(start + json_bytes(image))
            for entry in entries:
                self._num_annotations += 1
                numbered = {"id": self._num_annotations, "image_id": self._num_images, **entry}
                separator = b",\n" if self._num_annotations > 1 else b"\n"
                self._annotations.write(separator + json_bytes(numbered))
        return []

    def finish(self) -> list[Path]:
        """Append the categories and the annotations, and return the path."""
        categories = [
            {"id": index + 1, "name": name, "supercategory": "object"}
            for index, name in sorted(self._names.items())
        ]
        with errors_naming(self._path):
            if not self._num_images:
                self._output.file.write(_HEAD % json_bytes(_VIDEO))
            self._output.file.write(b'],\n"categories": %b,\n' % json_bytes(categories))
            self._output.file.write(b'"annotations": [')
            self._annotations.seek(0)
            shutil.copyfileobj(self._annotations, self._output.file)
            self._output.file.write(b"\n]}\n")
            return [self._output.finish()]

    def close(self) -> None:
        """Remove the temporary file, and the data set if it is not complete."""
        discard(self._annotations)
        self._output.close()
