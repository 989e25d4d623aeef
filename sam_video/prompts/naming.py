"""Assign prompts to objects: by name, by number if unnamed; background clicks to several."""

import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.prompts.stated import StatedPrompt, quoted
from sam_video.types import BoolMask, Box, Click

CORRECTIONS_PER_PROMPT = 10
"""A background click counts once for every object that it corrects; `MAX_PROMPTS` times this number
is the limit."""
MAX_NAME_LENGTH = 1_000
"""Most characters of an object's name, which becomes part of file names."""

_Named = tuple[str, StatedPrompt]

BACKGROUND = "background"
"""The name of unnamed negative clicks where words alone say what there is."""

logger = logging.getLogger(__name__)


def with_names(prompts: Sequence[StatedPrompt], concepts: Sequence[str] = ()) -> list[_Named]:
    """Pair each prompt with its object, and a background click with several objects.

    Each positive click without a name is an object of its own (`object_1`, `object_2`, …); boxes
    without names continue the numbers; a negative click without a name refines the object of the
    nearest positive prompt. A name with negative clicks only is not an object: its clicks are
    background for every object whose first positive prompt is on their frame or an earlier one.

    Words find more objects, which are not known yet. Negative clicks alone that are named like one
    of their instances, such as `person_1`, correct it. Those that are named like a concept, such as
    `person`, exclude its instances under them, and are not background for other objects. All other
    background clicks exclude the instances of all concepts under them too.

    Args:
        prompts: Fitted to the video.
        concepts: What the request looks for by words.

    Returns:
        Pairs, sorted by the order of the objects' first positive prompts; the prompts of one object
        keep their order.

    Raises:
        PromptError: No prompt is positive and there are no concepts, or a name cannot be used.
    """
    if not concepts:
        _check_any_positive(prompts)
    named = _named(prompts, concepts)
    first_positive_frame = _first_positive_frames(named)
    place = {name: position for position, name in enumerate(first_positive_frame)}
    pairs = _with_background(named, first_positive_frame, concepts)
    return sorted(pairs, key=lambda pair: place.get(pair[0], len(place)))


def concept_of(object_id: str, concepts: Sequence[str]) -> str | None:
    """Return the concept of which a name may be an instance: `person` for `person_2`."""
    concept, _, number = object_id.rpartition("_")
    is_number = number.isascii() and number.isdigit() and not number.startswith("0")
    return concept if is_number and concept in concepts else None


def _check_any_positive(prompts: Sequence[StatedPrompt]) -> None:
    if any(prompt.is_positive for prompt in prompts):
        return
    field = "click_labels" if prompts[0].place.startswith("click") else "the label in prompts"
    raise PromptError(f"{field} is 0 for every click; expected a 1 (foreground) among them")


def _named(prompts: Sequence[StatedPrompt], concepts: Sequence[str]) -> list[_Named]:
    """Pair each prompt with its own name, a number, or the name of the nearest positive prompt."""
    noun = "prompt" if "object" in concepts else "object"  # whose instances have that name
    new_names = (f"{noun}_{number}" for number in count(1))
    own_names = [_own_name(prompt, new_names) for prompt in prompts]
    pairs = list(zip(own_names, prompts, strict=True))
    positive = [(name, prompt) for name, prompt in pairs if name is not None and prompt.is_positive]
    unnamed = [prompt for name, prompt in pairs if name is None]
    joined = iter(_nearest_names(unnamed, positive))
    return [(next(joined) if name is None else name, prompt) for name, prompt in pairs]


def _own_name(prompt: StatedPrompt, new_names: Iterator[str]) -> str | None:
    name = prompt.object_id
    if name is None:
        return next(new_names) if prompt.is_positive else None
    if len(name) > MAX_NAME_LENGTH:
        raise PromptError(
            f"{prompt.place} is named {quoted(name)}, {len(name)} characters;"
            f" expected at most {MAX_NAME_LENGTH}"
        )
    if any("\ud800" <= character <= "\udfff" for character in name):
        raise PromptError(f"{prompt.place} is named {quoted(name)}; expected valid Unicode")
    return name


def _nearest_names(unnamed: Sequence[StatedPrompt], positive: Sequence[_Named]) -> list[str]:
    """Return the object that each negative click refines."""
    if not unnamed or not positive:
        return [BACKGROUND] * len(unnamed)
    xyxy = np.array([_extent_xyxy(prompt.value) for _, prompt in positive])
    frames = np.array([prompt.frame_index for _, prompt in positive])
    names = []
    for prompt in unnamed:
        assert isinstance(prompt.value, Click)
        names.append(positive[_nearest(prompt.value, prompt.frame_index, xyxy, frames)][0])
    return names


def _extent_xyxy(value: Click | Box | BoolMask) -> tuple[float, float, float, float]:
    """Return the bounding box of a click, box or mask; that of a click is empty."""
    if isinstance(value, Click):
        return value.x, value.y, value.x, value.y
    if isinstance(value, Box):
        return value.x0, value.y0, value.x1, value.y1
    columns = np.flatnonzero(value.any(axis=0))
    rows = np.flatnonzero(value.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _nearest(
    click: Click,
    frame_index: int,
    xyxy: npt.NDArray[np.float64],
    frames: npt.NDArray[np.int64],
) -> int:
    """Return the position of the nearest box on the click's frame, or of all boxes if it has none.

    Args:
        click: The click; its distance to a box around it is 0.
        frame_index: The click's frame.
        xyxy: `(N, 4)` float64, boxes in pixels.
        frames: `(N,)` int64, their frame indices.
    """
    x0, y0, x1, y1 = xyxy.T
    right_of = np.maximum(x0 - click.x, click.x - x1)
    below = np.maximum(y0 - click.y, click.y - y1)
    distances = np.hypot(right_of.clip(min=0), below.clip(min=0))
    on_frame = frames == frame_index
    if on_frame.any():
        distances[~on_frame] = np.inf
    return int(distances.argmin())


def _first_positive_frames(named: Sequence[_Named]) -> dict[str, int]:
    """Map each object to its earliest frame with a positive prompt, in the order of the prompts."""
    first: dict[str, int] = {}
    for name, prompt in named:
        if prompt.is_positive:
            first[name] = min(first.get(name, prompt.frame_index), prompt.frame_index)
    return first


def _with_background(
    named: Sequence[_Named], first_positive_frame: dict[str, int], concepts: Sequence[str]
) -> Iterator[_Named]:
    """Assign each background click to all objects that are present on its frame.

    A click for what words find goes to its instance, its concept, or all concepts.
    """
    by_start = sorted(first_positive_frame, key=first_positive_frame.__getitem__)
    starts = [first_positive_frame[name] for name in by_start]
    num_given, most = 0, CORRECTIONS_PER_PROMPT * MAX_PROMPTS.value
    unused: list[StatedPrompt] = []
    sought = [concept for concept in concepts if concept not in first_positive_frame]
    for name, prompt in named:
        if name in first_positive_frame:
            yield name, prompt
            continue
        if name in concepts or concept_of(name, concepts):
            yield name, prompt
            continue
        present = sought + by_start[: bisect_right(starts, prompt.frame_index)]
        num_given += len(present)
        if num_given > most:
            field = "click_object_ids" if prompt.place.startswith("click") else "prompts"
            raise PromptError(
                f"{field} has background clicks for {len(sought + by_start)} objects;"
                f" expected at most {most} corrections by them, for {MAX_PROMPTS} prompts"
            )
        if not present:
            unused.append(prompt)
        yield from ((target, prompt) for target in present)
    if unused:
        logger.warning(
            "ignoring %d background clicks on frames where no object is yet, the first being"
            " %s on frame %d",
            len(unused),
            unused[0].place,
            unused[0].frame_index,
        )
