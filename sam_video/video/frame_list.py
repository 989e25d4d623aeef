"""A video from images in memory."""

from collections.abc import Generator, Iterable, Sequence
from fractions import Fraction

import numpy as np

from sam_video.errors import VideoError
from sam_video.types import Frame, RGBImage, VideoInfo


class FrameList:
    """A video from a sequence of images; the sequence may load each image on access.

    Args:
        images: `(H, W, 3)` uint8 RGB, all of one size; at least one. Each is checked on access.
        frame_rate: Frames per second, above 0.

    Raises:
        VideoError: There is no image, an image has another form or size, or the rate is not
            accepted.
    """

    def __init__(self, images: Sequence[RGBImage], frame_rate: Fraction = Fraction(24)) -> None:
        if len(images) == 0:
            raise VideoError("images is empty; expected at least one")
        self._images = images
        height, width = _checked(0, images[0], None).shape[:2]
        self.info = VideoInfo(width, height, _checked_rate(frame_rate), len(images))

    def _frame(self, index: int) -> Frame:
        image = _checked(index, self._images[index], (self.info.height, self.info.width))
        return Frame(index, float(index / self.info.frame_rate), image)

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield every frame from index `start` on."""
        yield from map(self._frame, range(start, len(self._images)))

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, omitting those past the end."""
        yield from map(self._frame, sorted(i for i in set(indices) if i < len(self._images)))

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames `last`, `last - 1`, …, `first`."""
        yield from map(self._frame, range(last, first - 1, -1))

    def count_frames(self, limit: int) -> int:
        """Return the number of frames, at most `limit`."""
        return min(limit, len(self._images))


def _checked(index: int, image: RGBImage, hw: tuple[int, int] | None) -> RGBImage:
    """Return an image after checking its form, and its size if `hw` is given."""
    shape, dtype = np.shape(image), getattr(image, "dtype", type(image).__name__)
    expected = "height, width" if hw is None else f"{hw[0]}, {hw[1]}"
    is_sized = shape[:2] == hw if hw else min(shape[:2], default=0) > 0
    if not (isinstance(image, np.ndarray) and dtype == np.uint8 and is_sized and shape[2:] == (3,)):
        raise VideoError(
            f"images[{index}] is {dtype} of shape {shape};"
            f" expected a uint8 array of shape ({expected}, 3)"
        )
    return image


def _checked_rate(frame_rate: Fraction) -> Fraction:
    try:
        rate = Fraction(frame_rate)
    except (TypeError, ValueError, OverflowError):
        rate = Fraction(0)
    if rate <= 0:
        raise VideoError(f"frame_rate is {frame_rate!r}; expected a number above 0")
    return rate
