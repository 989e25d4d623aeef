"""Things that live, drawn in a colour: one function each, in a unit square."""

import numpy as np

from training.words.pen import Pen

_SKINS = np.array([[240.0, 205.0, 175.0], [200.0, 150.0, 110.0], [120.0, 80.0, 55.0]])
_EYE = np.array([15.0, 15.0, 15.0])
_BEAK = np.array([240.0, 170.0, 40.0])
_STALK = np.array([60.0, 140.0, 60.0])


def draw_bird(pen: Pen) -> None:
    pen.polygon([(0.24, 0.52), (0.02, 0.44), (0.08, 0.68)], pen.dark)
    pen.ellipse((0.48, 0.55), (0.3, 0.19), pen.colour, angle=-12)
    pen.ellipse((0.75, 0.36), (0.13, 0.12), pen.colour)
    pen.polygon([(0.86, 0.34), (0.99, 0.39), (0.86, 0.42)], _BEAK)
    pen.ellipse((0.44, 0.53), (0.17, 0.1), pen.either(0.2), angle=-20)
    pen.ellipse((0.78, 0.34), (0.022, 0.022), _EYE)
    if pen.rng.random() < 0.7:
        for x in (0.44, 0.54):
            pen.line((x, 0.7), (x, 0.88), 0.02, _BEAK * 0.8)
    pen.light(pen.rng.uniform(0, 0.4))


def draw_butterfly(pen: Pen) -> None:
    tall, lean = pen.rng.uniform(0.16, 0.22), pen.rng.uniform(20, 45)
    spots = pen.either(0.6)
    for side in (-1, 1):
        for x, y, size, tilt in ((0.22, 0.36, 1.0, -1), (0.17, 0.68, 0.75, 1)):
            centre, angle = (0.5 + side * x, y), side * tilt * -lean
            pen.ellipse(centre, (0.23 * size, tall * size), pen.colour, angle=angle)
            if pen.rng.random() < 0.8:
                pen.ellipse(centre, (0.1 * size, 0.08 * size), spots, angle=angle)
        pen.line((0.5, 0.26), (0.5 + 0.1 * side, 0.08), 0.012, _EYE)
    pen.ellipse((0.5, 0.52), (0.035, 0.28), _EYE * 2)


def draw_fish(pen: Pen) -> None:
    high = pen.rng.uniform(0.17, 0.25)
    pen.polygon([(0.7, 0.5), (0.97, 0.3), (0.92, 0.5), (0.97, 0.7)], pen.either(0.2))
    pen.polygon([(0.34, 0.5 - 0.8 * high), (0.55, 0.2), (0.62, 0.5 - 0.6 * high)], pen.dark)
    pen.ellipse((0.44, 0.5), (0.36, high), pen.colour)
    x, _ = pen.grid()
    if pen.rng.random() < 0.5:
        pen.paint((np.sin(pen.rng.uniform(14, 40) * x) > 0.2) & (x > 0.28) & (x < 0.8), pen.other)
    pen.light(0.3)
    pen.ellipse((0.2, 0.45), (0.05, 0.05), pen.named("white"))
    pen.ellipse((0.2, 0.45), (0.03, 0.03), _EYE)


def draw_flower(pen: Pen) -> None:
    foot = 0.5 + pen.rng.uniform(-0.05, 0.05)
    pen.line((0.5, 0.5), (foot, 0.97), 0.04, _STALK)
    if pen.rng.random() < 0.6:
        side = pen.rng.choice([-1, 1])
        pen.ellipse((foot + 0.1 * side, 0.78), (0.12, 0.05), _STALK, angle=-30 * side)
    petals = int(pen.rng.integers(5, 9))
    for angle in 2 * np.pi * (np.arange(petals) + pen.rng.random()) / petals:
        centre = (0.5 + 0.2 * np.cos(angle), 0.32 + 0.2 * np.sin(angle))
        shade = pen.colour * pen.rng.uniform(0.9, 1.08)
        pen.ellipse(centre, (0.14, 0.1), shade, angle=float(np.degrees(angle)))
    is_yellow = pen.colour[:2].min() > 150 > pen.colour[2]
    pen.ellipse((0.5, 0.32), (0.1, 0.1), pen.named("brown" if is_yellow else "yellow"))


def draw_mushroom(pen: Pen) -> None:
    half = pen.rng.uniform(0.08, 0.14)
    stalk = np.array([235.0, 225.0, 205.0]) * pen.rng.uniform(0.85, 1.0)
    pen.polygon(
        [(0.5 - half, 0.5), (0.5 + half, 0.5), (0.54 + half, 0.96), (0.46 - half, 0.96)], stalk
    )
    pen.ellipse((0.5, 0.56), (0.44, pen.rng.uniform(0.3, 0.46)), pen.colour, arc=(180, 360))
    x, y = pen.grid()
    if pen.rng.random() < 0.7:
        for centre in pen.rng.uniform((0.2, 0.22), (0.8, 0.5), (6, 2)):
            spot = np.hypot(x - centre[0], y - centre[1]) < pen.rng.uniform(0.03, 0.06)
            pen.paint(spot & (y < 0.55), pen.named("white"))
    pen.light(0.3)


def draw_person(pen: Pen) -> None:
    skin, trousers, draw = _SKINS[pen.rng.integers(3)], pen.other, pen.rng.uniform
    for side in (-1, 1):
        foot = (0.5 + side * draw(0.06, 0.17), 0.95)
        pen.line((0.5 + side * 0.06, 0.6), foot, 0.09, trousers)
        hand = (0.5 + side * draw(0.16, 0.3), draw(0.16, 0.62))
        pen.line((0.5 + side * 0.12, 0.32), hand, 0.07, pen.colour)
        pen.ellipse(hand, (0.04, 0.04), skin)
    pen.polygon([(0.36, 0.27), (0.64, 0.27), (0.62, 0.64), (0.38, 0.64)], pen.colour)
    pen.ellipse((0.5, 0.15), (0.1, 0.115), skin)
    pen.ellipse((0.5, 0.13), (0.105, 0.1), pen.named("brown") * draw(0.3, 1.2), arc=(180, 360))
    pen.light(draw(0, 0.3))


def draw_tree(pen: Pen) -> None:
    kind = pen.rng.random()
    if kind < 0.35:
        _draw_conifer(pen)
    elif kind < 0.75:
        _draw_leafy_tree(pen)
    else:
        _draw_tall_tree(pen)


def _draw_trunk(pen: Pen, half: float, top: float) -> None:
    foot = half * pen.rng.uniform(1.1, 1.9)
    lean, bark = pen.rng.uniform(-0.03, 0.03), pen.named("brown") * pen.rng.uniform(0.6, 1.1)
    right, left = (0.5 + lean + half, top), (0.5 + lean - half, top)
    pen.polygon([(0.5 + foot, 0.98), right, left, (0.5 - foot, 0.98)], bark)


def _draw_conifer(pen: Pen) -> None:
    _draw_trunk(pen, pen.rng.uniform(0.03, 0.07), 0.4)
    tiers = int(pen.rng.integers(2, 5))
    for tier in range(tiers):
        top, reach = 0.04 + 0.64 * tier / tiers, 0.2 + 0.26 * (tier + 1) / tiers
        bottom = top + 0.9 / tiers
        shade = pen.colour * pen.rng.uniform(0.85, 1.1)
        corners = [(0.5, top), (0.5 + reach, min(bottom, 0.86)), (0.5 - reach, min(bottom, 0.86))]
        pen.polygon(corners, shade)
    pen.grain(0.08, 20)
    pen.light(0.4)


def _draw_leafy_tree(pen: Pen) -> None:
    _draw_trunk(pen, pen.rng.uniform(0.035, 0.08), 0.4)
    pen.ellipse((0.5, 0.34), (0.3, 0.26), pen.colour)
    for x, y in pen.rng.normal((0.5, 0.34), (0.15, 0.1), (int(pen.rng.integers(4, 12)), 2)):
        radii = pen.rng.uniform(0.1, 0.22, 2)
        pen.ellipse((x, y), (radii[0], radii[1]), pen.colour * pen.rng.uniform(0.75, 1.2))
    pen.grain(0.12, int(pen.rng.integers(8, 30)))
    pen.light(0.4)


def _draw_tall_tree(pen: Pen) -> None:
    """Draw one that is seen from nearby: a long trunk below a broad crown."""
    _draw_trunk(pen, pen.rng.uniform(0.02, 0.05), 0.1)
    for x in np.linspace(0.08, 0.92, 14):
        depth = pen.rng.uniform(0.08, 0.26) * (1.2 - abs(2 * x - 1) ** 2)
        radii = (pen.rng.uniform(0.06, 0.12), max(0.04, depth))
        pen.ellipse((x, 0.1), radii, pen.colour * pen.rng.uniform(0.75, 1.15))
    pen.grain(0.15, int(pen.rng.integers(16, 60)))
    pen.light(0.3)
