"""Download one large file over HTTP so that it arrives whole, or not at all.

What has come of a broken download is kept beside the file as `NAME.part` and resumed, by this
process or a later one. The file gets its name only when its size and SHA-256 are right.
"""

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse, InvalidURL
from pathlib import Path
from typing import BinaryIO, NoReturn, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tqdm import tqdm

from sam_video.errors import CheckpointError

PAUSES_SECONDS = (1.0, 3.0, 9.0)
"""Waits before each new try on a broken connection."""

_TIMEOUT_SECONDS = 30.0  # to connect, and between any two packets
_BLOCK_BYTES = 1 << 20
_RETRIED_STATUSES = {408, 429, 500, 502, 503, 504}
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

logger = logging.getLogger(__name__)


class _BrokenConnectionError(Exception):
    """The transfer failed in a way that another try may mend."""


def fetch(
    url: str,
    path: Path,
    *,
    num_bytes: int,
    sha256: str,
    show_progress: bool = True,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> None:
    """Download `url` to `path`, unless the file lies there already; a wrong one is replaced.

    Of several processes at once, one downloads and the others wait for it.

    Args:
        url: `http` or `https`.
        path: The file to make; its folder is made too.
        num_bytes: Size of the file.
        sha256: Of the file, 64 hexadecimal digits.
        show_progress: Draw a progress bar on standard error.
        pauses_seconds: Waits before each new try on a broken connection, counted afresh whenever a
            try has brought the file further.

    Raises:
        CheckpointError: The server cannot be reached, refuses, or sends another file; the disk is
            full; or `path` cannot be written for another reason.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            if path.is_file() and find_fault(path, num_bytes=num_bytes, sha256=sha256) is None:
                return
            _transfer_persistently(url, partial, num_bytes, show_progress, pauses_seconds)
            _check_arrival(url, partial, num_bytes=num_bytes, sha256=sha256)
            _move_into_place(partial, path)
    except OSError as error:
        if error.errno in _DISK_FULL:
            partial.unlink(missing_ok=True)  # a full disk hurts more than a second download
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error


def find_fault(path: Path, *, num_bytes: int | None, sha256: str) -> str | None:
    """Say how a file differs from what it should be, or return None where it does not."""
    size = path.stat().st_size
    if num_bytes is not None and size != num_bytes:
        return f"has {size} bytes, expected {num_bytes}"
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    return None if actual == sha256 else f"has sha256 {actual}, expected {sha256}"


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Let one process at a time work on `path`; the lock ends with the process that holds it."""
    with path.with_name(f".{path.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.warning("waiting for another process that downloads %s", path.name)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _transfer_persistently(
    url: str,
    partial: Path,
    num_bytes: int,
    show_progress: bool,
    pauses_seconds: Sequence[float],
) -> None:
    furthest, pauses = 0, iter(pauses_seconds)
    while True:
        try:
            return _transfer(url, partial, num_bytes, show_progress)
        except _BrokenConnectionError as error:
            size = partial.stat().st_size
            if size > furthest:
                furthest, pauses = size, iter(pauses_seconds)
            pause = next(pauses, None)
            if pause is None:
                raise CheckpointError(f"{url} cannot be downloaded: {error}") from error
            time.sleep(pause)


def _transfer(url: str, partial: Path, num_bytes: int, show_progress: bool) -> None:
    """Bring `partial` to its full size over one connection."""
    with partial.open("ab") as file:
        offset = partial.stat().st_size
        if offset > num_bytes:
            offset = file.truncate(0)
        if offset == num_bytes:
            return
        _check_space(partial, num_bytes - offset)
        with _open(url, offset, num_bytes) as response:
            if response.status == 200:
                _check_length(url, response, num_bytes)
                offset = file.truncate(0) if offset else 0
            _copy(response, file, offset, num_bytes, show_progress)


def _check_space(partial: Path, needed: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    if free < needed:
        raise CheckpointError(
            f"{partial.parent} has {free} bytes free; {partial.stem} needs {needed} more"
        )


def _open(url: str, offset: int, num_bytes: int) -> HTTPResponse:
    """Ask for the file from byte `offset` on; status 200 means that the whole file comes."""
    response = _request(url, {"Range": f"bytes={offset}-"} if offset else {})
    rest = f"bytes {offset}-{num_bytes - 1}/{num_bytes}"
    if offset and response.status == 206 and response.headers.get("Content-Range") == rest:
        return response
    if offset and response.status in {206, 416}:  # another range than asked for, or none
        response.close()
        response = _request(url, {})
    if response.status != 200:
        response.close()
        _refuse(url, f"the server answers {response.status} {response.reason}", response.status)
    return response


def _request(url: str, headers: dict[str, str]) -> HTTPResponse:
    """Return the server's answer, whatever its status."""
    try:
        request = Request(url, headers=headers)  # noqa: S310 (the caller vouches for the scheme)
        return cast(HTTPResponse, urlopen(request, timeout=_TIMEOUT_SECONDS))  # noqa: S310
    except HTTPError as error:
        return cast(HTTPResponse, error)  # has the same status, reason, headers and close
    except (ValueError, InvalidURL) as error:
        raise CheckpointError(f"{url} is not a URL: {error}") from error
    except (OSError, HTTPException) as error:
        raise _BrokenConnectionError(getattr(error, "reason", error)) from error


def _refuse(url: str, answer: str, status: int) -> NoReturn:
    if status in _RETRIED_STATUSES:
        raise _BrokenConnectionError(answer)
    raise CheckpointError(f"{url} cannot be downloaded: {answer}")


def _check_length(url: str, response: HTTPResponse, num_bytes: int) -> None:
    length = response.headers.get("Content-Length")
    if length is not None and length != str(num_bytes):
        raise CheckpointError(f"{url} has {length} bytes, expected {num_bytes}: it is another file")


def _copy(
    response: HTTPResponse, file: BinaryIO, offset: int, num_bytes: int, show_progress: bool
) -> None:
    name = Path(file.name).stem
    with tqdm(
        desc=name, total=num_bytes, initial=offset, unit="B", unit_scale=True,
        disable=not show_progress,
    ) as progress:  # fmt: skip
        while offset < num_bytes:
            block = _read(response, min(_BLOCK_BYTES, num_bytes - offset))
            if not block:
                raise _BrokenConnectionError(f"it ended after {offset} of {num_bytes} bytes")
            file.write(block)
            progress.update(len(block))
            offset += len(block)


def _read(response: HTTPResponse, limit: int) -> bytes:
    """Return what has come so far, at most `limit` bytes; nothing at the end."""
    try:
        return response.read1(limit)
    except (OSError, HTTPException) as error:
        raise _BrokenConnectionError(error) from error


def _check_arrival(url: str, partial: Path, *, num_bytes: int, sha256: str) -> None:
    fault = find_fault(partial, num_bytes=num_bytes, sha256=sha256)
    if fault is not None:
        partial.unlink()
        raise CheckpointError(f"{url} {fault}; what was downloaded has been removed")


def _move_into_place(partial: Path, path: Path) -> None:
    """Rename, with the content on the disk before the name."""
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
