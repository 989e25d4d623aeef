"""Frames of any times as the slots of a video of constant rate, true to their times."""

import logging
from fractions import Fraction
from math import floor

from sam_video.types import Span

logger = logging.getLogger(__name__)

MAX_PAUSE_SECONDS = 60
"""How much longer than usual a frame is shown where the next one comes late."""

MAX_STEP_BACK_SECONDS = 0.5
"""By how much time stamps may go back and still be taken for disorder, not for a new start."""

MAX_LATE_SECONDS = 0.25
"""By how much a frame may be shown late, so that the one before it is shown too."""

SPARE_SLOTS, SLOTS_PER_FRAME = 30_000, 20
"""All pauses together fill at most so many slots, and so many per frame of the source."""


class Timeline:
    """Gives every frame the slot of a constant rate that is nearest to its time.

    The first frame is at slot 0. Each is shown until the slot of the next, so frames are repeated
    where the source is slower. Where it is faster on average, frames are left out. Otherwise all
    are shown: one that is nearest to the slot of the one before takes the next slot, as long as
    that is `MAX_LATE_SECONDS` late at most.
    Where time stamps jump back, or further ahead than is believed of a file, the jump is left out:
    a new span begins, and one warning is logged.

    Args:
        source_rate: Frames per second of the source, on average.
        rate: Slots per second.
    """

    def __init__(self, source_rate: Fraction, rate: Fraction) -> None:
        self.spans: list[Span] = []
        """In the order of the video; the last one is there after `finish`."""
        self._source_rate = source_rate
        self._rate = rate
        self._first_index: int | None = None
        self._index = 0
        self._seconds = 0.0
        self._slot = 0
        self._shows_all = rate >= source_rate
        self._usual_seconds = float(1 / source_rate)
        self._span_seconds = 0.0
        self._span_slot = 0

    def place(self, index: int, pts_seconds: float) -> int:
        """Return the slot from which on a frame is shown.

        Args:
            index: Of the frame in the source, greater than that of the frame before.
            pts_seconds: When the source shows it.
        """
        if self._first_index is None:
            self._first_index = index
            self._span_seconds = pts_seconds
        else:
            self._usual_seconds = float((index - self._index) / self._source_rate)
            self._advance(index, pts_seconds)
        self._index = index
        self._seconds = pts_seconds
        return self._slot

    def finish(self) -> int:
        """Return the slot at which the last frame ends, which is shown for the usual time."""
        self._end_span(self._usual_seconds)
        end = self._to_slots(self.spans[-1].end)
        return max(1, self._slot, self._next_slot(end), end)

    def _advance(self, index: int, pts_seconds: float) -> None:
        longest = self._usual_seconds + self._longest_pause(index)
        if -MAX_STEP_BACK_SECONDS <= pts_seconds - self._seconds <= longest:
            slot = self._span_slot + self._to_slots(pts_seconds - self._span_seconds)
            self._slot = max(slot, self._slot, self._next_slot(slot))
            return
        if not self.spans:
            logger.warning("time stamps jump at frame %d; the overlay leaves the jump out", index)
        shown_seconds = longest if pts_seconds > self._seconds else self._usual_seconds
        self._end_span(shown_seconds)
        self._slot += self._to_slots(shown_seconds)
        self._span_seconds, self._span_slot = pts_seconds, self._slot

    def _next_slot(self, slot: int) -> int:
        """Return the slot after that of the frame before, or 0 if it is too late for its own."""
        late_seconds = (self._slot + 1 - slot) / self._rate
        return self._slot + 1 if self._shows_all and late_seconds <= MAX_LATE_SECONDS else 0

    def _longest_pause(self, index: int) -> float:
        assert self._first_index is not None
        num_frames = index - self._first_index
        paused = self._slot - num_frames * self._rate / self._source_rate
        slots = SPARE_SLOTS + SLOTS_PER_FRAME * num_frames - paused
        return min(MAX_PAUSE_SECONDS, max(0.0, float(slots / self._rate)))

    def _end_span(self, shown_seconds: float) -> None:
        start = float(self._span_slot / self._rate)
        self.spans.append(Span(self._span_seconds, self._seconds + shown_seconds, start))

    def _to_slots(self, seconds: float) -> int:
        # Halves go up, also those that the time stamp's own rounding has moved a little.
        return floor(seconds * self._rate + 0.5 + 1e-4)
