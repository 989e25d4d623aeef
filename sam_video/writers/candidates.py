"""The masks that an ambiguous prompt may mean, as images."""

from pathlib import Path
from typing import Self

import numpy as np

from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.filenames import FileNames
from sam_video.writers.pictures import write_picture


class CandidateWriter:
    """Write each candidate mask of a still image as `candidate_{object}_{1,2,3}.png`, 0 or 255.

    The numbers are in the model's order, as in `ObjectMask.candidates`.

    Args:
        folder: Where the images go; it exists.
        info: Of the image.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        assert info.is_still  # or the names would not tell frames apart
        self._folder = folder
        # Cog makes URLs of file names as they are: what follows a # would be lost, and %41 an A.
        self._names = FileNames(unsafe="#%")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: every image is complete as soon as it is there."""

    def write(self, masks: MaskFrame) -> list[Path]:
        """Write the candidates of every object and return their paths."""
        paths = []
        for item in masks.objects:
            name = self._names.of(item.object_id)
            for number, candidate in enumerate(item.candidates, start=1):
                path = self._folder / f"candidate_{name}_{number}.png"
                write_picture(path, candidate.mask.astype(np.uint8) * np.uint8(255))
                paths.append(path)
        return paths

    def finish(self) -> list[Path]:
        """Return nothing: every image has been returned already."""
        return []
