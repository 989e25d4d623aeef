"""What a command has of its process: standard streams, which may be closed, and signals."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a command to end: Ctrl-C, `docker stop` or `timeout`, and a terminal that closes."""

DEAF_SECONDS = 5.0
"""How long the same request is not heard again: some send it twice, and cleaning up takes time."""


class EndedBySignal(KeyboardInterrupt):
    """The process has been asked to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = 128 + number
        """The exit status, as a shell gives it."""


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Have every signal of `SIGNALS` raise `EndedBySignal` in the main thread.

    Those that the process was started to ignore, as by `nohup`, stay ignored.
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
        with suppress(ValueError):  # outside the main thread, which alone takes signals
            for number in heard:
                signal.signal(number, end)
        yield
    finally:
        with suppress(ValueError):
            for number in heard:
                signal.signal(number, before[number])


def open_streams() -> None:
    """Open standard streams that are closed, or the next file that is opened takes their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number is taken
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def print_error(text: str) -> None:
    """Print a line `error: …` on standard error, if anybody reads that."""
    with suppress(OSError):
        print("error:", text, file=sys.stderr, flush=True)


def write(stream: TextIO, data: bytes = b"") -> OSError | None:
    """Write bytes, and all that a stream holds back.

    Returns:
        What prevents it; nothing is written to the stream from then on, nor when Python ends.
    """
    try:
        if data:
            stream.buffer.write(data)
        stream.flush()
    except OSError as error:
        with suppress(OSError):  # there may be no file behind it
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
