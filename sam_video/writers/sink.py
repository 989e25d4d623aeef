"""What every writer is.

A file is there complete under its own name, or not at all; memory does not grow with the number
of frames.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from sam_video.types import MaskFrame

Step = Callable[[], list[Path]]
"""Writes one frame; returns the files that are complete now and were not before."""


class Sink(Protocol):
    """Takes the frames of one prediction and writes them to files.

    What takes long is done in `prepare`, which any thread may call, at any time, also for several
    frames at once: it changes nothing. The steps that it returns are made one after another in the
    order of the frames.

    Use it as a context manager around these steps, and call `finish` inside, after the last one.
    Leaving the context without it removes what has been begun and not completed.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw and encode one frame; return the step that writes it."""
        ...

    def finish(self) -> list[Path]:
        """Complete what the last frame has left open, and return those files."""
        ...


def json_bytes(value: Any) -> bytes:
    """Return a value as JSON on one line, as UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # A name may hold half of a surrogate pair, which UTF-8 has no bytes for; Python's escape for
    # it, such as \ud83d, is JSON's too.
    return text.encode("utf-8", errors="backslashreplace")
