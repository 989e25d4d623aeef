"""Write the candidate masks of an ambiguous prompt as images."""

from functools import partial
from pathlib import Path

from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.filenames import FileNames
from sam_video.writers.pictures import encode_picture, mask_picture, write_files
from sam_video.writers.sink import Step


class CandidateWriter:
    """Write each candidate mask of a still image as `candidate_{object}_{1,2,3}.png`, 0 or 255.

    The numbers are in the network's order, as in `ObjectMask.candidates`.

    Args:
        folder: An existing folder for the images.
        info: Info of the image.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        assert info.is_still  # the file names have no frame index
        self._folder = folder
        # Cog builds URLs from raw file names: text after a # would be lost, and %41 become an A.
        self._names = FileNames(unsafe="#%")

    def prepare(self, masks: MaskFrame) -> Step:
        """Encode the candidates of every object."""
        return partial(
            self._write,
            {
                (item.object_id, number): encode_picture(mask_picture(candidate.mask), "png")
                for item in masks.objects
                for number, candidate in enumerate(item.candidates, start=1)
            },
        )

    def _write(self, images: dict[tuple[str, int], bytes]) -> list[Path]:
        return write_files(
            {
                self._folder / f"candidate_{self._names.of(object_id)}_{number}.png": data
                for (object_id, number), data in images.items()
            }
        )

    def finish(self) -> list[Path]:
        """Return nothing: the steps have returned every image."""
        return []

    def close(self) -> None:
        """Do nothing: every image appears complete."""
