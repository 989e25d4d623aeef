"""A file that is read several times, with its name in messages."""

import io
import os
from pathlib import Path

from sam_video.errors import VideoError


class SourceFile:
    """A file that may be opened repeatedly and must not change from the first time on.

    Args:
        path: Path of the file.
        name: Its name in messages; by default its quoted file name.
    """

    def __init__(self, path: Path, name: str = "") -> None:
        self.path = path
        self.name = name or repr(path.name or str(path))
        self._state: tuple[int, ...] | None = None

    def open(self) -> "OpenFile":
        """Open it for reading.

        Raises:
            VideoError: It cannot be opened, or has changed since it was first opened.
        """
        try:
            # By descriptor, because FFmpeg and Pillow would judge a name by its suffix.
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
        """Check that the file is unchanged; an open file that was removed stays readable.

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
            VideoError: As for `open`, or it cannot be read.
        """
        with self.open() as file:
            try:
                return file.read(num_bytes)
            except OSError as error:
                raise VideoError(f"{self.name} cannot be read: {error.strerror}") from None


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class OpenFile(io.FileIO):
    """A file whose failed seeks return -1, as FFmpeg expects; PyAV would print an exception."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1
