"""A detector that finds the disc and the rectangle of drawn clips by their colours."""

from collections.abc import Mapping
from functools import partial

import cv2
import numpy as np

from sam_video.detection.interface import Detection
from sam_video.types import BoolMask, Box, RGBImage
from tests.clips import DISC_COLOUR, RECTANGLE_COLOUR
from tests.detection.scripted import ScriptedDetector

Colour = tuple[int, int, int]
COLOURS: Mapping[str, Colour] = {
    "disc": DISC_COLOUR,
    "rectangle": RECTANGLE_COLOUR,
    "nothing": (255, 255, 0),
}


def coloured_detector(colours: Mapping[str, Colour] = COLOURS) -> ScriptedDetector:
    """Return a detector that knows some words, each for what has a colour."""
    return ScriptedDetector(partial(_find, colours), known=tuple(colours))


def _find(colours: Mapping[str, Colour], image: RGBImage) -> list[Detection]:
    boxes = {name: _box_of(image, colour) for name, colour in colours.items()}
    return [Detection(name, 0.9, box) for name, box in boxes.items() if box is not None]


def _box_of(image: RGBImage, colour: Colour) -> Box | None:
    is_near: BoolMask = np.all(np.abs(image.astype(int) - colour) < 60, axis=2)
    x, y, width, height = cv2.boundingRect(is_near.view(np.uint8))
    return Box(x, y, x + width, y + height) if width else None
