"""What the caller points at becomes one `ObjectPrompt` per object and frame.

Together with `text`, `json_list` and `mask_zip` this finds every mistake in a
request's prompt fields before the model runs: there what shows in a field alone, here what shows
only against the video or beside other fields.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.prompts.fit import (
    check_inside,
    check_num_objects,
    clipped,
    fitted_frame,
    log_clipped,
    log_fractions,
)
from sam_video.prompts.json_list import parse_prompts
from sam_video.prompts.naming import with_names
from sam_video.prompts.stated import StatedPrompt, quoted
from sam_video.prompts.text import parse_boxes, parse_clicks
from sam_video.request import Request
from sam_video.types import Box, Click, FrameSource, ObjectPrompt, VideoInfo

_Value = TypeVar("_Value")


class MaskReader(Protocol):
    """Reads a zip of masks, as `mask_zip.read_masks` does."""

    def __call__(self, path: Path, /, *, width: int, height: int) -> tuple[StatedPrompt, ...]:
        """Return the masks of a zip for a video of `width` and `height` pixels."""
        ...


def build_prompts(
    request: Request, source: FrameSource, read_masks: MaskReader
) -> tuple[ObjectPrompt, ...]:
    """Turn everything that a request points at into prompts for the tracker.

    The source is decoded as far as the last frame that is pointed at, since headers may be wrong.

    Args:
        request: Its prompt fields are read.
        source: The video that they are about.
        read_masks: Reads `mask_prompts`, which may come from anyone.

    Returns:
        At least one prompt, but for a preview, which needs none; exactly one for each pair of
        object and frame. Objects come in the order in which something positive first names them:
        among clicks, then boxes, masks and JSON; the frames of an object in rising order.

    Raises:
        PromptError: A field cannot be read, does not fit the video or another field, or nothing is
            pointed at.
    """
    stated = _stated(request, source.info, read_masks)
    if not stated and request.preview:
        return ()
    if not stated:
        raise PromptError(
            "nothing says what to segment; expected click_coordinates, such as '[391,239]',"
            " box_coordinates, mask_prompts or prompts"
        )
    last = max(prompt.frame_index for prompt in stated)
    num_frames = source.count_frames(last + 1)
    return object_prompts(stated, replace(source.info, num_frames=num_frames))


def object_prompts(prompts: Sequence[StatedPrompt], info: VideoInfo) -> tuple[ObjectPrompt, ...]:
    """Fit clicks, boxes and masks to a video and gather them by object and frame.

    Returns:
        As `build_prompts` does; where an object has only negative clicks on a frame, so has its
        prompt.

    Raises:
        PromptError: Something is outside the picture or the video, nothing is positive, there are
            too many objects, or one has two boxes, two masks, or a mask and something else on one
            frame.
    """
    placed = [_placed(prompt, info) for prompt in prompts]
    log_clipped(
        before.place
        for before, after in zip(prompts, placed, strict=True)
        if isinstance(before.value, Box) and before.value != after.value
    )
    log_fractions(p.value for p in placed if isinstance(p.value, Click | Box))
    gathered: dict[str, dict[int, list[StatedPrompt]]] = {}
    for name, prompt in with_names(placed):
        gathered.setdefault(name, {}).setdefault(prompt.frame_index, []).append(prompt)
    check_num_objects(len(gathered))
    return tuple(
        _object_prompt(name, frame_index, on_frame)
        for name, by_frame in gathered.items()
        for frame_index, on_frame in sorted(by_frame.items())
    )


def _stated(request: Request, info: VideoInfo, read_masks: MaskReader) -> list[StatedPrompt]:
    """Read all prompt fields; the masks last, for they take longest."""
    texts = [
        *parse_clicks(
            click_coordinates=request.click_coordinates,
            click_labels=request.click_labels,
            click_frames=request.click_frames,
            click_object_ids=request.click_object_ids,
        ),
        *parse_boxes(
            box_coordinates=request.box_coordinates,
            box_frames=request.box_frames,
            box_object_ids=request.box_object_ids,
        ),
    ]
    structured = parse_prompts(request.prompts)
    _check_totals([*texts, *structured])
    masks: tuple[StatedPrompt, ...] = ()
    if request.mask_prompts is not None:
        masks = read_masks(request.mask_prompts, width=info.width, height=info.height)
    return [*texts, *masks, *structured]


def _check_totals(prompts: list[StatedPrompt]) -> None:
    """Bound what several fields hold together; each text field alone is bounded already."""
    num_clicks = sum(isinstance(prompt.value, Click) for prompt in prompts)
    num_boxes = len(prompts) - num_clicks
    for nouns, field, number in (
        ("clicks", "click_coordinates", num_clicks),
        ("boxes", "box_coordinates", num_boxes),
    ):
        if number > MAX_PROMPTS.value:
            raise PromptError(
                f"prompts and {field} together hold {number} {nouns};"
                f" expected at most {MAX_PROMPTS}"
            )


def _placed(prompt: StatedPrompt, info: VideoInfo) -> StatedPrompt:
    """Check a prompt against the video, and clip a box to the picture."""
    if isinstance(prompt.value, Click):
        check_inside(prompt.value, prompt.place, info)
    elif isinstance(prompt.value, Box):
        prompt = replace(prompt, value=clipped(prompt.value, prompt.place, info))
    frame_index = fitted_frame(prompt.frame_index, prompt.frame_place, info)
    if frame_index == prompt.frame_index:  # for most; a copy takes longer than all the rest
        return prompt
    return replace(prompt, frame_index=frame_index)


def _object_prompt(object_id: str, frame_index: int, parts: list[StatedPrompt]) -> ObjectPrompt:
    """Join everything that is said of one object on one frame."""
    described = f"{quoted(object_id)} on frame {frame_index}"
    boxes = [(part.value, part.place) for part in parts if isinstance(part.value, Box)]
    masks = [(part.value, part.place) for part in parts if isinstance(part.value, np.ndarray)]
    box = _only("box", boxes, described)
    mask = _only("mask", masks, described)
    if mask is not None and len(parts) > 1:
        other = next(part.place for part in parts if part.value is not mask)
        raise PromptError(
            f"{masks[0][1]} is a mask for {described}, and {other} is for it too;"
            " expected a mask alone, or clicks and a box"
        )
    clicks = tuple(part.value for part in parts if isinstance(part.value, Click))
    return ObjectPrompt(object_id, frame_index, clicks, box, mask)


def _only(noun: str, placed: list[tuple[_Value, str]], described: str) -> _Value | None:
    """Return the one value, or None if there is none."""
    if len(placed) > 1:
        (_, first), (_, second) = placed[:2]
        raise PromptError(f"{second} is a {noun} for {described}, as {first} is; expected only one")
    return placed[0][0] if placed else None
