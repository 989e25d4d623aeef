"""Run the network over composed clips as the tracker will, with gradients.

The steps are `SAM2Base.track_step`'s, on batches of objects of several clips: image features are
computed once per frame, and memories hold the network's own masks, never the truth.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor
from torch.nn.functional import interpolate

from training.batches import ClipBatch
from training.features import FrameFeatures, bfloat16_attention, encode
from training.losses import Targets, decoder_loss, make_targets
from training.prompts import (
    Points,
    PromptPlan,
    box_around,
    click_inside,
    correct,
    several_clicks,
)

_LOGIT_LIMIT = 32.0
_ENCODED_AT_ONCE = 8
"""Frames; more would only take memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The mask decoder's four masks and what was chosen of them."""

    mask_logits: Tensor
    """`(N, 4, 4h, 4w)`: the single mask, then the three candidates."""
    predicted_ious: Tensor
    """`(N, 4)`."""
    object_logits: Tensor
    """`(N, 1)`."""
    chosen: Tensor
    """`(N, 1, 4h, 4w)`."""
    pointer: Tensor
    """`(N, C)`."""


class Unroll:
    """One pass over a batch of clips.

    Args:
        network: In evaluation mode but for the trunk's batch norms; its parameters learn.
        batch: The clips.
        plan: How they are prompted.
        rng: Draws the prompts.
        halves: Whether memory attention runs in bfloat16, and the image encoder where it does
            not learn: on a CPU that has it a good tenth of a step less.
    """

    def __init__(
        self,
        network: SAM2Base,
        batch: ClipBatch,
        plan: PromptPlan,
        rng: np.random.Generator,
        *,
        halves: bool = False,
    ) -> None:
        self._network, self._batch, self._plan, self._rng = network, batch, plan, rng
        self._size: int = network.image_size
        self._halves = halves
        self._features: dict[int, FrameFeatures] = {}
        self._memory: dict[str, dict[int, dict[str, Any]]] = {
            "cond_frame_outputs": {},
            "non_cond_frame_outputs": {},
        }
        self.masks: list[Tensor] = []
        """The chosen `(N, 1, 4h, 4w)` mask logits of every frame, without gradients."""

    def loss(self, burn_in: int = 0) -> Tensor:
        """Track all frames and return the mean loss of those after the first `burn_in`."""
        with torch.no_grad():
            self._run_frames(range(burn_in))
        losses = self._run_frames(range(burn_in, self._batch.images.shape[1]))
        return torch.stack(losses).mean()

    def _run_frames(self, indices: range) -> list[Tensor]:
        losses: list[Tensor] = []
        for start in range(indices.start, indices.stop, _ENCODED_AT_ONCE):
            chunk = range(start, min(indices.stop, start + _ENCODED_AT_ONCE))
            self._features = encode(self._network, self._batch, chunk, halves=self._halves)
            for frame_index in chunk:
                losses += self._run_frame(frame_index)
        return losses

    def _run_frame(self, frame_index: int) -> list[Tensor]:
        features = self._features[frame_index]
        masks = self._batch.masks[:, frame_index]
        known = self._batch.known[:, frame_index][self._batch.clip_index]
        targets = make_targets(masks, known)
        if frame_index == 0:
            decoded, losses = self._prompt(features, masks, targets)
        else:
            decoded, losses = self._track(frame_index, features, masks, targets)
        is_prompted = frame_index in (0, self._plan.corrected_frame)
        self._remember(frame_index, features, decoded, is_prompted=is_prompted)
        self.masks.append(decoded.chosen.detach())
        return losses

    def _prompt(
        self, features: FrameFeatures, masks: Tensor, targets: Targets
    ) -> tuple[Decoded, list[Tensor]]:
        """Decode the first frame: from its prompt, then from corrections of what came out."""
        informed = features.low + self._network.no_mem_embed.view(1, -1, 1, 1)
        if self._plan.kind == "mask":
            return self._adopt_masks(features, masks, targets)
        points = self._first_points(masks)
        decoded = self._decode(features, informed, points)
        losses = [self._cost(decoded, targets, points)]
        for _ in range(self._plan.corrections):
            more = correct(self._rng, masks, self._enlarge(decoded.chosen)[:, 0] > 0)
            points = points.append(more.to(masks.device))
            decoded = self._decode(features, informed, points, decoded.chosen.detach())
            losses.append(self._cost(decoded, targets, points))
        return decoded, losses

    def _first_points(self, masks: Tensor) -> Points:
        rng, kind = self._rng, self._plan.kind
        if kind == "click":
            points = click_inside(rng, masks)
        elif kind == "clicks":
            points = several_clicks(rng, masks, int(rng.integers(2, 6)))
        else:
            points = box_around(rng, masks)
        if kind == "box_click":
            points = points.append(several_clicks(rng, masks, int(rng.integers(1, 3))))
        return points.to(masks.device)

    def _adopt_masks(
        self, features: FrameFeatures, masks: Tensor, targets: Targets
    ) -> tuple[Decoded, list[Tensor]]:
        """Take the true masks as the prediction, as `SAM2Base._use_mask_as_output` does.

        The decoder only makes the object pointer then; what it draws learns to repeat the mask.
        """
        inputs = masks[:, None].float()
        decoded = self._decode(
            features, features.low, None, self._network.mask_downsample(inputs), is_single=True
        )
        side = self._size // 4
        chosen = interpolate(inputs * 20 - 10, (side, side), mode="bilinear", antialias=True)
        scores = targets.is_visible[:, None].float() * 20 - 10
        loss = self._cost(decoded, targets, None, is_ambiguous=False)
        adopted = Decoded(
            decoded.mask_logits, decoded.predicted_ious, scores, chosen, decoded.pointer
        )
        return adopted, [0.25 * loss]

    def _track(
        self, frame_index: int, features: FrameFeatures, masks: Tensor, targets: Targets
    ) -> tuple[Decoded, list[Tensor]]:
        """Decode a later frame from memory and, where the plan says so, from a correction."""
        informed = self._attend(frame_index, features)
        decoded = self._decode(features, informed, None)
        losses = [self._cost(decoded, targets, None, is_ambiguous=False)]
        if frame_index == self._plan.corrected_frame:
            guess = self._enlarge(decoded.chosen)[:, 0] > 0
            points = correct(self._rng, masks, guess).to(masks.device)
            decoded = self._decode(features, informed, points, decoded.chosen.detach())
            losses.append(self._cost(decoded, targets, points, is_ambiguous=False))
        return decoded, losses

    def _attend(self, frame_index: int, features: FrameFeatures) -> Tensor:
        """Return the frame's features as memory attention changes them."""
        context = bfloat16_attention() if self._halves else nullcontext()
        with context:
            informed: Tensor = self._network._prepare_memory_conditioned_features(
                frame_idx=frame_index,
                is_init_cond_frame=False,
                current_vision_feats=[features.tokens],
                current_vision_pos_embeds=[features.positions],
                feat_sizes=[features.low.shape[-2:]],
                output_dict=self._memory,
                num_frames=10_000,  # pointers' distances count as in a long video
            )
        return informed.to(features.low.dtype)

    def _cost(
        self,
        decoded: Decoded,
        targets: Targets,
        points: Points | None,
        *,
        is_ambiguous: bool | None = None,
    ) -> Tensor:
        if is_ambiguous is None:
            is_ambiguous = points is not None and points.count == 1
        return decoder_loss(
            decoded.mask_logits,
            decoded.predicted_ious,
            decoded.object_logits,
            targets,
            is_ambiguous=is_ambiguous,
        )

    def _decode(
        self,
        features: FrameFeatures,
        informed: Tensor,
        points: Points | None,
        mask_prompt: Tensor | None = None,
        *,
        is_single: bool = False,
    ) -> Decoded:
        """Decode masks as `SAM2Base._forward_sam_heads` does, but keep all four."""
        network = self._network
        given = points or _no_points(len(informed), informed.device)
        if mask_prompt is not None:
            mask_prompt = mask_prompt.clamp(-_LOGIT_LIMIT, _LOGIT_LIMIT)
        sparse, dense = network.sam_prompt_encoder(
            points=(given.coordinates, given.labels), boxes=None, masks=mask_prompt
        )
        masks, ious, tokens, object_logits = network.sam_mask_decoder.predict_masks(
            image_embeddings=informed,
            image_pe=network.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            repeat_image=False,
            high_res_features=list(features.high),
        )
        is_ambiguous = not is_single and (points is None or points.count == 1)
        chosen, token = self._choose(masks, ious, tokens, is_ambiguous=is_ambiguous)
        is_visible = object_logits > 0
        pointer = torch.where(is_visible, network.obj_ptr_proj(token), network.no_obj_ptr)
        chosen = torch.where(is_visible[..., None, None], chosen.float(), NO_OBJ_SCORE)
        return Decoded(masks.float(), ious.float(), object_logits, chosen, pointer)

    def _choose(
        self, masks: Tensor, ious: Tensor, tokens: Tensor, *, is_ambiguous: bool
    ) -> tuple[Tensor, Tensor]:
        """Choose a mask and its token by SAM 2's rule at inference."""
        rows = torch.arange(len(masks), device=masks.device)
        best = 1 + ious[:, 1:].argmax(dim=1)
        if is_ambiguous:
            return masks[rows, best][:, None], tokens[rows, best]
        stability = self._network.sam_mask_decoder._get_stability_scores(masks[:, :1])
        steady = stability[:, 0] >= 0.98
        index = torch.where(steady, torch.zeros_like(best), best)
        return masks[rows, index][:, None], tokens[:, 0]

    def _remember(
        self, frame_index: int, features: FrameFeatures, decoded: Decoded, *, is_prompted: bool
    ) -> None:
        """Encode the frame's masks and keep them for later frames."""
        if frame_index == self._batch.images.shape[1] - 1:
            return
        memories, positions = self._network._encode_new_memory(
            current_vision_feats=[features.tokens],
            feat_sizes=[features.low.shape[-2:]],
            pred_masks_high_res=self._enlarge(decoded.chosen),
            object_score_logits=decoded.object_logits,
            is_mask_from_pts=is_prompted,
        )
        kept = "cond_frame_outputs" if is_prompted else "non_cond_frame_outputs"
        self._memory[kept][frame_index] = {
            "maskmem_features": memories,
            "maskmem_pos_enc": positions,
            "obj_ptr": decoded.pointer,
        }

    def _enlarge(self, logits: Tensor) -> Tensor:
        side = self._size
        return interpolate(logits, (side, side), mode="bilinear", align_corners=False)


def _no_points(count: int, device: torch.device) -> Points:
    coordinates = torch.zeros(count, 1, 2, device=device)
    return Points(coordinates, -torch.ones(count, 1, dtype=torch.int32, device=device))
