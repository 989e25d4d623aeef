"""The values that pass between packages, and the interface between a video and the tracker.

Arrays are NumPy, RGB, channels last. Coordinates are pixels of the frame as it is shown (after
rotation), origin top left. This module uses neither files nor tensors.
"""

import math
import reprlib
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from sam_video.errors import PromptError, one_line

RGBImage = npt.NDArray[np.uint8]
"""`(H, W, 3)` uint8, RGB."""

BoolMask = npt.NDArray[np.bool_]
"""`(H, W)` bool, True on the object."""

ConfidenceMap = npt.NDArray[np.uint8]
"""`(H, W)` uint8, 0 to 255 for a probability of 0 to 1."""

Samples = npt.NDArray[np.float32]
"""`(2, N)` float32, left and right, -1 to 1, at `SAMPLE_RATE`."""

SAMPLE_RATE = 48000
"""Samples per second of all sound in `Samples`."""

Timer = Callable[[], AbstractContextManager[None]]
"""Makes contexts that measure the time spent inside."""


@dataclass(frozen=True, slots=True)
class Click:
    """A point on an object or on its background.

    Raises:
        PromptError: A coordinate is not a finite number, or the label is neither 1 nor 0.
    """

    x: float
    """Pixels from the left edge."""
    y: float
    """Pixels from the top edge."""
    label: int = 1
    """1 foreground, 0 background."""

    def __post_init__(self) -> None:
        _check_finite("Click.x", self.x)
        _check_finite("Click.y", self.y)
        if type(self.label) is not int or not 0 <= self.label <= 1:
            object.__setattr__(self, "label", _label(self.label))


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle around an object, half-open: it ends before column `x1` and row `y1`.

    Raises:
        PromptError: A coordinate is not a finite number, or the rectangle is empty.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        for name in ("x0", "y0", "x1", "y1"):
            _check_finite(f"Box.{name}", getattr(self, name))
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise PromptError(f"{self!r} is empty; expected x0 < x1 and y0 < y1")


@dataclass(frozen=True, slots=True, eq=False)
class ObjectPrompt:
    """All prompts for one object on one frame: the input of one call of the prompt encoder.

    Raises:
        PromptError: It is empty, has a mask together with clicks or a box, or a field has a wrong
            type.
    """

    object_id: str
    """The caller's name for the object."""
    frame_index: int
    """0-based index of the frame in the source."""
    clicks: tuple[Click, ...] = ()
    """Points, in the caller's order."""
    box: Box | None = None
    """May be combined with clicks."""
    mask: BoolMask | None = None
    """`(H, W)` bool at the frame's size; excludes clicks and a box."""

    def __post_init__(self) -> None:
        if not isinstance(self.object_id, str):
            raise _not_accepted("ObjectPrompt.object_id", self.object_id, "a text")
        if not isinstance(self.frame_index, Integral) or self.frame_index < 0:
            expected = "a whole number from 0 up"
            raise _not_accepted("ObjectPrompt.frame_index", self.frame_index, expected)
        object.__setattr__(self, "frame_index", int(self.frame_index))
        object.__setattr__(self, "clicks", _clicks(self.clicks))
        if self.box is not None and not isinstance(self.box, Box):
            raise _not_accepted("ObjectPrompt.box", self.box, "a Box")
        if self.mask is not None:
            _check_mask(self.mask)
            if self.clicks or self.box is not None:
                raise PromptError(
                    "ObjectPrompt.mask stands beside clicks or a box;"
                    " expected a mask alone, or clicks and a box"
                )
        elif not self.clicks and self.box is None:
            shown = f"ObjectPrompt({self.object_id[:80]!r}, {self.frame_index})"
            raise PromptError(f"{shown} is empty; expected clicks, a box or a mask")

    @property
    def is_positive(self) -> bool:
        """Whether it has a box, a mask or a positive click, and not only negative clicks."""
        return (
            self.box is not None
            or self.mask is not None
            or any(click.label == 1 for click in self.clicks)
        )


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts about a video before its frames are decoded; sizes are those after rotation."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    frame_rate: Fraction
    """Average frames per second."""
    num_frames: int | None
    """Number of frames by the header, which may be wrong; None if the header has none."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel divided by its height, as shown; frames are not stretched by it."""
    is_still: bool = False
    """Whether it is a still image: exactly one frame, which prompts of any frame index refer to."""
    peak_rate: Fraction | None = None
    """Frames per second where frames are closest in time; None if that is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A decoded picture and its place in the source."""

    index: int
    """0-based, counted in presentation order."""
    pts_seconds: float
    """Presentation time in the source's own timeline (its first frame need not be at 0)."""
    image: RGBImage
    """`(H, W, 3)` uint8, RGB."""


class FrameSource(Protocol):
    """A video that can be read more than once, with the methods that the tracker needs.

    Readers are generators; closing one releases its decoder.
    """

    @property
    def info(self) -> VideoInfo:
        """Size and rate, constant for the whole video."""
        ...

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield every frame from index `start` to the last that decodes."""
        ...

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, omitting those past the end."""
        ...

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames `last`, `last - 1`, …, `first`."""
        ...

    def count_frames(self, limit: int) -> int:
        """Return the number of frames, at most `limit`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One of the masks that fit an ambiguous prompt."""

    mask: BoolMask
    """`(H, W)` bool at the frame's size."""
    predicted_iou: float
    """The network's estimate (0 to 1) of this mask's intersection over union with the truth."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectMask:
    """One object on one frame."""

    object_id: str
    """The caller's name."""
    object_index: int
    """0-based, in the order in which prompts first name the objects."""
    mask: BoolMask
    """`(H, W)` bool at the frame's size; all False if the object is not visible."""
    object_score: float
    """Probability (0 to 1) that the object is visible on this frame."""
    predicted_iou: float
    """The network's estimate (0 to 1) of this mask's intersection over union with the truth."""
    confidence: ConfidenceMap | None = None
    """If requested: `(H, W)` uint8, the probability of the object as 0 to 255."""
    candidates: tuple[Candidate, ...] = ()
    """If requested: the masks that fit the prompt, in the network's order."""
    concept: str | None = None
    """The words that found it; None for an object that prompts alone name."""
    detection_score: float | None = None
    """How sure the detector was of it at best, 0 to 1; None if no detection was of it."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskFrame:
    """A frame with the masks of all objects that are tracked on it."""

    frame: Frame
    objects: tuple[ObjectMask, ...]
    """Ordered by `object_index`; an object that is not tracked on this frame is left out."""


@dataclass(frozen=True, slots=True, eq=False)
class Changes:
    """Objects that come and go on a frame while the tracker runs."""

    births: tuple[ObjectPrompt, ...] = ()
    """Positive prompts on the frame, each of an object that has never been tracked."""
    removals: tuple[str, ...] = ()
    """Names of objects that are tracked no further, and not on this frame either."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the source that the output video shows without a break."""

    source_start: float
    """Seconds in the source's own timeline, as in `Frame.pts_seconds`."""
    source_end: float
    """Seconds in the source's own timeline."""
    start: float
    """Seconds from the start of the output video."""

    @property
    def end(self) -> float:
        """Seconds from the start of the output video."""
        return self.start + self.source_end - self.source_start


def _check_finite(field: str, value: Any) -> None:
    try:
        is_finite = math.isfinite(value)
    except (TypeError, ValueError, OverflowError):
        is_finite = False
    if not is_finite:
        raise _not_accepted(field, value, "a finite number")


def _label(value: Any) -> int:
    """Return a label of another integer type, such as bool or NumPy's, as an int."""
    if not isinstance(value, Integral | np.bool_) or value not in (0, 1):
        raise _not_accepted("Click.label", value, "1 (foreground) or 0 (background)")
    return int(value)


def _clicks(value: Any) -> tuple[Click, ...]:
    clicks = tuple(value) if isinstance(value, tuple | list) else (value,)
    for position, click in enumerate(clicks):
        if not isinstance(click, Click):
            raise _not_accepted(f"ObjectPrompt.clicks[{position}]", click, "a Click")
    return clicks


def _check_mask(value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.dtype != np.bool_ or value.ndim != 2:
        raise _not_accepted("ObjectPrompt.mask", value, "a bool array of shape (height, width)")
    if not value.any():
        raise PromptError("ObjectPrompt.mask has no pixel; expected at least one that is True")


def _not_accepted(field: str, value: Any, expected: str) -> PromptError:
    shown = one_line(reprlib.repr(value))
    if isinstance(value, np.ndarray):
        shown = f"a {value.dtype} array of shape {value.shape}"
    return PromptError(f"{field} is {shown}; expected {expected}")
