"""What each cell of the network's grid should say of a scene, and batches of such scenes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sam_video.detection.vocabulary import NOUNS
from sam_video.detection.words_finder import GRID
from training.photos import IGNORE, PhotoLibrary
from training.words.scenes import (
    DrawnThing,
    NamedThing,
    Scene,
    draw_any,
    draw_crowd,
    draw_scene,
)

NOTHING, UNKNOWN, PHOTO = -1, -2, -3
"""Noun of a cell with nothing in it, of one that is not learned from, of one of a photo."""

_MIDDLE = 0.3
"""A cell finds a thing from within so many of its box's sides off its centre."""


_CROWDED_SHARE = 0.6
_STEPS_OF_A_POOL = 150
_THINGS_OF_A_POOL = 300
_NOUNS_OF_A_POOL = (*NOUNS, *("ball", "balloon") * 3)
"""Balls and balloons are hard to tell apart, and shown four times as often as other things."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneBatch:
    """B scenes and what the cells should say of them."""

    images: Tensor
    """`(B, S, S, 3)` uint8."""
    nouns: Tensor
    """`(B, G, G)` int64: index of a noun, or `NOTHING`, `UNKNOWN` or `PHOTO`."""
    colours: Tensor
    """`(B, G, G)` int64, where there is a noun."""
    boxes: Tensor
    """`(B, G, G, 4)` float32 shares of the image, where there is a noun."""
    weights: Tensor
    """`(B, G, G)` float32: less for each cell of a thing that has many."""


class SceneBatches(Dataset[SceneBatch]):
    """The batches of a run by their step: the same seed and step give the same batch.

    The things of crowded scenes come from pools, each of which serves some hundred steps.
    """

    def __init__(self, photos: PhotoLibrary | None, *, scenes: int, seed: int, steps: int) -> None:
        self._photos, self._scenes, self.seed, self._steps = photos, scenes, seed, steps
        self._pool: tuple[int, list[DrawnThing]] = (-1, [])

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> SceneBatch:
        return collate(self.draw(step))

    def draw(self, step: int) -> list[Scene]:
        """Draw the scenes of a step."""
        if step >= self._steps:
            raise IndexError(step)
        rng = np.random.default_rng([self.seed, step])
        return [self._draw(rng, step) for _ in range(self._scenes)]

    def _draw(self, rng: np.random.Generator, step: int) -> Scene:
        if rng.random() < _CROWDED_SHARE:
            return draw_crowd(rng, self._draw_pool(step // _STEPS_OF_A_POOL), self._photos)
        return draw_scene(rng, self._photos)

    def _draw_pool(self, index: int) -> list[DrawnThing]:
        if self._pool[0] != index:
            rng = np.random.default_rng([self.seed, index, 1])
            self._pool = (
                index,
                [draw_any(rng, 96, _NOUNS_OF_A_POOL) for _ in range(_THINGS_OF_A_POOL)],
            )
        return self._pool[1]


def collate(scenes: list[Scene]) -> SceneBatch:
    """Stack scenes and their targets."""
    targets = [_Targets(scene) for scene in scenes]
    return SceneBatch(
        images=torch.from_numpy(np.stack([scene.image for scene in scenes])),
        nouns=torch.from_numpy(np.stack([target.nouns for target in targets])),
        colours=torch.from_numpy(np.stack([target.colours for target in targets])),
        boxes=torch.from_numpy(np.stack([target.boxes for target in targets])),
        weights=torch.from_numpy(np.stack([target.weights for target in targets])),
    )


class _Targets:
    """The targets of one scene."""

    def __init__(self, scene: Scene) -> None:
        self._cells = scene.labels.reshape(GRID, -1, GRID, scene.labels.shape[1] // GRID)
        self.nouns = np.full((GRID, GRID), PHOTO if scene.is_photo else NOTHING, np.int64)
        self.colours = np.zeros((GRID, GRID), np.int64)
        self.boxes = np.zeros((GRID, GRID, 4), np.float32)
        self.weights = np.ones((GRID, GRID), np.float32)
        self.nouns[self._cover(IGNORE) > 0.25] = UNKNOWN
        for thing in sorted(scene.things, key=_area, reverse=True):
            self._add(thing)

    def _cover(self, label: int) -> npt.NDArray[np.float64]:
        """Return the share of each cell that a label has, `(G, G)`."""
        return np.asarray((self._cells == label).mean((1, 3)))

    def _add(self, thing: NamedThing) -> None:
        """Let the cells on a thing's middle find it; its other cells are not learned from."""
        cover = self._cover(thing.label)
        found = (cover > 0.4) & _middle(thing)
        if not found.any():
            found = cover == cover.max()
        self.nouns[(cover > 0.25) & (self.nouns < 0)] = UNKNOWN
        self.nouns[found] = thing.noun
        self.colours[found] = thing.colour
        self.boxes[found] = thing.box
        self.weights[found] = min(1.0, 3 / found.sum() ** 0.5)


def _middle(thing: NamedThing) -> npt.NDArray[np.bool_]:
    """Return the cells near the middle of a thing's box, `(G, G)`."""
    centres = (np.arange(GRID) + 0.5) / GRID
    left, top, right, bottom = thing.box
    least = 0.5 / GRID
    across = np.abs(centres - (left + right) / 2) <= max(_MIDDLE * (right - left), least)
    down = np.abs(centres - (top + bottom) / 2) <= max(_MIDDLE * (bottom - top), least)
    return np.asarray(down[:, None] & across[None])


def _area(thing: NamedThing) -> float:
    left, top, right, bottom = thing.box
    return (right - left) * (bottom - top)
