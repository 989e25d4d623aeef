"""Show progress on standard error; the only module that uses tqdm."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO

logger = logging.getLogger(__name__)


@contextmanager
def _default_settings() -> Iterator[None]:
    """Hide the variables that change tqdm's defaults; wrong ones would make its import fail."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith("TQDM_")}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


with _default_settings():
    from tqdm import tqdm


def frame_progress(total: int | None) -> "tqdm[NoReturn]":
    """Show the number of finished frames: a bar on a terminal, lines in a log.

    Args:
        total: Number of all frames; None if it is not known.
    """
    # No description before the percentage: clients look for it at the start of a line.
    return tqdm(
        total=total, unit="frame", mininterval=0.5, file=_stream(), disable=sys.stderr is None
    )


def byte_progress(name: str, total: int, *, is_shown: bool = True) -> "tqdm[NoReturn]":
    """Show the number of bytes of a file that have arrived.

    Args:
        name: Name of the file.
        total: Size of the file in bytes.
        is_shown: Whether to show progress at all.
    """
    return tqdm(
        desc=name,
        total=total,
        unit="B",
        unit_scale=True,
        file=_stream(),
        disable=not is_shown or sys.stderr is None,
    )


@contextmanager
def timed_step(name: str) -> Iterator[None]:
    """Log how long a step of the start took, once it is done."""
    started = time.perf_counter()
    yield
    logger.info("%s took %.1f s", name, time.perf_counter() - started)


def _stream() -> "TextIO | _Lines":
    return sys.stderr if sys.stderr is None or sys.stderr.isatty() else _Lines(sys.stderr)


class _Lines:
    """Writes every state of a bar as a line of its own; ignores a closed stream.

    A bar would return to the start of its line, which a log does not show; clients that parse a
    log (`Prediction.progress`, `parseProgressFromLogs`) would never see more than 0 %.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> None:
        if state := text.strip():
            with suppress(OSError):
                self._stream.write(f"{state}\n")

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()
