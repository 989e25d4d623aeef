"""Check prompts against the video that they are for."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sam_video.errors import PromptError, frame_outside_error
from sam_video.limits import MAX_OBJECTS
from sam_video.prompts.stated import quoted
from sam_video.types import BoolMask, Box, Click, FrameSource, ObjectPrompt, VideoInfo

logger = logging.getLogger(__name__)


def fit_prompts(
    prompts: Sequence[ObjectPrompt],
    source: FrameSource,
    is_found: Callable[[str], bool] | None = None,
) -> tuple[ObjectPrompt, ...]:
    """Check prompts against a video, and clip boxes to the frame.

    The source is decoded up to the last prompted frame, since headers may be wrong. All prompts of
    a still image are for its one frame.

    Args:
        prompts: Of all objects.
        source: The video.
        is_found: Whether words may find an object of a name, which then needs nothing positive;
            None if nothing is looked for by words. If something is, there may be no prompts.

    Raises:
        PromptError: A click or box is outside the frame, a mask has another size, a frame is past
            the end, an object has two prompts on one frame or negative clicks only, or there are no
            prompts or too many objects.
    """
    for position, prompt in enumerate(prompts):
        if not isinstance(prompt, ObjectPrompt):
            shown = quoted(repr(prompt))[1:-1]
            raise PromptError(f"prompts[{position}] is {shown}; expected an ObjectPrompt")
    if is_found is not None and not prompts:
        return ()
    _check_positive(prompts, is_found)
    check_num_objects(len({prompt.object_id for prompt in prompts}))
    num_frames = source.count_frames(max(prompt.frame_index for prompt in prompts) + 1)
    info = replace(source.info, num_frames=num_frames)
    fitted = tuple(_fitted(prompt, f"prompts[{i}]", info) for i, prompt in enumerate(prompts))
    _check_distinct(fitted)
    log_clipped(
        f"prompts[{i}].box"
        for i, (before, after) in enumerate(zip(prompts, fitted, strict=True))
        if before.box != after.box
    )
    log_fractions(v for p in fitted for v in (p.box, *p.clicks) if v is not None)
    return fitted


def fitted_frame(frame_index: int, place: str, info: VideoInfo) -> int:
    """Return the index of a prompt's frame; 0 for a still image.

    Raises:
        PromptError: The frame is past the end; `place` is the input that names it.
    """
    if info.is_still:
        return 0
    if info.num_frames is not None and frame_index >= info.num_frames:
        raise frame_outside_error(place, frame_index, info.num_frames)
    return frame_index


def check_inside(click: Click, place: str, info: VideoInfo) -> None:
    """Refuse a click outside the frame.

    Raises:
        PromptError: The click is outside; `place` is its place in the input.
    """
    if not (0 <= click.x < info.width and 0 <= click.y < info.height):
        raise PromptError(
            f"{place} is [{click.x:.15g}, {click.y:.15g}];"
            f" expected a point inside the {info.width}x{info.height} picture"
        )


def clipped(box: Box, place: str, info: VideoInfo) -> Box:
    """Return the part of a box that is inside the frame.

    Raises:
        PromptError: The whole box is outside; `place` is its place in the input.
    """
    x0, x1 = max(0, box.x0), min(box.x1, info.width)
    y0, y1 = max(0, box.y0), min(box.y1, info.height)
    if not (x0 < x1 and y0 < y1):
        raise PromptError(
            f"{place} is [{box.x0:.15g}, {box.y0:.15g}, {box.x1:.15g}, {box.y1:.15g}];"
            f" expected a box on the {info.width}x{info.height} picture"
        )
    return Box(x0, y0, x1, y1)


def check_num_objects(num_objects: int) -> None:
    """Refuse more objects than a request may have.

    Raises:
        PromptError: There are more than `MAX_OBJECTS`.
    """
    if num_objects > MAX_OBJECTS.value:
        raise PromptError(f"{num_objects} objects are named; expected at most {MAX_OBJECTS}")


def log_clipped(places: Iterable[str]) -> None:
    """Warn if boxes were clipped; `places` are their places in the input."""
    if all_places := list(places):
        logger.warning(
            "clipping %d boxes that reach beyond the picture, the first being %s",
            len(all_places),
            all_places[0],
        )


def log_fractions(values: Iterable[Click | Box]) -> None:
    """Warn if all coordinates look like fractions of the frame; they are used as pixels."""
    numbers = [
        number
        for value in values
        for number in (
            (value.x, value.y)
            if isinstance(value, Click)
            else (value.x0, value.y0, value.x1, value.y1)
        )
    ]
    if all(0 <= n <= 1 for n in numbers) and any(n != int(n) for n in numbers):
        logger.warning(
            "all coordinates are between 0 and 1; expected pixels, and they are taken as pixels,"
            " not as fractions of the picture"
        )


def _fitted(prompt: ObjectPrompt, place: str, info: VideoInfo) -> ObjectPrompt:
    for position, click in enumerate(prompt.clicks):
        check_inside(click, f"{place}.clicks[{position}]", info)
    if prompt.mask is not None:
        _check_size(prompt.mask, f"{place}.mask", info)
    box = prompt.box and clipped(prompt.box, f"{place}.box", info)
    frame_index = fitted_frame(prompt.frame_index, f"{place}.frame_index", info)
    return replace(prompt, frame_index=frame_index, box=box)


def _check_size(mask: BoolMask, place: str, info: VideoInfo) -> None:
    height, width = mask.shape
    if (width, height) != (info.width, info.height):
        raise PromptError(
            f"{place} is {width}x{height}; expected {info.width}x{info.height},"
            " the size of the video"
        )


def _check_positive(
    prompts: Sequence[ObjectPrompt], is_found: Callable[[str], bool] | None
) -> None:
    positive = {prompt.object_id for prompt in prompts if prompt.is_positive}
    if is_found is not None:
        positive |= {name for prompt in prompts if is_found(name := prompt.object_id)}
    if not positive:
        raise PromptError("prompts has nothing positive; expected a click, a box or a mask")
    for prompt in prompts:
        if prompt.object_id not in positive:
            raise PromptError(
                f"prompts has nothing positive for {quoted(prompt.object_id)};"
                " expected a click, a box or a mask"
            )


def _check_distinct(prompts: Sequence[ObjectPrompt]) -> None:
    seen: dict[tuple[str, int], int] = {}
    for position, prompt in enumerate(prompts):
        first = seen.setdefault((prompt.object_id, prompt.frame_index), position)
        if first != position:
            raise PromptError(
                f"prompts[{position}] is for {quoted(prompt.object_id)} on frame"
                f" {prompt.frame_index}, as prompts[{first}] is; expected only one"
            )
