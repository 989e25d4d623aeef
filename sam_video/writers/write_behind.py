"""Draw and write masks while the next ones are tracked."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from sam_video.types import MaskFrame, Timer
from sam_video.workers.threads import POLL_SECONDS, Future, OrderedThreads, Worker, wait_for
from sam_video.writers.sink import Sink, Step


class WriteBehind:
    """Writes frames to sinks in its own threads and yields their files to the caller, in order.

    A context manager. Several threads prepare frames, and one thread writes them; if a sink is
    slow, the caller waits. The error of a sink is raised in the caller's next call. Leaving before
    the end of `finish` stops the threads; no sink is in use afterwards. The thread that writes also
    closes the sinks, so that none stays open if the caller raises an exception. Leaving without
    entering does nothing.

    Args:
        sinks: All sinks that `write` may get.
        size: Most frames that may be queued or in work, at least 1.
        publish: Called with each file as soon as it is complete; its result is yielded instead.
        timer: Entered around every step of a sink.
    """

    def __init__(
        self,
        sinks: Sequence[Sink],
        size: int,
        *,
        publish: Callable[[Path], Path] = lambda path: path,
        timer: Timer = nullcontext,
    ) -> None:
        assert size > 0, size
        self._sinks = sinks
        self._timer = timer
        self._publish = publish
        self._worker = Worker(self._work, self._clean_up)
        num_threads = min(size, os.cpu_count() or 1)
        self._threads = OrderedThreads(num_threads)
        self._turns = cycle(range(num_threads))
        self._frames: SimpleQueue[list[Future[Step]] | None] = SimpleQueue()
        self._files: SimpleQueue[Path | None] = SimpleQueue()
        self._room: SimpleQueue[bool] = SimpleQueue()
        for _ in range(size):
            self._room.put(True)

    def __enter__(self) -> Self:
        self._worker.start()
        self._threads.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._worker.stop()
        finally:
            self._threads.__exit__()

    def write(self, masks: MaskFrame, sinks: Sequence[Sink]) -> Iterator[Path]:
        """Queue a frame for some of the sinks; yield the files that are complete by now.

        The caller must iterate to the end: this waits until the queue has room for the frame.
        """
        while not self._has_room():
            yield from self._new_files()
        steps = [
            self._threads.submit(turn, partial(sink.prepare, masks))
            for sink, turn in zip(sinks, self._turns, strict=False)
        ]
        self._frames.put(steps)
        yield from self._new_files()

    def finish(self) -> Iterator[Path]:
        """Finish all sinks, and yield the remaining files."""
        self._frames.put(None)
        while (path := wait_for(self._files)) is not None:
            yield path
        self._end()

    def _has_room(self) -> bool:
        with suppress(Empty):
            return self._room.get(timeout=POLL_SECONDS)
        return False

    def _new_files(self) -> Iterator[Path]:
        while True:
            try:
                path = self._files.get_nowait()
            except Empty:
                return
            if path is None:  # the thread ended early, because of an error
                self._end()
            else:
                yield path

    def _end(self) -> None:
        self._worker.stop()
        self._worker.raise_error()

    def _work(self) -> None:
        while self._write_next():
            self._room.put(True)
        if not self._worker.is_stopping:
            for sink in self._sinks:
                self._do(sink.finish)

    def _write_next(self) -> bool:
        """Write the next frame and drop it; return whether there was one."""
        steps = wait_for(self._frames, lambda: self._worker.is_stopping)
        if steps is None:
            return False
        for prepared in steps:
            self._do(partial(_run, prepared))
        return True

    def _do(self, step: Step) -> None:
        with self._timer():
            for path in step():
                self._files.put(self._publish(path))

    def _clean_up(self, _: BaseException | None) -> None:
        try:
            with ExitStack() as stack:
                for sink in self._sinks:
                    stack.callback(sink.close)
        finally:
            self._files.put(None)


def _run(prepared: Future[Step]) -> list[Path]:
    """Wait for a step and call it."""
    return prepared.result()()
