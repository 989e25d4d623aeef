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
    """Hands frames to sinks in threads of its own, and their files back to the caller, in order.

    A context manager. Several frames are prepared side by side, and one thread writes them; a slow
    sink blocks the caller in the end. The error of a sink is raised in the caller's next step.
    Leaving before `finish` is done ends the threads wherever they are, and no sink is in use
    afterwards. The sinks belong to the thread that writes, which also closes them: an exception
    that comes to the caller from elsewhere leaves none of them half open. Leaving without having
    entered does nothing.

    Args:
        sinks: All that will be written to.
        size: How many frames may be in work or wait for it, at least 1.
        publish: Called with every complete file at once; what it returns is handed back instead.
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
        self._crew = OrderedThreads(num_threads)
        self._turns = cycle(range(num_threads))
        self._frames: SimpleQueue[list[Future[Step]] | None] = SimpleQueue()
        self._files: SimpleQueue[Path | None] = SimpleQueue()
        self._room: SimpleQueue[bool] = SimpleQueue()
        for _ in range(size):
            self._room.put(True)

    def __enter__(self) -> Self:
        self._worker.start()
        self._crew.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._worker.stop()
        finally:
            self._crew.__exit__()

    def write(self, masks: MaskFrame, sinks: Sequence[Sink]) -> Iterator[Path]:
        """Have a frame written to some of the sinks; yield the files completed meanwhile.

        It must be iterated to its end: it waits until there is room for the frame.
        """
        while not self._has_room():
            yield from self._new_files()
        steps = [
            self._crew.submit(turn, partial(sink.prepare, masks))
            for sink, turn in zip(sinks, self._turns, strict=False)
        ]
        self._frames.put(steps)
        yield from self._new_files()

    def finish(self) -> Iterator[Path]:
        """Have all sinks finish, and yield the files that are completed until then."""
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
            if path is None:  # the last one, before it was asked for
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
        """Write the next frame and forget it; return whether there was one."""
        steps = wait_for(self._frames, lambda: self._worker.is_stopping)
        if steps is None:
            return False
        for prepared in steps:
            self._do(partial(_make, prepared))
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


def _make(prepared: Future[Step]) -> list[Path]:
    """Wait for a step, and make it."""
    return prepared.result()()
