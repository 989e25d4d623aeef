"""Photos with object masks, the raw material of composed clips."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_video.types import RGBImage

LabelMap = npt.NDArray[np.uint8]
"""`(H, W)` uint8: 0 background, 1… one value per object, 255 unknown."""

IGNORE = 255
OTHER = 254
"""An object that is never a target: too small, but certainly not part of any other."""
_MIN_OBJECT_SHARE = 0.01
"""Smaller objects are labelled too coarsely to learn from."""
_HELD_OUT_EVERY = 20


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A picture and its objects."""

    image: RGBImage
    labels: LabelMap
    object_labels: tuple[int, ...]
    """The labels of objects that are large enough to be targets."""


class PhotoLibrary:
    """Photos on disk: most to learn from, a twentieth held out for the score.

    Args:
        roots: Folders laid out as `SET/images/ID.jpg`, `SET/masks/ID.png`; sets without masks
            are backgrounds.
        is_held_out: Whether to take the held-out twentieth, or the rest.

    Raises:
        FileNotFoundError: There is no photo with a mask under `roots`.
    """

    def __init__(self, *roots: Path, is_held_out: bool = False) -> None:
        images = [path for root in roots for path in sorted(root.glob("*/images/*.jpg"))]
        images = [path for path in images if _is_held_out(path) == is_held_out]
        self.labelled = [path for path in images if _mask_path(path).exists()]
        self.backgrounds = [path for path in images if not (path.parents[1] / "masks").exists()]
        if not self.labelled:
            named = " and ".join(map(str, roots))
            raise FileNotFoundError(f"{named} has no SET/images/ID.jpg with a SET/masks/ID.png")

    def draw_photo(self, rng: np.random.Generator) -> Photo:
        """Read a random photo that has at least one target.

        Raises:
            ValueError: In a hundred photos there was none.
        """
        for _ in range(100):
            path = self.labelled[rng.integers(len(self.labelled))]
            photo = read_photo(path, _mask_path(path))
            if photo.object_labels:
                return photo
        raise ValueError(f"no photo like {path} has an object of a hundredth of its area")

    def draw_background(self, rng: np.random.Generator) -> RGBImage:
        """Read a random photo whose objects, if any, are not labelled."""
        paths = self.backgrounds or self.labelled
        return read_rgb(paths[rng.integers(len(paths))])


def read_photo(image_path: Path, mask_path: Path) -> Photo:
    """Read a photo and find its targets: objects of at least one hundredth of its area."""
    with Image.open(mask_path) as mask:
        labels = np.asarray(mask, dtype=np.uint8)
    counts = np.bincount(labels.ravel(), minlength=256)
    least = _MIN_OBJECT_SHARE * labels.size
    targets = tuple(label for label in range(1, OTHER) if counts[label] >= least)
    return Photo(read_rgb(image_path), labels, targets)


def read_rgb(path: Path) -> RGBImage:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _mask_path(image_path: Path) -> Path:
    return image_path.parents[1] / "masks" / f"{image_path.stem}.png"


def _is_held_out(path: Path) -> bool:
    name = f"{path.parents[1].name}/{path.stem}"
    return zlib.crc32(name.encode()) % _HELD_OUT_EVERY == 0
