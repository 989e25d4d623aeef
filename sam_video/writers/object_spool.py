"""Keep values on disk that arrive frame by frame and are written object by object."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import IO, Any

from sam_video.disk_spool import DiskSpool
from sam_video.writers.sink import json_bytes

EVERY_FRAME = -1
"""The key of rows about whole frames; the keys of objects are their indices."""


class ObjectSpool:
    """Stores rows of many keys, frame by frame, and writes the columns of one key as JSON."""

    def __init__(self) -> None:
        self._spool = DiskSpool()

    def close(self) -> None:
        """Remove all rows."""
        self._spool.close()

    def append(self, key: int, row: int, values: Sequence[Any]) -> None:
        """Store the values of a key in a row; a key need not have every row.

        Raises:
            OSError: The disk of the temporary folder is full.
        """
        # `json_bytes` contains no line break.
        self._spool.put(key, row, b"\n".join(json_bytes(value) for value in values))

    def write_members(
        self,
        file: IO[bytes],
        values: dict[str, Any],
        key: int,
        columns: Sequence[str],
        *,
        num_rows: int,
        absent: bytes = b"null",
    ) -> None:
        """Write the members of a JSON object: some values, then a key's columns as lists.

        Args:
            file: The file to write to.
            values: The first members; at least one.
            key: The key of the columns.
            columns: Names of the columns, in the order of the values in a row.
            num_rows: Length of the lists.
            absent: JSON for the rows that the key does not have.
        """
        file.write(json_bytes(values)[1:-1])
        for column, name in enumerate(columns):
            file.write(b",\n%b: [" % json_bytes(name))
            separator = b""
            for text in self._column(key, column, num_rows, absent):
                file.write(separator + text)
                separator = b", "
            file.write(b"]")

    def _column(self, key: int, column: int, num_rows: int, absent: bytes) -> Iterator[bytes]:
        filled = 0
        for row, data in self._spool.rows(key):
            yield from repeat(absent, row - filled)
            yield data.split(b"\n")[column]
            filled = row + 1
        yield from repeat(absent, num_rows - filled)
