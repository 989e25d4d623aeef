"""Crops of scenes with what they show, to train the namer on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sam_video.detection.words_namer import NO_NOUN, crop
from training.photos import IGNORE
from training.words.overlaps import overlap
from training.words.scenes import NamedThing, Scene
from training.words.targets import SceneBatches

_CROPS_OF_A_THING = 2
_CROPS_OF_NOTHING = 5
_MOST_OVERLAP = 0.25
"""IoU of a crop of nothing with a thing."""

_NOWHERE = (0.0, 0.0, 1.0, 1.0)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CropBatch:
    """N crops and what the namer should say of them."""

    crops: Tensor
    """`(N, CROP_SIZE, CROP_SIZE, 3)` uint8."""
    nouns: Tensor
    """`(N,)` int64: index of a noun, or `NO_NOUN`."""
    colours: Tensor
    """`(N,)` int64, where there is a noun."""
    boxes: Tensor
    """`(N, 4)` float32: what was cut out, in shares of the scene."""
    things: Tensor
    """`(N, 4)` float32: boxes of the things, where there is a noun."""


class CropBatches(Dataset[CropBatch]):
    """Crops of the batches of a run, by their step."""

    def __init__(self, scenes: SceneBatches) -> None:
        self._scenes = scenes

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, step: int) -> CropBatch:
        rng = np.random.default_rng([self._scenes.seed, step, 2])
        return cut(rng, [scene for scene in self._scenes.draw(step) if not scene.is_photo])


def cut(rng: np.random.Generator, scenes: list[Scene]) -> CropBatch:
    """Cut crops of all things of scenes, from boxes that are a little off, and of nothing."""
    crops, boxes, truths = [], [], []
    for scene in scenes:
        shown = [
            *((_shifted(rng, np.array(t.box)), t) for t in scene.things * _CROPS_OF_A_THING),
            *((box, NamedThing(0, NO_NOUN, 0, _NOWHERE)) for box in _boxes_of_nothing(rng, scene)),
        ]
        crops += [crop(scene.image, tuple(box)) for box, _ in shown]
        boxes += [box for box, _ in shown]
        truths += [thing for _, thing in shown]
    return CropBatch(
        crops=torch.from_numpy(np.stack(crops)),
        nouns=torch.tensor([thing.noun for thing in truths]),
        colours=torch.tensor([thing.colour for thing in truths]),
        boxes=torch.from_numpy(np.stack(boxes)).float(),
        things=torch.tensor([thing.box for thing in truths], dtype=torch.float32),
    )


def _shifted(rng: np.random.Generator, box: Floats) -> Floats:
    """Move the edges of a box, as a detector might miss them."""
    sides = np.tile(box[2:] - box[:2], 2)
    return np.clip(box + rng.normal(0, rng.uniform(0.02, 0.16), 4) * sides, 0, 1)


def _boxes_of_nothing(rng: np.random.Generator, scene: Scene) -> list[Floats]:
    """Return boxes that show a part of things at most."""
    sides = np.exp(rng.uniform(np.log(0.08), np.log(0.7), (_CROPS_OF_NOTHING, 2)))
    starts = rng.uniform(-0.3, 1, (_CROPS_OF_NOTHING, 2)) * (1 - sides / 2)
    boxes = np.clip(np.concatenate([starts, starts + sides], axis=1), 0, 1)
    return [box for box in boxes if _shows_nothing(scene, box)]


def _shows_nothing(scene: Scene, box: Floats) -> bool:
    if (box[2:] - box[:2]).min() < 0.04:
        return False
    left, top, right, bottom = np.round(box * len(scene.labels)).astype(int)
    is_known = (scene.labels[top:bottom, left:right] == IGNORE).mean() < 0.1
    return is_known and all(
        overlap(thing.box, tuple(box)) < _MOST_OVERLAP for thing in scene.things
    )
