"""Things that a noun names, drawn in a colour: one function each, in a unit square."""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import RGBImage
from training.words.living import (
    draw_bird,
    draw_butterfly,
    draw_fish,
    draw_flower,
    draw_mushroom,
    draw_person,
    draw_tree,
)
from training.words.pen import Pen

_GLASS = np.array([190.0, 215.0, 230.0])
_TYRE = np.array([30.0, 30.0, 30.0])
_STRING = np.array([200.0, 200.0, 200.0])


def draw_thing(
    rng: np.random.Generator, noun: str, colour: str, side: int
) -> tuple[RGBImage, npt.NDArray[np.uint8]]:
    """Draw a thing.

    Returns:
        The `(side, side, 3)` picture, whose colours go on a little beyond the thing's edge, and the
        `(side, side)` map that is 1 on the thing.
    """
    pen = Pen(rng, colour, side)
    _DRAW[noun](pen)
    grown = cv2.dilate(pen.picture, np.ones((5, 5), np.uint8))
    return np.where(pen.cover[..., None] > 0, pen.picture, grown), pen.cover


def _draw_ball(pen: Pen) -> None:
    pen.ellipse((0.5, 0.5), (0.47, 0.47), pen.colour)
    x, y = (2.1 * (axis - 0.5) for axis in pen.grid())
    turn = pen.rng.uniform(0, 2 * np.pi)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    _pattern_ball(pen, u, v)
    pen.light(pen.rng.uniform(0, 0.9))
    if pen.rng.random() < 0.5:
        shift, size = pen.rng.uniform(-0.5, 0.5), pen.rng.uniform(0.01, 0.06)
        gloss = 0.6 * np.exp(-((x + shift) ** 2 + (y + 0.35) ** 2) / size) * pen.cover
        lit = pen.picture + (255 - pen.picture) * gloss[..., None]
        pen.picture = lit.astype(np.uint8)


def _pattern_ball(pen: Pen, u: npt.NDArray[np.float32], v: npt.NDArray[np.float32]) -> None:
    """Paint seams, a band, dots, sectors or nothing."""
    kind, draw = int(pen.rng.integers(6)), pen.rng.uniform
    if kind <= 1:
        along = np.abs(v + draw(-0.4, 0.4) * (1 - u * u))
        across = np.abs(u - draw(-0.4, 0.4) * (1 - v * v))
        pen.paint(np.minimum(along, across) < draw(0.02, 0.07), pen.either(0.3))
    elif kind == 2:
        pen.paint(np.abs(v) < draw(0.1, 0.3), pen.other)
    elif kind == 3:
        for centre in draw(-0.8, 0.8, (6, 2)):
            pen.paint(np.hypot(u - centre[0], v - centre[1]) < draw(0.1, 0.22), pen.other)
    elif kind == 4:
        pen.paint(np.sin(3 * np.arctan2(u, v)) > 0.4, pen.other)


def _draw_balloon(pen: Pen) -> None:
    has_basket = pen.rng.random() < 0.6
    length = 0.72 if has_basket else 0.8
    widest, half = pen.rng.uniform(0.38, 0.52), pen.rng.uniform(0.32, 0.44)
    along = np.linspace(0, 1, 40)
    dome = half * np.sqrt(np.clip(1 - (1 - along / widest) ** 2, 0, 1))
    neck = half - (half - 0.07) * (np.clip(along - widest, 0, 1) / (1 - widest)) ** 1.8
    reach, y = np.where(along < widest, dome, neck), 0.02 + along * length
    outline = np.stack([np.r_[0.5 + reach, 0.5 - reach[::-1]], np.r_[y, y[::-1]]], axis=1)
    pen.polygon(outline, pen.colour)
    _pattern_balloon(pen, half)
    pen.light(pen.rng.uniform(0.1, 0.9))
    if not has_basket:
        pen.line((0.5, length), (0.5 + pen.rng.uniform(-0.1, 0.1), 0.98), 0.008, _STRING)
        return
    weave, wide = pen.named("brown"), pen.rng.uniform(0.05, 0.1)
    for x in (0.5 - wide, 0.5 + wide):
        pen.line((x, length), (x, 0.87), 0.01, weave)
    pen.polygon(_rectangle(0.5 - wide, 0.85, 0.5 + wide, 0.96), weave)


def _pattern_balloon(pen: Pen, half: float) -> None:
    """Paint gores, a band, both or nothing."""
    x, y = pen.grid()
    kind = int(pen.rng.integers(4))
    if kind in (1, 3):
        shade = pen.colour * pen.rng.uniform(0.7, 1.3)
        is_other = kind == 1 and pen.rng.random() < 0.4
        gores = np.sin(np.arcsin(np.clip((x - 0.5) / half, -1, 1)) * pen.rng.uniform(3, 12))
        pen.paint(gores > 0, pen.other if is_other else shade)
    if kind >= 2:
        top = pen.rng.uniform(0.2, 0.5)
        pen.paint((y > top) & (y < top + pen.rng.uniform(0.06, 0.14)), pen.either(0.6))


def _draw_car(pen: Pen) -> None:
    y, roof, lift = 0.6, pen.rng.uniform(0.17, 0.24), pen.rng.uniform(-0.04, 0.04)
    body = [(0.04, y), (0.2 + lift, y - 0.03), (0.32 + lift, y - roof), (0.68, y - roof)]
    pen.polygon(
        [*body, (0.82, y - 0.02), (0.96, y + 0.02), (0.97, y + 0.16), (0.03, y + 0.16)], pen.colour
    )
    for window in (
        [
            (0.34 + lift, y - roof + 0.04),
            (0.49, y - roof + 0.04),
            (0.49, y - 0.02),
            (0.26 + lift, y - 0.02),
        ],
        [(0.52, y - roof + 0.04), (0.66, y - roof + 0.04), (0.76, y - 0.02), (0.52, y - 0.02)],
    ):
        pen.polygon(window, _GLASS * pen.rng.uniform(0.4, 1.0))
    for x in (0.24, 0.76):
        pen.ellipse((x, y + 0.16), (0.095, 0.095), _TYRE)
        pen.ellipse((x, y + 0.16), (0.045, 0.045), 5 * _TYRE)
    pen.light(pen.rng.uniform(0, 0.4))


def _draw_house(pen: Pen) -> None:
    eaves = pen.rng.uniform(0.4, 0.52)
    pen.polygon(_rectangle(0.16, eaves, 0.84, 0.96), pen.colour)
    if pen.rng.random() < 0.5:
        pen.polygon(_rectangle(0.66, 0.14, 0.76, eaves), pen.named("brown"))
    pen.polygon([(0.06, eaves + 0.02), (0.5, 0.08), (0.94, eaves + 0.02)], pen.either(0.5))
    door = pen.rng.uniform(0.3, 0.6)
    pen.polygon(_rectangle(door, 0.68, door + 0.13, 0.96), pen.either(0.3))
    for x in (0.21, 0.67):
        pen.polygon(_rectangle(x, 0.55, x + 0.13, 0.67), _GLASS * pen.rng.uniform(0.4, 1.0))
    pen.grain(0.03, 24)


def _draw_star(pen: Pen) -> None:
    inner, first = pen.rng.uniform(0.36, 0.5) * 0.48, -np.pi / 2
    points = [
        (0.5 + reach * np.cos(angle), 0.5 + reach * np.sin(angle))
        for reach, angle in zip([0.48, inner] * 5, first + np.arange(10) * np.pi / 5, strict=True)
    ]
    pen.polygon(points, pen.colour)
    pen.light(pen.rng.uniform(0, 0.6))


def _draw_heart(pen: Pen) -> None:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    pen.polygon(np.stack([0.5 + x / 35, 0.48 + y / 35], axis=1), pen.colour)
    pen.light(pen.rng.uniform(0, 0.7))


def _draw_sun(pen: Pen) -> None:
    rays, is_long = int(pen.rng.integers(8, 15)), pen.rng.random() < 0.5
    for angle in 2 * np.pi * np.arange(rays) / rays:
        width = 0.08 if is_long else 0.22
        tips = [(0.48, angle), (0.26, angle + width), (0.26, angle - width)]
        pen.polygon([(0.5 + r * np.cos(a), 0.5 + r * np.sin(a)) for r, a in tips], pen.colour)
    pen.ellipse((0.5, 0.5), (0.27, 0.27), pen.colour * pen.rng.uniform(0.95, 1.1))


def _draw_boat(pen: Pen) -> None:
    pen.polygon([(0.05, 0.66), (0.95, 0.66), (0.8, 0.9), (0.2, 0.9)], pen.colour)
    if pen.rng.random() < 0.4:
        pen.polygon([(0.08, 0.7), (0.92, 0.7), (0.9, 0.75), (0.1, 0.75)], pen.either(0.5))
    pen.line((0.5, 0.08), (0.5, 0.66), 0.03, pen.named("brown"))
    sail = pen.named("white") if pen.rng.random() < 0.6 else pen.other
    pen.polygon([(0.53, 0.1), (0.86, 0.58), (0.53, 0.58)], sail)
    if pen.rng.random() < 0.5:
        pen.polygon([(0.47, 0.16), (0.47, 0.58), (0.2, 0.58)], sail * 0.93)
    pen.light(pen.rng.uniform(0, 0.3))


def _draw_umbrella(pen: Pen) -> None:
    handle = pen.named("brown")
    pen.line((0.5, 0.08), (0.5, 0.9), 0.035, handle)
    pen.line((0.5, 0.9), (0.42, 0.93), 0.035, handle)
    pen.ellipse((0.5, 0.52), (0.46, 0.4), pen.colour, arc=(180, 360))
    x, y = pen.grid()
    if pen.rng.random() < 0.6:
        spread = (x - 0.5) / np.sqrt(np.clip(1 - ((y - 0.52) / 0.4) ** 2, 0.05, 1))
        pen.paint((np.sin(spread * 18 + np.pi / 2) > 0) & (y < 0.52), pen.either(0.3))
    for gap in (-0.31, 0.0, 0.31):
        hole = np.hypot((x - 0.5 - gap) / 0.155, (y - 0.525) / 0.06) < 1
        pen.cover[hole & (np.abs(x - 0.5) > 0.02)] = 0
    pen.light(0.3)


def _draw_cup(pen: Pen) -> None:
    foot = pen.rng.uniform(0.02, 0.1)
    pen.ellipse((0.68, 0.52), (0.22, 0.2), pen.colour * 0.9)
    x, y = pen.grid()
    pen.cover[np.hypot((x - 0.68) / 0.14, (y - 0.52) / 0.12) < 1] = 0
    body = [(0.14, 0.2), (0.72, 0.2), (0.72 - foot, 0.9), (0.14 + foot, 0.9)]
    pen.polygon(body, pen.colour)
    if pen.rng.random() < 0.4:
        pen.paint((y > 0.45) & (y < 0.6) & (x < 0.72), pen.either(0.6))
    pen.ellipse((0.43, 0.2), (0.29, 0.06), pen.colour * 0.6)
    pen.light(0.3)


def _draw_kite(pen: Pen) -> None:
    middle = pen.rng.uniform(0.2, 0.32)
    pen.polygon([(0.5, 0.03), (0.82, middle), (0.5, 0.66), (0.18, middle)], pen.colour)
    x, _ = pen.grid()
    if pen.rng.random() < 0.6:
        pen.paint(x < 0.5, pen.either(0.4))
    bows = [(0.5, 0.66), (0.44, 0.76), (0.55, 0.86), (0.47, 0.96)]
    for start, end in pairwise(bows):
        pen.line(start, end, 0.012, pen.dark)
        for side in (-0.06, 0.06):
            pen.polygon(
                [end, (end[0] + side, end[1] - 0.03), (end[0] + side, end[1] + 0.03)], pen.other
            )


def _rectangle(left: float, top: float, right: float, bottom: float) -> list[tuple[float, float]]:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


_DRAW: dict[str, Callable[[Pen], None]] = {
    "ball": _draw_ball,
    "balloon": _draw_balloon,
    "bird": draw_bird,
    "boat": _draw_boat,
    "butterfly": draw_butterfly,
    "car": _draw_car,
    "cup": _draw_cup,
    "fish": draw_fish,
    "flower": draw_flower,
    "heart": _draw_heart,
    "house": _draw_house,
    "kite": _draw_kite,
    "mushroom": draw_mushroom,
    "person": draw_person,
    "star": _draw_star,
    "sun": _draw_sun,
    "tree": draw_tree,
    "umbrella": _draw_umbrella,
}
