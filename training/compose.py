"""Compose short clips with known masks out of photos, cut-out objects and drawn shapes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import RGBImage
from training.layers import Layer, fill, paint_frame
from training.lighting import draw_lighting, tint
from training.motion import camera_path, sprite_path
from training.photos import IGNORE, OTHER, LabelMap, PhotoLibrary
from training.shapes import draw_shape, draw_texture

_SHAPES_SHARE = 0.08
_BACKGROUND_SHARE = 0.17
_TWIN_SHARE = 0.15
_FREE_SHARE = 0.45
"""Of the photos, that have an object which moves by itself."""
_MAX_FREE_SHARE = 0.4
"""Of a photo, that such an object may cover."""
_MIN_TARGET_SHARE = 0.0025
"""Of the first frame, that an object must cover to be prompted there."""

Cutout = tuple[RGBImage, LabelMap]
"""A picture and the labels of its objects."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A composed clip and the objects that are to be segmented in it."""

    images: npt.NDArray[np.uint8]
    """`(T, S, S, 3)` RGB."""
    labels: npt.NDArray[np.uint8]
    """`(T, S, S)`; 255 is unknown."""
    targets: tuple[int, ...]
    """Labels that are visible on the first frame."""


def compose_clip(
    rng: np.random.Generator,
    photos: PhotoLibrary | None,
    *,
    length: int,
    size: int,
    max_targets: int = 4,
) -> Clip:
    """Compose a clip whose every draw comes from `rng`.

    Args:
        rng: The only source of randomness: equal seeds give equal clips.
        photos: Where pictures come from; None draws shapes only.
        length: Number of frames.
        size: Side of the square frames in pixels.
        max_targets: The most objects to be segmented.
    """
    draw_layers = partial(_draw_scene, rng, photos, length, size)
    return paint_clip(rng, draw_layers, length=length, size=size, max_targets=max_targets)


def paint_clip(
    rng: np.random.Generator,
    draw_layers: Callable[[], list[Layer]],
    *,
    length: int,
    size: int,
    max_targets: int,
) -> Clip:
    """Paint layers as a clip and light it; half of the clips run backward.

    Args:
        rng: The only source of randomness.
        draw_layers: Draws the layers, by `rng`; it is called again until an object can be prompted.
        length: Number of frames.
        size: Side of the square frames in pixels.
        max_targets: The most objects to be segmented.
    """
    while True:
        layers = draw_layers()
        frames, maps = zip(*(paint_frame(layers, t, size) for t in range(length)), strict=True)
        labels = np.stack(maps)
        images = draw_lighting(rng, length).apply(np.stack(frames))
        if rng.random() < 0.5:
            images, labels = images[::-1].copy(), labels[::-1].copy()
        targets = draw_targets(rng, labels[0], max_targets)
        if targets:
            return Clip(images, labels, targets)


def _draw_scene(
    rng: np.random.Generator, photos: PhotoLibrary | None, length: int, size: int
) -> list[Layer]:
    """Draw the base and the objects over it; every layer has labels of its own."""
    draw = rng.random()
    if draw < _SHAPES_SHARE:
        photos = None
    pace = 0.0 if rng.random() < 0.1 else rng.uniform(0.1, 1.0) * min(1.0, length / 6)
    if photos is not None and draw >= _SHAPES_SHARE + _BACKGROUND_SHARE:
        image, labels = _draw_labelled(rng, photos)
    else:
        image = draw_texture(rng, 288, 216) if photos is None else photos.draw_background(rng)
        labels = np.zeros(image.shape[:2], np.uint8)
    path = camera_path(rng, length, labels.shape, size, pace if rng.random() < 0.8 else 0.0)
    base = Layer(tint(rng, image), labels, path, *_draw_ripple(rng, labels.shape[1], 0.012))
    layers = (
        _set_free(rng, base, pace=pace, length=length) if rng.random() < _FREE_SHARE else [base]
    )
    cutouts = draw_cutouts(rng, photos, at_least=0 if labels.any() else 1)
    first_label = 1 + int(labels[labels < OTHER].max(initial=0))
    sprites = [
        make_sprite(rng, cutout, label, pace=pace, length=length, size=size)
        for label, cutout in enumerate(cutouts, start=first_label)
    ]
    return [*layers, *sprites]


def _set_free(rng: np.random.Generator, base: Layer, *, pace: float, length: int) -> list[Layer]:
    """Let an object of a photo, if it has any, move over the rest of it, as before a real camera.

    Unlike one cut out elsewhere it has the light, the colours and the edges of what is around it.
    """
    counts = _object_sizes(base.labels)
    labels = np.flatnonzero((counts > 0) & (counts < _MAX_FREE_SHARE * base.labels.size))
    if length == 1 or len(labels) == 0:
        return [base]
    label = np.uint8(rng.choice(labels))
    cover = (base.labels == label).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(cover)
    placement = base.placement.around(np.array([x + width / 2, y + height / 2]))
    reach = pace * 0.3 * np.array([width, height]) / np.abs(placement.step[0])
    moved = placement.moved(rng, reach, pace)
    free = Layer(base.image, cover * label, moved, *_draw_ripple(rng, width, 0.06))
    rest = replace(base, image=fill(base.image, cover), labels=base.labels * (1 - cover))
    return [rest, free]


def _draw_labelled(rng: np.random.Generator, photos: PhotoLibrary) -> Cutout:
    """Return a photo as a base, its objects that are too small for targets marked as such."""
    photo = photos.draw_photo(rng)
    table = np.full(256, OTHER, np.uint8)
    table[[0, IGNORE]] = 0, IGNORE
    table[list(photo.object_labels)] = photo.object_labels
    return photo.image, np.asarray(table[photo.labels])


def draw_cutouts(
    rng: np.random.Generator, photos: PhotoLibrary | None, *, at_least: int
) -> list[Cutout]:
    count = int(rng.choice([0, 1, 2, 3], p=[0.35, 0.35, 0.2, 0.1]))
    cutouts = [_draw_cutout(rng, photos) for _ in range(max(count, at_least))]
    if cutouts and rng.random() < _TWIN_SHARE:  # a distractor that looks the same
        cutouts.append(cutouts[0])
    return cutouts


def make_sprite(
    rng: np.random.Generator, cutout: Cutout, label: int, *, pace: float, length: int, size: int
) -> Layer:
    image, cover = cutout
    path = sprite_path(rng, length, cover.shape, size, pace)
    bend = _draw_ripple(rng, cover.shape[1], 0.04)
    return Layer(tint(rng, image), cover * np.uint8(label), path, *bend)


def _draw_ripple(rng: np.random.Generator, width: int, most: float) -> tuple[float, float]:
    """Draw a layer's bending, none for every other one, and its phase."""
    is_bending = rng.random() < 0.5
    ripple = rng.uniform(0, most) * width if is_bending else 0.0
    return ripple, rng.uniform(0, 2 * np.pi)


def _draw_cutout(rng: np.random.Generator, photos: PhotoLibrary | None) -> Cutout:
    """Return a picture and a map that is 1 on one object of it, cropped around that object."""
    if photos is None:
        return draw_shape(rng)
    photo = photos.draw_photo(rng)
    cover = (photo.labels == rng.choice(photo.object_labels)).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(cover)
    window = np.s_[max(0, y - 4) : y + height + 4, max(0, x - 4) : x + width + 4]
    return photo.image[window], cover[window]


def _object_sizes(labels: LabelMap) -> npt.NDArray[np.intp]:
    """Return how many pixels each label has, by the label; 0 for the background."""
    counts = np.bincount(labels.ravel(), minlength=256)[:OTHER]
    counts[0] = 0
    return counts


def draw_targets(rng: np.random.Generator, labels: LabelMap, most: int) -> tuple[int, ...]:
    """Draw objects that are well visible, larger ones somewhat more often."""
    counts = _object_sizes(labels)
    visible = np.flatnonzero(counts >= _MIN_TARGET_SHARE * labels.size)
    if len(visible) == 0:
        return ()
    weights = np.sqrt(counts[visible])
    number = min(most, len(visible))
    drawn = rng.choice(visible, number, replace=False, p=weights / weights.sum())
    return tuple(int(label) for label in drawn)
