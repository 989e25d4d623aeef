"""The work of every tracked frame, in functions that a GPU records at set-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sam_video.model.batch_attention import BatchAttention
from sam_video.model.cuda_graphs import Recorder, record_all
from sam_video.model.recordings import BatchFunction

BATCH_SIZES = (1, 2, 4, 8, 16)
"""Objects in recorded calls of the mask decoder and the memory encoder, where a padded row costs
little."""


@dataclass(frozen=True, eq=False)
class TrackedWork:
    """The functions that compute a tracked frame."""

    encode: BatchFunction
    """Pixels `(N, size, size, 3)` to the features of N images: `ImageEncoder`."""
    attend: BatchAttention
    """Features and memories to features of N objects."""
    decode: BatchFunction
    """Features at strides 4 and 8, shared, and of N objects: `SamHeads.predict_without_prompt`."""
    encode_memories: BatchFunction
    """Features, shared, mask logits and object score logits of N objects to mask memories."""

    def record(
        self,
        image_shape: tuple[int, int],
        device: torch.device,
        encoder_recorder: Recorder,
        recorder: Recorder,
    ) -> bool:
        """Record all functions; return whether that succeeded.

        Args:
            image_shape: How many images are encoded at a time, and their size.
            device: Where the functions run.
            encoder_recorder: For the image encoder, which runs beside the others.
            recorder: For the others.
        """
        num_images, size = image_shape
        numbers = torch.arange(num_images * size**2 * 3, device=device)
        pixels = numbers.remainder_(251).byte().view(-1, size, size, 3)
        is_recorded = record_all(
            [
                partial(self.encode.record, encoder_recorder, (pixels,), (len(pixels),)),
                partial(self._record_tracking, pixels[:1], recorder),
            ]
        )
        if not is_recorded:
            self.free()
        return is_recorded

    def _record_tracking(self, pixels: Tensor, recorder: Recorder) -> None:
        """Record what has a row for each object, with the features of one image."""
        features, stride4, stride8 = self.encode(pixels)
        most = self.attend.most_objects(recorder.num_bytes)
        if most > 0:
            self.attend.record(recorder, features, most)
        sizes = fitting(BATCH_SIZES, most)
        inputs = stride4, stride8, features.repeat(sizes[-1], 1, 1, 1)
        self.decode.record(recorder, inputs, sizes)
        logits, _, scores, _ = self.decode(*inputs)
        self.encode_memories.record(recorder, (features, logits, scores), sizes)

    def free(self) -> bool:
        """Free the memory of all recordings; return whether there were any."""
        parts = self.encode, self.attend, self.decode, self.encode_memories
        # They end together: those of one recorder share a workspace, which ends with the first.
        taken = [one for part in parts for one in part.take_recordings()]
        if taken and taken[0].outputs[0].is_cuda:
            torch.cuda.synchronize()
        return bool(taken)


def fitting(sizes: Sequence[int], most: int) -> list[int]:
    """Return the ascending sizes of at most `most` items; there is room for one item always."""
    return [size for size in sizes if size <= max(1, most)]
