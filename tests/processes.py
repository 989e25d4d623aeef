"""What this process has that must not be left behind: children and open files."""

import os
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")


def children(parent: int | None = None) -> set[int]:
    """Return the ids of the processes that one has started, this one by default.

    Without that of Python's `multiprocessing`, which stays once a test has used a process pool.
    """
    found = set()
    for path in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended meanwhile
            fields = path.read_text().rpartition(")")[2].split()
            is_child = int(fields[1]) == (parent or os.getpid())
            if is_child and b"multiprocessing.resource_tracker" not in _command(path.parent):
                found.add(int(path.parent.name))
    return found


def _command(process: Path) -> bytes:
    return (process / "cmdline").read_bytes()


def open_files() -> set[str]:
    """Return the numbers of this process's open files."""
    return {path.name for path in (PROC / "self" / "fd").iterdir() if path.exists()}


def is_running(process: int) -> bool:
    """Whether a process is there and no zombie."""
    with suppress(OSError):
        status = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()[0]
        return status not in "ZX"
    return False
