"""The output folder of a prediction: a failed run leaves it as it was before.

A run writes into a hidden folder of its own, `.sam_video_` and a random number. Each complete file
moves from there to its place. The file that it replaces is kept in the hidden folder; it is removed
if the run succeeds, and restored if it fails.
"""

import errno
import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Self

from sam_video.errors import RequestError
from sam_video.writers.atomic_files import public_name

PREFIX = ".sam_video_"
_PRIVATE = re.compile(re.escape(PREFIX) + r"[0-9a-f]{16}")
_EARLIER = "earlier"
"""Folder in the private folder for the files that the run has replaced."""

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}

logger = logging.getLogger(__name__)


class OutputFolder:
    """Publishes the complete files of one run in a folder, and keeps other runs out of it.

    A context manager; entering it does nothing, and `open` makes and locks the folder. Leaving it
    by an exception removes the files of the run and restores those that they replaced. The next run
    does the same for a run that was killed.

    Args:
        path: The folder; it is made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.private = path / f"{PREFIX}{secrets.token_hex(8)}"
        """The folder for incomplete files; it exists after `open`."""
        self._earlier = self.private / _EARLIER
        self._descriptor: int | None = None
        self._published: list[str] = []
        self._replaced: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._keep()
            else:
                self._undo()
            self._close()
        except BaseException:  # such as an interruption; a second one is not expected
            self._undo()
            self._close()
            raise

    def open(self, patterns: Sequence[str]) -> None:
        """Make the folder and lock it against other runs.

        Args:
            patterns: `fnmatch` patterns for the names of all files that may be published.

        Raises:
            RequestError: It is a file, another run is using it, or a folder in it has the name of
                an output file.
            OSError: It cannot be made or read.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            message = f"the output folder is {str(self.path)!r}, which is a file or lies in one;"
            raise RequestError(f"{message} expected a folder (-o)") from None
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        if self._lock(self._descriptor):
            for private in self._private_folders():
                with suppress(PermissionError):  # another user's
                    _put_back(private / _EARLIER, self.path)
                    shutil.rmtree(private)
        self._check_places(patterns)
        self.private.mkdir(mode=0o700)

    def publish(self, path: Path) -> Path:
        """Move a complete file from the private folder to its place and return its new path."""
        place = self.path / path.name
        self._published.append(path.name)
        if os.path.lexists(place):
            self._earlier.mkdir(exist_ok=True)
            self._replaced.add(path.name)
            _set_aside(place, self._earlier / path.name)
        path.replace(place)
        return place

    @contextmanager
    def errors_named(self) -> Iterator[None]:
        """Make an OSError name the final path of a file, or this folder if it names no file."""
        try:
            yield
        except OSError as error:
            if error.filename is None and error.errno in _DISK_ERRORS:
                name = ""
            elif _is_in(error.filename, self.private):
                name = public_name(Path(os.fsdecode(error.filename)))
            else:
                raise
            raise OSError(error.errno, error.strerror, str(self.path / name)) from error

    def _lock(self, descriptor: int) -> bool:
        """Lock the folder until its descriptor is closed; return whether it can be locked."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"the output folder {str(self.path)!r} is in use by another prediction;"
            raise RequestError(f"{message} expected a folder of its own (-o)") from None
        except OSError:  # some network file systems
            logger.warning("%s cannot be locked; let one prediction at a time use it", self.path)
            return False
        return True

    def _private_folders(self) -> list[Path]:
        with os.scandir(self.path) as entries:
            return [
                self.path / entry.name
                for entry in entries
                if _PRIVATE.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            ]

    def _check_places(self, patterns: Sequence[str]) -> None:
        with os.scandir(self.path) as entries:
            for entry in entries:
                is_place = any(fnmatchcase(entry.name, pattern) for pattern in patterns)
                if is_place and entry.is_dir(follow_symlinks=False):
                    message = f"{str(self.path / entry.name)!r} is a folder in the place of an"
                    raise RequestError(f"{message} output file; expected another folder (-o)")

    def _keep(self) -> None:
        """Keep the files for good: one rename decides it if they replaced others."""
        if self._replaced:
            self._earlier.rename(self.private / "replaced")

    def _undo(self) -> None:
        """Restore the folder as it was before, unless `_keep` has succeeded."""
        if self._replaced and not self._earlier.exists():
            return
        for name in self._published:
            if name not in self._replaced and not os.path.lexists(self.private / name):
                (self.path / name).unlink(missing_ok=True)
        _put_back(self._earlier, self.path)

    def _close(self) -> None:
        # The next run removes the rest, such as files still open on a network file system.
        shutil.rmtree(self.private, ignore_errors=True)
        if self._descriptor is not None:
            with suppress(OSError):  # an interrupted call had closed it
                os.close(self._descriptor)
            self._descriptor = None


def _set_aside(place: Path, aside: Path) -> None:
    """Give a file a second name; on a file system without links, move it there."""
    try:
        os.link(place, aside, follow_symlinks=False)
    except OSError:
        place.replace(aside)


def _put_back(earlier: Path, folder: Path) -> None:
    if earlier.is_dir():
        for path in list(earlier.iterdir()):
            path.replace(folder / path.name)


def _is_in(path: object, folder: Path) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and Path(os.fsdecode(path)).parent == folder
