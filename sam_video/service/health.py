"""Check whether a session's loaded model still runs."""

import logging
import threading
import time
from contextlib import suppress

from sam_video.service.session import Session
from sam_video.workers.threads import Worker

PATIENCE_SECONDS = 3.0
"""Longest wait of an answer for a check; Cog waits for 5 seconds."""

STUCK_SECONDS = 120.0
"""A check that runs longer is taken to hang."""

REST = 20.0
"""Pause after a check, in multiples of its duration, so that checks slow nothing down."""

logger = logging.getLogger(__name__)


class HealthCheck:
    """Runs an image through a session's model now and then, and remembers the result.

    A long check, such as one of `large` on a CPU, continues in a thread; until it ends, answers
    give the result of the check before. No check starts during a prediction, which itself shows
    whether the model runs.

    Args:
        session: Its model is taken to be good until a check fails.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_good = True
        self._began = self._next = time.monotonic()
        self._has_ended = threading.Event()
        self._has_ended.set()

    def is_good(self) -> bool:
        """Return the result of the last check; run a new one first if it is due.

        Only one thread may call this at a time.
        """
        is_due = self._has_ended.is_set() and time.monotonic() >= self._next
        if is_due and not self._session.is_busy:
            self._has_ended.clear()
            self._began = time.monotonic()
            with suppress(RuntimeError):  # no thread can start; `_note` logs it
                Worker(self._session.check, self._note).start()
        if not self._has_ended.wait(PATIENCE_SECONDS):
            seconds = time.monotonic() - self._began
            if seconds > STUCK_SECONDS:
                logger.error("the model has not finished a frame for %.0f seconds", seconds)
                return False
        return self._is_good

    def _note(self, error: BaseException | None) -> None:
        self._is_good = error is None
        if error is not None:
            logger.error("the model fails: %s: %s", type(error).__name__, error)
        now = time.monotonic()
        self._next = now + REST * (now - self._began)
        self._has_ended.set()
