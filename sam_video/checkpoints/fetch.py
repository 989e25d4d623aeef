"""Download one large file over HTTP, completely or not at all.

The part of a broken download stays beside the file as `NAME.part`; this process or a later one
resumes it. The file gets its name only when its size and SHA-256 are right.

The catalogue runs this in a sandbox, since a thread that waits for a server cannot be ended.
"""

import errno
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from io import FileIO
from pathlib import Path

from sam_video.checkpoints.http import BrokenConnectionError, ask, refuse
from sam_video.checkpoints.verified import BLOCK_BYTES, find_fault
from sam_video.errors import CheckpointError
from sam_video.workers.watchdog import report_progress

PAUSES_SECONDS = (1.0, 3.0, 9.0)
"""Waits before each new try on a broken connection."""

MAX_STALL_SECONDS = 120
"""Limit for a download without any progress: finding a server's address may take a minute."""

_REPORT_SECONDS = 0.1
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

logger = logging.getLogger(__name__)


def fetch(
    url: str,
    path: str,
    num_bytes: int,
    digest: str,
    pauses_seconds: Sequence[float],
    *,
    token: str = "",
) -> Generator[int, None, None]:
    """Download `url` to `path`, unless the file lies there already; a wrong one is replaced.

    Of several processes at once, one downloads and the others wait for it.

    Args:
        url: `http` or `https`.
        path: The file to make; its folder is made too.
        num_bytes: Size of the file.
        digest: Of the file, as `find_fault` takes it.
        pauses_seconds: Waits before each new try on a broken connection, counted afresh whenever a
            try has brought the file further.
        token: For the URL's own server alone; empty for none.

    Yields:
        How many bytes have arrived, every now and then.

    Raises:
        CheckpointError: The server cannot be reached, refuses, or sends another file; the disk is
            full; or `path` cannot be written for another reason.
    """
    target = Path(path)
    partial = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = yield from _open_alone(partial)
        with file, _no_empty_rest(partial, file):
            if target.is_file() and find_fault(target, num_bytes=num_bytes, digest=digest) is None:
                return
            yield from _transfer_persistently(url, file, num_bytes, pauses_seconds, token)
            _check_arrival(url, partial, num_bytes=num_bytes, digest=digest)
            os.fsync(file.fileno())  # the content is on the disk before the name
            partial.replace(target)
            yield num_bytes
    except OSError as error:
        if error.errno in _DISK_FULL:
            partial.unlink(missing_ok=True)  # a full disk hurts more than a second download
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error


def _open_alone(partial: Path) -> Generator[int, None, FileIO]:
    """Open a file for appending, once no other process has it; the lock ends with the file."""
    is_waiting = False
    while True:
        file = FileIO(partial, "ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), partial.stat()):
                return file
        except BlockingIOError:
            if not is_waiting:
                logger.warning("waiting for another process that downloads %s", partial.stem)
                is_waiting = True
        except FileNotFoundError:  # the other one is done with it
            pass
        file.close()
        yield 0
        time.sleep(_REPORT_SECONDS)


@contextmanager
def _no_empty_rest(partial: Path, file: FileIO) -> Iterator[None]:
    try:
        yield
    finally:
        if partial.exists() and file.tell() == 0 == partial.stat().st_size:
            partial.unlink()


def _transfer_persistently(
    url: str, file: FileIO, num_bytes: int, pauses_seconds: Sequence[float], token: str
) -> Generator[int, None, None]:
    furthest, pauses = 0, iter(pauses_seconds)
    while True:
        try:
            yield from _transfer(url, file, num_bytes, token)
        except BrokenConnectionError as error:
            size = file.seek(0, os.SEEK_END)
            if size > furthest:
                furthest, pauses = size, iter(pauses_seconds)
            pause = next(pauses, None)
            if pause is None:
                raise CheckpointError(f"{url} cannot be downloaded: {error}") from error
            time.sleep(pause)
        else:
            return


def _transfer(url: str, file: FileIO, num_bytes: int, token: str) -> Generator[int, None, None]:
    """Bring a file to its full size over one connection."""
    offset = file.seek(0, os.SEEK_END)
    if offset > num_bytes:
        offset = file.truncate(0)
    if offset == num_bytes:
        return
    _check_space(Path(str(file.name)), num_bytes - offset)
    with _open(url, offset, num_bytes, token) as response:
        if response.status == 200:
            _check_length(url, response, num_bytes)
            offset = file.truncate(0) if offset else 0
        yield from _copy(response, file, offset, num_bytes)


def _check_space(partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if free < needed:
        raise CheckpointError(
            f"{partial.parent} has {free} bytes free; {partial.stem} needs {needed} more"
        )


def _open(url: str, offset: int, num_bytes: int, token: str) -> HTTPResponse:
    """Ask for the file from byte `offset` on; status 200 means that the whole file comes."""
    response = ask(url, {"Range": f"bytes={offset}-"} if offset else {}, token=token)
    rest = f"bytes {offset}-{num_bytes - 1}/{num_bytes}"
    if offset and response.status == 206 and response.headers.get("Content-Range") == rest:
        return response
    if offset and response.status in {206, 416}:  # another range than asked for, or none
        response.close()
        response = ask(url, token=token)
    if response.status != 200:
        response.close()
        refuse(url, f"the server answers {response.status} {response.reason}", response.status)
    return response


def _check_length(url: str, response: HTTPResponse, num_bytes: int) -> None:
    length = response.headers.get("Content-Length")
    if length is not None and length != str(num_bytes):
        raise CheckpointError(f"{url} has {length} bytes, expected {num_bytes}: it is another file")


def _copy(
    response: HTTPResponse, file: FileIO, offset: int, num_bytes: int
) -> Generator[int, None, None]:
    reported = time.monotonic()
    while offset < num_bytes:
        report_progress()
        block = memoryview(_read(response, min(BLOCK_BYTES, num_bytes - offset)))
        if not block:
            raise BrokenConnectionError(f"it ended after {offset} of {num_bytes} bytes")
        offset += len(block)
        while block:
            block = block[file.write(block) :]
        if time.monotonic() - reported > _REPORT_SECONDS:
            yield offset
            reported = time.monotonic()


def _read(response: HTTPResponse, limit: int) -> bytes:
    """Return the bytes that have arrived, at most `limit`; empty at the end."""
    try:
        return response.read1(limit)
    except (OSError, HTTPException) as error:
        raise BrokenConnectionError(error) from error


def _check_arrival(url: str, partial: Path, *, num_bytes: int, digest: str) -> None:
    fault = find_fault(partial, num_bytes=num_bytes, digest=digest)
    if fault is not None:
        partial.unlink()
        raise CheckpointError(f"{url} {fault}; what was downloaded has been removed")
