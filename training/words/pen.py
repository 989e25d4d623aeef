"""A pen that draws one thing on a square of its own: outlines, patterns, light."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Point = tuple[float, float]

_BITS = 4
"""Of the fractions of a pixel that OpenCV draws with."""

COLOURS = {
    "red": (215, 40, 35),
    "orange": (240, 140, 30),
    "yellow": (245, 215, 50),
    "green": (60, 160, 60),
    "blue": (50, 90, 210),
    "purple": (140, 70, 180),
    "pink": (240, 130, 180),
    "brown": (130, 85, 50),
    "black": (35, 35, 38),
    "white": (240, 240, 238),
    "gray": (135, 135, 138),
}
"""The middle of each colour, RGB."""


def vary(rng: np.random.Generator, colour: Iterable[float]) -> Floats:
    """Return an RGB colour near another one."""
    rgb = np.asarray(tuple(colour), dtype=np.uint8).reshape(1, 1, 3)
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[0, 0] + rng.normal(0, (3, 14, 16))
    hsv[0] %= 180
    varied = np.clip(hsv, 0, (179, 255, 255)).astype(np.uint8).reshape(1, 1, 3)
    return np.asarray(cv2.cvtColor(varied, cv2.COLOR_HSV2RGB)[0, 0], dtype=np.float64)


class Pen:
    """Draws in a unit square, `x` to the right and `y` down, onto `side` pixels.

    Args:
        rng: Of every draw.
        colour: A name of `COLOURS`, the thing's main colour.
        side: Of the square, in pixels.
    """

    def __init__(self, rng: np.random.Generator, colour: str, side: int) -> None:
        self.rng, self.side = rng, side
        self.picture = np.zeros((side, side, 3), np.uint8)
        self.cover = np.zeros((side, side), np.uint8)
        """1 on the thing."""
        self.colour = vary(rng, COLOURS[colour])
        self.dark = self.colour * 0.55
        self.other = vary(rng, COLOURS[str(rng.choice(list(COLOURS)))])
        """A colour for parts that do not name the thing's colour."""

    def named(self, colour: str) -> Floats:
        """Return a shade of a named colour."""
        return vary(self.rng, COLOURS[colour])

    def either(self, share: float) -> Floats:
        """Return the second colour in so many cases, else the darker main one."""
        return self.other if self.rng.random() < share else self.dark

    def polygon(self, points: Iterable[Point] | Floats, colour: Floats) -> None:
        corners = self._fixed(np.asarray(list(points)))
        cv2.fillPoly(self.picture, [corners], _scalar(colour), shift=_BITS)
        cv2.fillPoly(self.cover, [corners], (1,), shift=_BITS)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        colour: Floats,
        *,
        angle: float = 0,
        arc: tuple[float, float] = (0, 360),
    ) -> None:
        """Draw a filled ellipse, or the part between two angles: degrees, clockwise from right."""
        steps = np.radians(np.linspace(*arc, 40))
        x, y = radii[0] * np.cos(steps), radii[1] * np.sin(steps)
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        points = np.stack([centre[0] + x * c - y * s, centre[1] + x * s + y * c], axis=1)
        self.polygon(points, colour)

    def line(self, start: Point, end: Point, width: float, colour: Floats) -> None:
        thickness = max(1, round(width * self.side))
        first, last = (self._fixed(np.asarray(p)).tolist() for p in (start, end))
        cv2.line(self.picture, first, last, _scalar(colour), thickness, shift=_BITS)
        cv2.line(self.cover, first, last, (1,), thickness, shift=_BITS)

    def paint(self, where: npt.NDArray[np.bool_], colour: Floats) -> None:
        """Give pixels that are on the thing already another colour."""
        self.picture[where & (self.cover > 0)] = np.clip(colour, 0, 255)

    def grid(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return `x` and `y` of all pixels, `(side, side)`."""
        y, x = np.mgrid[: self.side, : self.side].astype(np.float32) / self.side
        return x, y

    def stripe(self, colour: Floats, *, cycles: float, angle: float) -> None:
        """Paint stripes that lie across `angle`, in radians."""
        x, y = self.grid()
        phase = self.rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)) + phase)
        self.paint(wave > 0, colour)

    def grain(self, strength: float, cells: int) -> None:
        """Make it lighter and darker by smooth noise with so many cells across."""
        knots = self.rng.normal(1, strength, (cells, cells)).astype(np.float32)
        noise = cv2.resize(knots, (self.side, self.side), interpolation=cv2.INTER_CUBIC)
        self._scale(noise)

    def light(self, strength: float) -> None:
        """Light it from one side, as a body that is highest in its middle."""
        height = np.sqrt(cv2.distanceTransform(self.cover, cv2.DIST_L2, 3))
        height = cv2.GaussianBlur(height / max(1e-6, height.max()), (0, 0), self.side / 40)
        angle = self.rng.uniform(0, 2 * np.pi)
        right, down = (cv2.Sobel(height, cv2.CV_32F, d, 1 - d, ksize=3) for d in (1, 0))
        slope = right * np.cos(angle) + down * np.sin(angle)
        slope /= np.abs(slope).max() + 1e-6
        self._scale(np.clip(1 - strength / 3 + strength * slope, 0.25, 1.6))

    def _scale(self, factors: npt.NDArray[Any]) -> None:
        self.picture = np.clip(self.picture * factors[..., None], 0, 255).astype(np.uint8)

    def _fixed(self, points: Floats) -> npt.NDArray[np.int32]:
        return np.asarray(np.round(points * self.side * 2**_BITS), dtype=np.int32)


def _scalar(colour: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in np.clip(colour, 0, 255))
