"""Files on this machine, compared with the published ones."""

import hashlib
from pathlib import Path

from sam_video.errors import CheckpointError
from sam_video.workers.watchdog import report_progress

BLOCK_BYTES = 1 << 20
"""What is read or written at a time."""

_GIT_DIGITS = 40

_verified: set[tuple[str, str, int, int, int]] = set()
"""The files that this process has verified: path, digest, size, inode and time of the last change.
"""


def lies_at(path: Path, *, num_bytes: int | None, digest: str, remedy: str) -> bool:
    """Tell whether there is a file.

    A file is read once by a process, and again only if it has been changed or replaced since.

    Args:
        path: Where it may lie.
        num_bytes: As for `find_fault`.
        digest: As for `find_fault`.
        remedy: What to do where it is another file; it ends the message.

    Raises:
        CheckpointError: It is not the published one, or cannot be read.
    """
    try:
        status = path.stat()
        identity = (str(path), digest, status.st_size, status.st_ino, status.st_mtime_ns)
        if identity in _verified:
            return True
        fault = find_fault(path, num_bytes=num_bytes, digest=digest)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    if fault is not None:
        raise CheckpointError(f"{path} {fault}; delete it, then {remedy}")
    _verified.add(identity)
    return True


def find_fault(path: Path, *, num_bytes: int | None, digest: str) -> str | None:
    """Return how a file differs from the expected one, or None if it does not.

    Args:
        path: The file.
        num_bytes: Its size; None where the digest alone counts.
        digest: 64 hexadecimal digits of its SHA-256, or 40 of git's SHA-1; empty where the size
            alone counts.
    """
    size = path.stat().st_size
    if num_bytes is not None and size != num_bytes:
        return f"has {size} bytes, expected {num_bytes}"
    if not digest:
        return None
    is_gits = len(digest) == _GIT_DIGITS
    # Git's is no safeguard against forgers, but all that there is for the small files of the hub.
    hasher = hashlib.sha1(b"blob %d\0" % size) if is_gits else hashlib.sha256()  # noqa: S324
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            hasher.update(block)
            report_progress()
    actual = hasher.hexdigest()
    kind = "git's sha1" if is_gits else "sha256"
    return None if actual == digest else f"has {kind} {actual}, expected {digest}"
