"""Draw prompts on an image, in place: clicks, boxes, and the names of their objects.

Without prompts, a grid shows the coordinates that a prompt may have.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from sam_video.types import Box, Click, RGBImage

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
POSITIVE: Colour = (0, 150, 40)
NEGATIVE: Colour = (210, 20, 20)

SHIFT = 4
"""OpenCV draws with coordinates in units of `2 ** -SHIFT` pixels."""

GRID_LINES = 20
"""Most lines along the longer side of an image."""

MAX_LETTERS = 40
"""Most letters of a label; a longer name is always cut."""


def disc_radius(image: RGBImage) -> int:
    """Return the radius of a click's disc in pixels; all other sizes are multiples of it."""
    radius: int = round(min(image.shape[:2]) / 60)
    return max(5, radius)


def draw_box(image: RGBImage, box: Box, colour: Colour) -> None:
    """Draw a box along the inside of its edges: a line in its colour, inside that a black line."""
    height, width = image.shape[:2]
    x0, x1 = _pixels(box.x0, box.x1, width)
    y0, y1 = _pixels(box.y0, box.y1, height)
    line = max(1, disc_radius(image) // 3)
    _outline(image[y0:y1, x0:x1], line, colour)
    _outline(image[y0 + line : max(0, y1 - line), x0 + line : max(0, x1 - line)], line, BLACK)


def draw_clicks(image: RGBImage, clicks: Sequence[Click]) -> None:
    """Mark clicks with discs that have a white rim: green with a plus, or red with a minus."""
    radius = disc_radius(image)
    rim = max(1, radius // 5)
    for click in clicks:
        _draw_disc(image, click, radius, WHITE)
        _draw_disc(image, click, radius - rim, POSITIVE if click.label == 1 else NEGATIVE)
        _draw_sign(image, click, radius - 2 * rim, rim)


def draw_label(image: RGBImage, name: str, colour: Colour, x: float, y: float) -> None:
    """Write a name on a coloured plate above a point, moved to be fully inside the image.

    Characters that cannot be printed are shown as `?`. A name that is too long ends in `…`; an
    image that is too small even for that gets no label.
    """
    plate = _plate(name, colour, _text_size(image), image.shape[1])
    _lay(image, plate, round(x), round(y) - plate.shape[0])


def draw_grid(image: RGBImage) -> None:
    """Draw lines at round pixel coordinates, with their numbers along the edges of the image.

    Lines are white next to black, and numbers white on black, so that they show on any image.
    """
    size = image.shape[1], image.shape[0]
    widest = _number(max(size), image).shape
    step = _round_up(max(max(size) / GRID_LINES, 1.1 * widest[1], 2 * widest[0]))
    line = max(1, disc_radius(image) // 6)
    for x in range(step, size[0], step):
        _draw_line(image[:, x : x + 2 * line], line)
    for y in range(step, size[1], step):
        _draw_line(image[y : y + 2 * line].swapaxes(0, 1), line)
    # Numbers on two opposite edges, or on one edge of a small image, which they would cover.
    is_small = min(size) < GRID_LINES * widest[0] / 2
    for x in range(step, size[0] - widest[1] // 2, step):
        for edge in (0,) if is_small else (0, size[1]):
            plate = _number(x, image)
            _lay(image, plate, x - plate.shape[1] // 2, edge)
    for y in range(step, size[1] - widest[0], step):
        for edge in (0,) if is_small else (0, size[0]):
            plate = _number(y, image)
            _lay(image, plate, edge, y - plate.shape[0] // 2)


def _number(number: int, image: RGBImage) -> RGBImage:
    return _plate(str(number), BLACK, _text_size(image), image.shape[1])


def _round_up(distance: float) -> int:
    """Return the next of 10, 20, 50, 100, 200, 500 and so on."""
    power = 10
    while 5 * power < distance:
        power *= 10
    return next(factor * power for factor in (1, 2, 5) if factor * power >= distance)


def _draw_line(region: RGBImage, line: int) -> None:
    region[:, :line] = WHITE
    region[:, line:] = BLACK


def _text_size(image: RGBImage) -> int:
    return round(disc_radius(image) * 1.8)


def _lay(image: RGBImage, plate: RGBImage, left: int, top: int) -> None:
    """Copy a plate into an image, moved to be fully inside; do nothing if it is too large."""
    height, width = plate.shape[:2]
    if height > image.shape[0] or width > image.shape[1]:
        return
    left = min(max(0, left), image.shape[1] - width)
    top = min(max(0, top), image.shape[0] - height)
    image[top : top + height, left : left + width] = plate


def _outline(region: RGBImage, line: int, colour: Colour) -> None:
    region[:line] = region[-line:] = colour
    region[:, :line] = region[:, -line:] = colour


def _pixels(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the columns or rows that a side covers: at least one, inside the image."""
    first = min(max(0, round(low)), size - 1)
    return first, min(max(first + 1, round(high)), size)


def _draw_disc(image: RGBImage, click: Click, radius: int, colour: Colour) -> None:
    cv2.circle(
        image, _fixed(click.x, click.y), radius << SHIFT, colour, cv2.FILLED, cv2.LINE_AA, SHIFT
    )


def _draw_sign(image: RGBImage, click: Click, arm: int, line: int) -> None:
    """Draw a plus or a minus."""
    arms = [(arm, 0), (0, arm)] if click.label == 1 else [(arm, 0)]
    for dx, dy in arms:
        start, end = _fixed(click.x - dx, click.y - dy), _fixed(click.x + dx, click.y + dy)
        cv2.line(image, start, end, WHITE, line, cv2.LINE_AA, SHIFT)


def _fixed(x: float, y: float) -> tuple[int, int]:
    # (0, 0) is the centre of the first pixel, both in SAM 2 and in OpenCV.
    return round(x * 2**SHIFT), round(y * 2**SHIFT)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _plate(name: str, colour: Colour, text_size: int, max_width: int) -> npt.NDArray[np.uint8]:
    """Draw a name on a plate, `(h, w, 3)` uint8 RGB, in black or white by contrast."""
    font = _font(max(12, text_size))
    ascent, descent = font.getmetrics()
    padding = max(2, round(font.size / 5))
    text = _fitting(name, font, max_width - 2 * padding)
    size = round(font.getlength(text)) + 2 * padding, ascent + descent + padding
    plate = Image.new("RGB", size, colour)
    red, green, blue = colour
    is_bright = 299 * red + 587 * green + 114 * blue > 140_000
    position = padding, padding // 2
    ImageDraw.Draw(plate).text(position, text, BLACK if is_bright else WHITE, font)
    return np.asarray(plate, dtype=np.uint8)


def _fitting(name: str, font: ImageFont.FreeTypeFont, max_width: int) -> str:
    """Cut a name until it is narrow enough or only the `…` is left."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name[: MAX_LETTERS + 1])
    if len(text) <= MAX_LETTERS and font.getlength(text) <= max_width:
        return text
    length = min(len(text), MAX_LETTERS) - 1
    while length > 0 and font.getlength(text[:length] + "…") > max_width:
        length -= 1
    return text[:length].rstrip() + "…"
