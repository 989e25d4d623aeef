"""A detector that finds the disc and the rectangle of drawn clips by their colours."""

import cv2
import numpy as np

from sam_video.detection.interface import Detection
from sam_video.types import BoolMask, Box, RGBImage
from tests.clips import DISC_COLOUR, RECTANGLE_COLOUR
from tests.detection.scripted import ScriptedDetector

COLOURS = {"disc": DISC_COLOUR, "rectangle": RECTANGLE_COLOUR}


def coloured_detector() -> ScriptedDetector:
    """Return a detector that knows the words `disc`, `rectangle` and `nothing`."""
    return ScriptedDetector(_find, known=(*COLOURS, "nothing"))


def _find(image: RGBImage) -> list[Detection]:
    boxes = {name: _box_of(image, colour) for name, colour in COLOURS.items()}
    return [Detection(name, 0.9, box) for name, box in boxes.items() if box is not None]


def _box_of(image: RGBImage, colour: tuple[int, int, int]) -> Box | None:
    is_near: BoolMask = np.all(np.abs(image.astype(int) - colour) < 60, axis=2)
    x, y, width, height = cv2.boundingRect(is_near.view(np.uint8))
    return Box(x, y, x + width, y + height) if width else None
