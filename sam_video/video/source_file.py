"""A file that is read several times, and what messages call it."""

import io
import os
from pathlib import Path

from sam_video.errors import VideoError


class SourceFile:
    """A file that must stay the same while it is read, however often it is opened.

    Args:
        path: Where it is.
        name: What messages call it; by default its quoted name.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.name = name or repr(path.name or str(path))
        self._state: tuple[int, ...] | None = None

    def open(self) -> "OpenFile":
        """Open it for reading.

        Raises:
            VideoError: It cannot be opened, or is not as it was when it was first opened.
        """
        try:
            # By number, because FFmpeg and Pillow would take the suffix of a name as evidence.
            file = OpenFile(os.open(self.path, os.O_RDONLY))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise VideoError(f"{self.name} cannot be read: {reason}") from None
        if self._state is None:
            self._state = _state(os.fstat(file.fileno()))
        try:
            self.check()
        except VideoError:
            file.close()
            raise
        return file

    def check(self) -> None:
        """See whether it is as it was; one that is removed stays as it is for who has it open.

        Raises:
            VideoError: It has been written to, or replaced by another file.
        """
        try:
            found = _state(self.path.stat())
        except OSError:
            return
        if self._state is not None and found != self._state:
            raise VideoError(f"{self.name} changed while it was read")

    def read_head(self, num_bytes: int) -> bytes:
        """Return the first bytes.

        Raises:
            VideoError: As `open` does, or it cannot be read.
        """
        with self.open() as file:
            try:
                return file.read(num_bytes)
            except OSError as error:
                raise VideoError(f"{self.name} cannot be read: {error.strerror}") from None


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class OpenFile(io.FileIO):
    """A file that answers an impossible seek as FFmpeg expects; PyAV would print an exception."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1
