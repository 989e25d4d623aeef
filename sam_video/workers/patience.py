"""Tell a program that hangs from one that is slow."""

import time
from contextlib import suppress
from pathlib import Path

from sam_video.limits import MAX_STALL_SECONDS

_MAX_STEP_SECONDS = 1.0
"""What counts at most between two looks: this process may have been stopped meanwhile itself."""


class Patience:
    """Waits for another process as long as that works: it writes its file, or uses the processor.

    Args:
        process: The id of the process.
        path: The file that it writes, which need not be there yet.

    Raises:
        RequestError: The variable of the limit has a value that is not accepted.
    """

    def __init__(self, process: int, path: Path) -> None:
        self._path = path
        self._status = Path(f"/proc/{process}/stat")
        self._max_seconds = int(MAX_STALL_SECONDS)
        self._progress: tuple[object, ...] = ()
        self.restart()

    def restart(self) -> None:
        """Begin to count anew."""
        self._waited_seconds = 0.0
        self._last = time.monotonic()

    def is_over(self) -> bool:
        """Look at the process; return whether it has got no further for too long."""
        if (progress := self._measured()) != self._progress:
            self._progress = progress
            self.restart()
        now = time.monotonic()
        self._waited_seconds += min(now - self._last, _MAX_STEP_SECONDS)
        self._last = now
        return self._waited_seconds > self._max_seconds

    def _measured(self) -> tuple[object, ...]:
        values: list[object] = []
        with suppress(OSError):
            state = self._path.stat()
            values += [state.st_size, state.st_mtime_ns]
        with suppress(OSError):  # where there is no /proc
            # The time spent in user and in kernel mode, see proc(5).
            values += self._status.read_text().rpartition(")")[2].split()[11:13]
        return tuple(values)
