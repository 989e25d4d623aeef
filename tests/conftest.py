"""What all tests need of the process that they run in."""

import signal


def pytest_configure() -> None:
    """Let processes that tests start be interrupted.

    A shell makes what it starts in the background ignore interrupts, and that is inherited.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
