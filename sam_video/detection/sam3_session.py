"""The state of one video in SAM 3, in constant memory: only what later frames read is kept.

This module imports transformers, so it is itself imported on first use.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.models.sam3_video.modeling_sam3_video import Sam3VideoInferenceSession

MAX_COUNTED = 50
"""Frames in the lists of missed and of shared matches; only lengths up to 15 make a difference."""

_BY_OBJECT = (
    "point_inputs_per_obj",
    "mask_inputs_per_obj",
    "output_dict_per_obj",
    "frames_tracked_per_obj",
)


class Sam3Session(Sam3VideoInferenceSession):
    """What SAM 3 remembers of a video whose frames come one at a time, forward.

    The network reads only the latest conditioning frames (`tracker.max_cond_frame_num`), the mask
    memories of a few frames and the object pointers of some more, so that all else can go; then
    pruning changes no bit of any later result.

    Args:
        tracker: The configuration of the network's tracker.
        device: Where the network is.
    """

    def __init__(self, tracker: Any, device: torch.device) -> None:
        super().__init__(
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=torch.float32,
        )
        self._num_conditioning = int(tracker.max_cond_frame_num)
        self._num_memories = int(tracker.num_maskmem) - 1
        self._num_pointers = int(tracker.max_object_pointers_in_encoder) - 1
        self._num_prompts = 0
        self.obj_with_new_inputs: list[int] = []
        self.presence: dict[int, float] = {}
        """The probability that each object is visible on the present frame, by its number."""
        self.unwanted: set[int] = set()
        """The numbers of the prompts whose finds are no objects, and no part of any."""
        self.unwanted_area: Tensor | None = None
        """`(h, w)` bool, what they find on the present frame."""

    @property
    def num_frames(self) -> int:
        """More than any video has.

        The tracker divides by the number of frames less one and stops at it: the true number of
        those that are kept would change its results.
        """
        return 1 << 30

    def set_concepts(
        self,
        concepts: Sequence[str],
        unwanted: Sequence[str],
        encode: Callable[[str], tuple[Tensor, Tensor]],
    ) -> None:
        """Look for these concepts from the next frame on; objects of earlier ones go on.

        Args:
            concepts: What to find.
            unwanted: What to find so that `concepts` do not.
            encode: Returns the tokens of a concept and their mask.
        """
        wanted = [*dict.fromkeys(concepts), *dict.fromkeys(unwanted)]
        for number in [n for n, text in self.prompts.items() if text not in wanted]:
            for by_prompt in (self.prompts, self.prompt_input_ids, self.prompt_attention_masks):
                del by_prompt[number]
            self.prompt_embeddings.pop(number, None)
        for text in wanted:
            if text not in self.prompts.values():
                self.prompts[self._num_prompts] = text
                ids = self.prompt_input_ids, self.prompt_attention_masks
                ids[0][self._num_prompts], ids[1][self._num_prompts] = encode(text)
                self._num_prompts += 1
        self.unwanted = {n for n, text in self.prompts.items() if text not in concepts}

    def only(self, numbers: Sequence[int]) -> "Sam3Session":
        """Return the same session as if it had these objects alone; what it stores is shared.

        The tracker would otherwise track all other objects on the frame once more and replace
        their memories.
        """
        view = copy.copy(self)
        rows = [self.obj_id_to_idx(number) for number in numbers]
        view._obj_id_to_idx = OrderedDict(zip(numbers, range(len(rows)), strict=True))
        view._obj_idx_to_id = OrderedDict(enumerate(numbers))
        view.obj_ids = list(numbers)
        view.obj_with_new_inputs = list(numbers)
        for name in _BY_OBJECT:
            stored = getattr(self, name)
            setattr(view, name, {place: stored[row] for place, row in enumerate(rows)})
        return view

    def adopt(self, number: int) -> None:
        """Enter an object that a click, box or mask states; hot start neither counts nor ends it.

        Each is a prompt of its own, below 0, since objects of one prompt compete for pixels.
        """
        self.obj_id_to_idx(number)
        self.max_obj_id = max(self.max_obj_id, number)
        self.obj_id_to_prompt_id[number] = -1 - number
        self.obj_id_to_score[number] = 1.0
        self.confirm(number)

    def confirm(self, number: int) -> None:
        """Spare an object the hot start: it has been there for ever."""
        self.obj_first_frame_idx[number] = -(10**9)
        self.trk_keep_alive[number] = 30

    def reset_inference_session(self) -> None:
        """Forget all objects, but not the features of the frame: prompts on it may follow."""
        Sam3VideoInferenceSession.reset_tracking_data(self)
        self.mask_inputs_per_obj.clear()
        self.point_inputs_per_obj.clear()

    def reset_state(self) -> None:
        """Forget everything; the next object is number 0, as in a new session."""
        Sam3VideoInferenceSession.reset_state(self)
        self.max_obj_id = -1
        self.presence, self.unwanted, self.unwanted_area = {}, set(), None
        self.mask_inputs_per_obj.clear()
        self.point_inputs_per_obj.clear()

    def prune(self, time: int) -> None:
        """Drop what no frame after `time` reads."""
        by_frame: list[MutableMapping[int, Any]] = [
            self.processed_frames or {},
            self.obj_id_to_tracker_score_frame_wise,
            self.suppressed_obj_ids,
            *self.frames_tracked_per_obj.values(),
            *self.mask_inputs_per_obj.values(),
            *self.point_inputs_per_obj.values(),
        ]
        for passed in by_frame:
            _drop(passed, lambda index: index < time)
        for outputs in self.output_dict_per_obj.values():
            self._prune_outputs(time, **outputs)
        self._forget_removed()
        for indices in (*self.unmatched_frame_inds.values(), *self.overlaps.values()):
            del indices[:-MAX_COUNTED]

    @property
    def overlaps(self) -> dict[tuple[int, int], list[int]]:
        """The frames on which two objects matched one detection, the older object first."""
        return self.overlap_pair_to_frame_inds

    def _prune_outputs(
        self,
        time: int,
        cond_frame_outputs: dict[int, dict[str, Any]],
        non_cond_frame_outputs: dict[int, dict[str, Any]],
    ) -> None:
        """Keep the latest conditioning frames; earlier ones become ordinary ones, as in SAM 3.

        `transformers` reads the pointers of all conditioning frames, which are ever more, where the
        original (`sam3.model.sam3_tracker_base`) reads those of the latest alone.
        """
        ordinary, conditioning = non_cond_frame_outputs, cond_frame_outputs
        if len(conditioning) > self._num_conditioning:
            latest_first = sorted(conditioning, reverse=True)  # as they are read where some are not
            kept = {index: conditioning[index] for index in latest_first[: self._num_conditioning]}
            ordinary.update((k, v) for k, v in conditioning.items() if k not in kept)
            conditioning.clear()
            conditioning.update(kept)
        _drop(ordinary, lambda index: index <= time - self._num_pointers)
        for output in (*ordinary.values(), *conditioning.values()):
            output["high_res_masks"] = output["pred_masks"] = None
        for index, output in ordinary.items():
            if index <= time - self._num_memories:
                output["maskmem_features"] = output["maskmem_pos_enc"] = None

    def _forget_removed(self) -> None:
        """Drop what is counted of objects that are no more; else false finds would add up."""
        gone = self.removed_obj_ids
        for by_object in (
            self.obj_id_to_score,
            self.obj_first_frame_idx,
            self.unmatched_frame_inds,
            self.trk_keep_alive,
        ):
            _drop(by_object, gone.__contains__)
        _drop(self.overlaps, lambda pair: not gone.isdisjoint(pair))
        gone.clear()


def _drop(items: MutableMapping[Any, Any], is_gone: Callable[[Any], bool]) -> None:
    for key in [key for key in items if is_gone(key)]:
        del items[key]
