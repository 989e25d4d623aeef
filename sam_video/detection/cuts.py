"""Tell where a new shot begins, from small copies of the frames."""

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import RGBImage

SIDE = 32
"""Pixels along a side of the copies: noise and fine texture are averaged away."""
MAX_SHIFT = 8
"""Pixels of a copy, a quarter of the frame, that a pan may move it from one frame to the next."""
LEAST_LIKENESS = 0.6
"""Correlation of two frames of one shot, once one is shifted to fit the other."""
LEAST_DEVIATION = 3.0
"""Levels, 0 to 255, by which a frame differs from its mean; below, it shows nothing."""
CONFIRMED_AFTER = 3
"""Frames in a row that are unlike the shot before: a flash has fewer."""

_Copy = npt.NDArray[np.float32]
"""`(SIDE, SIDE, 3)` float32."""


class CutDetector:
    """Finds the shot cuts of a video, two frames after each.

    Frames of one shot correlate, also after a pan; brightness does not matter, so a flash is no
    cut, unless it lasts.
    """

    def __init__(self) -> None:
        self._shot: _Copy | None = None
        self._num_unlike = 0

    def is_cut(self, image: RGBImage) -> bool:
        """Take the next frame; return whether a new shot began two frames before it."""
        copy = _copy(image)
        if self._shot is None or _are_alike(self._shot, copy):
            self._shot, self._num_unlike = copy, 0
            return False
        self._num_unlike += 1
        if self._num_unlike < CONFIRMED_AFTER:
            return False
        self._shot, self._num_unlike = copy, 0
        return True


def _copy(image: RGBImage) -> _Copy:
    """Return a small copy; of large frames some rows and columns are enough, and much faster."""
    steps = [max(1, length // (8 * SIDE)) for length in image.shape[:2]]
    some = np.ascontiguousarray(image[:: steps[0], :: steps[1]])
    return cv2.resize(some, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _are_alike(copy: _Copy, other: _Copy) -> bool:
    """Whether two frames may be of one shot."""
    if min(copy.std(), other.std()) < LEAST_DEVIATION:
        return bool(np.abs(copy - other).mean() < 10 * LEAST_DEVIATION)
    if _likeness(copy, other, 0, 0) >= LEAST_LIKENESS:  # nearly always
        return True
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    return any(_likeness(copy, other, x, y) >= LEAST_LIKENESS for y in shifts for x in shifts)


def _likeness(copy: _Copy, other: _Copy, x: int, y: int) -> float:
    """Return the correlation of two frames where they overlap, one shifted by so many pixels."""
    one = copy[max(0, y) : SIDE + min(0, y), max(0, x) : SIDE + min(0, x)]
    two = other[max(0, -y) : SIDE + min(0, -y), max(0, -x) : SIDE + min(0, -x)]
    one, two = one - one.mean(axis=(0, 1)), two - two.mean(axis=(0, 1))
    scale = np.sqrt((one * one).sum() * (two * two).sum())
    return float((one * two).sum() / max(scale, 1e-6))
