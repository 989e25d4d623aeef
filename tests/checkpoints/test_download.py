"""A download in a sandbox, which ends with the process that has started it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from sam_video.checkpoints.catalogue import Checkpoint, download
from sam_video.errors import CheckpointError
from tests.mirror import CONTENT, SHA256, Mirror
from tests.processes import children
from tests.worker_threads import Cancelled, cancelled_when, wait_until

ROOT = Path(__file__).parents[2]


def fetch_file(mirror: Mirror, path: Path) -> None:
    item = Checkpoint("file", path.name, SHA256, len(CONTENT), f"{mirror.url}/{path.name}")
    assert download(item, path.parent, pauses_seconds=(0, 0)) == path


def test_the_file_arrives_and_its_progress_is_shown(
    mirror: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch_file(mirror, tmp_path / "file.pt")
    assert (tmp_path / "file.pt").read_bytes() == CONTENT
    assert "100%|" in capsys.readouterr().err


def test_what_is_wrong_is_raised_here_and_fails(mirror: Mirror, tmp_path: Path) -> None:
    mirror.statuses = [404]
    with pytest.raises(CheckpointError, match=r"file\.pt cannot be downloaded: the server answers"):
        fetch_file(mirror, tmp_path / "file.pt")


def test_a_process_that_is_killed_fails(mirror: Mirror, tmp_path: Path) -> None:
    mirror.may_finish.clear()

    def kill() -> None:
        assert mirror.is_asked.wait(60)
        for pid in children():
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(CheckpointError, match=r"file\.pt .*: its process crashes .*SIGKILL"):
        fetch_file(mirror, tmp_path / "file.pt")
    thread.join()


def test_a_cancellation_ends_it(mirror: Mirror, tmp_path: Path) -> None:
    mirror.may_start.clear()
    with pytest.raises(Cancelled), cancelled_when(mirror.is_asked.is_set):
        fetch_file(mirror, tmp_path / "file.pt")
    assert children() == set()
    mirror.may_start.set()
    fetch_file(mirror, tmp_path / "file.pt")
    assert (tmp_path / "file.pt").read_bytes() == CONTENT


def test_it_ends_with_the_process_that_has_started_it(mirror: Mirror, tmp_path: Path) -> None:
    mirror.may_finish.clear()
    script = (
        "from pathlib import Path\n"
        "from sam_video.checkpoints.catalogue import Checkpoint, download\n"
        f"url, sha256 = '{mirror.url}/file.pt', '{SHA256}'\n"
        f"item = Checkpoint('file', 'file.pt', sha256, {len(CONTENT)}, url)\n"
        f"download(item, Path({str(tmp_path)!r}))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.DEVNULL)
    assert mirror.is_asked.wait(60)
    (download,) = children(parent.pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: not Path(f"/proc/{download}").exists(), "its end")
