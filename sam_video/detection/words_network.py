"""The network of pocket's own words: one part finds things, the other looks at each of them.

The namer looks twice, the second time at the box that it has mended. Both parts say which noun and
colour a thing has; they err differently, so that their opinions are joined.
"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from sam_video.detection.words_finder import IMAGE_SIZE, CellOutputs, Finder
from sam_video.detection.words_namer import NO_NOUN, Namer, Names, crop, mended
from sam_video.types import RGBImage

_LEAST_SCORE = 0.05
_MOST_CELLS = 200
_MOST_CANDIDATES = 40
_MOST_OVERLAP = 0.5
"""IoU of boxes above which two candidates are one thing, whatever their nouns."""


@dataclass(frozen=True, slots=True)
class Thing:
    """Something that the network knows, as it was found."""

    noun: int
    """Index into `NOUNS`."""
    score: float
    """0 to 1."""
    box: tuple[float, ...]
    """Left, top, right, bottom in shares of the image."""
    colours: tuple[float, ...]
    """Probability of each of `COLOURS`."""

    def score_as(self, noun: int, colour: int | None) -> float:
        """Return the score as what is asked for, 0 for another noun."""
        if noun != self.noun:
            return 0.0
        return self.score if colour is None else self.score * self.colours[colour] ** 0.5


class Candidates(NamedTuple):
    """`N` boxes that may hold things, the surest first, as the finder has them."""

    certainty: Tensor
    """`(N,)`, 0 to 1."""
    boxes: Tensor
    """`(N, 4)`: left, top, right, bottom in shares of the image."""
    nouns: Tensor
    """`(N, len(NOUNS))` logits."""
    colours: Tensor
    """`(N, len(COLOURS))` logits."""


class WordsNetwork(nn.Module):
    """Finds the things in an image that it knows, all of them each time."""

    def __init__(self) -> None:
        super().__init__()
        self.finder = Finder()
        self.namer = Namer()

    @torch.inference_mode()
    def find(self, image: RGBImage) -> list[Thing]:
        """Return the things in an image of any size, the surest first."""
        seen = resized(image)
        device = self.finder.grid.device
        outputs = self.finder(torch.from_numpy(seen)[None].to(device))
        found = candidates(CellOutputs(*(value.float().cpu() for value in outputs)))
        if not len(found.boxes):
            return []
        first = self._look(seen, found.boxes)
        found = found._replace(boxes=mended(found.boxes, first.shifts))
        return named(found, self._look(seen, found.boxes))

    def _look(self, image: RGBImage, boxes: Tensor) -> Names:
        crops = np.stack([crop(image, tuple(box)) for box in boxes.tolist()])
        names = self.namer(torch.from_numpy(crops).to(self.finder.grid.device))
        return Names(*(value.float().cpu() for value in names))


def resized(image: RGBImage) -> RGBImage:
    """Squeeze an image into the square that the network sees."""
    is_larger = min(image.shape[:2]) > IMAGE_SIZE
    method = cv2.INTER_AREA if is_larger else cv2.INTER_LINEAR
    square = cv2.resize(image, (IMAGE_SIZE, IMAGE_SIZE), interpolation=method)
    return np.ascontiguousarray(square, dtype=np.uint8)


def candidates(outputs: CellOutputs) -> Candidates:
    """Turn what the cells of one image say into boxes that may hold things."""
    probability = outputs.nouns[0].sigmoid().amax(dim=0)
    certainty = (probability * outputs.quality[0, 0].sigmoid()).sqrt().flatten()
    boxes = outputs.boxes[0].permute(1, 2, 0).reshape(-1, 4).clamp(0, 1)
    extents = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1)
    order = certainty.sort(descending=True, stable=True).indices[:_MOST_CELLS]
    order = order[(certainty[order] >= _LEAST_SCORE) & (extents[order] > 0)]
    kept = order[surest(boxes[order])][:_MOST_CANDIDATES]
    nouns, colours = (logits[0].flatten(1).T for logits in (outputs.nouns, outputs.colours))
    return Candidates(certainty[kept], boxes[kept], nouns[kept], colours[kept])


def named(found: Candidates, names: Names) -> list[Thing]:
    """Give each candidate its likeliest noun and mend its box.

    Of those that overlap then the surest alone remains.
    """
    boxes = mended(found.boxes, names.shifts)
    is_thing = 1 - names.nouns.softmax(dim=1)[:, NO_NOUN]
    choice, nouns = _agreed(found.nouns, names.nouns[:, :NO_NOUN]).max(dim=1)
    scores = (choice * is_thing * found.certainty).sqrt()
    colours = _agreed(found.colours, names.colours)
    order = scores.sort(descending=True, stable=True).indices
    extents = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1)
    order = order[(scores[order] >= _LEAST_SCORE) & (extents[order] > 0)]
    return [
        Thing(int(nouns[i]), float(scores[i]), tuple(boxes[i].tolist()), tuple(colours[i].tolist()))
        for i in order[surest(boxes[order])]
    ]


def _agreed(finder: Tensor, namer: Tensor) -> Tensor:
    """Join the `(N, K)` opinions of both parts, the namer's with four times the weight."""
    return (0.25 * finder.log_softmax(dim=1) + namer.log_softmax(dim=1)).softmax(dim=1)


def surest(boxes: Tensor) -> list[int]:
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
