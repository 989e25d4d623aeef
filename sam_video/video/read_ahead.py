"""Frames are decoded while the ones before them are tracked."""

from collections.abc import Generator, Iterable
from queue import SimpleQueue
from typing import Generic, Self, TypeVar
from weakref import WeakSet

from sam_video.types import Frame, FrameSource, VideoInfo
from sam_video.workers.threads import Worker, polled

T = TypeVar("T")


def ahead(items: Generator[T, None, None], size: int) -> Generator[T, None, None]:
    """Yield what a generator yields, while it runs ahead in a thread of its own.

    An error comes after the items before it. The thread begins with the first item that is asked
    for. Closing this ends the thread wherever it is, and closes the generator there.

    Args:
        items: What to run; nobody else may use it.
        size: How many items it may be ahead, at least 1.
    """
    reader = _Reader(items, size)
    try:
        reader.worker.start()
        while (item := reader.take()) is not None:
            yield item.pop()  # and hold it no longer
    finally:
        reader.worker.stop()
    if reader.worker.error is not None:
        raise reader.worker.error


class _Reader(Generic[T]):
    """The thread of `ahead`, and the queues from it and to it."""

    def __init__(self, items: Generator[T, None, None], size: int) -> None:
        assert size > 0, size
        self.worker = Worker(self._work, self._clean_up)
        self._items = items
        self._read: SimpleQueue[list[T] | None] = SimpleQueue()
        self._room: SimpleQueue[bool] = SimpleQueue()
        for _ in range(size):
            self._room.put(True)

    def take(self) -> list[T] | None:
        """Return the next item alone in a list, or None after the last one."""
        item = polled(self._read)
        self._room.put(True)
        return item

    def _work(self) -> None:
        # There is room before an item is made, not only when it is put away: it may be large.
        while polled(self._room, lambda: self.worker.is_stopping):
            try:
                item = next(self._items)
            except StopIteration:
                return
            self._read.put([item])
            del item  # or it would be held in vain until there is room for the next one

    def _clean_up(self, error: BaseException | None) -> None:
        try:
            self._items.close()
        finally:
            self._read.put(None)


class ReadAhead:
    """A video whose readers run ahead in threads; otherwise the video itself.

    A context manager: leaving it ends the threads of readers that are not closed yet. Counting
    frames is done by the caller's own thread.

    Args:
        source: The video; each of its frames has an image of its own.
        size: How many frames a reader may be ahead, at least 1.
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
        """The source's own."""
        return self._source.info

    def frames(self) -> Generator[Frame, None, None]:
        """Yield the source's frames."""
        return self._ahead(self._source.frames())

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the source's frames of these indices."""
        return self._ahead(self._source.frames_at(indices))

    def frames_backward(self, last: int) -> Generator[Frame, None, None]:
        """Yield the source's frames from `last` to the first."""
        return self._ahead(self._source.frames_backward(last))

    def count_frames(self, limit: int) -> int:
        """Return the source's count."""
        return self._source.count_frames(limit)

    def _ahead(self, frames: Generator[Frame, None, None]) -> Generator[Frame, None, None]:
        reader = ahead(frames, self._size)
        self._readers.add(reader)
        return reader
