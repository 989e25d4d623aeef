"""A file that is written over many calls and has its name only once it is complete."""

from pathlib import Path
from typing import IO, Self


class PartialFile:
    """Opens a hidden file beside `path`, which `finish` moves there; leaving earlier removes it.

    Args:
        path: Where the file appears. A file of that name stays as it is until then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")

    def __enter__(self) -> Self:
        self._file = self._partial.open("wb")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._file.close()
        finally:
            self._partial.unlink(missing_ok=True)

    @property
    def file(self) -> IO[bytes]:
        """The open file, to be written from its beginning."""
        return self._file

    def finish(self) -> Path:
        """Close the file, give it its name, and return that."""
        self._file.close()
        self._partial.replace(self._path)
        return self._path
