"""End a process that makes no progress in reading a file, and notice when its memory runs out."""

import mmap
import os
import signal

BYTES_PER_PIXEL = 16
"""For two pictures more, of four channels of 16 bits."""

SPARE_BYTES = 64 * 2**20
"""For what a decoder takes besides pictures."""


class Watchdog:
    """Ends the process by SIGALRM when nothing reports progress, even inside a C library.

    It counts from `start` to `stop`, and does nothing in a process that never starts it. A process
    that has started it also ends where the process that reads its results has ended.
    """

    def __init__(self) -> None:
        self._seconds = 0
        self._parent = 0

    def start(self, seconds: int) -> None:
        """Count from now on; `seconds` without any progress are too many."""
        self._seconds = seconds
        self._parent = os.getppid()
        self.restart()

    def restart(self) -> None:
        """Begin to count anew, if it counts."""
        if self._seconds:
            if os.getppid() != self._parent:
                os._exit(1)
            signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def stop(self) -> None:
        """Count no longer."""
        self._seconds = 0
        signal.setitimer(signal.ITIMER_REAL, 0)


watchdog = Watchdog()


def report_progress() -> None:
    """Report that reading has made progress; readers do so after every part of a file."""
    watchdog.restart()


def check_headroom(error: Exception | None, num_pixels: int = 0) -> None:
    """Tell out-of-memory from corrupt data; FFmpeg and Pillow report both alike.

    Memory has run out where two more pictures would not fit. The room for them is asked for, and
    never touched.

    Args:
        error: What the library raised, if anything.
        num_pixels: Of a picture, as far as that is known.

    Raises:
        MemoryError: There is no room for two more pictures, or `error` is one itself.
    """
    if isinstance(error, MemoryError):
        raise error
    num_bytes = SPARE_BYTES + BYTES_PER_PIXEL * num_pixels
    try:
        mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        raise MemoryError(f"no room for {num_bytes} more bytes") from None
