"""Keep rows on disk until they are read, in constant memory."""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

FULL_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE}


class DiskSpool:
    """A table of bytes by key and position, in a temporary file without a name.

    The file is gone once the spool is closed, also after a crash. Any thread may use a spool, but
    only one at a time.
    """

    def __init__(self) -> None:
        # An empty name makes a temporary database on disk: https://sqlite.org/inmemorydb.html
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        # No journal and one transaction: nothing is rolled back, and nothing outlives the process.
        for statement in (
            "PRAGMA temp_store = FILE",
            "PRAGMA journal_mode = OFF",
            "CREATE TABLE rows (key INTEGER, position INTEGER, data BLOB,"
            " PRIMARY KEY (key, position))",
            "BEGIN",
        ):
            self._database.execute(statement)

    def close(self) -> None:
        """Remove the file."""
        self._database.close()

    def put(self, key: int, position: int, data: bytes) -> None:
        """Store a row; each pair of key and position may be stored once.

        Raises:
            OSError: The disk of the temporary folder is full.
        """
        with _disk_errors():
            self._database.execute("INSERT INTO rows VALUES (?, ?, ?)", (key, position, data))

    def rows(self, key: int) -> Iterator[tuple[int, bytes]]:
        """Yield the rows of a key by rising position, each with its position."""
        query = "SELECT position, data FROM rows WHERE key = ? ORDER BY position"
        with closing(self._database.execute(query, (key,))) as cursor:
            yield from cursor


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode not in FULL_DISK:
            raise
        message = "no space left for temporary files (TMPDIR names another folder)"
        raise OSError(errno.ENOSPC, message, _temporary_folder()) from None


def _temporary_folder() -> str:
    """Return the temporary folder that SQLite chooses; Python would skip one that is full."""
    named = [os.environ.get(name, "") for name in ("SQLITE_TMPDIR", "TMPDIR")]
    folders = [*named, "/var/tmp", "/usr/tmp", "/tmp"]  # noqa: S108 (no file is made there)
    return next((folder for folder in folders if os.access(folder, os.W_OK | os.X_OK)), ".")
