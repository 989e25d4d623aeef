"""Scenes for words: a landscape, named things in it, and what hides or resembles them."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.detection.vocabulary import COLOURS, NOUNS
from sam_video.detection.words_finder import IMAGE_SIZE
from sam_video.types import RGBImage
from training.photos import IGNORE, OTHER, LabelMap, PhotoLibrary
from training.shapes import draw_shape
from training.words.backdrops import draw_backdrop, draw_post
from training.words.things import draw_thing

_NATURAL = {"tree": ("green", 0.7), "sun": ("yellow", 0.6)}
"""Colours that some things mostly have, and how often."""
_TURNING = {"ball", "star", "kite", "fish", "butterfly", "heart", "umbrella"}
"""Things that are seen at any tilt."""
_LEAST_PIXELS = 30
_LEAST_SHARE = 0.45
"""Of a thing that has to be seen, or nobody can say what it is."""
_LEAST_TREE_SHARE = 0.2
"""A tree in front is cut off by the frame, and still one."""


@dataclass(frozen=True, slots=True)
class NamedThing:
    """A thing of a scene that can be found."""

    label: int
    """Its value in the scene's label map."""
    noun: int
    """Index into `NOUNS`."""
    colour: int
    """Index into `COLOURS`."""
    box: tuple[float, float, float, float]
    """Of what is seen of it: left, top, right, bottom in shares of the image."""


@dataclass(frozen=True, slots=True, eq=False)
class DrawnThing:
    """A thing on its own square, not yet in a scene."""

    noun: str
    colour: str
    picture: RGBImage
    """`(S, S, 3)`."""
    cover: npt.NDArray[np.uint8]
    """`(S, S)`, 1 on the thing."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and what is in it."""

    image: RGBImage
    """`(IMAGE_SIZE, IMAGE_SIZE, 3)`."""
    labels: LabelMap
    """One value per thing; 0 is nothing, `OTHER` has no name, `IGNORE` is hardly seen."""
    things: tuple[NamedThing, ...]
    is_photo: bool
    """Whether the background may hold things that nobody labelled."""


class Painter:
    """Pastes things onto a backdrop, those in front last.

    Args:
        rng: Of every draw.
        image: The backdrop, of the network's size.
        aspect: Width to height of the picture that is squeezed into a square.
    """

    def __init__(self, rng: np.random.Generator, image: RGBImage, aspect: float) -> None:
        self.rng, self.image = rng, image
        self.squeeze = np.array([aspect**-0.5, aspect**0.5])
        self.labels = np.zeros(image.shape[:2], np.uint8)

    def paste(
        self,
        picture: RGBImage,
        cover: npt.NDArray[np.uint8],
        label: int,
        *,
        size: float,
        centre: npt.NDArray[np.float64],
        tilt: float = 0.0,
    ) -> float:
        """Paste a drawn square.

        Args:
            picture: `(S, S, 3)`.
            cover: `(S, S)`, 1 on the thing.
            label: To write where it shows.
            size: Side of the square, in pixels of the picture before it is squeezed.
            centre: Where its middle goes, `(x, y)` in pixels of the image.
            tilt: Radians.

        Returns:
            The area of the thing in pixels of the image, also beyond its border.
        """
        matrix = self._matrix(len(cover), size, centre, tilt)
        area = float(cover.sum()) * abs(float(np.linalg.det(matrix[:, :2])))
        opacity = self._warp(255 * cover, matrix)
        x, y, width, height = cv2.boundingRect(opacity)
        if width == 0:
            return area
        window = np.s_[y : y + height, x : x + width]
        matrix[:, 2] -= (x, y)
        pixels = self._warp(picture, matrix, (width, height))
        weight = opacity[window][..., None].astype(np.float32) / 255
        under = self.image[window]
        self.image[window] = under + (pixels.astype(np.float32) - under) * weight
        self.labels[opacity > 127] = label
        return area

    def _matrix(
        self, side: int, size: float, centre: npt.NDArray[np.float64], tilt: float
    ) -> npt.NDArray[np.float64]:
        stretch = np.exp(self.rng.normal(0, 0.08)) ** np.array([1, -1])
        c, s = np.cos(tilt), np.sin(tilt)
        turn = np.array([[c, -s], [s, c]]) @ np.diag(stretch * size / side)
        linear = np.diag(self.squeeze) @ turn
        offset = centre - linear @ np.full(2, side / 2)
        return np.concatenate([linear, offset[:, None]], axis=1)

    @staticmethod
    def _warp(
        picture: npt.NDArray[np.uint8],
        matrix: npt.NDArray[np.float64],
        size: tuple[int, int] = (IMAGE_SIZE, IMAGE_SIZE),
    ) -> npt.NDArray[np.uint8]:
        return np.asarray(cv2.warpAffine(picture, matrix, size), dtype=np.uint8)


def draw_scene(rng: np.random.Generator, photos: PhotoLibrary | None = None) -> Scene:
    """Draw a scene whose every draw comes from `rng`.

    Args:
        rng: Two scenes of equal generators are equal.
        photos: Whose backgrounds some scenes have.
    """
    aspect = float(np.exp(rng.uniform(np.log(0.7), np.log(2.0))))
    image, is_photo = draw_backdrop(rng, photos, aspect)
    painter = Painter(rng, image, aspect)
    drawn = []
    for label in range(1, _draw_number(rng) + 1):
        _paste_unnamed(painter)
        size = float(np.exp(rng.uniform(np.log(30), np.log(130))))
        thing = draw_any(rng, _canvas_side(size))
        centre = _draw_centre(painter, size)
        area = _paste_thing(painter, thing, label, size=size, centre=centre)
        drawn.append((label, thing.noun, thing.colour, area))
    if rng.random() < 0.15:
        drawn.append((len(drawn) + 1, *_paste_tree_in_front(painter, len(drawn) + 1)))
    elif rng.random() < 0.3:
        _paste_post(painter)
    return _finish(painter, drawn, is_photo=is_photo)


def draw_crowd(
    rng: np.random.Generator, pool: Sequence[DrawnThing], photos: PhotoLibrary | None = None
) -> Scene:
    """Draw a scene with a thing of a pool in each field of a grid of 9 to 25.

    It takes no longer to learn from than another scene, and shows three times as many things.
    """
    aspect = float(np.exp(rng.uniform(np.log(0.8), np.log(1.5))))
    image, is_photo = draw_backdrop(rng, photos, aspect)
    painter = Painter(rng, image, aspect)
    fields = int(rng.integers(3, 6))
    side = IMAGE_SIZE / fields
    drawn = []
    for label, (row, column) in enumerate(np.ndindex(fields, fields), start=1):
        thing = pool[int(rng.integers(len(pool)))]
        centre = side * (np.array([column, row]) + rng.uniform(0.35, 0.65, 2))
        size = side * rng.uniform(0.75, 1.25)
        area = _paste_thing(painter, thing, label, size=size, centre=centre)
        drawn.append((label, thing.noun, thing.colour, area))
    return _finish(painter, drawn, is_photo=is_photo)


def _finish(painter: Painter, drawn: list[tuple[int, str, str, float]], *, is_photo: bool) -> Scene:
    """Record a painted scene, and find out what is seen of the things in it."""
    seen = [_named(painter.labels, *thing) for thing in drawn]
    things = tuple(thing for thing in seen if thing is not None)
    return Scene(_record(painter.rng, painter.image), painter.labels, things, is_photo)


def _draw_number(rng: np.random.Generator) -> int:
    """Draw how many named things there are; a tenth of the scenes has none."""
    return 0 if rng.random() < 0.1 else int(rng.integers(1, 7))


def _draw_centre(painter: Painter, size: float) -> npt.NDArray[np.float64]:
    """Draw where a thing goes: of five places the one that hides least of what is there."""
    places = painter.rng.uniform(0.03, 0.97, (5, 2)) * IMAGE_SIZE
    starts = np.clip(places - size / 2, 0, None).astype(int)
    ends = (places + size / 2).astype(int)
    hidden = [
        (painter.labels[top:bottom, left:right] > 0).sum()
        for (left, top), (right, bottom) in zip(starts, ends, strict=True)
    ]
    return np.asarray(places[int(np.argmin(hidden))])


def draw_any(rng: np.random.Generator, side: int, nouns: Sequence[str] = NOUNS) -> DrawnThing:
    """Draw a thing of any of some nouns, in any colour, on a square of `side` pixels."""
    noun = str(rng.choice(nouns))
    colour = str(rng.choice(COLOURS))
    if noun in _NATURAL and rng.random() < _NATURAL[noun][1]:
        colour = _NATURAL[noun][0]
    return DrawnThing(noun, colour, *draw_thing(rng, noun, colour, side))


def _paste_thing(
    painter: Painter,
    thing: DrawnThing,
    label: int,
    *,
    size: float,
    centre: npt.NDArray[np.float64],
) -> float:
    """Paste a thing, often mirrored and a little tilted, and return its area."""
    rng, picture, cover = painter.rng, thing.picture, thing.cover
    if rng.random() < 0.5:
        picture, cover = np.ascontiguousarray(picture[:, ::-1]), cover[:, ::-1].copy()
    tilt = rng.normal(0, 0.5 if thing.noun in _TURNING else 0.12)
    return painter.paste(picture, cover, label, size=size, centre=centre, tilt=tilt)


def _paste_tree_in_front(painter: Painter, label: int) -> tuple[str, str, float]:
    """Paste a tree so near that the frame cuts off most of its crown or foot."""
    rng = painter.rng
    picture, cover = draw_thing(rng, "tree", "green", 256)
    size = IMAGE_SIZE * rng.uniform(1, 2.4)
    middle = (rng.uniform(0.1, 0.9), rng.uniform(0.2, 0.8))
    centre = np.array(middle) * IMAGE_SIZE
    area = painter.paste(picture, cover, label, size=size, centre=centre, tilt=rng.normal(0, 0.04))
    return "tree", "green", area


def _paste_unnamed(painter: Painter) -> None:
    """Now and then paste a blob or a post, which has no name."""
    chance = painter.rng.random()
    if chance < 0.12:
        picture, cover = draw_shape(painter.rng, 128)
        size = IMAGE_SIZE * painter.rng.uniform(0.1, 0.6)
        centre = painter.rng.uniform(0, 1, 2) * IMAGE_SIZE
        painter.paste(picture, cover, OTHER, size=size, centre=centre)
    elif chance < 0.17:
        _paste_post(painter)


def _paste_post(painter: Painter) -> None:
    rng = painter.rng
    picture, cover = draw_post(rng)
    centre = rng.uniform(0, 1, 2) * IMAGE_SIZE
    tilt = rng.normal(0, 0.06) + (np.pi / 2) * (rng.random() < 0.15)
    painter.paste(
        picture, cover, OTHER, size=IMAGE_SIZE * rng.uniform(0.8, 2.7), centre=centre, tilt=tilt
    )


def _canvas_side(size: float) -> int:
    return int(np.clip(1.6 * size, 64, 192))


def _named(labels: LabelMap, label: int, noun: str, colour: str, area: float) -> NamedThing | None:
    """Return a thing that is seen well enough; what is left of another is marked `IGNORE`."""
    mask = np.asarray(labels == label, dtype=np.uint8)
    least = _LEAST_TREE_SHARE if noun == "tree" else _LEAST_SHARE
    if mask.sum() < max(_LEAST_PIXELS, least * area):
        labels[mask > 0] = IGNORE
        return None
    x, y, width, height = (value / IMAGE_SIZE for value in cv2.boundingRect(mask))
    box = (x, y, x + width, y + height)
    return NamedThing(label, NOUNS.index(noun), COLOURS.index(colour), box)


def _record(rng: np.random.Generator, image: RGBImage) -> RGBImage:
    """Expose, blur, add noise and compress, as a camera might."""
    gain = rng.uniform(0.75, 1.2) * np.exp(rng.normal(0, 0.04, 3))
    levels = np.clip(np.arange(256)[:, None] * gain, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, levels.reshape(1, 256, 3)), dtype=np.uint8)
    if rng.random() < 0.6:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2)), dtype=np.uint8)
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 6))
    image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 95))]
        image = np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], 1), dtype=np.uint8)
    return image
