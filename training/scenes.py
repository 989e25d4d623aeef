"""Drawn scenes: solids that roll and fly past each other, behind posts and across a landscape.

What they teach is rare in photos: an object that something thin cuts in two, one that is hidden and
comes back, one that another of the same colour passes, an object of several parts.
"""

from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import RGBImage
from training.compose import Clip, Cutout, paint_clip
from training.layers import Layer
from training.motion import Floats, Placement, camera_path, smooth_walk
from training.photos import OTHER, PhotoLibrary
from training.shapes import draw_texture

_PHOTO_SHARE = 0.4
"""Of the scenes, that have a photo as their background."""
_ALIKE_SHARE = 0.6
"""Of the objects, that have the colour of the one drawn before."""
_SIDE = 176


def compose_scene(
    rng: np.random.Generator,
    photos: PhotoLibrary | None,
    *,
    length: int,
    size: int,
    max_targets: int = 4,
) -> Clip:
    """Compose a clip of drawn objects whose every draw comes from `rng`."""
    draw_layers = partial(_draw_layers, rng, photos, length, size)
    return paint_clip(rng, draw_layers, length=length, size=size, max_targets=max_targets)


def _draw_layers(
    rng: np.random.Generator, photos: PhotoLibrary | None, length: int, size: int
) -> list[Layer]:
    """Draw a landscape, some objects in it, and posts in front of some of them."""
    if photos is not None and rng.random() < _PHOTO_SHARE:
        image = photos.draw_background(rng)
    else:
        image = draw_landscape(rng, 420, 280)
    pace = rng.uniform(0.1, 1.0) * min(1.0, length / 12)
    path = camera_path(rng, length, image.shape[:2], size, 0.4 * pace)
    base = Layer(image, np.zeros(image.shape[:2], np.uint8), path)
    colour = rng.uniform(20, 255, 3)
    layers = []
    for label in range(1, int(rng.integers(2, 5))):
        colour = colour if rng.random() < _ALIKE_SHARE else rng.uniform(20, 255, 3)
        picture, cover = draw_solid(rng, colour)
        placement = _draw_flight(rng, length, size, 1.5 * pace)
        layers.append(Layer(picture, cover * np.uint8(label), placement))
    number = int(rng.choice([0, 1, 2], p=[0.3, 0.5, 0.2]))
    posts = [draw_post(rng, path, size) for _ in range(number)]
    behind = int(rng.integers(1, len(layers) + 1))
    return [base, *layers[:behind], *posts, *layers[behind:]]


def draw_landscape(rng: np.random.Generator, width: int, height: int) -> RGBImage:
    """Draw two to five bands of texture over each other, each with a wavy upper edge."""
    picture = cv2.GaussianBlur(draw_texture(rng, width, height), (0, 0), 4)
    rows = np.arange(height)[:, None]
    for level in np.sort(rng.uniform(0.1, 0.9, int(rng.integers(1, 5)))):
        knots = rng.normal(0, rng.uniform(1, 14), (1, int(rng.integers(4, 30)))).astype(np.float32)
        crest = level * height + cv2.resize(knots, (width, 1), interpolation=cv2.INTER_CUBIC)
        opacity = np.clip(rows - crest, 0, 1)[..., None]
        picture = np.asarray(
            picture + (_grainy(rng, width, height) - picture) * opacity, dtype=np.uint8
        )
    return np.asarray(picture, dtype=np.uint8)


def _grainy(rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.float32]:
    """Draw a colour that gets lighter or darker downwards, with noise of some sizes."""
    colour, slope = rng.uniform(20, 230, 3), rng.uniform(-0.4, 0.4)
    light = 1 + slope * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    light = np.repeat(light, width, axis=1)
    for cell in (2, 5, 14, 40):
        knots = rng.normal(0, rng.uniform(0, 0.12), (height // cell + 2, width // cell + 2))
        light += cv2.resize(knots.astype(np.float32), (width, height))
    return np.asarray(np.clip(light[..., None] * colour, 0, 255), dtype=np.float32)


def draw_solid(rng: np.random.Generator, colour: Floats) -> Cutout:
    """Draw a solid, lit from one side, with a pattern and at times another part below it."""
    y, x = (np.mgrid[:_SIDE, :_SIDE].astype(np.float32) - _SIDE / 2) / (_SIDE / 2)
    centre = -0.22 if rng.random() < 0.35 else 0.0
    outline = _outline(rng, x, y - centre)
    cover = outline < 1
    relief = np.sqrt(np.clip(1 - outline**2, 0, 1))
    second = colour * rng.uniform(0.35, 1.0) if rng.random() < 0.6 else rng.uniform(0, 255, 3)
    paint = colour + (second - colour) * _pattern(rng, x, y - centre)[..., None]
    if centre:
        hanging = _hanging_part(rng, x, y)
        paint = np.where((hanging & ~cover)[..., None], rng.uniform(20, 220, 3), paint)
        relief, cover = np.where(hanging & ~cover, 0.7, relief), cover | hanging
    return _lit(rng, paint, relief.astype(np.float32)), cover.astype(np.uint8)


def _lit(
    rng: np.random.Generator, paint: npt.NDArray[np.float64], relief: npt.NDArray[np.float32]
) -> RGBImage:
    """Light a painted relief of heights 0 to 1 from one side and put a gloss on it."""
    right, down = rng.normal(0, 0.5, 2)
    slope_y, slope_x = np.gradient(cv2.GaussianBlur(relief, (0, 0), 3), 2 / _SIDE)
    light = 0.75 + 0.25 * relief + 0.16 * np.clip(down * slope_y + right * slope_x, -2, 2)
    y, x = np.mgrid[:_SIDE, :_SIDE] / (_SIDE / 2) - 1
    gloss = np.exp(-((x - right / 2) ** 2 + (y - down / 2) ** 2) / 0.02)
    lit = paint * light[..., None] + rng.uniform(0, 120) * gloss[..., None]
    return np.asarray(np.clip(lit, 0, 255), dtype=np.uint8)


def _outline(
    rng: np.random.Generator, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return a map that is below 1 inside a rounded box, an egg, a lobed or a round solid."""
    wide, high = rng.uniform(0.4, 0.72, 2)
    power = float(rng.choice([1.4, 2.0, 2.0, 3.0, 6.0]))
    taper = 1 + rng.uniform(-0.45, 0.45) * np.clip(y / high, -1, 1)
    lobes = 1 + rng.choice([0.0, 0.12]) * np.cos(int(rng.integers(3, 8)) * np.arctan2(y, x))
    reach = np.abs(x / (wide * taper)) ** power + np.abs(y / high) ** power
    return np.asarray(reach ** (1 / power) / lobes, dtype=np.float32)


def _pattern(
    rng: np.random.Generator, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return where a second colour shows, 0 to 1: stripes, dots, a band, sectors or nothing."""
    kind, cycles = int(rng.integers(6)), rng.uniform(2, 7)
    angle = rng.uniform(0, np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    along = y * np.cos(angle) - x * np.sin(angle)
    waves = {
        0: np.zeros_like(x) - 1,
        1: np.sin(np.pi * cycles * across),
        2: np.sin(np.pi * cycles * across) * np.sin(np.pi * cycles * along) - 0.4,
        3: 0.15 - np.abs(across - 0.2 * along),
        4: np.sin(round(cycles) * np.arctan2(across, along)),
        5: 0.05 - np.abs(across * (1 + along)),
    }
    return np.asarray(np.clip(waves[kind] * 8, 0, 1), dtype=np.float32)


def _hanging_part(
    rng: np.random.Generator, x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return a small body below the large one, and what it hangs by."""
    half, top = rng.uniform(0.07, 0.3), rng.uniform(0.45, 0.7)
    body = (np.abs(x) < half) & (y > top) & (y < top + rng.uniform(0.12, 0.28))
    thickness = rng.uniform(0.012, 0.05)
    string = (np.abs(np.abs(x) - half * rng.uniform(0, 0.9)) < thickness) & (y > 0) & (y <= top)
    return np.asarray(body | string)


def _draw_flight(rng: np.random.Generator, length: int, size: int, pace: float) -> Placement:
    """Let an object cross the frame, or drift, on a line or in hops."""
    side = size * np.exp(rng.uniform(np.log(0.18), np.log(0.75)))
    squeeze = np.exp(rng.uniform(-0.1, 0.35) / 2)
    still = np.ones((length, 1))
    time = np.arange(length)[:, None]
    start, velocity = rng.uniform(0.12, 0.88, 2) * size, rng.normal(0, 0.02, 2) * pace * size
    hop = rng.uniform(0, 0.3) * size * (rng.random() < 0.4)
    period = rng.uniform(8, 40)
    rise = hop * np.abs(np.sin(np.pi * (time[:, 0] / period + rng.random())))
    anchor = start + velocity * (time - length * rng.random())
    anchor[:, 1] -= rise - rise.mean()
    spin = rng.normal(0, 0.1) * (rng.random() < 0.5)
    return Placement(
        focus=still * (_SIDE / 2),
        anchor=anchor,
        step=still * (_SIDE / side) * np.array([squeeze, 1 / squeeze]),
        angle=rng.normal(0, 0.1) + spin * time[:, 0] + smooth_walk(rng, length, 0.1 * pace),
        shear=np.zeros(length),
    )


def draw_post(rng: np.random.Generator, view: Placement, size: int) -> Layer:
    """Draw something tall in front, thin or broad, that stands in a view or passes through it."""
    height, width = 260, int(np.exp(rng.uniform(np.log(5), np.log(110))))
    picture = _grainy(rng, width + 8, height).astype(np.uint8)
    rows = np.linspace(-1, 1, height)[:, None]
    middle = (width + 8) / 2 + rng.uniform(-3, 3) * rows
    half = width / 2 * (1 + rng.uniform(-0.3, 0.3) * rows)
    cover = (np.abs(np.arange(width + 8)[None] - middle) < half).astype(np.uint8)
    length = len(view.angle)
    rooted = view.around(view.focus[0]).anchor
    passing = smooth_walk(rng, length, 0.5 * size * (rng.random() < 0.5) * min(1.0, length / 12))
    placement = Placement(
        focus=np.tile([(width + 8) / 2, height / 2], (length, 1)),
        anchor=rng.uniform(0.1, 0.9, 2) * size + rooted - rooted[0] + passing[:, None] * [1, 0],
        step=np.tile([1.0, rng.uniform(0.3, 0.9)], (length, 1)),
        angle=np.full(length, rng.normal(0, 0.05)),
        shear=np.zeros(length),
    )
    return Layer(picture, cover * np.uint8(OTHER), placement)
