"""What lies behind the things of a scene: landscapes, textures, photos; and posts before them."""

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.detection.words_finder import IMAGE_SIZE
from sam_video.types import RGBImage
from training.photos import PhotoLibrary
from training.scenes import draw_landscape
from training.shapes import draw_texture
from training.words.pen import vary

_PHOTO_SHARE = 0.08
_GROUNDS = (
    (120, 150, 175),
    (75, 110, 85),
    (110, 140, 65),
    (80, 125, 60),
    (190, 170, 120),
    (60, 110, 160),
    (235, 238, 245),
)
"""Hills, woods, meadows, sand, water, snow."""
_SKIES = ((110, 160, 215), (70, 130, 200), (240, 190, 150), (150, 160, 175), (30, 35, 70))

_Map = npt.NDArray[np.float32]


def draw_backdrop(
    rng: np.random.Generator, photos: PhotoLibrary | None, aspect: float
) -> tuple[RGBImage, bool]:
    """Draw a backdrop of the network's size, and say whether it is a photo.

    Args:
        rng: Of every draw.
        photos: Where backgrounds come from.
        aspect: Width to height of the picture that is squeezed into a square.
    """
    chance = rng.random()
    if photos is not None and chance < _PHOTO_SHARE:
        return _crop(rng, photos.draw_background(rng)), True
    if chance < 0.75:
        return _draw_view(rng, aspect), False
    if chance < 0.9:
        return draw_landscape(rng, IMAGE_SIZE, IMAGE_SIZE), False
    return draw_texture(rng, IMAGE_SIZE, IMAGE_SIZE), False


def _crop(rng: np.random.Generator, photo: RGBImage) -> RGBImage:
    height, width = (int(side * rng.uniform(0.6, 1)) for side in photo.shape[:2])
    top = int(rng.integers(photo.shape[0] - height + 1))
    left = int(rng.integers(photo.shape[1] - width + 1))
    part = photo[top : top + height, left : left + width]
    return np.asarray(cv2.resize(part, (IMAGE_SIZE, IMAGE_SIZE)), dtype=np.uint8)


def _draw_view(rng: np.random.Generator, aspect: float) -> RGBImage:
    """Draw a sky, often a cloudy one, and the crests of one to four ranges before it."""
    y = np.linspace(0, 1, IMAGE_SIZE, dtype=np.float32)[:, None]
    high = vary(rng, _SKIES[rng.integers(len(_SKIES))])
    low = high + (vary(rng, (215, 225, 235)) - high) * rng.uniform(0.3, 1)
    picture = np.float32(high) + np.float32(low - high) * y[..., None]
    if rng.random() < 0.7:
        clouds = noise(rng, rng.uniform(2, 8), aspect, octaves=4)
        veil = np.clip(clouds * rng.uniform(0.2, 0.7) - rng.uniform(-0.2, 0.6), 0, 0.9)
        white = np.float32(vary(rng, (245, 245, 245)))
        picture = np.asarray(picture + (white - picture) * veil[..., None], dtype=np.float32)
    picture = np.repeat(picture, IMAGE_SIZE // picture.shape[1], axis=1)
    level = rng.uniform(0.3, 0.8)
    for _ in range(int(rng.integers(1, 5))):
        _add_range(rng, picture, level, aspect)
        level += rng.uniform(0.02, 0.2)
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def _add_range(rng: np.random.Generator, picture: _Map, level: float, aspect: float) -> None:
    """Draw a range of hills, or flat ground, from `level` of the height downwards."""
    crest = noise(rng, rng.uniform(1, 6), aspect)[:1] * rng.uniform(0, 0.05)
    crest += noise(rng, rng.uniform(8, 40), aspect)[:1] * rng.uniform(0, 0.008)
    y = np.linspace(0, 1, IMAGE_SIZE, dtype=np.float32)[:, None]
    opacity = np.clip((y - level - crest) * IMAGE_SIZE, 0, 1)[..., None]
    texture = noise(rng, rng.uniform(6, 60), aspect, octaves=2) * rng.uniform(0.02, 0.16)
    light = 1 + texture + rng.uniform(-0.4, 0.4) * (y - level)
    ground = np.float32(vary(rng, _GROUNDS[rng.integers(len(_GROUNDS))])) * light[..., None]
    picture += (ground - picture) * opacity


def noise(rng: np.random.Generator, cells: float, aspect: float, octaves: int = 1) -> _Map:
    """Return smooth noise of deviation about 1, with so many cells across its height."""
    total = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.float32)
    for octave in range(octaves):
        rows = max(2, round(cells * 2**octave))
        columns = max(2, round(cells * aspect * 2**octave))
        knots = rng.standard_normal((rows, columns), dtype=np.float32) / 2**octave
        total += cv2.resize(knots, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_CUBIC)
    return total


def draw_post(rng: np.random.Generator, side: int = 160) -> tuple[RGBImage, npt.NDArray[np.uint8]]:
    """Draw something tall and without a name on its own square."""
    y = np.linspace(-1, 1, side)[:, None]
    half = np.exp(rng.uniform(np.log(0.01), np.log(0.12))) * (1 + rng.uniform(-0.3, 0.3) * y)
    x = np.linspace(-1, 1, side)[None] - rng.uniform(-0.1, 0.1) * y
    cover = (np.abs(x) < half).astype(np.uint8)
    return draw_texture(rng, side, side), cover
