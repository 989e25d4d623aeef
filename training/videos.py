"""Real sequences with a mask on every frame, and the clips that are drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_video.types import RGBImage
from training.compose import Clip, draw_cutouts, draw_targets, make_sprite
from training.layers import Layer, paint_frame
from training.lighting import draw_lighting, tint
from training.motion import Placement, camera_path, smooth_walk, whole_view
from training.photos import OTHER, LabelMap, PhotoLibrary, read_rgb
from training.scenes import draw_post

HELD_OUT = (
    "davis16-bmx-bumps",
    "davis16-dance-jump",
    "davis16-mallard-water",
    "davis16-scooter-gray",
    "mots-0002-a",
    "mots-0002-b",
    "ucsd-surfers",
)
"""Sequences that only the score sees; both clips of one street, since they show the same people."""

_GROUP_SHARES = {"davis16": 0.42, "mots": 0.36}
"""How often a sequence of these data sets is drawn; the rest is for all others."""
_MAX_STRIDE = 5
_WHOLE_SHARE = 0.45
"""Of the clips, that show whole frames, as the tracker sees them."""
_SPRITE_SHARE = 0.25
"""Of the clips, that have objects of photos pasted over them."""
_POST_SHARE = 0.15
"""Of the clips, that have something tall in front."""
_TWIN_SHARE = 0.2
"""Of the clips, in which one of the objects is there twice."""


@dataclass(frozen=True, slots=True)
class Video:
    """A sequence on disk: `images/*.jpg` and as many `masks/*.png`."""

    name: str
    images: tuple[Path, ...]
    masks: tuple[Path, ...]

    def read(self, index: int) -> tuple[RGBImage, LabelMap]:
        """Read one frame and its labels, which mean the same object on all frames."""
        with Image.open(self.masks[index]) as mask:
            return read_rgb(self.images[index]), np.asarray(mask, dtype=np.uint8)


class VideoLibrary:
    """Sequences on disk: most to learn from, a few held out for the score.

    Args:
        root: A folder laid out as `video/NAME/images/*.jpg`, `video/NAME/masks/*.png`.
        is_held_out: Whether to take the held-out sequences, or the rest.

    Raises:
        FileNotFoundError: There is no such sequence under `root`.
        ValueError: A sequence has not as many masks as images.
    """

    def __init__(self, root: Path, *, is_held_out: bool = False) -> None:
        folders = sorted(path.parent for path in root.glob("video/*/images"))
        self.videos = [
            _open_video(folder) for folder in folders if (folder.name in HELD_OUT) == is_held_out
        ]
        if not self.videos:
            raise FileNotFoundError(f"{root} has no video/NAME/images with masks beside it")
        self._weights = _group_weights([video.name for video in self.videos])

    def draw_clip(
        self,
        rng: np.random.Generator,
        photos: PhotoLibrary | None,
        *,
        length: int,
        size: int,
        max_targets: int = 4,
    ) -> Clip:
        """Draw a clip: where it begins, its pace and direction, its view, what is pasted over it.

        Args:
            rng: The only source of randomness: equal seeds give equal clips.
            photos: Where pasted objects come from; None pastes drawn shapes.
            length: Number of frames.
            size: Side of the square frames in pixels.
            max_targets: The most objects to be segmented.
        """
        while True:
            video = self.videos[rng.choice(len(self.videos), p=self._weights)]
            indices = draw_indices(rng, len(video.images), length)
            images, labels = _read_frames(rng, video, indices)
            scene = _draw_layers(rng, images, labels, photos, size)
            frames, maps = zip(
                *(paint_frame(layers, t, size) for t, layers in enumerate(scene)), strict=True
            )
            targets = draw_targets(rng, maps[0], max_targets)
            if targets:
                lit = draw_lighting(rng, length).apply(np.stack(frames))
                return Clip(lit, np.stack(maps), targets)


def _open_video(folder: Path) -> Video:
    images = tuple(sorted((folder / "images").glob("*.jpg")))
    masks = tuple(sorted((folder / "masks").glob("*.png")))
    if len(images) != len(masks):
        raise ValueError(f"{folder} has {len(images)} images and {len(masks)} masks")
    return Video(folder.name, images, masks)


def _group_weights(names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Share what a data set gets among its sequences."""
    rest = 1 - sum(_GROUP_SHARES.values())
    groups = [name.split("-")[0] for name in names]
    groups = [group if group in _GROUP_SHARES else "" for group in groups]
    weights = np.array([_GROUP_SHARES.get(group, rest) / groups.count(group) for group in groups])
    return np.asarray(weights / weights.sum())


def draw_indices(rng: np.random.Generator, available: int, length: int) -> list[int]:
    """Draw the frames of a clip: a stride of 1 to 5, either direction, a start at random.

    A sequence that is too short is run through to and fro.
    """
    most = max(1, min(_MAX_STRIDE, (available - 1) // max(1, length - 1)))
    stride = int(rng.integers(1, most + 1))
    span = stride * (length - 1) + 1
    start = int(rng.integers(max(1, available - span + 1)))
    indices = start + stride * np.arange(length)
    there_and_back = np.abs((indices + available - 1) % max(1, 2 * available - 2) - available + 1)
    return [int(i) for i in (there_and_back if rng.random() < 0.5 else there_and_back[::-1])]


def _read_frames(
    rng: np.random.Generator, video: Video, indices: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read frames, all tinted alike, and their labels."""
    images, labels = zip(*(video.read(index) for index in indices), strict=True)
    tall = np.concatenate(images)
    return tint(rng, tall).reshape(len(indices), *images[0].shape), np.stack(labels)


def _draw_layers(
    rng: np.random.Generator,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    photos: PhotoLibrary | None,
    size: int,
) -> list[list[Layer]]:
    """Draw the view and what is pasted over it; return the layers of every frame."""
    length, height, width = labels.shape
    if rng.random() < _WHOLE_SHARE:
        view = whole_view(length, (height, width), size, is_mirrored=rng.random() < 0.5)
    else:
        pace = 0.0 if rng.random() < 0.5 else rng.uniform(0.05, 0.5)
        view = camera_path(rng, length, (height, width), size, pace)
    scene = [[Layer(image, label, view)] for image, label in zip(images, labels, strict=True)]
    if rng.random() < _TWIN_SHARE:
        _add_twin(rng, scene)
    if rng.random() < _SPRITE_SHARE:
        pace = rng.uniform(0.1, 1.0) * min(1.0, length / 6)
        first = 1 + max(_highest(layer.labels) for layers in scene for layer in layers)
        for label, cutout in enumerate(draw_cutouts(rng, photos, at_least=1), start=first):
            sprite = make_sprite(rng, cutout, label, pace=pace, length=length, size=size)
            for layers in scene:
                layers.append(sprite)
    if rng.random() < _POST_SHARE:
        post = draw_post(rng, view, size)
        for layers in scene:
            layers.append(post)
    return scene


def _add_twin(rng: np.random.Generator, scene: list[list[Layer]]) -> None:
    """Paste one of the objects a second time beside itself, as it looks on the other frames.

    It is under a label of its own: what looks the same is another object nevertheless.
    """
    first = scene[0][0]
    present = np.unique(first.labels)
    present = present[(present > 0) & (present < OTHER)]
    if len(present) == 0:
        return
    label = int(rng.choice(present))
    twin = 1 + max(_highest(layers[0].labels) for layers in scene)
    places = _twin_places(rng, first, label)
    order = range(len(scene))[:: int(rng.choice([-1, 1]))]
    twins = [
        replace(source[0], labels=np.where(source[0].labels == label, np.uint8(twin), np.uint8(0)))
        for source in (scene[t] for t in order)
    ]
    for layers, layer in zip(scene, twins, strict=True):
        layers.append(replace(layer, placement=places))


def _twin_places(rng: np.random.Generator, first: Layer, label: int) -> Placement:
    """Shift a placement by about the object's size and let the shift wander."""
    rows, columns = np.nonzero(first.labels == label)
    extent = np.array([np.ptp(columns) + 1, np.ptp(rows) + 1]) / np.abs(first.placement.step[0])
    shift = extent * rng.uniform([0.6, -0.3], [1.8, 0.3]) * rng.choice([-1, 1], 2)
    length = len(first.placement.angle)
    walk = np.stack([smooth_walk(rng, length, side) for side in 0.5 * extent], axis=1)
    return replace(first.placement, anchor=first.placement.anchor + shift + walk)


def _highest(labels: LabelMap) -> int:
    return int(labels[labels < OTHER].max(initial=0))
