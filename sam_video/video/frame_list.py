"""A video from somewhere else than a file."""

from collections.abc import Generator, Iterable, Sequence
from fractions import Fraction

from sam_video.types import Frame, RGBImage, VideoInfo


class FrameList:
    """A video given as a sequence of images, which may load them as they are asked for.

    Args:
        images: `(H, W, 3)` uint8 RGB, all of one size; at least one.
        frame_rate: Frames per second.
    """

    def __init__(self, images: Sequence[RGBImage], frame_rate: Fraction = Fraction(24)) -> None:
        self._images = images
        height, width = images[0].shape[:2]
        self.info = VideoInfo(width, height, frame_rate, len(images))

    def _frame(self, index: int) -> Frame:
        return Frame(index, float(index / self.info.frame_rate), self._images[index])

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield every frame from number `start` on."""
        yield from map(self._frame, range(start, len(self._images)))

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, leaving out those past the end."""
        yield from map(self._frame, sorted(i for i in set(indices) if i < len(self._images)))

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames `last`, `last - 1`, …, `first`."""
        yield from map(self._frame, range(last, first - 1, -1))

    def count_frames(self, limit: int) -> int:
        """Return the number of frames, `limit` at most."""
        return min(limit, len(self._images))
