"""The interface between the tracker and what tells it that objects come and go."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sam_video.types import BoolMask, Box, Changes, Frame, ObjectMask

Segment = Callable[[Sequence[Box]], list[BoolMask]]
"""Turns boxes into masks `(H, W)`, by the features of the frame that are computed already."""


class Discovery(Protocol):
    """Decides while the tracker goes forward which objects come and go.

    The tracker calls `observe` for every frame in order, and `decide` for those that it accepts,
    before it goes on. Detecting may begin in `observe`, beside the tracking of the frames before.
    """

    def observe(self, frame: Frame) -> bool:
        """Take note of the next frame; return whether objects may come or go on it."""
        ...

    def decide(self, frame: Frame, tracked: Sequence[ObjectMask], segment: Segment) -> Changes:
        """Return which objects come and go on a frame.

        Args:
            frame: For which `observe` returned True.
            tracked: The masks of all objects that the frame has.
            segment: Gives the masks of boxes on the frame.
        """
        ...
