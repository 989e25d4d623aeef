"""Whether a model that was loaded some time ago still runs."""

import logging
import threading
import time
from contextlib import suppress

from sam_video.service.session import Session
from sam_video.workers.threads import Worker

PATIENCE_SECONDS = 3.0
"""How long an answer may wait for a check; Cog waits for 5 seconds."""

STUCK_SECONDS = 120.0
"""After which a check that has not ended never will."""

REST = 20.0
"""How many times as long as a check takes the next one waits, so that checks slow nothing down."""

logger = logging.getLogger(__name__)


class HealthCheck:
    """Runs a frame through a session's model now and then, and remembers how that went.

    A check that takes long, as one of `large` does on a CPU, goes on beside the answers, which
    tell of the one before until it is done. While a prediction runs, no check begins: the
    prediction itself shows what the model can do.

    Args:
        session: Its model is taken to be good until a check has shown otherwise.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_good = True
        self._began = self._next = time.monotonic()
        self._has_ended = threading.Event()
        self._has_ended.set()

    def is_good(self) -> bool:
        """Return the outcome of the last check, after a new one if it is time for that.

        Calls come one at a time.
        """
        is_due = self._has_ended.is_set() and time.monotonic() >= self._next
        if is_due and not self._session.is_busy:
            self._has_ended.clear()
            self._began = time.monotonic()
            with suppress(RuntimeError):  # there is no thread to spare, which is noted
                Worker(self._session.check, self._note).start()
        if not self._has_ended.wait(PATIENCE_SECONDS):
            seconds = time.monotonic() - self._began
            if seconds > STUCK_SECONDS:
                logger.error("the model has not ended a frame for %.0f seconds", seconds)
                return False
        return self._is_good

    def _note(self, error: BaseException | None) -> None:
        self._is_good = error is None
        if error is not None:
            logger.error("the model fails: %s: %s", type(error).__name__, error)
        now = time.monotonic()
        self._next = now + REST * (now - self._began)
        self._has_ended.set()
