"""What tests of threads share: which are left, how Cog cancels, and steps that take too long."""

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 60.0
"""After which something hangs."""


class Cancelled(BaseException):
    """Stands for Cog's, which is no `Exception` either."""


def worker_threads() -> list[threading.Thread]:
    """Return the package's own threads that are running."""
    return [thread for thread in threading.enumerate() if thread.name == "sam_video worker"]


def wait_until(condition: Callable[[], object], what: str = "something") -> None:
    """Return as soon as a condition holds; fail if it never does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def take_too_long() -> None:
    """Work in Python until somebody interrupts it; fail if nobody does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.005)
    raise AssertionError("was not interrupted")


@contextmanager
def cancelled_when(condition: Callable[[], object]) -> Iterator[None]:
    """Cancel this thread, as Cog does it, as soon as a condition holds."""
    ident = threading.get_ident()

    def cancel() -> None:
        wait_until(condition)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(ident), ctypes.py_object(Cancelled)
        )

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield
    finally:
        thread.join()
