"""One object while it is tracked."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

from sam_video.model.interface import Prediction
from sam_video.tracking.memory import MemoryBank
from sam_video.types import ObjectPrompt


@dataclass(slots=True, eq=False)
class TrackedObject:
    """The state of one object while it is tracked in one direction."""

    object_id: str
    object_index: int
    first_frame: int
    """Index of the first frame that has something positive for it."""
    bank: MemoryBank
    corrections: dict[int, ObjectPrompt]
    """Prompts of background clicks alone, by frame index."""
    predictions: dict[int, Prediction] = field(default_factory=dict)
    """Of the conditioning frames that have not been reached yet, by frame index."""
    is_backward: bool = False

    def backward_copy(self) -> "TrackedObject":
        """Return the same object, to be tracked backward from its first frame."""
        return replace(self, bank=self.bank.backward_copy(), predictions={}, is_backward=True)

    def shape_at(self, time: int) -> Hashable:
        """Objects with equal shapes can be tracked on to a frame in one batch."""
        correction = self.corrections.get(time)
        return self.bank.recall(time).shape, correction and len(correction.clicks)

    def is_on(self, frame_index: int) -> bool:
        """Whether tracking in its direction passes this frame."""
        return (frame_index < self.first_frame) is self.is_backward

    def is_tracked_on(self, frame_index: int) -> bool:
        """Whether tracking gives its mask on this frame, not a prompt."""
        return self.is_on(frame_index) and frame_index not in self.predictions
