"""Progress on standard error; the one door to tqdm."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TextIO


@contextmanager
def _default_settings() -> Iterator[None]:
    """Hide the variables that change tqdm's defaults, or end its import where they are wrong."""
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
    """Show how many frames are done: a bar on a terminal, lines in a log.

    Args:
        total: How many there are; None if that is not known.
    """
    # Without a description before the percentage: clients look for it at the start of a line.
    return tqdm(
        total=total, unit="frame", mininterval=0.5, file=_stream(), disable=sys.stderr is None
    )


def byte_progress(name: str, total: int, *, is_shown: bool = True) -> "tqdm[NoReturn]":
    """Show how many bytes of a file have arrived.

    Args:
        name: Of the file.
        total: How many there are.
        is_shown: Whether to show it at all.
    """
    return tqdm(
        desc=name,
        total=total,
        unit="B",
        unit_scale=True,
        file=_stream(),
        disable=not is_shown or sys.stderr is None,
    )


def _stream() -> "TextIO | _Lines":
    return sys.stderr if sys.stderr is None or sys.stderr.isatty() else _Lines(sys.stderr)


class _Lines:
    """Writes every state of a bar as a line of its own, and nothing where nobody reads any more.

    A bar returns to the start of its line instead, which a log does not show, and clients that
    parse one (`Prediction.progress`, `parseProgressFromLogs`) then never see more than 0 %.
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
