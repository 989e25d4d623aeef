"""Pocket's own words: a small detector of a closed vocabulary, which comes with the source.

It finds all things that it knows in an image, whatever is asked for, so that all its nouns compete
for each thing and the same image always has the same boxes. What is asked for is chosen last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sam_video.checkpoints.catalogue import Checkpoint
from sam_video.detection.interface import Detection
from sam_video.detection.vocabulary import COLOURS, NOUNS, parse_concept
from sam_video.detection.words_network import IMAGE_SIZE, CellOutputs, WordsNetwork
from sam_video.model.device import device_errors
from sam_video.model.load import load_weights
from sam_video.types import Box, RGBImage

__all__ = ["COLOURS", "NOUNS", "WEIGHTS", "PocketWords", "Thing", "find_things"]

WEIGHTS = Checkpoint(
    "pocket's words",
    "pocket_words.safetensors",
    "a66d344aca807e50bde88dc955a19511bae00479b02a01fe662156b4e40473dd",
)
"""The file that comes with the source."""

THRESHOLD = 0.5
"""Chosen on held-out drawings: `python -m training.words.score`."""

_LEAST_SCORE = 0.05
_MOST_CANDIDATES = 200
_MOST_OVERLAP = 0.5
"""IoU of boxes above which two candidates are one thing, whatever their nouns."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that the network knows, as it was found."""

    noun: int
    """Index into `NOUNS`."""
    score: float
    """0 to 1: the geometric mean of the noun's probability and the box's estimated IoU."""
    box: tuple[float, float, float, float]
    """Left, top, right, bottom in shares of the image."""
    colours: tuple[float, ...]
    """Probability of each of `COLOURS`."""

    def score_as(self, noun: int, colour: int | None) -> float:
        """Return the score as what is asked for, 0 for another noun."""
        if noun != self.noun:
            return 0.0
        return self.score if colour is None else self.score * self.colours[colour] ** 0.5


class PocketWords:
    """A `Detector` of the nouns and colours that pocket knows.

    Args:
        path: The `.safetensors` file of its weights.
        device: Where it runs.

    Raises:
        CheckpointError: The file is missing, damaged or of another network.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        network = WordsNetwork().eval()
        load_weights(network, path)
        with device_errors():
            self._network = network.to(device)

    @property
    def threshold(self) -> float:
        """The least score of a detection to be kept, where the caller names none."""
        return THRESHOLD

    def check(self, concepts: Sequence[str]) -> None:
        """Accept concepts that are a noun with or without a colour.

        Raises:
            PromptError: One of them is not.
        """
        for concept in concepts:
            parse_concept(concept)

    def detect(self, image: RGBImage, concepts: Sequence[str], threshold: float) -> list[Detection]:
        """Find the instances of concepts in an image, the surest first.

        Args:
            image: Of any size.
            concepts: Words that `check` accepts.
            threshold: Detections with a lower score are left out.
        """
        things = self._find(image)
        size = np.array(image.shape[1::-1] * 2)
        detections = [
            Detection(concept, score, Box(*np.multiply(thing.box, size).tolist()))
            for concept in concepts
            for thing in things
            if (score := thing.score_as(*parse_concept(concept))) >= max(threshold, _LEAST_SCORE)
        ]
        return sorted(detections, key=lambda detection: -detection.score)

    def _find(self, image: RGBImage) -> list[Thing]:
        seen = torch.from_numpy(_resized(image))[None]
        with torch.inference_mode(), device_errors():
            outputs = self._network(seen.to(self._network.grid.device))
            return find_things(CellOutputs(*(output.float().cpu() for output in outputs)))[0]


def _resized(image: RGBImage) -> RGBImage:
    """Squeeze an image into the square that the network sees."""
    is_larger = min(image.shape[:2]) > IMAGE_SIZE
    method = cv2.INTER_AREA if is_larger else cv2.INTER_LINEAR
    resized = cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=method)
    return np.ascontiguousarray(resized, dtype=np.uint8)


def find_things(outputs: CellOutputs) -> list[list[Thing]]:
    """Turn what the cells of B images say into the things in each, the surest first.

    Every cell stands for the noun that it is surest of, and of candidates that overlap the surest
    alone is a thing.
    """
    probability, nouns = outputs.nouns.sigmoid().max(dim=1)
    scores = (probability * outputs.quality[:, 0].sigmoid()).sqrt()
    boxes = outputs.boxes.permute(0, 2, 3, 1).clamp(0, 1)
    colours = outputs.colours.softmax(dim=1).permute(0, 2, 3, 1)
    return [
        _things_of(s.flatten(), n.flatten(), b.reshape(-1, 4), c.flatten(0, 1))
        for s, n, b, c in zip(scores, nouns, boxes, colours, strict=True)
    ]


def _things_of(scores: Tensor, nouns: Tensor, boxes: Tensor, colours: Tensor) -> list[Thing]:
    extents = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1)
    order = scores.sort(descending=True, stable=True).indices[:_MOST_CANDIDATES]
    order = order[(scores[order] >= _LEAST_SCORE) & (extents[order] > 0)]
    kept = order[_surest(boxes[order])]
    return [
        Thing(int(nouns[i]), float(scores[i]), tuple(boxes[i].tolist()), tuple(colours[i].tolist()))
        for i in kept
    ]


def _surest(boxes: Tensor) -> list[int]:
    """Return the positions of `(N, 4)` boxes, surest first, that no surer one overlaps."""
    overlaps = (_overlaps(boxes) > _MOST_OVERLAP).numpy()
    is_covered = np.zeros(len(boxes), np.bool_)
    kept = []
    for position in range(len(boxes)):
        if not is_covered[position]:
            kept.append(position)
            is_covered |= overlaps[position]
    return kept


def _overlaps(boxes: Tensor) -> Tensor:
    """Return the IoU of each two of `(N, 4)` boxes, `(N, N)`."""
    start = torch.maximum(boxes[:, None, :2], boxes[None, :, :2])
    end = torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    inside = (end - start).clamp(min=0).prod(2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    overlaps: Tensor = inside / (areas[:, None] + areas[None] - inside)
    return overlaps
