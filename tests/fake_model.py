"""A model of a few lines: an object is what has the colour that was clicked."""

from collections.abc import Sequence

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
from sam_video.types import BoolMask, ObjectPrompt, RGBImage


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

    It keeps a record of the batches that it was asked to track, for tests to look at.
    """

    def __init__(
        self, num_workers: int = 1, num_images: int = 1, *, encodes_ahead: bool = True
    ) -> None:
        self.num_workers, self.num_images = num_workers, num_images
        self.encodes_ahead = encodes_ahead
        self.batches: list[tuple[int, int, int]] = []
        """Objects, mask memories and pointers of each call of `with_memory`."""
        self.encoded: list[int] = []
        """Frames in each call of the image encoder."""

    def share_cores(self, num_threads: int) -> None:
        pass

    def encode_images(self, images: Sequence[RGBImage]) -> list[ImageFeatures]:
        self.encoded.append(len(images))
        maps = [torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() for image in images]
        return [ImageFeatures(pixels, (pixels, pixels)) for pixels in maps]

    def without_memory(self, image: ImageFeatures) -> Tensor:
        return image.features[:, :, 0, 0]

    def with_memory(self, image: ImageFeatures, memory: MemoryBatch, span: int) -> Tensor:
        self.batches.append((len(memory.maps), len(memory.maps[0]), memory.pointers.shape[1]))
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
        points = [prompt.clicks[0] for prompt in prompts]
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
