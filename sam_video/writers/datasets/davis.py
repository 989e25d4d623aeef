"""Write masks as DAVIS and YouTube-VOS store them: `davis.zip`, one palette PNG per frame."""

import io
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from sam_video.types import MaskFrame
from sam_video.writers.atomic_zip import AtomicZip
from sam_video.writers.datasets.labels import label_map
from sam_video.writers.sink import Step, json_bytes

_SEQUENCE = "video"
_MOST_OBJECTS = 253
"""Of one byte: 0 is background, and 254 and 255 are void to some readers."""


def _palette() -> list[int]:
    """Return PASCAL VOC's colours, which DAVIS uses: a label's bits, spread over three bytes.

    Label 1 is (128, 0, 0) and label 2 (0, 128, 0).
    """
    labels = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (labels >> (3 * bit + channel) & 1) << (7 - bit)
    return list(map(int, colours.ravel()))


_PALETTE = _palette()


class DavisWriter:
    """Write `Annotations/video/{frame_index:05d}.png` for every processed frame, in `davis.zip`.

    A pixel's value is the object's index + 1, the same on all frames. `meta.json` names the
    objects, in the form of YouTube-VOS; `ImageSets/val.txt` lists the sequence.

    Args:
        folder: An existing folder for `davis.zip`.
    """

    def __init__(self, folder: Path) -> None:
        self._zip = AtomicZip(folder / "davis.zip")
        self._names: dict[int, str] = {}

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw and encode one frame's labels."""
        labels = label_map(masks, "davis", _MOST_OBJECTS)
        image = Image.fromarray(labels.astype(np.uint8))
        image.putpalette(_PALETTE)
        file = io.BytesIO()
        image.save(file, "png")
        names = {item.object_index: item.object_id for item in masks.objects}
        return partial(self._write, masks.frame.index, file.getvalue(), names)

    def _write(self, index: int, data: bytes, names: dict[int, str]) -> list[Path]:
        self._zip.add(f"Annotations/{_SEQUENCE}/{index:05d}.png", data)
        self._names |= names
        return []

    def finish(self) -> list[Path]:
        """Add the lists of objects and sequences, and return the path."""
        objects = {str(index + 1): {"category": name} for index, name in self._names.items()}
        self._zip.add("meta.json", json_bytes({"videos": {_SEQUENCE: {"objects": objects}}}))
        self._zip.add("ImageSets/val.txt", f"{_SEQUENCE}\n".encode())
        return [self._zip.finish()]

    def close(self) -> None:
        """Remove an incomplete zip."""
        self._zip.close()
