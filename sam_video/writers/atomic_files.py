"""Files that have their names only once they are complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def partial_path(path: Path) -> Path:
    """Return the hidden name beside `path` under which it is written."""
    return path.with_name(f".{path.name}.partial")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a partial name beside `path`; what is written there becomes `path`, or is removed."""
    partial = partial_path(path)
    try:
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
        self.file.close()
        self._partial.replace(self._path)
        return self._path

    def close(self) -> None:
        """Remove the file if it is not finished."""
        if self._file is not None:
            try:
                self._file.close()
            finally:
                self._partial.unlink(missing_ok=True)
