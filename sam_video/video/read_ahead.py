"""Decode frames while earlier ones are tracked."""

from collections.abc import Generator, Iterable
from typing import Self
from weakref import WeakSet

from sam_video.types import Frame, FrameSource, VideoInfo
from sam_video.workers.ahead import ahead

MAX_QUEUED_FRAMES, MAX_QUEUED_BYTES = 4, 64 * 2**20
"""Limits of the queue between decoding and tracking, and of that between tracking and writing."""


class ReadAhead:
    """Wraps a video; its readers decode ahead in threads.

    A context manager; leaving it ends the threads of readers that are still open. The caller's own
    thread counts frames.

    Args:
        source: The video; each of its frames has an image of its own.
        size: Most frames that a reader may be ahead, at least 1.
    """

    def __init__(self, source: FrameSource, size: int) -> None:
        self._source = source
        self._size = size
        self._readers: WeakSet[Generator[Frame, None, None]] = WeakSet()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in list(self._readers):
            reader.close()

    @property
    def info(self) -> VideoInfo:
        """The source's info."""
        return self._source.info

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield the source's frames from index `start` on."""
        return self._ahead(self._source.frames(start))

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the source's frames of these indices."""
        return self._ahead(self._source.frames_at(indices))

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the source's frames from `last` back to `first`."""
        return self._ahead(self._source.frames_backward(last, first))

    def count_frames(self, limit: int) -> int:
        """Return the source's count."""
        return self._source.count_frames(limit)

    def _ahead(self, frames: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
        reader = ahead(frames, self._size)
        self._readers.add(reader)
        return reader


def queue_size(info: VideoInfo, bytes_per_pixel: int = 3) -> int:
    """Return the capacity, in frames, of a queue between two threads: fewer if they are large."""
    num_bytes = info.width * info.height * bytes_per_pixel
    return max(1, min(MAX_QUEUED_FRAMES, MAX_QUEUED_BYTES // num_bytes))
