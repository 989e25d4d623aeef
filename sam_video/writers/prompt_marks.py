"""Draw prompts on a picture, in place: clicks, boxes, and the names of their objects."""

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
"""OpenCV draws with coordinates of `2 ** -SHIFT` pixels."""

MAX_LETTERS = 40
"""Of a label; a longer name is cut, also where the picture has space for it."""


def disc_radius(image: RGBImage) -> int:
    """Return the radius of a click's disc in pixels, which all other sizes follow."""
    radius: int = round(min(image.shape[:2]) / 60)
    return max(5, radius)


def draw_box(image: RGBImage, box: Box, colour: Colour) -> None:
    """Outline a box along the inside of its edges, in a colour with a black line within."""
    height, width = image.shape[:2]
    x0, x1 = _pixels(box.x0, box.x1, width)
    y0, y1 = _pixels(box.y0, box.y1, height)
    line = max(1, disc_radius(image) // 3)
    _outline(image[y0:y1, x0:x1], line, colour)
    _outline(image[y0 + line : max(0, y1 - line), x0 + line : max(0, x1 - line)], line, BLACK)


def draw_clicks(image: RGBImage, clicks: Sequence[Click]) -> None:
    """Mark clicks with discs in a white rim: green with a plus, or red with a minus."""
    radius = disc_radius(image)
    rim = max(1, radius // 5)
    for click in clicks:
        _draw_disc(image, click, radius, WHITE)
        _draw_disc(image, click, radius - rim, POSITIVE if click.label == 1 else NEGATIVE)
        _draw_sign(image, click, radius - 2 * rim, rim)


def draw_label(image: RGBImage, name: str, colour: Colour, x: float, y: float) -> None:
    """Write a name on a plate of a colour, above a point and wholly within the picture.

    What cannot be printed is shown as `?`. A name that is too long ends in `…`; a picture too small
    for even that gets no label.
    """
    plate = _plate(name, colour, round(disc_radius(image) * 1.8), image.shape[1])
    height, width = plate.shape[:2]
    if height > image.shape[0] or width > image.shape[1]:
        return
    left = min(max(0, round(x)), image.shape[1] - width)
    top = min(max(0, round(y) - height), image.shape[0] - height)
    image[top : top + height, left : left + width] = plate


def _outline(region: RGBImage, line: int, colour: Colour) -> None:
    region[:line] = region[-line:] = colour
    region[:, :line] = region[:, -line:] = colour


def _pixels(low: float, high: float, size: int) -> tuple[int, int]:
    """Return the columns or rows that a side covers: at least one, within the picture."""
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
    # (0, 0) is the middle of the first pixel, for SAM 2 as for OpenCV.
    return round(x * 2**SHIFT), round(y * 2**SHIFT)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _plate(name: str, colour: Colour, text_size: int, max_width: int) -> npt.NDArray[np.uint8]:
    """Draw a name on a plate, `(h, w, 3)` uint8 RGB, in black or white as can be read better."""
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
    """Cut a name until it is narrow enough, or nothing but the `…` is left of it."""
    text = "".join(letter if letter.isprintable() else "?" for letter in name[: MAX_LETTERS + 1])
    if len(text) <= MAX_LETTERS and font.getlength(text) <= max_width:
        return text
    length = min(len(text), MAX_LETTERS) - 1
    while length > 0 and font.getlength(text[:length] + "…") > max_width:
        length -= 1
    return text[:length].rstrip() + "…"
