"""The interface between masks and the writers of files.

Every file appears under its name once it is complete, or not at all; memory does not grow with the
number of frames.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sam_video.types import MaskFrame

Step = Callable[[], list[Path]]
"""Writes one frame; returns the files that this completes."""


class Sink(Protocol):
    """Takes the frames of one prediction and writes them to files.

    `prepare` does the slow part of the work and changes no state: any thread may call it at any
    time, also for several frames at once. The returned steps are called one by one in the order of
    the frames.

    One thread calls the steps, then `finish`, and always `close`. An unused sink needs no `close`.
    """

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw and encode one frame; return the step that writes it."""
        ...

    def finish(self) -> list[Path]:
        """Complete the files that are still open, and return them."""
        ...

    def close(self) -> None:
        """Remove incomplete files; there are none after `finish`."""
        ...


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON on one line, as UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # A name may hold half of a surrogate pair, which UTF-8 cannot encode; Python's escape for it,
    # such as \ud83d, is valid JSON too.
    return text.encode("utf-8", errors="backslashreplace")
