"""A model of a few lines: an object is what has the colour that was clicked, or amid a box."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from sam_video.model.interface import (
    ImageFeatures,
    MemoryBatch,
    PendingResults,
    Prediction,
    Results,
)
from sam_video.types import BoolMask, Click, ObjectPrompt, RGBImage

T = TypeVar("T")


class FakeResults:
    """Results that are there already."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def __len__(self) -> int:
        return len(self._results.masks)

    def result(self) -> Results:
        return self._results


class FakeModel:
    """Follows colours exactly: the object pointer is the colour, a mask is where it is found.

    It keeps a record of what it was asked for, for tests to look at, unless `keeps_record` is
    False.
    """

    def __init__(
        self,
        num_workers: int = 1,
        num_images: int = 1,
        *,
        encodes_ahead: bool = True,
        keeps_record: bool = True,
    ) -> None:
        self._keeps_record = keeps_record
        self.num_workers, self.num_images = num_workers, num_images
        self.encodes_ahead = encodes_ahead
        self.batches: list[tuple[int, int, int]] = []
        """Objects, mask memories and pointers of each call of `with_memory`."""
        self.encoded: list[int] = []
        """Frames in each call of the image encoder."""
        self.decoded: list[int] = []
        """Objects in each call of `decode` with positive prompts."""

    def _note(self, record: list[T], item: T) -> None:
        if self._keeps_record:
            record.append(item)

    def share_cores(self, num_threads: int) -> None:
        pass

    def encode_images(self, images: Sequence[RGBImage]) -> list[ImageFeatures]:
        self._note(self.encoded, len(images))
        maps = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() for image in images]
        return [ImageFeatures(pixels, (pixels, pixels)) for pixels in maps]

    def without_memory(self, image: ImageFeatures) -> Tensor:
        return image.features[:, :, 0, 0]

    def with_memory(self, image: ImageFeatures, memory: MemoryBatch, span: int) -> Tensor:
        batch = len(memory.maps), len(memory.maps[0]), memory.pointers.shape[1]
        self._note(self.batches, batch)
        return torch.stack([maps[0] for maps in memory.maps])

    def track(self, image: ImageFeatures, informed: Tensor) -> Prediction:
        return self._prediction(image, informed)

    def decode(
        self,
        image: ImageFeatures,
        informed: Tensor,
        prompts: list[ObjectPrompt],
        frame_hw: tuple[int, int],
        previous: Prediction | None = None,
    ) -> Prediction:
        if previous is not None:  # a correction takes the object away
            return self._prediction(image, torch.full_like(informed, -1))
        self._note(self.decoded, len(prompts))
        points = [_point(prompt) for prompt in prompts]
        colours = [image.features[0, :, int(point.y), int(point.x)] for point in points]
        return self._prediction(image, torch.stack(colours))

    def _prediction(self, image: ImageFeatures, colours: Tensor) -> Prediction:
        is_object = (image.features == colours[:, :, None, None]).all(dim=1, keepdim=True)
        is_visible = is_object.flatten(1).any(dim=1, keepdim=True)
        return Prediction(
            mask_logits=is_object.float() * 20 - 10,
            pointers=colours,
            object_score_logits=is_visible.float() * 20 - 10,
            predicted_ious=torch.ones(len(colours)),
        )

    def adopt_masks(
        self, image: ImageFeatures, informed: Tensor, masks: list[BoolMask]
    ) -> Prediction:
        means = [image.features[0, :, mask].median(dim=1).values for mask in masks]
        return self._prediction(image, torch.stack(means))

    def encode_memory(
        self, image: ImageFeatures, prediction: Prediction, *, is_prompted: bool
    ) -> Sequence[Tensor]:
        return prediction.pointers.unbind()

    def results_of(
        self, prediction: Prediction, frame_hw: tuple[int, int], *, with_confidences: bool = False
    ) -> PendingResults:
        masks = np.asarray(prediction.mask_logits[:, 0] > 0)
        scores = prediction.object_score_logits[:, 0].sigmoid().tolist()
        levels = masks.astype(np.uint8) * np.uint8(200) if with_confidences else None
        return FakeResults(Results(masks, scores, prediction.predicted_ious.tolist(), levels))

    def free_recordings(self) -> bool:
        return False

    def candidates(
        self,
        image: ImageFeatures,
        informed: Tensor,
        prompts: list[ObjectPrompt],
        frame_hw: tuple[int, int],
    ) -> tuple[BoolMask, Tensor]:
        prediction = self.decode(image, informed, prompts, frame_hw)
        masks = np.asarray(prediction.mask_logits[:, 0] > 0)
        whole, nothing = np.ones_like(masks), np.zeros_like(masks)
        scores = torch.tensor([[0.5, 0.9, 0.1]]).expand(len(prompts), -1)
        return np.stack([whole, masks, nothing], axis=1), scores


def _point(prompt: ObjectPrompt) -> Click:
    """Return the first click of a prompt, or the middle of its box."""
    if prompt.clicks:
        return prompt.clicks[0]
    assert prompt.box is not None
    return Click((prompt.box.x0 + prompt.box.x1) / 2, (prompt.box.y0 + prompt.box.y1) / 2)
