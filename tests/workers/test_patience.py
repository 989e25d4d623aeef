"""A program that hangs is told from one that is slow."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sam_video.limits import MAX_STALL_SECONDS
from sam_video.workers.patience import Patience

BUSY = "while True: pass"
IDLE = "import time; time.sleep(100)"


class Clock:
    """Time that goes on by half a second with every look, and by more where it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 0.5
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    monkeypatch.setenv(MAX_STALL_SECONDS.variable, "5")
    return clock


@contextmanager
def running(code: str) -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def stopped() -> Iterator[int]:
    """Start a process that does nothing at all."""
    with running(IDLE) as process:
        os.kill(process, signal.SIGSTOP)
        yield process


def num_looks(patience: Patience, most: int = 100) -> int:
    """Look until patience is over, and return how often that is."""
    return next((number for number in range(most) if patience.is_over()), most)


def test_it_is_over_where_nothing_is_done(tmp_path: Path, clock: Clock, stopped: int) -> None:
    patience = Patience(stopped, tmp_path / "a")
    num_looks(patience)
    patience.restart()
    assert 3 < num_looks(patience) < 12


def test_a_file_that_grows_restarts_it(tmp_path: Path, clock: Clock, stopped: int) -> None:
    patience = Patience(stopped, tmp_path / "a")
    with (tmp_path / "a").open("wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x")
            assert not patience.is_over()
    assert num_looks(patience) < 20


def test_this_process_may_be_stopped_itself(tmp_path: Path, clock: Clock, stopped: int) -> None:
    patience = Patience(stopped, tmp_path / "a")
    patience.is_over()
    clock.seconds += 1000
    assert not patience.is_over()


def processor_ticks(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]


def test_a_busy_process_is_waited_for(tmp_path: Path, clock: Clock) -> None:
    with running(BUSY) as process:
        patience = Patience(process, tmp_path / "a")
        for _ in range(20):
            assert not patience.is_over()
            before = processor_ticks(process)
            while processor_ticks(process) == before:
                pass
