"""Map frames at any times to the slots of a video of constant rate."""

import logging
from fractions import Fraction
from math import floor

from sam_video.types import Span

logger = logging.getLogger(__name__)

MAX_PAUSE_SECONDS = 60
"""Longest time beyond the usual for which a frame is shown if the next one comes late."""

MAX_STEP_BACK_SECONDS = 0.5
"""Largest step back of time stamps that counts as disorder, and not as a new start."""

MAX_LATE_SECONDS = 0.25
"""Longest delay of a frame, so that the frame before it is shown too."""

SPARE_SLOTS, SLOTS_PER_FRAME = 30_000, 20
"""Slots that all pauses together may fill: a constant, plus a number per frame of the source."""


class Timeline:
    """Gives every frame the slot of a constant rate that is nearest to its time.

    The first frame is at slot 0. Each frame is shown until the slot of the next, so frames are
    repeated if the source is slower. If the source is faster on average, some frames are dropped.
    Otherwise all are shown: a frame whose nearest slot is taken gets the next slot, as long as it
    is at most `MAX_LATE_SECONDS` late.
    If time stamps jump back, or further ahead than the longest pause, the jump is left out: a new
    span begins, and one warning is logged.

    Args:
        source_rate: Average frames per second of the source.
        rate: Slots per second.
    """

    def __init__(self, source_rate: Fraction, rate: Fraction) -> None:
        self.spans: list[Span] = []
        """In the order of the video; `finish` adds the last one."""
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
        """Return the first slot that shows a frame.

        Args:
            index: The frame's index in the source, greater than that of the frame before.
            pts_seconds: The frame's time in the source.
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
        """Show the last frame for the usual time, and return the slot at which it ends."""
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
        """Return the slot after the last frame's, or 0 if that is too late for nearest `slot`."""
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
        # Round halves up, also those that the rounding of time stamps has moved a little.
        return floor(seconds * self._rate + 0.5 + 1e-4)
