"""Download a folder of files from the Hugging Face hub, or from a mirror that answers as it does.

The hub itself says what its files are: to a HEAD request it answers with the commit, the size and a
digest, which is the SHA-256 for large files and git's SHA-1 for small ones. This is asked once, and
recorded in the folder before the first file is fetched; later tries, and whoever uses the folder,
compare the files with the record.

The catalogue of detectors runs this in a sandbox, as that of checkpoints does with `fetch`.
"""

import json
import os
import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam_video.checkpoints.fetch import fetch
from sam_video.checkpoints.http import BrokenConnectionError, ask, refuse
from sam_video.errors import CheckpointError, one_line

RECORD = "download.json"
"""Name of the record in a folder of downloaded files."""

WEIGHTS = "model.safetensors"
NEEDED = ("config.json", WEIGHTS)
OPTIONAL = (
    "added_tokens.json",
    "merges.txt",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Files of tokenizers, of which a folder has some, and of processors; nothing else is fetched."""

_MAX_SMALL_BYTES = 1 << 26
_MAX_WEIGHTS_BYTES = 1 << 35
_MAX_RECORD_BYTES = 1 << 16
_COMMIT = re.compile("[0-9a-f]{40}")
_DIGEST = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """What the hub says of a file."""

    num_bytes: int
    digest: str
    """As `find_fault` takes it: empty where the hub says none, which it may of small files alone.
    """


@dataclass(frozen=True, slots=True)
class Record:
    """What a folder of downloaded files is."""

    hub_id: str
    """Owner and name of the repository."""
    revision: str
    """The commit, 40 hexadecimal digits."""
    files: dict[str, HubFile]
    """By name."""


def fetch_folder(
    endpoint: str, source: Sequence[str], folder: str, token: str, pauses: Sequence[float]
) -> Generator[list[Any], None, None]:
    """Download the files of a repository that a detector needs, unless they lie there already.

    Args:
        endpoint: The hub's URL.
        source: Owner and name of the repository; and a commit, or a branch that is resolved once.
        folder: Where to; it is made where it is missing.
        token: For the endpoint's own server alone; empty for none.
        pauses: Waits before each new try on a broken connection, as for `fetch`.

    Yields:
        Name of a file, how many of its bytes have arrived, and how many it has.

    Raises:
        CheckpointError: As for `fetch`; or the hub does not say what a file is.
    """
    target = Path(folder)
    record = read_record(target)
    if record is None:
        record = _ask_for_record(endpoint, source, token, pauses)
        _write_record(target, record)
    for name, file in record.files.items():
        url = _url(endpoint, record.hub_id, record.revision, name)
        path = str(target / name)
        for arrived in fetch(url, path, file.num_bytes, file.digest, pauses, token=token):
            yield [name, arrived, file.num_bytes]


def read_record(folder: Path) -> Record | None:
    """Return the record of a folder, or None where there is none.

    Raises:
        CheckpointError: It is not one.
    """
    path = folder / RECORD
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MAX_RECORD_BYTES))
        files = {name: HubFile(int(size), str(digest)) for name, size, digest in content["files"]}
        record = Record(str(content["hub_id"]), str(content["revision"]), files)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CheckpointError(f"{path} is not a record of a download; delete {folder}") from None
    if not (set(NEEDED) <= files.keys() <= {*NEEDED, *OPTIONAL}):
        raise CheckpointError(f"{path} is not a record of a download; delete {folder}")
    return record


def _write_record(folder: Path, record: Record) -> None:
    files = [[name, file.num_bytes, file.digest] for name, file in record.files.items()]
    content = {"hub_id": record.hub_id, "revision": record.revision, "files": files}
    path = folder / RECORD
    partial = path.with_name(f"{RECORD}.{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path} cannot be written: {error.strerror or error}") from error


def _ask_for_record(
    endpoint: str, source: Sequence[str], token: str, pauses: Sequence[float]
) -> Record:
    """Resolve a revision, and ask for all files at the commit that it is."""
    hub_id, revision = source

    def answer(name: str, at: str) -> dict[str, str] | None:
        url = _url(endpoint, hub_id, at, name)
        return _tried_again(lambda: _head(url, token), url, pauses)

    first = answer(NEEDED[0], revision)
    commit = (first or {}).get("x-repo-commit", "")
    if first is None or not _COMMIT.fullmatch(commit):
        url = _url(endpoint, hub_id, revision, NEEDED[0])
        raise CheckpointError(f"{url} is not there, or the server does not say its commit")
    if _COMMIT.fullmatch(revision) and commit != revision:
        raise CheckpointError(f"{endpoint} has {hub_id} at {commit}, expected {revision}")
    answers = {name: answer(name, commit) for name in (*OPTIONAL, *NEEDED)}  # the large one last
    files = {
        name: _described(_url(endpoint, hub_id, commit, name), name, headers)
        for name, headers in answers.items()
        if headers is not None
    }
    if missing := [name for name in NEEDED if name not in files]:
        raise CheckpointError(f"{hub_id} at {commit} has no {missing[0]}")
    return Record(hub_id, commit, files)


def _tried_again(
    request: Callable[[], dict[str, str] | None], url: str, pauses: Sequence[float]
) -> dict[str, str] | None:
    for pause in (*pauses, None):
        try:
            return request()
        except BrokenConnectionError as error:
            if pause is None:
                raise CheckpointError(f"{url} cannot be downloaded: {error}") from error
            time.sleep(pause)
    raise AssertionError


def _head(url: str, token: str) -> dict[str, str] | None:
    """Return the headers of an answer, with lower-case names; None where there is no such file."""
    with ask(url, method="HEAD", token=token) as response:
        if response.status == 404:
            return None
        is_elsewhere = 300 <= response.status < 400
        if response.status != 200 and not is_elsewhere:
            refuse(url, f"the server answers {response.status} {response.reason}", response.status)
        headers = {name.lower(): value for name, value in response.headers.items()}
        if is_elsewhere:  # its own length is that of the answer
            headers.pop("content-length", None)
        return headers


def _described(url: str, name: str, headers: dict[str, str]) -> HubFile:
    """Return what an answer says of a file.

    Raises:
        CheckpointError: It does not say what is needed, or the file is too large to be one.
    """
    size = headers.get("x-linked-size") or headers.get("content-length") or ""
    etag = headers.get("x-linked-etag") or headers.get("etag") or ""
    digest = etag.removeprefix("W/").strip('"')
    digest = digest if _DIGEST.fullmatch(digest) else ""
    largest = _MAX_WEIGHTS_BYTES if name == WEIGHTS else _MAX_SMALL_BYTES
    if not size.isdecimal() or not 0 <= int(size[:20]) <= largest:
        shown = one_line(repr(size)[:40])
        raise CheckpointError(f"{url} has a size of {shown}; expected up to {largest} bytes")
    if name == WEIGHTS and len(digest) != 64:
        raise CheckpointError(f"{url}: the server does not say its SHA-256")
    return HubFile(int(size), digest)


def _url(endpoint: str, hub_id: str, revision: str, name: str) -> str:
    return f"{endpoint}/{hub_id}/resolve/{revision}/{name}"
