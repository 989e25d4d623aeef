"""What the caller gets of a prediction, copied from a GPU at once and awaited when it is used."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sam_video.model.interface import Results
from sam_video.model.pixels import pack_masks, unpack_masks
from sam_video.types import ConfidenceMap


@dataclass(frozen=True, slots=True, eq=False)
class ResultTensors:
    """The results of N objects, where they were computed."""

    masks: Tensor
    """`(N, H, W)` bool."""
    scores: Tensor
    """`(N,)` float32."""
    ious: Tensor
    """`(N,)` float32."""
    confidences: Tensor | None = None
    """`(N, H, W)` uint8."""

    def result(self) -> Results:
        """Return them, if they are on the CPU."""
        maps = None if self.confidences is None else self.confidences.numpy()
        return Results(
            self.masks.numpy(),
            self.scores.tolist(),
            self.ious.tolist(),
            cast(ConfidenceMap | None, maps),
        )

    def pack(self) -> Tensor:
        """Return all of them as `(N, B)` uint8, the masks as bits."""
        numbers = torch.stack([self.scores, self.ious], dim=1).view(torch.uint8)
        parts = [numbers, pack_masks(self.masks).flatten(1)]
        if self.confidences is not None:
            parts.append(self.confidences.flatten(1))
        return torch.cat(parts, dim=1)


class CopiedResults:
    """Results on their way from a GPU, in one buffer of pinned memory.

    Args:
        results: On the GPU.
    """

    def __init__(self, results: ResultTensors) -> None:
        self._frame_hw = (results.masks.shape[1], results.masks.shape[2])
        packed = results.pack()
        self._packed = torch.empty(packed.shape, dtype=torch.uint8, pin_memory=True)
        self._packed.copy_(packed, non_blocking=True)
        # A thread that waits for a blocking event leaves its core to others.
        self._has_come = torch.cuda.Event(blocking=True)
        self._has_come.record()

    def result(self) -> Results:
        """Wait for the results and return them."""
        self._has_come.synchronize()
        return unpack(self._packed.numpy(), self._frame_hw)


def unpack(packed: npt.NDArray[np.uint8], frame_hw: tuple[int, int]) -> Results:
    """Return the results that `ResultTensors.pack` packed; none of them shares its memory."""
    height, width = frame_hw
    count, row_bytes = len(packed), -(-width // 8)
    scores, ious = packed[:, :8].copy().view(np.float32).T.tolist()
    last = 8 + height * row_bytes
    bits = packed[:, 8:last].reshape(count, height, row_bytes)
    levels = packed[:, last:].reshape(count, -1, width).copy()
    return Results(unpack_masks(bits, width), scores, ious, levels if levels.size else None)
