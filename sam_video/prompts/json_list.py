"""Read the JSON list of prompts, in the forms that hosted SAM 2 services have published.

`parse_prompts` finds all errors in the text itself; it knows nothing about the video.
"""

import json
import math
import reprlib
from collections import Counter
from collections.abc import Iterator
from itertools import compress, count
from typing import Any

from sam_video.errors import PromptError
from sam_video.prompts.stated import StatedPrompt, check_length, checked_box, one_each, quoted
from sam_video.types import Box, Click

POINT_KEYS = ("x", "y")
BOX_KEYS = ("x_min", "y_min", "x_max", "y_max")
TEXT_KEYS = ("text", "prompt")
KEYS = (
    "frame_index", "object_id", "points", "labels", "box", *POINT_KEYS, "label", *BOX_KEYS,
    *TEXT_KEYS,
)  # fmt: skip
"""All keys of an entry; it has at least one point or box, or a text alone."""
DEFAULT_OBJECT_ID = 1
"""All points without a name are for this object, as on fal, and so is a single box."""

_BOX = frozenset({"box", *BOX_KEYS})
_FRAME_INDEX_END = 10**15
"""The text fields accept as many digits."""
_LONGEST_INTEGER = 100
"""Characters; longer integers are not coordinates, and are slow to convert."""
_EXAMPLE = '[{"frame_index": 0, "object_id": "dog", "points": [[391, 239]], "labels": [1]}]'

_Located = tuple[str, Click | Box]
"""The place of a value in the text, such as `prompts[2].box`, and the value."""


class _Entry(dict[str, Any]):
    """A JSON object that lists its repeated keys; a plain dict would drop their first values."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs)
        self.repeated = [key for key, count in counts.items() if count > 1]


def parse_prompts(text: str) -> tuple[StatedPrompt, ...]:
    """Read a JSON list; each entry has prompts for one object on one frame.

    An entry has one or more of: `points` (`[[x, y], …]`) with `labels` (1 foreground, 0 background;
    by default all 1, and the last one repeats); one point as `x`, `y` and `label`; `box`
    (`[x0, y0, x1, y1]`); one box as `x_min`, `y_min`, `x_max` and `y_max`. `frame_index` is 0 by
    default. `object_id`, a text or a whole number, is 1 by default; but if several entries have a
    box and no `object_id`, each of them is an object of its own. An entry of words has only `text`
    or, as other services call it, `prompt`; `parse_words` reads it.

    Args:
        text: JSON; a blank text has no prompts.

    Raises:
        PromptError: The text is too long, is not JSON, or has a value that is not accepted.
    """
    entries = _entries(text)
    names = _names_of_boxes(entries)
    return tuple(
        prompt
        for position, entry in enumerate(entries)
        if not _is_words(entry)
        for prompt in _read_entry(entry, f"prompts[{position}]", names.get(position))
    )


def parse_words(text: str) -> tuple[tuple[str, str], ...]:
    """Read the entries of words from a JSON list, such as `[{"text": "dog, red car"}]`.

    Returns:
        The place of each text, such as `prompts[2].text`, and the text, which is not blank.

    Raises:
        PromptError: As for `parse_prompts`, or an entry has words beside other keys.
    """
    return tuple(
        _read_words(entry, f"prompts[{position}]")
        for position, entry in enumerate(_entries(text))
        if _is_words(entry)
    )


def _entries(text: str) -> list[Any]:
    check_length("prompts", text)
    if not text.strip():
        return []
    entries = _load(text)
    if not isinstance(entries, list):
        raise _not_accepted("prompts", entries, f"a JSON list, such as {_EXAMPLE}")
    return entries


def _is_words(entry: Any) -> bool:
    return isinstance(entry, _Entry) and not entry.keys().isdisjoint(TEXT_KEYS)


def _read_words(entry: _Entry, place: str) -> tuple[str, str]:
    _check_keys(entry, place)
    key, *others = sorted(entry, key=lambda name: name not in TEXT_KEYS)
    if others:
        raise PromptError(
            f"{place} has {key} beside {others[0]}; expected words alone,"
            f' such as {{"{key}": "person, red car"}}'
        )
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise _not_accepted(f"{place}.{key}", value, "words, such as 'person, red car'")
    return f"{place}.{key}", value


def _names_of_boxes(entries: list[Any]) -> dict[int, str]:
    """Number the entries with a box and without a name; return none if there is only one.

    The result maps positions to names. Numbers that other entries use as names are skipped.
    """
    is_unnamed_box = [
        isinstance(entry, _Entry) and "object_id" not in entry and not _BOX.isdisjoint(entry)
        for entry in entries
    ]
    if sum(is_unnamed_box) < 2:
        return {}
    others = [e for e, is_box in zip(entries, is_unnamed_box, strict=True) if not is_box]
    names = [e.get("object_id", DEFAULT_OBJECT_ID) for e in others if isinstance(e, _Entry)]
    taken = {str(name).strip() for name in names if isinstance(name, int | str)}
    free = (name for name in map(str, count(1)) if name not in taken)
    return dict(zip(compress(count(), is_unnamed_box), free, strict=False))


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_Entry, parse_int=_integer)
    except json.JSONDecodeError as error:
        found = quoted(text[error.pos : error.pos + 20]) if error.pos < len(text) else "its end"
        raise PromptError(
            f"prompts is not JSON: at line {error.lineno}, column {error.colno} is {found}"
            f" ({error.msg}); expected a list, such as {_EXAMPLE}"
        ) from None
    except RecursionError:
        raise PromptError(
            f"prompts is {quoted(text)}, which is nested too deeply;"
            f" expected a JSON list, such as {_EXAMPLE}"
        ) from None


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _read_entry(entry: Any, place: str, name: str | None) -> Iterator[StatedPrompt]:
    """Read the prompts of an entry; `name`, if given, is its object's name."""
    if not isinstance(entry, _Entry):
        raise _not_accepted(place, entry, 'an object, such as {"x": 391, "y": 239}')
    _check_keys(entry, place)
    frame_index = _read_frame_index(entry, place)
    object_id = name or _read_object_id(entry, place)
    values = [
        *_read_points(entry, place),
        *_read_single_point(entry, place),
        *_read_box(entry, place),
        *_read_single_box(entry, place),
    ]
    if not values:
        raise PromptError(
            f"{place} has neither a point nor a box; expected points, box, x and y,"
            " x_min, y_min, x_max and y_max, or text"
        )
    for where, value in values:
        yield StatedPrompt(value, frame_index, object_id, where, f"{place}.frame_index")


def _check_keys(entry: _Entry, place: str) -> None:
    unknown = [key for key in entry if key not in KEYS]
    if unknown:
        shown = ", ".join(quoted(key) for key in unknown[:5]) + (", …" if len(unknown) > 5 else "")
        noun = "key" if len(unknown) == 1 else "keys"
        raise PromptError(f"{place} has unknown {noun} {shown}; expected any of {', '.join(KEYS)}")
    for key in entry.repeated:
        raise PromptError(f"{place} has {key!r} more than once; expected it once")


def _read_frame_index(entry: _Entry, place: str) -> int:
    value = entry.get("frame_index", 0)
    if not _is_finite(value) or value != int(value) or not 0 <= value < _FRAME_INDEX_END:
        raise _not_accepted(f"{place}.frame_index", value, "a whole number from 0 up")
    return int(value)


def _read_object_id(entry: _Entry, place: str) -> str:
    value = entry.get("object_id", DEFAULT_OBJECT_ID)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise _not_accepted(f"{place}.object_id", value, "a text or a whole number")
    return str(value).strip()


def _read_points(entry: _Entry, place: str) -> Iterator[_Located]:
    points = _read_list(entry, "points", place, "a list of points, [[x, y], …]")
    labels = _read_list(entry, "labels", place, "a list of labels, such as [1, 0]")
    if not points and not labels:
        return
    field = f"{place}.labels"
    fitted = one_each(field, labels or [1], len(points), "points")
    for i, (point, label) in enumerate(zip(points, fitted, strict=True)):
        x, y = _read_numbers(point, f"{place}.points[{i}]", "[x, y]", 2)
        yield f"{place}.points[{i}]", Click(x, y, _checked_label(label, f"{field}[{i}]"))


def _read_single_point(entry: _Entry, place: str) -> Iterator[_Located]:
    numbers = _read_keyed(entry, place, POINT_KEYS)
    if numbers:
        x, y = numbers
        yield place, Click(x, y, _checked_label(entry.get("label", 1), f"{place}.label"))
    elif "label" in entry:
        raise _not_accepted(f"{place}.label", entry["label"], "a label beside x and y")


def _read_box(entry: _Entry, place: str) -> Iterator[_Located]:
    if "box" in entry:
        where = f"{place}.box"
        yield where, checked_box(_read_numbers(entry["box"], where, "[x0, y0, x1, y1]", 4), where)


def _read_single_box(entry: _Entry, place: str) -> Iterator[_Located]:
    numbers = _read_keyed(entry, place, BOX_KEYS)
    if numbers:
        yield place, checked_box(numbers, place)


def _read_list(entry: _Entry, key: str, place: str, expected: str) -> list[Any]:
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise _not_accepted(f"{place}.{key}", value, expected)
    return value


def _read_keyed(entry: _Entry, place: str, keys: tuple[str, ...]) -> list[float]:
    """Return the numbers at these keys; empty if the entry has none of the keys."""
    missing = [key for key in keys if key not in entry]
    if len(missing) == len(keys):
        return []
    if missing:
        raise PromptError(f"{place} has no {missing[0]}; expected {', '.join(keys)} together")
    return [_number(entry[key], f"{place}.{key}") for key in keys]


def _read_numbers(value: Any, place: str, form: str, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise _not_accepted(place, value, form)
    return [_number(number, f"{place}[{i}]") for i, number in enumerate(value)]


def _number(value: Any, place: str) -> float:
    if not _is_finite(value):
        raise _not_accepted(place, value, "a finite number")
    return float(value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked_label(value: Any, place: str) -> int:
    if not _is_finite(value) or value not in (0, 1):
        raise _not_accepted(place, value, "1 (foreground) or 0 (background)")
    return int(value)


def _not_accepted(place: str, value: Any, expected: str) -> PromptError:
    return PromptError(f"{place} is {_shown(value)}; expected {expected}")


def _shown(value: Any) -> str:
    """Return a short text of a value of any length and depth."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "an object" if isinstance(value, _Entry) else reprlib.repr(value)
