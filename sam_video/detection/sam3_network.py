"""SAM 3's video network, with the faults of its class in transformers mended.

This module imports transformers, so it is itself imported on first use.
"""

import logging
from typing import Any

import torch
from torch import Tensor
from transformers.models.sam3_video import modeling_sam3_video

from sam_video.detection.sam3_masks import Sam3Kernels
from sam_video.detection.sam3_session import Sam3Session

MIN_SAME = 0.5
"""A detection that overlaps a prompted object by this IoU is that object."""

MAX_UNWANTED = 0.5
"""A detection is not born if more of its area than this is part of what must not be found."""


class Sam3Network(modeling_sam3_video.Sam3VideoModel):
    """`Sam3VideoModel` with its faults mended; it takes a `Sam3Session`.

    - Masks and presences on a frame where hot start removes an object belong to their objects.
    - A birth leaves the other objects' memories alone.
    - Reconditioning compares the probability of presence, not its logit, with its threshold.
    - `mended` gives it the functions that remove duplicates, holes and specks.
    - What prompts state is not found again, nor anything of unwanted concepts.
    """

    def run_detection(self, inference_session: Any, vision_embeds: Any) -> Any:
        """Run the detector for each concept, and take away what is part of unwanted ones."""
        session: Sam3Session = inference_session
        if not session.prompts:
            return {}
        found = super().run_detection(session, vision_embeds)
        unwanted = [found.pop(number)["mask"] > 0 for number in session.unwanted]
        area = session.unwanted_area = torch.cat(unwanted).any(dim=0) if unwanted else None
        if area is None:
            return found
        return {number: _outside(area, detections) for number, detections in found.items()}

    def run_tracker_propagation(
        self, inference_session: Any, frame_idx: int, reverse: bool
    ) -> tuple[Tensor, Tensor]:
        """Track all objects, and note which row of the result is whose."""
        numbers = list(inference_session.obj_ids)
        masks, logits = super().run_tracker_propagation(inference_session, frame_idx, reverse)
        probabilities = logits.float().sigmoid().tolist()
        inference_session.presence = dict(zip(numbers, probabilities, strict=True))
        return masks, logits

    def build_outputs(
        self,
        inference_session: Any,
        det_out: dict[str, Tensor],
        tracker_low_res_masks_global: Tensor,
        tracker_update_plan: dict[str, Any],
        reconditioned_obj_ids: set[int] | None = None,
    ) -> dict[int, Tensor]:
        """Give each object its mask; those removed on this frame have none."""
        removed = tracker_update_plan["obj_ids_newly_removed"]
        rows = [row for row, n in enumerate(inference_session.presence) if n not in removed]
        masks: dict[int, Tensor] = super().build_outputs(
            inference_session,
            det_out,
            tracker_low_res_masks_global[rows],
            tracker_update_plan,
            (reconditioned_obj_ids or set()) - removed,
        )
        return masks

    def _prepare_recondition_masks(  # noqa: PLR0917 (as in transformers)
        self,
        inference_session: Any,
        frame_idx: int,
        det_out: dict[str, Tensor],
        trk_masks: Tensor,
        trk_id_to_max_iou_high_conf_det: dict[int, int],
        tracker_obj_scores_global: Tensor,
    ) -> Any:
        return super()._prepare_recondition_masks(
            inference_session,
            frame_idx,
            det_out,
            trk_masks,
            trk_id_to_max_iou_high_conf_det,
            tracker_obj_scores_global.sigmoid(),
        )

    def _tracker_add_new_objects(
        self,
        inference_session: Any,
        frame_idx: int,
        new_obj_ids: list[int],
        new_obj_masks: Tensor,
        reverse: bool = False,
    ) -> None:
        for number, mask in zip(new_obj_ids, new_obj_masks >= 0.5, strict=True):
            row = inference_session.obj_id_to_idx(number)
            inference_session.add_mask_inputs(row, frame_idx, mask[None, None])
        self.tracker_model(
            inference_session=inference_session.only(new_obj_ids),
            frame_idx=frame_idx,
            reverse=reverse,
            run_mem_encoder=True,
        )

    def _associate_det_trk(  # noqa: PLR0917 (as in transformers)
        self,
        det_masks: Tensor,
        det_scores: Tensor,
        trk_masks: Tensor,
        trk_obj_ids: list[int],
        det_prompt_ids: Tensor,
        trk_prompt_ids: Tensor,
    ) -> tuple[Any, ...]:
        born, *rest = super()._associate_det_trk(
            det_masks, det_scores, trk_masks, trk_obj_ids, det_prompt_ids, trk_prompt_ids
        )
        stated = trk_masks[trk_prompt_ids < 0] > 0
        is_stated = modeling_sam3_video.mask_iou(det_masks > 0, stated) >= MIN_SAME
        taken = is_stated.any(dim=1).tolist()
        return [number for number in born if not taken[number]], *rest

    def refine(
        self, session: Sam3Session, number: int, time: int, previous: Tensor | None
    ) -> dict[str, Tensor]:
        """Segment an object by what the session has of clicks, a box or a mask on a frame.

        Its result becomes a conditioning frame of the object.

        Args:
            session: After the network has run on the frame.
            number: The object.
            time: The frame.
            previous: `(1, 1, h, w)` logits of the object's mask there, for clicks to correct.

        Returns:
            `pred_masks`, `(1, 1, h, w)` logits, and `object_score_logits`, `(1, 1, 1)`.
        """
        view, tracker = session.only([number]), self.tracker_model
        found: dict[str, Tensor] = tracker._run_single_frame_inference(
            inference_session=view,
            frame_idx=time,
            obj_idx=0,
            batch_size=1,
            is_init_cond_frame=time not in view.frames_tracked_per_obj[0],
            point_inputs=view.point_inputs_per_obj[0].get(time),
            mask_inputs=view.mask_inputs_per_obj[0].get(time),
            reverse=False,
            prev_sam_mask_logits=previous,
        )
        view.output_dict_per_obj[0]["non_cond_frame_outputs"].pop(time, None)
        view.store_output(0, time, output_value=found, is_conditioning_frame=True)
        tracker._batch_encode_memories(
            inference_session=view,
            frame_idx=time,
            objects_needing_memory_encoding=[0],
            high_res_masks_for_memory=[found["high_res_masks"]],
            object_score_logits_for_memory=[found["object_score_logits"]],
            is_mask_from_pts_per_obj=[True],
        )
        return found


def _outside(area: Tensor, detections: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep the detections of which at most `MAX_UNWANTED` is in an `(h, w)` bool area."""
    masks = detections["mask"] > 0
    inside = (masks & area).sum(dim=(1, 2)) / masks.sum(dim=(1, 2)).clamp(min=1)
    kept = inside <= MAX_UNWANTED
    return {name: values[kept] for name, values in detections.items()}


def mended(network: Any) -> Sam3Network:
    """Turn a `Sam3VideoModel` that has been loaded into a `Sam3Network`."""
    network.__class__ = Sam3Network
    module: Any = modeling_sam3_video
    module.cv_utils_kernel = Sam3Kernels(network.fill_hole_area)
    module.logger.setLevel(logging.ERROR)  # it warns on every frame that has too many objects
    loaded: Sam3Network = network
    return loaded
