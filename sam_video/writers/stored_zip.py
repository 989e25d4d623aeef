"""Write zip archives of any number of members in constant memory.

`zipfile` keeps an entry for every member in memory until the archive is closed, which grows without
bound for a mask per object and frame. Here the central directory waits on disk. The format is that
of https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7 to 4.3.16.
"""

import shutil
import struct
import tempfile
import zlib
from pathlib import Path
from typing import IO

from sam_video.writers.atomic_files import discard

_MEMBER = struct.Struct("<4s5H3I2H")
_DIRECTORY_ENTRY = struct.Struct("<4s6H3I5H2I")
_OFFSET_64 = struct.Struct("<2HQ")
_END_64 = struct.Struct("<4sQ2H2I4Q")
_END_64_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4s4H2IH")

_VERSION = 20
_VERSION_64 = 45
_MADE_ON_UNIX = 3 << 8
_UTF8_NAME = 0x800
_STORED = 0
_MIDNIGHT, _1980_01_01 = 0, 1 << 5 | 1
_FILE_MODE = 0o100644 << 16

_MAX_16 = 0xFFFF
_MAX_32 = 0xFFFFFFFF
"""These two values mean that the number is in a 64-bit field."""


class StoredZip:
    """Appends an archive to a file, member by member, without compression.

    All dates are 1980-01-01, so that the same members give the same bytes.

    Args:
        file: Open for writing and seekable; it stays open.
        folder: Folder for the temporary file of the directory.
    """

    def __init__(self, file: IO[bytes], folder: Path) -> None:
        self._file = file
        self._directory = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (close does)
        self._num_members = 0

    def add(self, name: str, data: bytes) -> None:
        """Append a member; names must differ, and `data` must be shorter than 4 GiB."""
        encoded = name.encode()
        offset = self._file.tell()
        fixed = (_UTF8_NAME, _STORED, _MIDNIGHT, _1980_01_01)
        sizes = (zlib.crc32(data), len(data), len(data), len(encoded))
        self._file.write(_MEMBER.pack(b"PK\x03\x04", _VERSION, *fixed, *sizes, 0) + encoded)
        self._file.write(data)

        is_far = offset >= _MAX_32
        extra = _OFFSET_64.pack(1, 8, offset) if is_far else b""
        version = _VERSION_64 if is_far else _VERSION
        entry = _DIRECTORY_ENTRY.pack(
            b"PK\x01\x02", _MADE_ON_UNIX | version, version, *fixed, *sizes, len(extra), 0, 0, 0,
            _FILE_MODE, min(offset, _MAX_32),
        )  # fmt: skip
        self._directory.write(entry + encoded + extra)
        self._num_members += 1

    def finish(self) -> None:
        """Append the directory; no member can be added afterwards."""
        offset, size = self._file.tell(), self._directory.tell()
        self._directory.seek(0)
        shutil.copyfileobj(self._directory, self._file)
        count = self._num_members
        if count >= _MAX_16 or max(offset, size) >= _MAX_32:
            versions = (_MADE_ON_UNIX | _VERSION_64, _VERSION_64)
            rest = _END_64.size - 12  # without the signature and this length field
            end = _END_64.pack(b"PK\x06\x06", rest, *versions, 0, 0, count, count, size, offset)
            self._file.write(end + _END_64_LOCATOR.pack(b"PK\x06\x07", 0, offset + size, 1))
        count, size, offset = min(count, _MAX_16), min(size, _MAX_32), min(offset, _MAX_32)
        self._file.write(_END.pack(b"PK\x05\x06", 0, 0, count, count, size, offset, 0))

    def close(self) -> None:
        """Remove the temporary file of the directory; the archive stays unchanged."""
        discard(self._directory)
