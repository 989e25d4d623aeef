"""Progress as a bar on a terminal, and as lines in a log."""

import sys
from typing import NoReturn, TextIO

from tqdm import tqdm


def frame_progress(total: int | None) -> "tqdm[NoReturn]":
    """Show on standard error how many frames are done.

    Args:
        total: How many there are; None if that is not known.
    """
    # Without a description before the percentage: clients look for it at the start of a line.
    stream = sys.stderr if sys.stderr.isatty() else _Lines(sys.stderr)
    return tqdm(total=total, unit="frame", mininterval=0.5, file=stream)


class _Lines:
    """Writes every state of a bar as a line of its own.

    A bar returns to the start of its line instead, which a log does not show, and clients that
    parse one (`Prediction.progress`, `parseProgressFromLogs`) then never see more than 0 %.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> None:
        if state := text.strip():
            self._stream.write(f"{state}\n")

    def flush(self) -> None:
        self._stream.flush()
