"""Threads that work beside their caller and can be ended at any time.

Cog cancels a prediction by an exception that another thread raises in the middle of any step. So
nothing here waits longer than `POLL_SECONDS` at once, and no lock stays held.
"""

import atexit
import ctypes
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from functools import partial
from queue import Empty, SimpleQueue
from traceback import clear_frames
from typing import Any, Generic, Self, TypeVar
from weakref import WeakSet

POLL_SECONDS = 0.1
"""Waiting is cut into pieces this long, so that a prediction can be cancelled between them."""

POLLS_PER_INTERRUPTION = 10
"""Polls to wait before interrupting again, if the first interruption was missed."""

T = TypeVar("T")


class _Interruption(BaseException):
    """Ends the work of a worker between two steps."""


class Worker:
    """Runs `work` in a thread of its own, until it is done or `stop` ends it.

    Work that waits, or goes from one item to the next, should return once `is_stopping`. Work that
    does not return within a moment is interrupted by a `BaseException` between two steps of the
    interpreter; a single call of a C library runs to its end.

    Nobody else may use the resources of a worker; it releases them itself, in `clean_up`.

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
        """The error of the work, or else of the clean-up; final once stopped."""
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
        self._attempt(partial(self._clean_up, self.error))
        del self._work, self._clean_up  # their owner may hold this worker: a cycle
        self._has_ended.set()
        del self  # which holds an error whose frames were called by this one: another cycle

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            step()
        except _Interruption:
            raise
        except BaseException as error:
            self.error = self.error or _without_variables(error)
            del self, step

    def raise_error(self) -> None:
        """Raise the error of the work or its clean-up, if there is one; only once."""
        if self.error is not None:
            raise self._take_error()

    def _take_error(self) -> BaseException:
        """Return the error and forget it: in a frame that raises it, no variable may hold it."""
        error, self.error = self.error, None
        assert error is not None
        return error

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


def _without_variables(error: BaseException) -> BaseException:
    """Return an error to be kept, of whose frames the variables are forgotten.

    They hold what the failed work used, such as a model on a GPU, and often the keeper of the
    error: a cycle, which would stay until garbage is collected.
    """
    clear_frames(error.__traceback__)
    return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)


_workers: WeakSet[Worker] = WeakSet()


@atexit.register
def _stop_all() -> None:
    for worker in list(_workers):
        worker.stop()


def wait_for(queue: "SimpleQueue[T]", is_over: Callable[[], bool] = lambda: False) -> T | None:
    """Wait for the next item of a queue; return None once `is_over`.

    Queues between threads are simple ones, whose locks an exception that comes from another thread
    cannot leave held; those of `queue.Queue` it can.
    """
    while not is_over():
        with suppress(Empty):
            return queue.get(timeout=POLL_SECONDS)
    return None


def wait_until_ready(
    descriptor: int, event: int, is_over: Callable[[], bool] = lambda: False
) -> bool:
    """Wait until a pipe can be read or written; return False once `is_over`.

    Args:
        descriptor: Of the pipe.
        event: `select.POLLIN` or `select.POLLOUT`; a pipe whose other end is closed is ready too.
        is_over: Whether waiting is in vain.
    """
    poll = select.poll()
    poll.register(descriptor, event)
    while not poll.poll(1000 * POLL_SECONDS):
        if is_over():
            return False
    return True


class Future(Generic[T]):
    """The result of a call that a thread makes, now or later."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._error: BaseException | None = None
        self._has_ended: SimpleQueue[bool] = SimpleQueue()

    def run(self) -> None:
        """Make the call; an `Exception` of it is kept for `result`."""
        try:
            self._value = self._call()
        except Exception as error:
            self._error = _without_variables(error)
        except BaseException as error:
            self._error = copy(error)  # the error itself meets frames that hold this future
            raise
        finally:
            del self._call  # and what it holds
            self._has_ended.put(True)
            del self  # which holds an error whose frames were called by this one: a cycle

    def result(self) -> T:
        """Wait for the call and return its value, or raise its error; only once."""
        wait_for(self._has_ended)
        if self._error is not None:
            raise self._take_error()
        return self._value

    def _take_error(self) -> BaseException:
        """Return the error and forget it: in a frame that raises it, no variable may hold it."""
        error, self._error = self._error, None
        assert error is not None
        return error


class OrderedThreads:
    """Threads that each run their own queue of calls, in order.

    A context manager: leaving it ends the threads, and drops the calls that no thread has begun.
    They also end when this is forgotten.

    Args:
        size: Number of threads, at least 1.
        prepare: What each thread does first.
    """

    def __init__(self, size: int, prepare: Callable[[], None] = lambda: None) -> None:
        assert size > 0, size
        self._calls: list[SimpleQueue[Future[Any] | None]] = [SimpleQueue() for _ in range(size)]
        self._prepare = prepare
        self._workers: list[Worker] = []

    def __enter__(self) -> Self:
        for calls in self._calls:
            self._workers.append(_call_worker(calls, self._prepare))
            self._workers[-1].start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ask_to_stop()
        try:
            for worker in self._workers:
                worker.stop()
        finally:
            self._calls.clear()  # which may hold what holds this

    def __del__(self) -> None:
        if hasattr(self, "_workers"):
            self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        for worker, calls in zip(self._workers, self._calls, strict=False):
            worker.is_stopping = True
            calls.put(None)  # wakes one that waits

    def submit(self, number: int, call: Callable[[], T]) -> Future[T]:
        """Have the thread of this number, from 0, make a call after those before it."""
        future = Future(call)
        self._calls[number].put(future)
        return future


def _call_worker(calls: "SimpleQueue[Future[Any] | None]", prepare: Callable[[], None]) -> Worker:
    """Return a thread that makes the calls of a queue; it holds no reference to its owner."""

    def work() -> None:
        prepare()
        while (future := wait_for(calls, lambda: worker.is_stopping)) is not None:
            future.run()
            del future  # or it would hold its result until the next one comes

    worker = Worker(work, lambda _: None)
    return worker
