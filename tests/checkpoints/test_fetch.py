"""Downloads from a real server on this machine, which breaks in every way that it is told to."""

import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sam_video.checkpoints.fetch import fetch
from sam_video.errors import CheckpointError
from tests.mirror import CONTENT, SHA256, Mirror

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is to lie."""
    return tmp_path / "file.pt"


@pytest.fixture
def rest(tmp_path: Path) -> Path:
    """Where what has come of a broken download lies."""
    return tmp_path / "file.pt.part"


def fetch_file(mirror: Mirror, path: Path) -> bytes:
    """Download the file, without waits between tries, and return what it holds."""
    for _ in fetch(f"{mirror.url}/file.pt", str(path), len(CONTENT), SHA256, (0, 0)):
        pass
    return path.read_bytes()


def test_a_folder_is_made_where_it_is_missing(tmp_path: Path, mirror: Mirror) -> None:
    assert fetch_file(mirror, tmp_path / "a" / "b" / "file.pt") == CONTENT


def test_a_file_that_is_there_is_not_downloaded_again(path: Path, mirror: Mirror) -> None:
    fetch_file(mirror, path)
    fetch_file(mirror, path)
    assert len(mirror.requests) == 1


def test_a_wrong_file_is_replaced(path: Path, mirror: Mirror) -> None:
    path.write_bytes(b"<html>")
    assert fetch_file(mirror, path) == CONTENT


def test_a_broken_connection_is_taken_up_where_it_broke(path: Path, mirror: Mirror) -> None:
    mirror.lengths = [100_000, 50_000]
    assert fetch_file(mirror, path) == CONTENT
    assert mirror.ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_a_connection_that_breaks_often_is_mended_as_long_as_bytes_come(
    path: Path, mirror: Mirror
) -> None:
    mirror.lengths = [30_000] * 9
    assert fetch_file(mirror, path) == CONTENT


def test_a_connection_that_brings_nothing_fails_after_some_tries(
    path: Path, rest: Path, mirror: Mirror
) -> None:
    mirror.lengths = [100_000, 0, 0, 0]
    with pytest.raises(CheckpointError, match="cannot be downloaded: it ended after 100000 of"):
        fetch_file(mirror, path)
    assert len(mirror.requests) == 3
    assert rest.read_bytes() == CONTENT[:100_000]


def test_a_later_call_takes_up_what_an_earlier_one_left(
    path: Path, rest: Path, mirror: Mirror
) -> None:
    rest.write_bytes(CONTENT[:200_000])
    assert fetch_file(mirror, path) == CONTENT
    assert mirror.ranges == ["bytes=200000-"]


def test_a_complete_rest_needs_no_server(path: Path, rest: Path, mirror: Mirror) -> None:
    rest.write_bytes(CONTENT)
    assert fetch_file(mirror, path) == CONTENT
    assert mirror.requests == []


def test_a_server_without_ranges_sends_the_whole_file_again(path: Path, mirror: Mirror) -> None:
    mirror.has_ranges = False
    mirror.lengths = [100_000]
    assert fetch_file(mirror, path) == CONTENT


def test_a_server_without_ranges_that_always_breaks_fails(path: Path, mirror: Mirror) -> None:
    mirror.has_ranges = False
    mirror.lengths = [100_000] * 9
    with pytest.raises(CheckpointError, match="it ended after 100000 of 300000 bytes"):
        fetch_file(mirror, path)
    assert len(mirror.requests) == 3


@pytest.mark.parametrize(
    "stated", ["bytes 5-299999/300000", "bytes 200000-299999/400000", "bytes 200000-", "nonsense"]
)
def test_a_wrong_range_is_answered_by_starting_over(
    path: Path, rest: Path, mirror: Mirror, stated: str
) -> None:
    rest.write_bytes(CONTENT[:200_000])
    mirror.stated_range = stated
    assert fetch_file(mirror, path) == CONTENT
    assert mirror.ranges == ["bytes=200000-", None]


def test_a_refused_range_is_answered_by_starting_over(
    path: Path, rest: Path, mirror: Mirror
) -> None:
    rest.write_bytes(CONTENT[:200_000])
    mirror.statuses = [416]
    assert fetch_file(mirror, path) == CONTENT


def test_a_rest_that_is_too_long_is_dropped(path: Path, rest: Path, mirror: Mirror) -> None:
    rest.write_bytes(CONTENT + b"more")
    assert fetch_file(mirror, path) == CONTENT


def test_a_server_that_is_busy_is_asked_again(path: Path, mirror: Mirror) -> None:
    mirror.statuses = [503, 500]
    assert fetch_file(mirror, path) == CONTENT


@pytest.mark.parametrize(("status", "num_requests"), [(403, 1), (404, 1), (416, 1), (500, 3)])
def test_an_http_error_fails(path: Path, mirror: Mirror, status: int, num_requests: int) -> None:
    mirror.statuses = [status] * 9
    with pytest.raises(CheckpointError, match=f"file.pt cannot be .* server answers {status} "):
        fetch_file(mirror, path)
    assert len(mirror.requests) == num_requests


def test_a_server_that_is_not_there_fails(path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be downloaded: .*Connection refused"):
        fetch_file(Mirror(CONTENT, url="http://127.0.0.1:9"), path)


def test_a_failed_download_leaves_no_empty_file(path: Path, mirror: Mirror) -> None:
    mirror.statuses = [404]
    with pytest.raises(CheckpointError, match="the server answers 404"):
        fetch_file(mirror, path)
    assert list(path.parent.iterdir()) == []


def test_a_file_of_another_length_fails_before_it_is_downloaded(path: Path, mirror: Mirror) -> None:
    mirror.content = b"<html>Please log in</html>"
    with pytest.raises(CheckpointError, match="has 26 bytes, expected 300000: it is another file"):
        fetch_file(mirror, path)
    assert not path.exists()


def test_a_rest_of_another_file_fails_and_is_removed(
    path: Path, rest: Path, mirror: Mirror
) -> None:
    rest.write_bytes(b"?" * 200_000)
    with pytest.raises(
        CheckpointError, match=r"has sha256 .* what was downloaded has been removed"
    ):
        fetch_file(mirror, path)
    assert fetch_file(mirror, path) == CONTENT
    assert mirror.ranges == ["bytes=200000-", None]


def test_a_file_of_another_hash_fails_and_is_removed(
    path: Path, rest: Path, mirror: Mirror
) -> None:
    mirror.content = CONTENT[::-1]
    got, expected = (hashlib.sha256(data).hexdigest() for data in (mirror.content, CONTENT))
    with pytest.raises(CheckpointError, match=f"has sha256 {got}, expected {expected}; .*removed"):
        fetch_file(mirror, path)
    assert not rest.exists()
    assert not path.exists()


# The disk


def test_a_disk_that_is_too_small_fails_before_the_download(path: Path, mirror: Mirror) -> None:
    with pytest.raises(CheckpointError, match=f"bytes free; file.pt needs {10**18} more"):
        list(fetch(f"{mirror.url}/file.pt", str(path), 10**18, SHA256, ()))
    assert mirror.requests == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
def test_a_disk_that_fills_up_fails_and_nothing_is_left_on_it(
    path: Path, rest: Path, mirror: Mirror
) -> None:
    rest.symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"file\.pt cannot be written: No space left"):
        fetch_file(mirror, path)
    assert not rest.exists()
    assert not path.exists()


def test_a_limit_of_file_sizes_fails_and_nothing_is_left(
    path: Path, rest: Path, mirror: Mirror
) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    process = start_download(mirror, path, first=limit)
    _, errors = process.communicate()
    assert "CheckpointError" in errors
    assert "file.pt cannot be written: File too large" in errors
    assert not rest.exists()
    assert not path.exists()


def test_a_place_that_cannot_be_a_folder_fails(tmp_path: Path, mirror: Mirror) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"file\.pt cannot be written: "):
        fetch_file(mirror, tmp_path / "file" / "file.pt")


# Several processes


def start_download(mirror: Mirror, path: Path, first: str = "") -> "subprocess.Popen[str]":
    """Download the file in another process, which runs the statement `first` before."""
    script = (
        f"{first}\nfrom sam_video.checkpoints.fetch import fetch\n"
        f"list(fetch('{mirror.url}/file.pt', {str(path)!r}, {len(CONTENT)}, '{SHA256}', ()))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def test_of_two_processes_one_downloads_and_the_other_waits(path: Path, mirror: Mirror) -> None:
    mirror.may_finish.clear()
    first = start_download(mirror, path)
    assert mirror.is_asked.wait(60)
    second = start_download(mirror, path)
    assert second.stderr is not None
    assert second.stderr.readline() == "waiting for another process that downloads file.pt\n"
    mirror.may_finish.set()
    assert [process.communicate()[1] for process in (first, second)] == ["", ""]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert len(mirror.requests) == 1
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_process_that_is_stopped_leaves_what_has_come(
    path: Path, rest: Path, mirror: Mirror, number: signal.Signals
) -> None:
    mirror.may_finish.clear()
    process = start_download(mirror, path)
    while process.poll() is None and not (rest.exists() and rest.stat().st_size):
        time.sleep(0.01)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert CONTENT.startswith(rest.read_bytes())
    mirror.may_finish.set()
    assert fetch_file(mirror, path) == CONTENT
    assert mirror.ranges[1] is not None
