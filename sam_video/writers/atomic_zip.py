"""A zip that appears under its name once it is complete."""

from functools import cached_property
from pathlib import Path

from sam_video.writers.atomic_files import AtomicFile, errors_naming
from sam_video.writers.stored_zip import StoredZip


class AtomicZip:
    """Members are added one by one; `finish` completes the zip and gives it its name.

    Args:
        path: The zip; its folder exists. An existing file stays unchanged until `finish`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._output = AtomicFile(path)

    @cached_property
    def _archive(self) -> StoredZip:
        """The archive; it is begun on first use."""
        return StoredZip(self._output.file, self._path.parent)

    def add(self, name: str, data: bytes) -> None:
        """Append a member; names must differ, and `data` must be shorter than 4 GiB."""
        with errors_naming(self._path):
            self._archive.add(name, data)

    def finish(self) -> Path:
        """Complete the zip and return its path."""
        with errors_naming(self._path):
            self._archive.finish()
        return self._output.finish()

    def close(self) -> None:
        """Remove the zip if it is not finished."""
        try:
            if "_archive" in vars(self):  # it has been begun
                self._archive.close()
        finally:
            self._output.close()
