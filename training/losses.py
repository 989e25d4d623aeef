"""What a predicted mask costs: focal and dice loss, the quality estimates, the object score.

The weights of the parts and the rule that only the best of three masks learns are SAM 2's (Ravi et
al., 2024, appendix D.2.2). That the score learns more from absence is not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

MASK_SIDE = 128
"""Masks are compared at this resolution, a little above that of the decoder."""
_FOCAL_WEIGHT = 20.0
_ABSENCE_WEIGHT = 2.0
"""Of the score where the object is hidden or gone. It is on few frames: with equal weights the
score says that everything is always visible."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The truth for N objects on one frame, at the resolution of the losses."""

    masks: Tensor
    """`(N, side, side)` share of every cell that the object covers, 0 to 1."""
    known: Tensor
    """`(N, side, side)` share of every cell that is labelled."""
    is_visible: Tensor
    """`(N,)` bool."""


def make_targets(masks: Tensor, known: Tensor) -> Targets:
    """Shrink `(N, S, S)` bool masks and maps of what is known to the losses' resolution."""
    factor = masks.shape[-1] // MASK_SIDE
    shrunk, seen = (torch.nn.functional.avg_pool2d(x.float(), factor) for x in (masks, known))
    return Targets(shrunk, seen, masks.flatten(1).sum(dim=1) > 0)


def decoder_loss(
    mask_logits: Tensor,
    predicted_ious: Tensor,
    object_logits: Tensor,
    targets: Targets,
    *,
    is_ambiguous: bool,
) -> Tensor:
    """Return the mean loss of N decoded objects.

    Args:
        mask_logits: `(N, 4, h, w)`: the single mask, then the three candidates.
        predicted_ious: `(N, 4)` the decoder's own estimates.
        object_logits: `(N, 1)`.
        targets: The truth.
        is_ambiguous: Whether the prompt was one click, which may mean several things: then the
            single mask does not learn.
    """
    logits = _enlarge(mask_logits)
    costs = _FOCAL_WEIGHT * focal_loss(logits, targets) + dice_loss(logits, targets)
    best = costs[:, 1:].min(dim=1).values
    masks = best if is_ambiguous else best + costs[:, 0]
    quality = (predicted_ious - _measured_ious(logits, targets)).abs()
    quality = quality[:, 1:].mean(dim=1) + (0 if is_ambiguous else quality[:, 0])
    visible = targets.is_visible.float()
    score = binary_cross_entropy_with_logits(
        object_logits[:, 0].float(), visible, weight=visible + _ABSENCE_WEIGHT * (1 - visible)
    )
    learned = ((masks + quality) * visible).sum() / visible.sum().clamp(min=1)
    return learned + score


def focal_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return the focal loss (gamma 2, alpha 0.25; Lin et al., 2017) of `(N, M, side, side)` logits.

    Returns:
        `(N, M)`, the mean over the known part of the frame.
    """
    truth, known = targets.masks[:, None], targets.known[:, None]
    entropy = binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none")
    miss = (logits.sigmoid() - truth).abs()
    alpha = 0.25 * truth + 0.75 * (1 - truth)
    cost = alpha * miss.square() * entropy * known
    return cost.sum(dim=(2, 3)) / known.sum(dim=(2, 3)).clamp(min=1)


def dice_loss(logits: Tensor, targets: Targets) -> Tensor:
    """Return `(N, M)`: one minus the Dice coefficient of probabilities and truth."""
    truth, known = targets.masks[:, None], targets.known[:, None]
    probabilities = logits.sigmoid() * known
    common = 2 * (probabilities * truth).sum(dim=(2, 3))
    total = probabilities.sum(dim=(2, 3)) + (truth * known).sum(dim=(2, 3))
    return 1 - (common + 1) / (total + 1)


@torch.no_grad()
def _measured_ious(logits: Tensor, targets: Targets) -> Tensor:
    known = targets.known[:, None] > 0.5
    guess, truth = (logits > 0) & known, (targets.masks[:, None] > 0.5) & known
    union = (guess | truth).sum(dim=(2, 3)).clamp(min=1)
    return (guess & truth).sum(dim=(2, 3)) / union


def _enlarge(logits: Tensor) -> Tensor:
    return interpolate(logits.float(), size=(MASK_SIDE, MASK_SIDE), mode="bilinear")
