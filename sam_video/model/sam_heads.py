"""SAM 2's heads: from image features and prompts to masks, scores and object pointers."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from sam2.modeling.sam2_base import NO_OBJ_SCORE
from torch import Tensor

from sam_video.model.interface import ImageFeatures, Prediction
from sam_video.model.mask_decoder import MaskDecoder
from sam_video.types import ObjectPrompt

Points = tuple[Tensor, Tensor]
"""`(N, P, 2)` points in pixels of the network's input, and their `(N, P)` labels."""


class SamHeads:
    """Prompt encoder, mask decoder and pointer projection: `SAM2Base._forward_sam_heads`.

    Args:
        network: A `SAM2Base`, of which only the heads are held.
        dtype: Of the matrix products.
    """

    def __init__(self, network: Any, *, dtype: torch.dtype) -> None:
        self._device: torch.device = network.device
        self._dtype = dtype
        self._prompt_encoder = network.sam_prompt_encoder
        self._mask_decoder = MaskDecoder(network, dtype=dtype)
        self._mask_downsample = network.mask_downsample
        self._project_pointers = network.obj_ptr_proj
        self._no_pointer: Tensor = network.no_obj_ptr
        self._ambiguous_points = network.multimask_min_pt_num, network.multimask_max_pt_num
        sparse, dense = self._prompt_encoder(self._no_points(1), None, None)
        self._no_prompt: tuple[Tensor, Tensor] = sparse, dense[..., :1, :1]

    def is_ambiguous(self, num_points: int) -> bool:
        """One click, like none, may mean several things: the best of three masks is taken."""
        least, most = self._ambiguous_points
        return bool(least <= num_points <= most)

    def predict(
        self,
        image: ImageFeatures,
        informed: Tensor,
        points: Points | None,
        mask_prompt: Tensor | None,
        *,
        is_ambiguous: bool,
    ) -> Prediction:
        """Predict one mask for each object: the best one where there are three.

        Args:
            image: The frame.
            informed: `(N, C, h, w)`.
            points: Clicks and boxes, if any.
            mask_prompt: `(N, 1, H, W)` logits, if any.
            is_ambiguous: Whether the decoder gives three masks for each object.
        """
        masks, ious, tokens, score_logits = self.decode(
            image, informed, points, mask_prompt, is_ambiguous=is_ambiguous
        )
        best = ious.argmax(dim=1)
        rows = torch.arange(len(informed), device=self._device)
        with self._precision():
            chosen = tokens[rows, best if tokens.shape[1] > 1 else 0]
            pointers = self._project_pointers(chosen)
        is_visible = score_logits > 0
        logits = masks[rows, best][:, None].float()
        return Prediction(
            mask_logits=torch.where(is_visible[..., None, None], logits, NO_OBJ_SCORE),
            pointers=self.blank_absent(pointers.float(), is_visible),
            object_score_logits=score_logits.float(),
            predicted_ious=ious[rows, best].float(),
        )

    def predict_without_prompt(
        self, stride4: Tensor, stride8: Tensor, informed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the fields of `Prediction` for objects that memories alone inform about."""
        image = ImageFeatures(informed, (stride4, stride8))
        found = self.predict(image, informed, None, None, is_ambiguous=self.is_ambiguous(0))
        scores, ious = found.object_score_logits, found.predicted_ious
        return found.mask_logits, found.pointers, scores, ious

    def decode(
        self,
        image: ImageFeatures,
        informed: Tensor,
        points: Points | None,
        mask_prompt: Tensor | None,
        *,
        is_ambiguous: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return mask logits `(N, M, 4h, 4w)`, IoUs `(N, M)`, tokens, and scores `(N, 1)`."""
        if points is None and mask_prompt is None:
            sparse, dense = self._no_prompt
        else:
            sparse, dense = self._prompt_encoder(
                points=points or self._no_points(len(informed)), boxes=None, masks=mask_prompt
            )
        sparse = sparse.expand(len(informed), -1, -1)
        return self._mask_decoder(image, informed, sparse, dense, is_ambiguous=is_ambiguous)

    def mask_prompt(self, masks: Tensor) -> Tensor:
        """Turn `(N, 1, size, size)` masks of 0 and 1 into a prompt, as `_use_mask_as_output`."""
        with self._precision():
            prompt: Tensor = self._mask_downsample(masks).float()
        return prompt

    def blank_absent(self, pointers: Tensor, is_visible: Tensor) -> Tensor:
        """Put the pointer of nothing in the place of those of objects that are not visible."""
        return torch.where(is_visible, pointers, self._no_pointer)

    def _no_points(self, count: int) -> Points:
        """Return what stands for no points: one with label -1."""
        points = torch.zeros(count, 1, 2, device=self._device)
        return points, -torch.ones(count, 1, dtype=torch.int32, device=self._device)

    def _precision(self) -> AbstractContextManager[None]:
        is_bf16 = self._dtype is torch.bfloat16
        return torch.autocast(
            self._device.type, dtype=torch.bfloat16, enabled=is_bf16, cache_enabled=False
        )


def labelled_points(prompts: list[ObjectPrompt]) -> Points:
    """Return `(N, P, 2)` points in pixels of the frame, and their `(N, P)` labels.

    A box is two points with labels 2 and 3 ahead of the clicks, as in
    `SAM2VideoPredictor.add_new_points_or_box`.
    """
    rows = [_labelled_points(prompt) for prompt in prompts]
    points = torch.tensor([[point[:2] for point in row] for row in rows])
    labels = torch.tensor([[point[2] for point in row] for row in rows], dtype=torch.int32)
    return points, labels


def _labelled_points(prompt: ObjectPrompt) -> list[tuple[float, float, int]]:
    box = prompt.box
    corners = [] if box is None else [(box.x0, box.y0, 2), (box.x1, box.y1, 3)]
    return corners + [(click.x, click.y, click.label) for click in prompt.clicks]
