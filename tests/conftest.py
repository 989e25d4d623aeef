"""What all tests need of the process that they run in."""

import gc
import signal
from collections.abc import Iterator

import pytest

from tests.processes import children, open_files
from tests.workers import worker_threads


def pytest_configure() -> None:
    """Let processes that tests start be interrupted.

    A shell makes what it starts in the background ignore interrupts, and that is inherited.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def no_worker_left() -> Iterator[None]:
    """Fail if a thread of the package's outlives the test."""
    yield
    assert worker_threads() == []


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fail if the test leaves a process, a thread of the package's or an open file behind."""
    before = children(), open_files()
    yield
    gc.collect()
    assert worker_threads() == []
    assert (children(), open_files()) == before
