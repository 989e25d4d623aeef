"""Write prompted frames with their masks and prompts drawn on them."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from sam_video.types import Box, MaskFrame, ObjectMask, ObjectPrompt, RGBImage, VideoInfo
from sam_video.writers.pictures import encode_picture, write_files
from sam_video.writers.prompt_marks import (
    Colour,
    disc_radius,
    draw_box,
    draw_clicks,
    draw_grid,
    draw_label,
)
from sam_video.writers.render import colour_of, highlighted
from sam_video.writers.sink import Step

UNKNOWN: Colour = (90, 90, 90)
"""The colour of an object without a mask on the frame."""


class PreviewWriter:
    """Write every frame as `preview_{index:05d}.png`, with its masks and its prompts drawn on it.

    Masks are tinted as in `highlighted`. Positive clicks are green discs with a plus, negative
    clicks are red discs with a minus; boxes and names have the colour of their object. What words
    have found has a box around it, its name and its detection score. Where nothing is prompted or
    found, a grid of pixel coordinates is drawn instead, which helps to choose where to click.

    Args:
        folder: An existing folder for the images.
        info: Info of the source.
        prompts: On any frames; each is drawn on its frame. Those of a still image are all on its
            one frame.
    """

    def __init__(self, folder: Path, info: VideoInfo, prompts: Sequence[ObjectPrompt]) -> None:
        self._folder = folder
        self._prompts_on: defaultdict[int, list[ObjectPrompt]] = defaultdict(list)
        for prompt in prompts:
            self._prompts_on[0 if info.is_still else prompt.frame_index].append(prompt)

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw and encode one image."""
        index = masks.frame.index
        image = _draw(masks, self._prompts_on.get(index, []))
        if not self._prompts_on and all(item.concept is None for item in masks.objects):
            draw_grid(image)
        path = self._folder / f"preview_{index:05d}.png"
        return partial(write_files, {path: encode_picture(image, "png")})

    def finish(self) -> list[Path]:
        """Return nothing: the steps have returned every image."""
        return []

    def close(self) -> None:
        """Do nothing: every image appears complete."""


def _draw(masks: MaskFrame, prompts: Sequence[ObjectPrompt]) -> RGBImage:
    image = highlighted(masks)
    colours = {item.object_id: _colour(item.object_index) for item in masks.objects}
    prompted = {prompt.object_id for prompt in prompts}
    for item in masks.objects:
        if item.concept is not None and item.object_id not in prompted and item.mask.any():
            _draw_found(image, item, colours[item.object_id])
    # All boxes, all names, then all clicks, so that no box or name hides a click.
    for prompt in prompts:
        if prompt.box is not None:
            draw_box(image, prompt.box, colours.get(prompt.object_id, UNKNOWN))
    for prompt in prompts:
        x, y = _label_corner(prompt, disc_radius(image))
        draw_label(image, prompt.object_id, colours.get(prompt.object_id, UNKNOWN), x, y)
    for prompt in prompts:
        draw_clicks(image, prompt.clicks)
    return image


def _draw_found(image: RGBImage, item: ObjectMask, colour: Colour) -> None:
    """Draw the box, the name and the detection score of what words have found."""
    x, y, width, height = cv2.boundingRect(item.mask.view(np.uint8))
    draw_box(image, Box(x, y, x + width, y + height), colour)
    score = "" if item.detection_score is None else f" {item.detection_score:.2f}"
    draw_label(image, item.object_id + score, colour, x, y)


def _colour(object_index: int) -> Colour:
    red, green, blue = colour_of(object_index).tolist()
    return red, green, blue


def _label_corner(prompt: ObjectPrompt, radius: int) -> tuple[float, float]:
    """Return the point above which the object's name is drawn: a corner, or the top of a disc."""
    if prompt.box is not None:
        return prompt.box.x0, prompt.box.y0
    if prompt.mask is not None:
        x, y, _, _ = cv2.boundingRect(prompt.mask.view(np.uint8))
        return x, y
    return prompt.clicks[0].x - radius, prompt.clicks[0].y - radius
