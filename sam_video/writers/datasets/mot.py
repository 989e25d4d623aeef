"""Write boxes and masks as the multi-object tracking challenges do: `mot.txt`, `mots.txt`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from sam_video import rle
from sam_video.types import MaskFrame
from sam_video.writers.atomic_files import AtomicFile, errors_naming
from sam_video.writers.datasets.labels import label_map
from sam_video.writers.sink import Step

_MOTS_CLASS = 1
_MOST_MOTS_OBJECTS = 999
"""An id of MOTS is the class times 1000, plus the object's number."""


def mot_writer(folder: Path) -> "LineWriter":
    """Return the writer of `mot.txt`: `frame,id,x,y,w,h,confidence,-1,-1,-1`, counted from 1."""
    return LineWriter(folder / "mot.txt", _mot_lines)


def mots_writer(folder: Path) -> "LineWriter":
    """Return the writer of `mots.txt`: `frame id class height width rle`.

    Ids are 1001, 1002, …, of the one class 1. Masks do not overlap: see `label_map`. Frames count
    from 1, as in MOTSChallenge; KITTI counts from 0.
    """
    return LineWriter(folder / "mots.txt", _mots_lines)


class LineWriter:
    """Write some lines for every frame.

    Args:
        path: The file; its folder exists.
        lines_of: Returns the lines of a frame, each with its end.
    """

    def __init__(self, path: Path, lines_of: Callable[[MaskFrame], str]) -> None:
        self._path = path
        self._output = AtomicFile(path)
        self._lines_of = lines_of

    def prepare(self, masks: MaskFrame) -> Step:
        """Describe one frame; `finish` completes the file."""
        return partial(self._write, self._lines_of(masks).encode())

    def _write(self, lines: bytes) -> list[Path]:
        with errors_naming(self._path):
            self._output.file.write(lines)
        return []

    def finish(self) -> list[Path]:
        """Complete the file and return its path."""
        with errors_naming(self._path):
            return [self._output.finish()]

    def close(self) -> None:
        """Remove the file if it is not complete."""
        self._output.close()


def _mot_lines(masks: MaskFrame) -> str:
    lines = []
    for item in masks.objects:
        x, y, width, height = rle.bbox_xywh(rle.encode(item.mask))
        if width:
            # The challenge counts pixels from 1, too.
            place = f"{x + 1},{y + 1},{width},{height}"
            score = f"{item.object_score:.4f}"
            lines.append(
                f"{masks.frame.index + 1},{item.object_index + 1},{place},{score},-1,-1,-1\n"
            )
    return "".join(lines)


def _mots_lines(masks: MaskFrame) -> str:
    labels = label_map(masks, "mots", _MOST_MOTS_OBJECTS)
    lines = []
    for label in np.unique(labels[labels > 0]).tolist():
        mask = rle.encode(labels == label)
        height, width = mask["size"]
        number = 1000 * _MOTS_CLASS + label
        lines.append(
            f"{masks.frame.index + 1} {number} {_MOTS_CLASS} {height} {width} {mask['counts']}\n"
        )
    return "".join(lines)
