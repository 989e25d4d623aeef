"""What all tests need of the process that they run in."""

import gc
import signal
from collections.abc import Iterator

import pytest

from tests.cog_server import CogServer, running_server
from tests.mirror import CONTENT, Mirror, running_mirror
from tests.processes import children, open_files
from tests.worker_threads import worker_threads


def pytest_configure() -> None:
    """Let processes that tests start be interrupted.

    A shell makes what it starts in the background ignore interrupts, and that is inherited.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    """Run the model behind Cog's real HTTP server."""
    pytest.importorskip("coglet", reason="Cog is not installed; it comes with the extra `dev`")
    with running_server(tmp_path_factory.mktemp("cog")) as running:
        yield running


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """Serve `CONTENT` under every path."""
    with running_mirror(CONTENT) as mirror:
        yield mirror


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
