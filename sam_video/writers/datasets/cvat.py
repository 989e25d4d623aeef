"""Write outlines as tracks of CVAT for video 1.1: `cvat.xml`.

CVAT reads a track of masks as the mask of its first frame alone, so each frame has a polygon.
"""

import re
from functools import partial
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape, quoteattr

from sam_video.disk_spool import DiskSpool
from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.atomic_files import atomic_path
from sam_video.writers.datasets.outlines import edge_outlines
from sam_video.writers.sink import Step

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SHAPE = '<polygon frame="%d" keyframe="1" outside="%d" occluded="0" points="%s" z_order="%d"/>\n'


class CvatWriter:
    """Write one track per object: the outline of its largest part on every frame that shows it.

    Frames are numbered as in the source. A track ends, or is interrupted, by a shape that is
    `outside`. Holes and smaller parts are lost.

    Args:
        folder: An existing folder for `cvat.xml`.
        info: Size of the frames.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self._path = folder / "cvat.xml"
        self._info = info
        self._names: dict[int, str] = {}
        self._num_frames = self._last_index = 0
        self._spool = DiskSpool()

    def prepare(self, masks: MaskFrame) -> Step:
        """Trace one frame's masks; `finish` completes the file."""
        names = {item.object_index: item.object_id for item in masks.objects}
        outlines = {item.object_index: edge_outlines(item.mask) for item in masks.objects}
        points = {
            number: ";".join(f"{x:.2f},{y:.2f}" for x, y in found[0])
            for number, found in outlines.items()
            if found
        }
        return partial(self._write, masks.frame.index, points, names)

    def _write(self, index: int, points: dict[int, str], names: dict[int, str]) -> list[Path]:
        for number, text in points.items():
            self._spool.put(number, self._num_frames, f"{index} {text}".encode())
        self._names |= names
        self._num_frames += 1
        self._last_index = index
        return []

    def finish(self) -> list[Path]:
        """Write the file, track by track, and return its path."""
        with atomic_path(self._path) as path, path.open("w", encoding="utf-8") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
            file.write("<version>1.1</version>\n<meta><task>\n")
            file.write(f"<size>{self._last_index + 1}</size><mode>interpolation</mode>\n<labels>\n")
            for name in sorted({_xml_text(name) for name in self._names.values()}):
                file.write(f"<label><name>{escape(name)}</name></label>\n")
            size = f"<width>{self._info.width}</width><height>{self._info.height}</height>"
            file.write(f"</labels>\n<original_size>{size}</original_size>\n</task></meta>\n")
            for number, name in sorted(self._names.items()):
                label = quoteattr(_xml_text(name))
                file.write(f'<track id="{number}" label={label} source="auto">\n')
                self._write_shapes(file, number)
                file.write("</track>\n")
            file.write("</annotations>\n")
        return [self._path]

    def _write_shapes(self, file: IO[str], number: int) -> None:
        shown: tuple[int, int, str] | None = None  # position, index and points of the last shape
        for position, data in self._spool.rows(number):
            index, points = data.decode().split(" ", 1)
            if shown is not None and position > shown[0] + 1:
                file.write(_SHAPE % (shown[1] + 1, 1, shown[2], number))
            shown = position, int(index), points
            file.write(_SHAPE % (shown[1], 0, points, number))
        if shown is not None and shown[0] + 1 < self._num_frames:
            file.write(_SHAPE % (shown[1] + 1, 1, shown[2], number))

    def close(self) -> None:
        """Remove the spooled outlines."""
        self._spool.close()


def _xml_text(text: str) -> str:
    """Replace the characters that XML cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
