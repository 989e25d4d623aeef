"""What the caller points at becomes one `ObjectPrompt` per object and frame.

Together with `prompt_text` this finds every mistake in a request's prompt fields before the model
runs: there what shows in the texts alone, here what shows only against the video.
"""

import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sam_video.errors import PromptError
from sam_video.prompt_text import NamedClick, parse_clicks
from sam_video.request import Request
from sam_video.types import Click, FrameSource, ObjectPrompt, VideoInfo

MAX_BACKGROUND_CLICKS = 100_000
"""Clicks of background names, counted once for every object that they correct."""

_log = logging.getLogger(__name__)


def build_prompts(request: Request, source: FrameSource) -> tuple[ObjectPrompt, ...]:
    """Turn everything that a request points at into prompts for the tracker.

    The source is decoded as far as the last frame that is pointed at, since headers may be wrong.

    Returns:
        At least one prompt, and exactly one for each pair of object and frame. Objects come in the
        order in which something positive first names them, the frames of an object in rising order.

    Raises:
        PromptError: A field cannot be read, does not fit the video, or nothing is pointed at.
    """
    clicks = parse_clicks(
        click_coordinates=request.click_coordinates,
        click_labels=request.click_labels,
        click_frames=request.click_frames,
        click_object_ids=request.click_object_ids,
    )
    if not clicks:
        raise PromptError(
            "nothing says what to segment; expected click_coordinates, such as '[391,239]'"
        )
    last = max(click.frame_index for click in clicks)
    num_frames = source.count_frames(last + 1)
    return object_prompts(clicks, replace(source.info, num_frames=num_frames))


def object_prompts(clicks: Sequence[NamedClick], info: VideoInfo) -> tuple[ObjectPrompt, ...]:
    """Fit clicks to a video and gather them by object and frame.

    Without names, each positive click is an object of its own (`object_1`, `object_2`, …) and a
    negative click refines the object of the nearest positive click. A name with nothing positive is
    no object: its clicks are background for every object whose first positive click is on their
    frame or an earlier one.

    Returns:
        As `build_prompts` does; where an object has only negative clicks on a frame, so has its
        prompt.

    Raises:
        PromptError: A click is outside the picture or the video, or no click is positive.
    """
    placed = [_placed(click, info) for click in clicks]
    if all(click.label == 0 for click in placed):
        raise PromptError("click_labels is 0 for every click; expected a 1 (foreground) among them")
    named = _with_names(placed)
    first_positive_frame = _first_positive_frames(named)
    gathered: dict[str, dict[int, list[Click]]] = {name: {} for name in first_positive_frame}
    for name, click in _with_background(named, first_positive_frame):
        on_frame = gathered[name].setdefault(click.frame_index, [])
        on_frame.append(Click(click.x, click.y, click.label))
    return tuple(
        ObjectPrompt(name, frame_index, tuple(on_frame))
        for name, by_frame in gathered.items()
        for frame_index, on_frame in sorted(by_frame.items())
    )


def frame_outside_error(field: str, frame_index: int, num_frames: int) -> PromptError:
    """Say that a prompt's frame, which `field` names, is past the end of the video."""
    return PromptError(f"{field} is {frame_index}; expected a frame from 0 to {num_frames - 1}")


def _placed(click: NamedClick, info: VideoInfo) -> NamedClick:
    """Check a click against the video; on a still image it is on the one frame."""
    if not (0 <= click.x < info.width and 0 <= click.y < info.height):
        raise PromptError(
            f"click_coordinates[{click.position}] is [{click.x:.15g}, {click.y:.15g}];"
            f" expected a point inside the {info.width}x{info.height} picture"
        )
    if info.is_still:
        return replace(click, frame_index=0)
    if info.num_frames is not None and click.frame_index >= info.num_frames:
        field = f"click_frames[{click.position}]"
        raise frame_outside_error(field, click.frame_index, info.num_frames)
    return click


def _with_names(clicks: Sequence[NamedClick]) -> list[tuple[str, NamedClick]]:
    """Pair each click with a name; one without is numbered, or joins the nearest positive one."""
    positive = [click for click in clicks if click.label == 1]
    names = [
        f"object_{number}" if click.object_id is None else click.object_id
        for number, click in enumerate(positive, start=1)
    ]
    name_at = {click.position: name for click, name in zip(positive, names, strict=True)}
    xy = np.array([(click.x, click.y) for click in positive])
    frames = np.array([click.frame_index for click in positive])
    for click in clicks:
        if click.label == 0:
            name = click.object_id
            name_at[click.position] = names[_nearest(click, xy, frames)] if name is None else name
    return [(name_at[click.position], click) for click in clicks]


def _nearest(click: NamedClick, xy: npt.NDArray[np.float64], frames: npt.NDArray[np.int64]) -> int:
    """Find the nearest of the points on the click's frame, or of all if none is on it.

    Args:
        click: The click to search from.
        xy: `(N, 2)` float64, points in pixels.
        frames: `(N,)` int64, their frame indices.
    """
    distances = np.hypot(xy[:, 0] - click.x, xy[:, 1] - click.y)
    on_frame = frames == click.frame_index
    if on_frame.any():
        distances[~on_frame] = np.inf
    return int(distances.argmin())


def _first_positive_frames(named: Sequence[tuple[str, NamedClick]]) -> dict[str, int]:
    """Map each object to its first prompted frame, in the order in which objects are named."""
    first: dict[str, int] = {}
    for name, click in named:
        if click.label == 1:
            first[name] = min(first.get(name, click.frame_index), click.frame_index)
    return first


def _with_background(
    named: Sequence[tuple[str, NamedClick]], first_positive_frame: dict[str, int]
) -> Iterator[tuple[str, NamedClick]]:
    """Give each click of a name that is no object to all objects that are there on its frame."""
    by_start = sorted(first_positive_frame, key=first_positive_frame.__getitem__)
    starts = [first_positive_frame[name] for name in by_start]
    num_given = 0
    unused: list[NamedClick] = []
    for name, click in named:
        if name in first_positive_frame:
            yield name, click
            continue
        present = by_start[: bisect_right(starts, click.frame_index)]
        num_given += len(present)
        if num_given > MAX_BACKGROUND_CLICKS:
            raise PromptError(
                f"click_object_ids has background clicks for {len(by_start)} objects;"
                f" expected at most {MAX_BACKGROUND_CLICKS} corrections by them"
            )
        if not present:
            unused.append(click)
        yield from ((object_id, click) for object_id in present)
    if unused:
        _log.warning(
            "ignoring %d background clicks on frames where no object is yet, the first being"
            " click_coordinates[%d] on frame %d",
            len(unused),
            unused[0].position,
            unused[0].frame_index,
        )
