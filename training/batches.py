"""Batches of composed clips, made anew for every step from the step's own number."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.compose import Clip
from training.mixture import Mixture
from training.photos import IGNORE

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class ClipBatch:
    """B clips of T frames with N objects among them."""

    images: Tensor
    """`(B, T, 3, S, S)` uint8."""
    masks: Tensor
    """`(N, T, S, S)` bool."""
    known: Tensor
    """`(B, T, S, S)` bool: False where nobody knows what the pixel is."""
    clip_index: Tensor
    """`(N,)` the clip of every object."""

    def to(self, device: torch.device) -> "ClipBatch":
        """Copy to `device`."""
        return ClipBatch(
            images=self.images.to(device, non_blocking=True),
            masks=self.masks.to(device, non_blocking=True),
            known=self.known.to(device, non_blocking=True),
            clip_index=self.clip_index.to(device, non_blocking=True),
        )

    def frame(self, frame_index: int) -> Tensor:
        """Return the `(B, 3, S, S)` float images of one frame, normalised as SAM 2 does."""
        images = self.images[:, frame_index].float() / 255
        mean, deviation = (images.new_tensor(x).view(3, 1, 1) for x in (_MEAN, _DEVIATION))
        normalised: Tensor = (images - mean) / deviation
        return normalised.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True, slots=True)
class ClipShape:
    """How many clips of which length make a batch."""

    clips: int
    length: int
    burn_in: int = 0
    """Leading frames that are tracked without learning from them."""
    share: float = 1.0
    """How often this shape is drawn, in relation to the others."""
    max_targets: int = 4


class ClipBatches(Dataset[tuple[ClipBatch, ClipShape]]):
    """The batches of a run by their step: the same seed, step and rank give the same batch.

    Args:
        mixture: Where clips come from.
        shapes: What a batch may look like.
        seed: Of the run.
        rank: Of the process among those that share each step.
        steps: Length of the run.
        size: Side of the frames in pixels.
    """

    def __init__(
        self,
        mixture: Mixture,
        shapes: tuple[ClipShape, ...],
        *,
        seed: int,
        rank: int,
        steps: int,
        size: int,
    ) -> None:
        self._mixture, self._shapes, self._size = mixture, shapes, size
        self._seed, self._rank, self._steps = seed, rank, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[ClipBatch, ClipShape]:
        if step >= self._steps:
            raise IndexError(step)
        shape = self._draw_shape(step)
        rng = np.random.default_rng([self._seed, step, self._rank])
        clips = [
            self._mixture.draw_clip(
                rng, length=shape.length, size=self._size, max_targets=shape.max_targets
            )
            for _ in range(shape.clips)
        ]
        return collate(clips), shape

    def _draw_shape(self, step: int) -> ClipShape:
        """Draw a shape that all ranks share, so that their steps take equally long."""
        shares = np.array([shape.share for shape in self._shapes])
        index = np.random.default_rng([self._seed, step]).choice(
            len(shares), p=shares / shares.sum()
        )
        return self._shapes[index]


def collate(clips: list[Clip]) -> ClipBatch:
    """Stack clips of equal length."""
    masks = [clip.labels == label for clip in clips for label in clip.targets]
    counts = torch.tensor([len(clip.targets) for clip in clips])
    images = torch.from_numpy(np.stack([clip.images for clip in clips]))
    return ClipBatch(
        images=images.permute(0, 1, 4, 2, 3),
        masks=torch.from_numpy(np.stack(masks)),
        known=torch.from_numpy(np.stack([clip.labels != IGNORE for clip in clips])),
        clip_index=torch.repeat_interleave(torch.arange(len(clips)), counts),
    )
