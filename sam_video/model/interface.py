"""The interface between the tracker and the model: a few verbs on batches of objects.

A model keeps no state of a video: all of it is among the arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from sam_video.types import BoolMask, ConfidenceMap, ObjectPrompt, RGBImage


class Ready(Protocol):
    """Tells when tensors are computed."""

    def wait(self, results: Sequence[Tensor]) -> None:
        """Let later work of the current stream of a GPU wait for the tensors."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """The image encoder's output for one frame, shared by all objects."""

    features: Tensor
    """`(1, C, h, w)` at stride 16."""
    high_res: tuple[Tensor, Tensor]
    """`(1, C/8, 4h, 4w)` at stride 4 and `(1, C/4, 2h, 2w)` at stride 8, for the mask decoder."""
    ready: Ready | None = None
    """What to wait for before reading them, where another stream of a GPU computes them."""

    def wait(self) -> None:
        """Let later work of the current stream wait until the features are there."""
        if self.ready is not None:
            self.ready.wait((self.features, *self.high_res))


@dataclass(frozen=True, slots=True, eq=False)
class MemoryBatch:
    """The memories that one frame attends to: M mask memories and P pointers per object."""

    maps: tuple[tuple[Tensor, ...], ...]
    """Mask memories, `N` times `M`, in the layout of `Model.encode_memory`."""
    slots: tuple[tuple[int, ...], ...]
    """Temporal slots of the maps, `N` times `M`: 0 conditioning, else 1 (oldest) to 6 (newest)."""
    pointers: Tensor
    """`(N, P, C)`."""
    distances: Tensor
    """`(N, P)` float32, distances of the pointers in frames."""


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """The mask decoder's output for N objects on one frame."""

    mask_logits: Tensor
    """`(N, 1, 4h, 4w)` float32 at a quarter of the input size; above 0 is object."""
    pointers: Tensor
    """Object pointers `(N, C)`."""
    object_score_logits: Tensor
    """`(N, 1)` float32; above 0 the object is visible."""
    predicted_ious: Tensor
    """`(N,)` float32."""

    def row(self, row: int) -> "Prediction":
        """Return the prediction of one object, as a batch of one."""
        chosen = slice(row, row + 1)
        return Prediction(
            self.mask_logits[chosen],
            self.pointers[chosen],
            self.object_score_logits[chosen],
            self.predicted_ious[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """What the caller gets of N objects on one frame."""

    masks: BoolMask
    """`(N, H, W)` bool at the frame's size."""
    scores: list[float]
    """Probabilities that the objects are visible, `N`."""
    ious: list[float]
    """Predicted IoUs of the masks, `N`."""
    confidences: ConfidenceMap | None = None
    """Probabilities of the objects `(N, H, W)` uint8, 0 to 255 for 0 to 1, if asked for.

    A pixel of the mask has 128 or more, any other less.
    """


class PendingResults(Protocol):
    """Results that may still be on their way."""

    def result(self) -> Results:
        """Wait for the results and return them."""
        ...


class Model(Protocol):
    """The methods that the tracker calls; several threads may call them at the same time."""

    @property
    def num_workers(self) -> int:
        """Number of batches of objects to track side by side, in threads."""
        ...

    def share_cores(self, num_threads: int) -> None:
        """Limit the current thread to its share of the CPU's cores, of so many threads."""
        ...

    @property
    def encodes_ahead(self) -> bool:
        """Whether to encode the next frames in a thread, beside the tracking."""
        ...

    @property
    def num_images(self) -> int:
        """Number of frames to encode at a time."""
        ...

    def encode_images(self, images: Sequence[RGBImage]) -> list[ImageFeatures]:
        """Run the image encoder on frames of any size."""
        ...

    def without_memory(self, image: ImageFeatures) -> Tensor:
        """Return a frame's `(1, C, h, w)` features for `decode`, informed by no memory."""
        ...

    def with_memory(self, image: ImageFeatures, memory: MemoryBatch, span: int) -> Tensor:
        """Inform a frame's features by the memories of N objects.

        Args:
            image: The frame.
            memory: N objects' memories.
            span: Frames over which distances of pointers are counted: 16, or the video's
                length where it is shorter.

        Returns:
            `(N, C, h, w)` features, for `decode`.
        """
        ...

    def track(self, image: ImageFeatures, informed: Tensor) -> Prediction:
        """Predict the masks of N objects from their memories alone.

        Args:
            image: The frame.
            informed: `(N, C, h, w)` from `with_memory`.
        """
        ...

    def decode(
        self,
        image: ImageFeatures,
        informed: Tensor,
        prompts: list[ObjectPrompt],
        frame_hw: tuple[int, int],
        previous: Prediction | None = None,
    ) -> Prediction:
        """Predict the masks of N objects from prompts on a frame.

        Args:
            image: The frame.
            informed: `(N, C, h, w)` from `with_memory`, or `(1, C, h, w)` from `without_memory`.
            prompts: One prompt of clicks and box per object, all of the same number of points.
            frame_hw: Height and width of the frame, in whose pixels the prompts are.
            previous: The masks that the prompts correct.
        """
        ...

    def adopt_masks(
        self, image: ImageFeatures, informed: Tensor, masks: list[BoolMask]
    ) -> Prediction:
        """Take N given masks `(H, W)` as the prediction."""
        ...

    def encode_memory(
        self, image: ImageFeatures, prediction: Prediction, *, is_prompted: bool
    ) -> Sequence[Tensor]:
        """Return the mask memories of N objects, each in a layout of the model's own."""
        ...

    def candidates(
        self,
        image: ImageFeatures,
        informed: Tensor,
        prompts: list[ObjectPrompt],
        frame_hw: tuple[int, int],
    ) -> tuple[BoolMask, Tensor]:
        """Return the three masks that each of N prompts may mean, and their predicted IoUs.

        Takes its arguments as `decode` does.

        Returns:
            `(N, 3, H, W)` bool masks at the frame's size, and their predicted IoUs, `(N, 3)`.
        """
        ...

    def results_of(
        self, prediction: Prediction, frame_hw: tuple[int, int], *, with_confidences: bool = False
    ) -> PendingResults:
        """Return the results of a prediction at the frame's size, with confidences or without."""
        ...

    def free_recordings(self) -> bool:
        """Free the memory of what only saves time; return whether there was any."""
        ...
