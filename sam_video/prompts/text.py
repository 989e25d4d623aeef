"""Read the texts that describe clicks and boxes, in any common notation.

`parse_clicks` and `parse_boxes` find all errors in the texts themselves; they know nothing about
the video.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.prompts.stated import StatedPrompt, check_length, checked_box, one_each, quoted
from sam_video.types import Box, Click

_NUMBER = r"[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?"
_GAP = r"\s,;|\\()\[\]{}<>\"'"
_DECORATION = re.compile(r"[\[\](){}\"']")
_ENTRY_SEPARATOR = re.compile(r"\s*+[,;]\s*|\s+")
_SHORT_NUMBER = re.compile(r"[+-]?[0-9.]{1,20}")
_LABEL = re.compile(r"[01](?:\.0*)?")
# A float holds 15 digits exactly, and no video has so many frames.
_FRAME_INDEX = re.compile(r"\+?[0-9]{1,15}(?:\.0*)?")
_LISTED_NAME = re.compile(r"""\s*+(?:"([^"]*+)"\s*+|'([^']*+)'\s*+|([^,]*+))(?:,|\Z)""")
_WIDE_FORMS = ("<wide>", "<narrow>", "<small>", "<vertical>")
"""Unicode's tags of characters that are a variant of another character."""


def _token_pattern(keys: Mapping[str, str]) -> re.Pattern[str]:
    """Match a token of a coordinates text: a gap, a number, a key, or unreadable text.

    Possessive quantifiers keep every alternative linear in the length of the text. A word is
    skipped only as the name of a call (`np.float64(1.5)`, as NumPy prints numbers): elsewhere it
    may stand in the place of a number, and skipping it would shift all points after it.
    """
    return re.compile(
        rf"""[{_GAP}]++
        | (?P<number>{_NUMBER})(?=[{_GAP}]|\Z)
        | (?P<key>(?i:{"|".join(keys)}))["'\\]*+\s*+[:=]
        | [A-Za-z_][\w.]*+(?=\()
        | (?P<unreadable>[^{_GAP}]++)""",
        re.VERBOSE,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """Describes a field of coordinates, whose numbers are points or boxes."""

    field: str
    noun: str
    """Name of one point or box in messages."""
    nouns: str
    """Plural in messages, as the request calls them."""
    axes: tuple[str, ...]
    """Names of the numbers of one point or box, in order."""
    keys: Mapping[str, str]
    """Maps the keys of a JSON object to axes."""
    whole: str
    miscount: str
    expected: str


_CLICKS = _Layout(
    field="click_coordinates",
    noun="point",
    nouns="clicks",
    axes=("x", "y"),
    keys={"x": "x", "y": "y"},
    whole="one x and one y",
    miscount="an odd count of numbers",
    expected="points in pixels, such as [391,239],[178,320]",
)
_BOXES = _Layout(
    field="box_coordinates",
    noun="box",
    nouns="boxes",
    axes=("x0", "y0", "x1", "y1"),
    keys={axis: axis for axis in ("x0", "y0", "x1", "y1")}
    | {"x_min": "x0", "y_min": "y0", "x_max": "x1", "y_max": "y1"},
    whole="one each of x0, y0, x1 and y1",
    miscount="a count of numbers that 4 does not divide",
    expected="boxes in pixels as [x0,y0,x1,y1], such as [300,90,420,330]",
)


def parse_clicks(
    *, click_coordinates: str, click_labels: str, click_frames: str, click_object_ids: str
) -> tuple[StatedPrompt, ...]:
    """Read the four texts that describe clicks; the coordinates set the number of clicks.

    Brackets, quotes, spaces and line breaks are ignored in coordinates, labels and frames; digits,
    commas and brackets may be of any script. Fewer labels, frames or names than clicks repeat their
    last value; surplus values are ignored with a warning in the log.

    Args:
        click_coordinates: `'[x,y],[x,y],…'` or `'[{"x":…,"y":…},…]'` in pixels; blank is no clicks.
        click_labels: 1 foreground, 0 background; blank is 1 for all.
        click_frames: 0-based frame indices; blank is 0 for all.
        click_object_ids: Names separated by commas; a list in brackets and quotes are accepted;
            blank gives no names.

    Raises:
        PromptError: A text is too long, or has a value that cannot be read.
    """
    check_length("click_labels", click_labels)
    points = _parse_coordinates(click_coordinates, _CLICKS)
    labels = _labels(click_labels, len(points)) if points else []
    clicks = [Click(x, y, label) for (x, y), label in zip(points, labels, strict=True)]
    return tuple(_named(clicks, _CLICKS, "click", click_frames, click_object_ids))


def parse_boxes(
    *, box_coordinates: str, box_frames: str, box_object_ids: str
) -> tuple[StatedPrompt, ...]:
    """Read the three texts that describe boxes, as tolerantly as `parse_clicks`.

    Args:
        box_coordinates: `'[x0,y0,x1,y1],…'` in pixels, or objects with the keys `x0`, `y0`, `x1`
            and `y1`, or `x_min`, `y_min`, `x_max` and `y_max`; blank is no boxes.
        box_frames: 0-based frame indices; blank is 0 for all.
        box_object_ids: Names, as for clicks; blank gives no names.

    Raises:
        PromptError: A text is too long, or has a value that cannot be read.
    """
    boxes = [
        checked_box(numbers, f"box_coordinates[{i}]")
        for i, numbers in enumerate(_parse_coordinates(box_coordinates, _BOXES))
    ]
    return tuple(_named(boxes, _BOXES, "box", box_frames, box_object_ids))


def _named(
    values: Sequence[Click | Box], layout: _Layout, kind: str, frames: str, object_ids: str
) -> Iterator[StatedPrompt]:
    """Give each click or box its frame and its name."""
    frames_field, ids_field = f"{kind}_frames", f"{kind}_object_ids"
    check_length(frames_field, frames)
    check_length(ids_field, object_ids)
    if not values:
        return
    entries = one_each(frames_field, _entries(frames) or ["0"], len(values), layout.nouns)
    indices = _integers(frames_field, entries, _FRAME_INDEX, "a whole number from 0 up")
    names = one_each(ids_field, _names(object_ids), len(values), layout.nouns)
    for i, value in enumerate(values):
        place = f"{layout.field}[{i}]"
        yield StatedPrompt(value, indices[i], names[i], place, f"{frames_field}[{i}]")


def _labels(text: str, num_clicks: int) -> list[int]:
    entries = one_each("click_labels", _entries(text) or ["1"], num_clicks, "clicks")
    return _integers("click_labels", entries, _LABEL, "1 (foreground) or 0 (background)")


def _parse_coordinates(text: str, layout: _Layout) -> list[list[float]]:
    """Return the numbers of each point or box, in the order of the layout's axes."""
    check_length(layout.field, text)
    if not text.strip():
        return []
    axes, numbers = _coordinate_numbers(text, layout)
    if not numbers:
        raise _coordinates_error(text, "it holds no number", layout)
    size = len(layout.axes)
    if len(numbers) % size:
        raise _coordinates_error(text, f"it holds {layout.miscount}, {len(numbers)}", layout)
    groups = []
    for i in range(0, len(numbers), size):
        keyed = dict(zip(axes[i : i + size], numbers[i : i + size], strict=True))
        if keyed.keys() == {""}:
            groups.append(numbers[i : i + size])
        elif keyed.keys() == set(layout.axes):
            groups.append([keyed[axis] for axis in layout.axes])
        else:
            reason = f"{layout.noun} {i // size} has not {layout.whole}"
            raise _coordinates_error(text, reason, layout)
    return groups


def _coordinate_numbers(text: str, layout: _Layout) -> tuple[list[str], list[float]]:
    """Return the axis of each number in a text ("" without a key), and the numbers."""
    axes: list[str] = []
    numbers: list[float] = []
    axis = ""
    max_numbers = len(layout.axes) * MAX_PROMPTS.value
    for token in _token_pattern(layout.keys).finditer(_in_ascii(text)):
        if token["key"]:
            axis = layout.keys[token["key"].lower()]
        word = token["number"] or token["unreadable"]
        if not word:
            continue
        if token["unreadable"] or not math.isfinite(float(word)):
            raise _coordinates_error(text, f"{quoted(word)} is not a finite number", layout)
        axes.append(axis)
        numbers.append(float(word))
        axis = ""
        if len(numbers) > max_numbers:
            reason = f"it holds more {layout.nouns} than {MAX_PROMPTS}"
            raise _coordinates_error(text, reason, layout)
    return axes, numbers


def _coordinates_error(text: str, reason: str, layout: _Layout) -> PromptError:
    return PromptError(f"{layout.field} is {quoted(text)}: {reason}; expected {layout.expected}")


def _entries(text: str) -> list[str]:
    """Split a list of numbers that may have brackets and one trailing comma."""
    entries = _ENTRY_SEPARATOR.split(_DECORATION.sub(" ", _in_ascii(text)).strip())
    return entries if entries[-1] else entries[:-1]


def _names(text: str) -> list[str | None]:
    """Split at commas: an empty entry is the empty name; a blank text gives no names."""
    text = text.strip()
    if not text:
        return [None]
    names = _json_texts(text)
    if names is None:
        names = _listed(text) if _is_bracketed(text) else text.split(",")
    return [name.strip() for name in names] or [None]


def _json_texts(text: str) -> list[str] | None:
    """Read a JSON list of texts and numbers, numbers as written; None if it is not one."""
    try:
        values = json.loads(text, parse_int=str, parse_float=str) if text[0] == "[" else None
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return values if is_list else None


def _is_bracketed(text: str) -> bool:
    """Return whether the text starts with a bracket that closes at its end, and no earlier."""
    depths = list(accumulate((c == "[") - (c == "]") for c in text))
    return depths[0] > 0 and 0 in depths and depths.index(0) == len(text) - 1


def _listed(text: str) -> list[str]:
    """Split a list in brackets that is not JSON; drop quotes and one trailing comma."""
    # The last match is the empty rest at the end.
    return ["".join(found) for found in _LISTED_NAME.findall(text[1:-1])[:-1]]


def _in_ascii(text: str) -> str:
    """Replace the digits, commas, brackets and quotes of any script by those of ASCII."""
    if text.isascii():
        return text
    return text.translate({ord(c): _ascii(c) for c in set(text) if not c.isascii()})


def _ascii(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    if unicodedata.decomposition(character).startswith(_WIDE_FORMS):
        character = unicodedata.normalize("NFKC", character)
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if category == "Po":
        ends = {"COMMA": ",", "SEMICOLON": ";", "DECIMAL SEPARATOR": "."}
        return next((ascii for end, ascii in ends.items() if name.endswith(end)), character)
    return {"Ps": "[", "Pe": "]", "Pi": '"', "Pf": '"'}.get(category, character)


def _integers(
    field: str, entries: list[str], accepted: re.Pattern[str], expected: str
) -> list[int]:
    for position, entry in enumerate(entries):
        if not accepted.fullmatch(entry):
            shown = entry if _SHORT_NUMBER.fullmatch(entry) else quoted(entry)
            raise PromptError(f"{field}[{position}] is {shown}; expected {expected}")
    return [int(float(entry)) for entry in entries]
