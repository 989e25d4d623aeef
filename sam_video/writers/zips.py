"""Write masks and confidences as one image per object and frame, in a zip."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sam_video.types import MaskFrame, ObjectMask
from sam_video.writers.atomic_zip import AtomicZip
from sam_video.writers.filenames import FileNames
from sam_video.writers.pictures import encode_picture, mask_picture
from sam_video.writers.sink import Step


def mask_zip(folder: Path) -> "ObjectZipWriter":
    """Return the writer of every object's mask, 0 or 255, in `masks.zip` of an existing folder."""
    return ObjectZipWriter(folder / "masks.zip", _mask_image)


def confidence_zip(folder: Path) -> "ObjectZipWriter":
    """Return the writer of every object's probability, 0 to 255, in `confidences.zip`.

    The folder exists, and all masks have confidences.
    """
    return ObjectZipWriter(folder / "confidences.zip", _confidence_image)


class ObjectZipWriter:
    """Write `{frame_index}_{object_id}.png`, of one channel, for every tracked object.

    An object has an image also on frames where it is not visible. `FileNames` replaces characters
    that file systems do not accept.

    Args:
        path: The zip; its folder exists.
        image_of: Returns the image of an object, `(H, W)` uint8.
    """

    def __init__(self, path: Path, image_of: Callable[[ObjectMask], npt.NDArray[np.uint8]]) -> None:
        self._zip = AtomicZip(path)
        self._image_of = image_of
        self._names = FileNames()

    def prepare(self, masks: MaskFrame) -> Step:
        """Encode the images of one frame; `finish` completes the zip."""
        images = {o.object_id: encode_picture(self._image_of(o), "png") for o in masks.objects}
        return partial(self._write, masks.frame.index, images)

    def _write(self, index: int, images: dict[str, bytes]) -> list[Path]:
        for object_id, data in images.items():
            self._zip.add(f"{index}_{self._names.of(object_id)}.png", data)
        return []

    def finish(self) -> list[Path]:
        """Complete the zip and return its path."""
        return [self._zip.finish()]

    def close(self) -> None:
        """Remove an incomplete zip."""
        self._zip.close()


def _mask_image(item: ObjectMask) -> npt.NDArray[np.uint8]:
    return mask_picture(item.mask)


def _confidence_image(item: ObjectMask) -> npt.NDArray[np.uint8]:
    assert item.confidence is not None
    return item.confidence
