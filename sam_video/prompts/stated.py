"""One click, box or mask of the request, and checks that all readers of prompts share."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.types import BoolMask, Box, Click

MIN_TEXT_LENGTH, TEXT_LENGTH_PER_PROMPT = 10_000, 100
"""Characters that one text field may have; all points fit in any notation."""

_Value = TypeVar("_Value")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class StatedPrompt:
    """A click, box or mask from the request, before it is fitted to the video."""

    value: Click | Box | BoolMask
    """In pixels of the frame."""
    frame_index: int
    """0-based, as in the request."""
    object_id: str | None
    """The caller's name, which may be empty; None if the request gives none."""
    place: str
    """Place of the value in the request, for messages, such as `click_coordinates[2]`."""
    frame_place: str
    """Place of the frame in the request, such as `click_frames[2]`."""

    @property
    def is_positive(self) -> bool:
        """Whether it is a box, a mask or a positive click."""
        return not isinstance(self.value, Click) or self.value.label == 1


def quoted(text: str) -> str:
    """Quote the start of a text on one line."""
    return repr(text if len(text) <= 80 else text[:79] + "…")


def checked_box(numbers: Sequence[float], place: str) -> Box:
    """Return the box of four finite numbers.

    Raises:
        PromptError: The box is empty; `place` is its place in the request.
    """
    x0, y0, x1, y1 = numbers
    if not (x0 < x1 and y0 < y1):
        raise PromptError(
            f"{place} is [{x0:.15g}, {y0:.15g}, {x1:.15g}, {y1:.15g}];"
            " expected [x0, y0, x1, y1] with x0 < x1 and y0 < y1"
        )
    return Box(x0, y0, x1, y1)


def check_length(field: str, text: str) -> None:
    """Refuse a text field with more characters than `MAX_PROMPTS` points need.

    Raises:
        PromptError: The text is longer.
    """
    most = max(MIN_TEXT_LENGTH, TEXT_LENGTH_PER_PROMPT * MAX_PROMPTS.value)
    if len(text) > most:
        raise PromptError(
            f"{field} is {quoted(text)} and {len(text)} characters long;"
            f" expected at most {most}, for {MAX_PROMPTS} prompts"
        )


def one_each(field: str, values: list[_Value], count: int, nouns: str) -> list[_Value]:
    """Return `count` values: repeat the last one, or drop the surplus with a warning.

    Args:
        field: Name of the field with the values, for the log.
        values: At least one.
        count: Number of clicks, boxes or points that need a value each.
        nouns: Their name in the log, such as "clicks".
    """
    if len(values) > count:
        logger.warning(
            "%s has %d values for %d %s; the surplus is ignored", field, len(values), count, nouns
        )
    return values[:count] + values[-1:] * (count - len(values))
