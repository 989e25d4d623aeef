"""Files that have their names only once they are complete."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def partial_path(path: Path) -> Path:
    """Return the hidden name beside `path` under which it is written."""
    return path.with_name(f".{path.name}.partial")


def public_name(path: Path) -> str:
    """Return the name of the file that a hidden one beside it becomes a part of, for messages."""
    return path.name[1:].rpartition(".")[0] if path.name.startswith(".") else path.name


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Let an error of the system that names no file, such as a full disk, name this one."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a partial name beside `path`; what is written there becomes `path`, or is removed."""
    partial = partial_path(path)
    try:
        with errors_naming(path):
            yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class AtomicFile:
    """A file that is written under a hidden name beside `path`, which `finish` moves there.

    Args:
        path: Where the file appears. A file of that name stays as it is until then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._file: IO[bytes] | None = None

    @property
    def file(self) -> IO[bytes]:
        """The file, opened with its first use, to be written from its beginning."""
        if self._file is None:
            self._file = self._partial.open("wb")
        return self._file

    def finish(self) -> Path:
        """Close the file, give it its name, and return that."""
        with errors_naming(self._path):
            self.file.close()
        self._partial.replace(self._path)
        return self._path

    def close(self) -> None:
        """Remove the file if it is not finished."""
        if self._file is not None:
            discard(self._file)
            self._partial.unlink(missing_ok=True)


def discard(file: IO[bytes]) -> None:
    """Close a file that nobody wants, also where a full disk does not take the rest of it."""
    with suppress(OSError):
        file.close()
