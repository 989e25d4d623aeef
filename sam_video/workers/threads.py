"""A thread that works beside its caller, and ends when it is told to."""

import atexit
import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar
from weakref import WeakSet

POLL_SECONDS = 0.1
"""Waiting is cut into pieces this long, so that a prediction can be cancelled between them."""

POLLS_PER_INTERRUPTION = 10
"""How long to wait before interrupting again what seems to have missed it."""

T = TypeVar("T")


class _Interruption(BaseException):
    """Ends what a worker is in the middle of."""


class Worker:
    """Runs `work` in a thread of its own, until it is done or `stop` ends it.

    Work that waits, or goes from one item to the next, should return once `is_stopping`. Where it
    does not within a moment, an exception that is no `Exception` is raised in the middle of it,
    between two steps of the interpreter; a single call of a C library runs to its end.

    Nobody else ever uses what the worker uses: what must be released, it releases itself, in
    `clean_up`.

    Args:
        work: What to do.
        clean_up: Called once after the work, however that ended, with its error if there was one.
            It is never interrupted, and runs in the same thread, if that could be started.
        is_interruptible: Whether the work may be interrupted; if not, it must look itself.
    """

    def __init__(
        self,
        work: Callable[[], None],
        clean_up: Callable[[BaseException | None], None],
        *,
        is_interruptible: bool = True,
    ) -> None:
        self.is_stopping = False
        """Whether the work should end."""
        self.error: BaseException | None = None
        """What the work or, if it has none, its clean-up has raised; final once stopped."""
        self._work = work
        self._clean_up = clean_up
        self._lock = threading.Lock()
        self._may_interrupt = is_interruptible
        self._is_interruptible = False
        self._has_ended = threading.Event()
        # A daemon, or the interpreter would wait at its exit for what nobody has stopped.
        self._thread = threading.Thread(target=self._run, name="sam_video worker", daemon=True)

    def start(self) -> None:
        """Start the work.

        Raises:
            RuntimeError: The system has no thread to spare.
        """
        _workers.add(self)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._clean_up(error)
            raise
        except BaseException:  # such as a cancellation, while the thread has started nevertheless
            self.is_stopping = True
            raise

    def stop(self) -> None:
        """End the work, and return when it is cleaned up; at once if it has ended or never began.

        If waiting for that is interrupted, the worker ends nevertheless.
        """
        self.is_stopping = True
        # Python may collect a generator that calls this as garbage in any thread.
        if self._thread.ident is None or self._thread is threading.current_thread():
            return
        try:
            num_polls = 0
            while not self._has_ended.wait(POLL_SECONDS):
                if num_polls % POLLS_PER_INTERRUPTION == 0:
                    self._interrupt()
                num_polls += 1
            self._thread.join()
        except BaseException:
            self._interrupt()
            raise

    def _run(self) -> None:
        with suppress(_Interruption):
            self._is_interruptible = self._may_interrupt
            self._attempt(self._work)
            self._shield()
        self._shield()  # after an interruption
        self._attempt(lambda: self._clean_up(self.error))
        self._has_ended.set()

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except _Interruption:
            raise
        except BaseException as error:
            self.error = self.error or error

    def _interrupt(self) -> None:
        with self._lock:
            if self._is_interruptible:
                ident = ctypes.c_ulong(self._thread.ident or 0)
                error = ctypes.py_object(_Interruption)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, error)

    def _shield(self) -> None:
        """Let no interruption come from here on."""
        with self._lock:
            self._is_interruptible = False
        time.sleep(0)  # one that is under way comes here


def polled(queue: "SimpleQueue[T]", is_over: Callable[[], bool] = lambda: False) -> T | None:
    """Wait for the next item of a queue; None once it is over.

    The queues between threads are of this kind because an exception that comes from another thread
    (so does Cog's cancellation) cannot leave their locks held; those of `queue.Queue` it can.
    """
    while not is_over():
        with suppress(Empty):
            return queue.get(timeout=POLL_SECONDS)
    return None


_workers: WeakSet[Worker] = WeakSet()


@atexit.register
def _stop_all() -> None:
    for worker in list(_workers):
        worker.stop()
