"""The standard streams of a command's process, which may be closed, and its signals."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a command to end: of Ctrl-C, `docker stop` or `timeout`, a closed terminal."""

DEAF_SECONDS = 5.0
"""Time after a signal in which others are ignored: some send it twice, and cleaning up is slow."""


class EndedBySignal(KeyboardInterrupt):
    """The process has been asked to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = 128 + number
        """The exit status, as a shell gives it."""


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Have every signal of `SIGNALS` raise `EndedBySignal` in the main thread.

    Signals that the process ignores from its start, as under `nohup`, stay ignored.
    """
    last = -DEAF_SECONDS

    def end(number: int, _: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last > DEAF_SECONDS:
            last = time.monotonic()
            raise EndedBySignal(number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number in SIGNALS if before[number] not in {signal.SIG_IGN, None}]
    try:
        with suppress(ValueError):  # only the main thread can set handlers
            for number in heard:
                signal.signal(number, end)
        yield
    finally:
        with suppress(ValueError):
            for number in heard:
                signal.signal(number, before[number])


def open_streams() -> None:
    """Open closed standard streams; otherwise the next opened file would take their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def print_error(text: str) -> None:
    """Print a line `error: …` on standard error; do nothing if that is closed."""
    with suppress(OSError):
        print("error:", text, file=sys.stderr, flush=True)


def write(stream: TextIO, data: bytes = b"") -> OSError | None:
    """Write bytes to a stream and flush it.

    Returns:
        The error, or None. After an error the stream drops all output, also when Python ends.
    """
    try:
        if data:
            stream.buffer.write(data)
        stream.flush()
    except OSError as error:
        with suppress(OSError):  # the stream may have no file descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
