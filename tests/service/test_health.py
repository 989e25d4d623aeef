"""Cog's health check: whether the model that the server holds still runs."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sam_video.service import health
from sam_video.service.health import HealthCheck
from sam_video.service.session import Session
from tests.cog_server import CogServer, wait_for
from tests.worker_threads import wait_until, worker_threads

POCKET = Path(__file__).parents[2] / "weights" / "pocket.safetensors"


class FakeSession(Session):
    """One whose check does what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.num_checks = 0
        self.error: Exception | None = None
        self.may_end = threading.Event()
        self.may_end.set()

    def check(self) -> None:
        self.num_checks += 1
        self.may_end.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSession]:
    monkeypatch.setattr(health, "REST", 0.0)
    session = FakeSession()
    yield session
    session.may_end.set()
    wait_until(lambda: worker_threads() == [])


def test_a_loaded_model_is_good() -> None:
    session = Session("pocket")
    session.check()
    assert HealthCheck(session).is_good()


def test_an_error_is_no_good_and_is_logged(
    session: FakeSession, caplog: pytest.LogCaptureFixture
) -> None:
    check = HealthCheck(session)
    session.error = RuntimeError("CUDA error: unspecified launch failure")
    assert not check.is_good()
    assert "the model fails: RuntimeError: CUDA error: unspecified launch failure" in caplog.text
    session.error = None
    assert check.is_good()


def test_a_check_that_takes_long_goes_on_beside_the_answers(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.01)
    session.error = RuntimeError("broken")
    session.may_end.clear()
    check = HealthCheck(session)
    assert check.is_good()
    assert check.is_good()
    session.may_end.set()
    wait_until(lambda: not check.is_good())
    assert session.num_checks >= 1


def test_a_check_that_never_ends_is_no_good(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(health, "STUCK_SECONDS", 0.05)
    session.may_end.clear()
    check = HealthCheck(session)
    wait_until(lambda: not check.is_good())
    assert session.num_checks == 1


def test_checks_rest_in_proportion_to_what_they_take(
    session: FakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "REST", 1e6)
    check = HealthCheck(session)
    assert all(check.is_good() for _ in range(5))
    assert session.num_checks == 1


def test_no_check_begins_while_a_prediction_runs(session: FakeSession) -> None:
    check = HealthCheck(session)
    session.error = RuntimeError("broken")
    session.is_busy = True
    assert check.is_good()
    assert session.num_checks == 0
    session.is_busy = False
    assert not check.is_good()


# In Cog's real server


def test_a_server_says_so_when_its_model_is_damaged(server: CogServer) -> None:
    if not os.access(f"/proc/{server.worker}/mem", os.R_OK | os.W_OK):
        pytest.skip("needs a system that lets a parent write to the memory of its children")
    weights = load_file(POCKET)["no_mem_embed"].float().numpy().tobytes()
    assert server.health()["status"] == "READY"
    places = overwrite(server.worker, weights, b"\xff" * len(weights))  # floats that are no numbers
    assert places
    wait_for(lambda: server.health()["status"] == "UNHEALTHY", "the check that finds it")
    assert "healthcheck returned False" in server.health()["user_healthcheck_error"]
    for place in places:
        write(server.worker, place, weights)
    wait_for(lambda: server.health()["status"] == "READY", "the check that finds it whole again")


def overwrite(pid: int, old: bytes, new: bytes) -> list[int]:
    """Replace bytes wherever they lie in a process's memory, and return the addresses."""
    places = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, flags, *_ = line.split()
        if flags.startswith("rw") and "[v" not in line:
            start, end = (int(address, 16) for address in span.split("-"))
            places += [start + offset for offset in found_at(read(pid, start, end - start), old)]
    for place in places:
        write(pid, place, new)
    return places


def found_at(data: bytes, part: bytes) -> Iterator[int]:
    offset = data.find(part)
    while offset >= 0:
        yield offset
        offset = data.find(part, offset + 1)


def read(pid: int, address: int, num_bytes: int) -> bytes:
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        return os.pread(memory, num_bytes, address)
    except OSError:  # a part of the memory that cannot be read
        return b""
    finally:
        os.close(memory)


def write(pid: int, address: int, data: bytes) -> None:
    memory = os.open(f"/proc/{pid}/mem", os.O_WRONLY)
    try:
        assert os.pwrite(memory, data, address) == len(data)
    finally:
        os.close(memory)
