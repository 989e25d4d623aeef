"""A generator that runs ahead of its caller, in a thread of its own."""

from collections.abc import Generator
from queue import SimpleQueue
from typing import Generic, TypeVar

from sam_video.workers.threads import Worker, wait_for

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
    reader.worker.raise_error()


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
        item = wait_for(self._read)
        self._room.put(True)
        return item

    def _work(self) -> None:
        # There is room before an item is made, not only when it is put away: it may be large.
        while wait_for(self._room, lambda: self.worker.is_stopping):
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
