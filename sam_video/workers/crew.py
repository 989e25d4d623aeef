"""Calls that run side by side, each thread its own in their order."""

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar

from sam_video.workers.threads import Worker, polled

T = TypeVar("T")


class Pending(Generic[T]):
    """A call that a thread makes, now or later."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._has_ended: SimpleQueue[bool] = SimpleQueue()

    def run(self) -> None:
        """Make the call; an `Exception` of it is kept for `result`."""
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error
            if not isinstance(error, Exception):
                raise
        finally:
            del self._call  # and what it holds
            self._has_ended.put(True)

    def result(self) -> T:
        """Wait for the call and return its value, once; or raise its error."""
        polled(self._has_ended)
        if self._error is not None:
            raise self._error
        return self._value


class Crew:
    """Threads, each of which makes the calls that are given to it in the order in which they come.

    A context manager: leaving it ends the threads, and drops the calls that no thread has begun.
    They also end when this is forgotten.

    Args:
        size: Number of threads, at least 1.
        prepare: What each thread does first.
    """

    def __init__(self, size: int, prepare: Callable[[], None] = lambda: None) -> None:
        assert size > 0, size
        self._calls: list[SimpleQueue[Pending[Any] | None]] = [SimpleQueue() for _ in range(size)]
        self._workers = [_worker(calls, prepare) for calls in self._calls]

    def __enter__(self) -> Self:
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ask_to_stop()
        for worker in self._workers:
            worker.stop()

    def __del__(self) -> None:
        if hasattr(self, "_workers"):
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        for worker, calls in zip(self._workers, self._calls, strict=True):
            worker.is_stopping = True
            calls.put(None)  # wakes one that waits

    def submit(self, number: int, call: Callable[[], T]) -> Pending[T]:
        """Have the thread of this number, from 0, make a call after those before it."""
        pending = Pending(call)
        self._calls[number].put(pending)
        return pending


def _worker(calls: "SimpleQueue[Pending[Any] | None]", prepare: Callable[[], None]) -> Worker:
    """Return a thread that makes the calls of a queue; it knows nothing of the crew."""

    def work() -> None:
        prepare()
        while (pending := polled(calls, lambda: worker.is_stopping)) is not None:
            pending.run()
            del pending  # or it would hold its result until the next one comes

    worker = Worker(work, lambda _: None)
    return worker
