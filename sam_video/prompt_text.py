"""The texts that describe prompts become numbers and names, however they are written.

Nothing here knows of a video: `parse_clicks` finds every mistake that shows in the texts alone.
"""

import logging
import math
import re
from dataclasses import dataclass
from typing import TypeVar

from sam_video.errors import PromptError

MAX_CLICKS = 10_000
"""Clicks of one request."""
MAX_TEXT_LENGTH = 1_000_000
"""Characters of one text field: room for `MAX_CLICKS` points, however they are written."""

_Value = TypeVar("_Value")
_log = logging.getLogger(__name__)

_NUMBER = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
_GAP = r"\s,;|\\()\[\]{}<>\"'"
# Possessive quantifiers keep every alternative linear in the length of the text. A word is let
# through only as the name of a call (`np.float64(1.5)`, as NumPy writes its numbers): elsewhere it
# may stand in the place of a number, and dropping it would shift all points after it.
_COORDINATE_TOKEN = re.compile(
    rf"""[{_GAP}]++
    | (?P<number>{_NUMBER})(?=[{_GAP}]|\Z)
    | (?P<axis>[xyXY])["'\\]*+\s*+[:=]
    | [A-Za-z_][\w.]*+(?=\()
    | (?P<unreadable>[^{_GAP}]++)""",
    re.VERBOSE,
)
_DECORATION = re.compile(r"[\[\](){}\"']")
_ENTRY_SEPARATOR = re.compile(r"\s*+[,;]\s*|\s+")
_SHORT_NUMBER = re.compile(r"[+-]?[0-9.]{1,20}")
_LABEL = re.compile(r"[01](?:\.0*)?")
# 15 digits are exact as a float, and more than any video has frames.
_FRAME_INDEX = re.compile(r"\+?[0-9]{1,15}(?:\.0*)?")


@dataclass(frozen=True, slots=True)
class NamedClick:
    """A click as the request states it, before anything is known of the video."""

    x: float
    """Pixels from the left edge."""
    y: float
    """Pixels from the top edge."""
    label: int
    """1 foreground, 0 background."""
    frame_index: int
    """0-based, as given."""
    object_id: str | None
    """The caller's name, which may be empty; None where the request names nothing."""
    position: int
    """Place among the request's clicks, from 0, for messages."""


def parse_clicks(
    *, click_coordinates: str, click_labels: str, click_frames: str, click_object_ids: str
) -> tuple[NamedClick, ...]:
    """Read the four texts that describe clicks; the coordinates set how many there are.

    Brackets, quotes, spaces and line breaks do not matter in coordinates, labels and frames. Fewer
    labels, frames or names than clicks repeat their last value; surplus ones are ignored, with a
    warning in the log.

    Args:
        click_coordinates: `'[x,y],[x,y],…'` or `'[{"x":…,"y":…},…]'` in pixels; blank is no clicks.
        click_labels: 1 foreground, 0 background; blank is 1 for all.
        click_frames: 0-based frame indices; blank is 0 for all.
        click_object_ids: Names separated by commas; blank names nothing.

    Raises:
        PromptError: A text is too long, or a value of it cannot be read.
    """
    _check_lengths(
        click_coordinates=click_coordinates,
        click_labels=click_labels,
        click_frames=click_frames,
        click_object_ids=click_object_ids,
    )
    points = _parse_points(click_coordinates) if click_coordinates.strip() else []
    if not points:
        return ()
    label_texts = _fit("click_labels", _entries(click_labels) or ["1"], len(points))
    labels = _integers("click_labels", label_texts, _LABEL, "1 (foreground) or 0 (background)")
    frame_texts = _fit("click_frames", _entries(click_frames) or ["0"], len(points))
    frames = _integers("click_frames", frame_texts, _FRAME_INDEX, "a whole number from 0 up")
    names = _fit("click_object_ids", _names(click_object_ids), len(points))
    return tuple(
        NamedClick(x, y, labels[position], frames[position], names[position], position)
        for position, (x, y) in enumerate(points)
    )


def _check_lengths(**texts: str) -> None:
    for field, text in texts.items():
        if len(text) > MAX_TEXT_LENGTH:
            raise PromptError(
                f"{field} is {_quoted(text)} and {len(text)} characters long;"
                f" expected at most {MAX_TEXT_LENGTH}"
            )


def _parse_points(text: str) -> list[tuple[float, float]]:
    axes, numbers = _coordinate_numbers(text)
    if not numbers:
        raise _coordinates_error(text, "it holds no number")
    if len(numbers) % 2:
        raise _coordinates_error(text, f"it holds an odd count of numbers, {len(numbers)}")
    points = []
    for i in range(0, len(numbers), 2):
        named = {axes[i], axes[i + 1]}
        if named not in ({""}, {"x", "y"}):
            raise _coordinates_error(text, f"point {i // 2} has not one x and one y")
        first, second = numbers[i : i + 2]
        points.append((second, first) if axes[i] == "y" else (first, second))
    return points


def _coordinate_numbers(text: str) -> tuple[list[str], list[float]]:
    """Return the numbers of a text, and for each "x" or "y" as it is keyed, or ""."""
    axes: list[str] = []
    numbers: list[float] = []
    axis = ""
    for token in _COORDINATE_TOKEN.finditer(text):
        if token["axis"]:
            axis = token["axis"].lower()
        word = token["number"] or token["unreadable"]
        if not word:
            continue
        if token["unreadable"] or not math.isfinite(float(word)):
            raise _coordinates_error(text, f"{_quoted(word)} is not a finite number")
        axes.append(axis)
        numbers.append(float(word))
        axis = ""
        if len(numbers) > 2 * MAX_CLICKS:
            raise _coordinates_error(text, f"it holds more than {MAX_CLICKS} clicks")
    return axes, numbers


def _coordinates_error(text: str, reason: str) -> PromptError:
    return PromptError(
        f"click_coordinates is {_quoted(text)}: {reason}; expected points in pixels, such as"
        " [391,239],[178,320]"
    )


def _entries(text: str) -> list[str]:
    """Split a list of numbers that may have brackets and one trailing comma."""
    entries = _ENTRY_SEPARATOR.split(_DECORATION.sub(" ", text).strip())
    return entries if entries[-1] else entries[:-1]


def _names(text: str) -> list[str | None]:
    """Split at every comma: an entry with nothing in it is the empty name; blank names nothing."""
    return [name.strip() for name in text.split(",")] if text.strip() else [None]


def _fit(field: str, values: list[_Value], num_clicks: int) -> list[_Value]:
    """Give each click a value, by repeating the last one or dropping the surplus."""
    if len(values) > num_clicks:
        _log.warning(
            "%s has %d values for %d clicks; the surplus is ignored",
            field,
            len(values),
            num_clicks,
        )
    return values[:num_clicks] + values[-1:] * (num_clicks - len(values))


def _integers(
    field: str, entries: list[str], accepted: re.Pattern[str], expected: str
) -> list[int]:
    for position, entry in enumerate(entries):
        if not accepted.fullmatch(entry):
            shown = entry if _SHORT_NUMBER.fullmatch(entry) else _quoted(entry)
            raise PromptError(f"{field}[{position}] is {shown}; expected {expected}")
    return [int(float(entry)) for entry in entries]


def _quoted(text: str) -> str:
    """Quote the start of a text on one line."""
    return repr(text if len(text) <= 80 else text[:79] + "…")
