"""Turn the prompt fields of a request into one `ObjectPrompt` per object and frame.

All errors in these fields are found before the model runs: `text`, `json_list` and `mask_zip` check
each field alone; this module checks fields against the video and against each other.
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
    """Reads a zip of masks, like `mask_zip.read_masks`."""

    def __call__(self, path: Path, /, *, width: int, height: int) -> tuple[StatedPrompt, ...]:
        """Return the masks of a zip for a video of `width` and `height` pixels."""
        ...


def build_prompts(
    request: Request, source: FrameSource, read_masks: MaskReader, concepts: Sequence[str] = ()
) -> tuple[ObjectPrompt, ...]:
    """Turn the prompt fields of a request into prompts for the tracker.

    The source is decoded up to the last prompted frame, since headers may be wrong.

    Args:
        request: Only its prompt fields are read.
        source: The video that the prompts are for.
        read_masks: Reads `mask_prompts`, an untrusted file.
        concepts: What the request looks for by words.

    Returns:
        Exactly one prompt for each pair of object and frame; at least one, but a preview needs
        none, nor does a request with words. Objects are in the order of their first positive
        prompts: clicks, then boxes, masks and JSON. The frames of an object are in increasing
        order. With words, names with negative clicks only come last.

    Raises:
        PromptError: A field cannot be read, does not fit the video or another field, or there is no
            prompt.
    """
    stated = _stated(request, source.info, read_masks)
    if not stated and (request.preview or concepts):
        return ()
    if not stated:
        raise PromptError(
            "nothing says what to segment; expected click_coordinates, such as '[391,239]',"
            " box_coordinates, mask_prompts, prompts, or text_prompt, such as 'person, red car'"
        )
    last = max(prompt.frame_index for prompt in stated)
    num_frames = source.count_frames(last + 1)
    return object_prompts(stated, replace(source.info, num_frames=num_frames), concepts)


def object_prompts(
    prompts: Sequence[StatedPrompt], info: VideoInfo, concepts: Sequence[str] = ()
) -> tuple[ObjectPrompt, ...]:
    """Fit clicks, boxes and masks to a video and group them by object and frame.

    Returns:
        Prompts as from `build_prompts`; a prompt may have negative clicks only.

    Raises:
        PromptError: A prompt is outside the frame or the video, nothing is positive, there are too
            many objects, or one object has two boxes, two masks, or a mask and other prompts on one
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
    for name, prompt in with_names(placed, concepts):
        gathered.setdefault(name, {}).setdefault(prompt.frame_index, []).append(prompt)
    check_num_objects(len(gathered))
    return tuple(
        _object_prompt(name, frame_index, on_frame)
        for name, by_frame in gathered.items()
        for frame_index, on_frame in sorted(by_frame.items())
    )


def _stated(request: Request, info: VideoInfo, read_masks: MaskReader) -> list[StatedPrompt]:
    """Read all prompt fields; the masks last, since they take longest."""
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
    """Limit the number of prompts in all fields together; the readers limit each text field."""
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
    """Check a prompt against the video, and clip a box to the frame."""
    if isinstance(prompt.value, Click):
        check_inside(prompt.value, prompt.place, info)
    elif isinstance(prompt.value, Box):
        prompt = replace(prompt, value=clipped(prompt.value, prompt.place, info))
    frame_index = fitted_frame(prompt.frame_index, prompt.frame_place, info)
    if frame_index == prompt.frame_index:  # nearly always; the copy would take longest
        return prompt
    return replace(prompt, frame_index=frame_index)


def _object_prompt(object_id: str, frame_index: int, parts: list[StatedPrompt]) -> ObjectPrompt:
    """Join all prompts for one object on one frame."""
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
