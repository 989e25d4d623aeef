"""The seam between masks and the writers of files.

Every file appears complete under its name, or not at all; memory does not grow with the number of
frames.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sam_video.types import MaskFrame

Step = Callable[[], list[Path]]
"""Writes one frame; returns the files that are complete now and were not before."""


class Sink(Protocol):
    """Takes the frames of one prediction and writes them to files.

    What takes long is done in `prepare`, which any thread may call, at any time, also for several
    frames at once: it changes nothing. The steps that it returns are made one after another in the
    order of the frames.

    One thread makes the steps, then calls `finish`, and `close` in any case. A sink that was never
    used holds nothing that needs to be closed.
    """

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw and encode one frame; return the step that writes it."""
        ...

    def finish(self) -> list[Path]:
        """Complete what the last frame has left open, and return those files."""
        ...

    def close(self) -> None:
        """Remove what has been begun and is not complete; after `finish`, nothing is."""
        ...


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON on one line, as UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # A name may hold half of a surrogate pair, which UTF-8 has no bytes for; Python's escape for
    # it, such as \ud83d, is JSON's too.
    return text.encode("utf-8", errors="backslashreplace")
