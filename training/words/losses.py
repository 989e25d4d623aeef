"""What the parts of the words network are trained by."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from sam_video.detection.vocabulary import NOUNS
from sam_video.detection.words_finder import CellOutputs, Finder
from sam_video.detection.words_namer import NO_NOUN, Namer, mended
from training.words.crops import CropBatch
from training.words.targets import PHOTO, UNKNOWN, SceneBatch

_ABSENT_FROM_PHOTOS = {
    "ball",
    "balloon",
    "butterfly",
    "cup",
    "fish",
    "heart",
    "kite",
    "mushroom",
    "star",
    "umbrella",
}
"""A photo of a landscape or a street may well show any of the other nouns."""


class FinderLosses(NamedTuple):
    """Of a batch of scenes, each a scalar."""

    nouns: Tensor
    choice: Tensor
    boxes: Tensor
    quality: Tensor
    colours: Tensor

    def total(self) -> Tensor:
        """Weigh them against each other."""
        names = self.nouns + self.choice + 0.5 * self.colours
        total: Tensor = names + self.boxes + 0.5 * self.quality
        return total


def finder_losses(finder: Finder, batch: SceneBatch) -> FinderLosses:
    """Let a finder look at scenes."""
    return compare_cells(finder(batch.images), batch)


def compare_cells(outputs: CellOutputs, batch: SceneBatch) -> FinderLosses:
    """Compare what the cells say with what they should."""
    found = batch.nouns >= 0
    weights = batch.weights[found]
    total = weights.sum().clamp(min=1)
    boxes = outputs.boxes.permute(0, 2, 3, 1)[found]
    generalised, overlap = box_overlaps(boxes, batch.boxes[found])
    quality = binary_cross_entropy_with_logits(
        outputs.quality[:, 0][found], overlap.detach(), reduction="none"
    )
    choice, colours = (
        cross_entropy(logits.permute(0, 2, 3, 1)[found], truth[found], reduction="none")
        for logits, truth in ((outputs.nouns, batch.nouns), (outputs.colours, batch.colours))
    )
    return FinderLosses(
        nouns=_focal_loss(outputs.nouns, batch) / total,
        choice=(choice * weights).sum() / total,
        boxes=((1 - generalised) * weights).sum() / total,
        quality=(quality * weights).sum() / total,
        colours=(colours * weights).sum() / total,
    )


class NamerLosses(NamedTuple):
    """Of a batch of crops, each a scalar."""

    nouns: Tensor
    colours: Tensor
    boxes: Tensor

    def total(self) -> Tensor:
        """Weigh them against each other."""
        total: Tensor = self.nouns + 0.5 * self.colours + self.boxes
        return total


def namer_losses(namer: Namer, batch: CropBatch) -> NamerLosses:
    """Let a namer look at crops."""
    names = namer(batch.crops)
    is_thing = batch.nouns != NO_NOUN
    generalised, _ = box_overlaps(
        mended(batch.boxes[is_thing], names.shifts[is_thing]), batch.things[is_thing]
    )
    return NamerLosses(
        nouns=cross_entropy(names.nouns, batch.nouns, label_smoothing=0.02),
        colours=cross_entropy(names.colours[is_thing], batch.colours[is_thing]),
        boxes=(1 - generalised).mean(),
    )


def _focal_loss(logits: Tensor, batch: SceneBatch) -> Tensor:
    """Return the summed focal loss of all names; most cells have none and are easy."""
    logits = logits.permute(0, 2, 3, 1)
    truth = torch.zeros_like(logits)
    found = batch.nouns >= 0
    truth[found, batch.nouns[found]] = 1
    probability = logits.sigmoid()
    missed = torch.where(truth > 0, 1 - probability, probability)
    balance = torch.where(truth > 0, 0.35, 0.65)
    loss = binary_cross_entropy_with_logits(logits, truth, reduction="none")
    known = batch.weights[..., None] * (batch.nouns != UNKNOWN)[..., None]
    absent = torch.tensor([noun in _ABSENT_FROM_PHOTOS for noun in NOUNS], device=logits.device)
    known = known * (absent | (batch.nouns != PHOTO)[..., None])
    summed: Tensor = (balance * missed**2 * loss * known).sum()
    return summed


def box_overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Return the generalised IoU and the IoU of `(N, 4)` pairs of boxes, `(N,)` each."""
    inside = _extent(
        torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    )
    around = _extent(
        torch.minimum(boxes[:, :2], others[:, :2]), torch.maximum(boxes[:, 2:], others[:, 2:])
    )
    areas = _extent(boxes[:, :2], boxes[:, 2:]) + _extent(others[:, :2], others[:, 2:])
    union = areas - inside
    overlap = inside / (union + 1e-7)
    return overlap - (around - union) / (around + 1e-7), overlap


def _extent(start: Tensor, end: Tensor) -> Tensor:
    extent: Tensor = (end - start).clamp(min=0).prod(1)
    return extent
