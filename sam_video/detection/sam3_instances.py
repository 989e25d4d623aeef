"""The objects that SAM 3 follows, and frames that wait for the certainty that they are any."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sam_video.model.pixels import confidence_levels, enlarge, pack_masks, unpack_masks
from sam_video.types import BoolMask, ConfidenceMap, Frame


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a video, found by a concept or stated by a prompt."""

    number: int
    """From 0 in the order of birth; never used again."""
    concept: str | None
    """None if a prompt states it."""
    score: float | None
    """The detector's at birth, 0 to 1; None if a prompt states it."""


@dataclass(frozen=True, slots=True, eq=False)
class InstanceMask:
    """An instance on one frame."""

    instance: Instance
    presence: float
    """Probability (0 to 1) that it is visible."""
    mask: BoolMask
    """`(H, W)` bool; instances of one concept share no pixel."""
    confidence: ConfidenceMap | None = None
    """If requested: `(H, W)` uint8, the probability of the object as 0 to 255."""


@dataclass(frozen=True, slots=True, eq=False)
class WaitingFrame:
    """A frame whose instances may still turn out to be none."""

    frame: Frame
    logits: dict[int, Tensor]
    """`(h, w)` by the number of the instance."""
    presences: dict[int, float]
    """The probability that each is visible; it may name more of them than `logits`."""

    @torch.inference_mode()
    def masks(
        self, instances: Mapping[int, Instance], *, with_confidences: bool
    ) -> list[InstanceMask]:
        """Return the masks at the frame's size, in the order of `instances`.

        They are enlarged one by one, since frames may be large. Where instances of one concept
        meet, the likeliest has the pixel.
        """
        taken: dict[str, Tensor] = {}
        found: dict[int, InstanceMask] = {}
        for number in sorted(self.logits, key=lambda n: (-self.presences[n], n)):
            instance = instances[number]
            logits = enlarge(self.logits[number][None, None], self.frame.image.shape[:2])[0, 0]
            mask = logits > 0
            if instance.concept is not None:
                others = taken.get(instance.concept, torch.zeros_like(mask))
                taken[instance.concept] = mask | others
                mask &= ~others
            confidence = _confidence(logits, mask) if with_confidences else None
            bits = pack_masks(mask).cpu().numpy()
            shown = unpack_masks(bits, mask.shape[1])
            found[number] = InstanceMask(instance, self.presences[number], shown, confidence)
        return [found[number] for number in instances if number in found]


def _confidence(logits: Tensor, mask: Tensor) -> ConfidenceMap:
    levels: ConfidenceMap = confidence_levels(logits, mask).cpu().numpy()
    return levels
