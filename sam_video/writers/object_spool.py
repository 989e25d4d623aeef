"""Values that come frame by frame, and are wanted object by object, wait on disk."""

import struct
import tempfile
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import IO, Any, Self

from sam_video.writers.sink import json_bytes

EVERY_FRAME = -1
"""A key beside those of the objects, which are their indices: it has a row for every frame."""

_HEAD = struct.Struct("<QQQ")
"""Of a record: offset of the next record of its key, row, length of what follows."""
_LINK = struct.Struct("<Q")


class ObjectSpool:
    """Takes rows for many keys, one frame after another, and gives back a key's columns as JSON.

    The records of a key are a linked list in a file without a name. Memory holds where each list
    begins and ends, however many rows there are.

    Args:
        folder: Whose disk the file lies on.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (__exit__ closes it)
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, key: int, row: int, values: Sequence[Any]) -> None:
        """Store the values of a key in a row; the rows of a key increase, and may leave gaps."""
        # JSON on one line holds no line break of its own.
        payload = b"\n".join(json_bytes(value) for value in values)
        offset = self._file.seek(0, 2)
        self._file.write(_HEAD.pack(0, row, len(payload)) + payload)
        if key in self._last:
            self._file.seek(self._last[key])
            self._file.write(_LINK.pack(offset))
        self._first.setdefault(key, offset)
        self._last[key] = offset

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
        """Write the inside of a JSON object: some values, then a key's columns as lists.

        Args:
            file: Where to write.
            values: The members that come first; at least one.
            key: Whose columns.
            columns: Their names, in the order of the values in a row.
            num_rows: Length of the lists.
            absent: JSON that stands in the rows that the key does not have.
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
        for row, values in self._records(key):
            yield from repeat(absent, row - filled)
            yield values[column]
            filled = row + 1
        yield from repeat(absent, num_rows - filled)

    def _records(self, key: int) -> Iterator[tuple[int, list[bytes]]]:
        """Yield the rows of a key in order, each with the JSON of its values."""
        offset, last = self._first.get(key), self._last.get(key)
        while offset is not None:
            self._file.seek(offset)
            following, row, length = _HEAD.unpack(self._file.read(_HEAD.size))
            yield row, self._file.read(length).split(b"\n")
            offset = None if offset == last else following
