"""Write files under hidden names, and rename them once they are complete."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


def partial_path(path: Path) -> Path:
    """Return the hidden name, in the same folder, under which `path` is written."""
    return path.with_name(f".{path.name}.partial")


def public_name(path: Path) -> str:
    """Return, for messages, the final name of a file that is written under a hidden name."""
    return path.name[1:].rpartition(".")[0] if path.name.startswith(".") else path.name


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Add this file's name to an OSError that has none, such as that of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a hidden path to write to; rename it to `path` at the end, or remove it on an error."""
    partial = partial_path(path)
    try:
        with errors_naming(path):
            yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class AtomicFile:
    """A file that is written under a hidden name until `finish` renames it to `path`.

    Args:
        path: The final path. An existing file stays unchanged until `finish`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = partial_path(path)
        self._file: IO[bytes] | None = None

    @property
    def file(self) -> IO[bytes]:
        """The file, open for writing from its beginning; it is opened on first use."""
        if self._file is None:
            self._file = self._partial.open("wb")
        return self._file

    def finish(self) -> Path:
        """Close the file, rename it and return its path."""
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
    """Close a file that is not needed; ignore errors, such as those of a full disk."""
    with suppress(OSError):
        file.close()
