"""SAM 3 whole: concepts, clicks, boxes and masks in one session, frames one at a time."""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sam_video.detection.sam3_instances import Instance, InstanceMask, WaitingFrame
from sam_video.detection.sam3_masks import mask_ious, to_pixels
from sam_video.detection.sam3_words import Sam3Tokenizer, autocast, load_sam3
from sam_video.limits import MAX_OBJECTS
from sam_video.model.device import default_dtype
from sam_video.types import Click, Frame, ObjectPrompt

MIN_SAME = 0.5
"""Of a new object's mask, the IoU from which something found by words is the same thing."""

BIRTH_FACTOR = 1.4
"""A new object's score must exceed the threshold of detections by so much."""

NO_OBJECT = -10.0
"""The logit of what is taken away from a mask."""


class Sam3:
    """SAM 3's video network, loaded.

    Args:
        folder: As the hub has it.
        device: Where it runs.
        dtype: Of matrix products; by default the fastest that the device has.

    Raises:
        RequestError: transformers is missing or too old.
        CheckpointError: The folder is not one of SAM 3, or not complete.
        DeviceError: The GPU's memory does not suffice, or it fails.
    """

    def __init__(
        self, folder: Path, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.device = device
        self.dtype = dtype or default_dtype(device)
        network = load_sam3(folder, "Sam3VideoModel", device)
        from sam_video.detection.sam3_network import mended  # noqa: PLC0415 (transformers)

        self.network = mended(network)
        self.tokenizer = Sam3Tokenizer(folder)

    def encode(self, concept: str) -> tuple[Tensor, Tensor]:
        """Return the tokens of a concept, and which of them are not padding.

        Raises:
            PromptError: It is empty, or too long.
        """
        return self.tokenizer.encode(concept, self.device)


class Sam3Video:
    """Follows objects through one video, forward, in constant memory.

    For each frame: `track`, then `prompt` and `hide` as there are prompts on it, then `ready`.
    Outputs are held back for the network's hot start (15 frames), in which false finds and
    duplicates are recognised; they appear on no frame.

    Args:
        sam3: The network; one video at a time.
        concepts: What to find.
        unwanted: What must not be found: it takes pixels and births from the concepts.
        threshold: The least score of a detection; 0 is the network's own.
        max_objects: The most instances that words find, the surest of a frame first; 0 is no limit
            but that on all objects.

    Raises:
        PromptError: A concept is empty, or too long.
    """

    def __init__(
        self,
        sam3: Sam3,
        concepts: Sequence[str],
        *,
        unwanted: Sequence[str] = (),
        threshold: float = 0.0,
        max_objects: int = 0,
    ) -> None:
        from sam_video.detection.sam3_session import Sam3Session  # noqa: PLC0415 (on first use)

        self._sam3 = sam3
        self._network: Any = sam3.network
        self._session = Sam3Session(self._network.tracker_model.config, sam3.device)
        self._thresholds = _thresholds(self._network.config, threshold)
        self._max_objects = max_objects or MAX_OBJECTS.value
        self._delay = max(1, int(self._network.hotstart_delay))
        self._time = -1
        self._waiting: deque[WaitingFrame] = deque()
        self._hidden: set[int] = set()
        self._prompted: set[int] = set()
        self.instances: dict[int, Instance] = {}
        """The present instances in the order in which they appeared, left to right on a frame."""
        self.set_concepts(concepts, unwanted)

    def set_concepts(self, concepts: Sequence[str], unwanted: Sequence[str] = ()) -> None:
        """Find these from the next frame on; instances of earlier concepts go on.

        Raises:
            PromptError: A concept is empty, or too long.
        """
        self._session.set_concepts(concepts, unwanted, self._sam3.encode)

    @torch.inference_mode()
    def track(self, frame: Frame) -> None:
        """Find and follow the objects on the next frame."""
        if self._time >= 0:
            self._session.prune(self._time)
        self._time += 1
        size = int(self._network.config.image_size)
        self._session.add_new_frame(to_pixels(frame.image, size, self._sam3.device), self._time)
        self._set_limits()
        with autocast(self._sam3.device, self._sam3.dtype):
            found = self._network(self._session, frame_idx=self._time)
        self._forget(set(found.removed_obj_ids))
        masks = {number: mask[0].float() for number, mask in found.obj_id_to_mask.items()}
        self._enter(masks)
        self._take_unwanted(masks)
        shown = masks.keys() - self._hidden - found.suppressed_obj_ids
        scores = self._session.obj_id_to_score  # the tracker has not seen those born here
        presences = {n: self._session.presence.get(n, scores[n]) for n in shown}
        self._waiting.append(WaitingFrame(frame, {n: masks[n] for n in presences}, presences))

    def _set_limits(self) -> None:
        """Set what belongs to this video on the network, which others use too."""
        keep, birth = self._thresholds
        num_stated = sum(instance.concept is None for instance in self.instances.values())
        self._network.score_threshold_detection = keep
        self._network.new_det_thresh = birth
        self._network.max_num_objects = self._max_objects + num_stated

    def _enter(self, masks: dict[int, Tensor]) -> None:
        """Note the instances that are new on this frame, from left to right."""
        born = [number for number in masks if number not in self.instances]
        for number in sorted(born, key=lambda number: _centre(masks[number])):
            concept = self._session.prompts[self._session.obj_id_to_prompt_id[number]]
            score = self._session.obj_id_to_score[number]
            self.instances[number] = Instance(number, concept, score)

    def _take_unwanted(self, masks: dict[int, Tensor]) -> None:
        """Take the pixels of unwanted concepts from what words found."""
        area = self._session.unwanted_area
        for number, logits in masks.items():
            if area is not None and self.instances[number].concept is not None:
                masks[number] = logits.masked_fill(area, NO_OBJECT)

    def _forget(self, removed: set[int]) -> None:
        """Take away instances that were none, also from the frames held back."""
        for number in removed:
            self.instances.pop(number, None)
            self._hidden.discard(number)
            for waiting in self._waiting:
                waiting.logits.pop(number, None)

    @torch.inference_mode()
    def prompt(self, prompt: ObjectPrompt, number: int | None = None) -> int:
        """Apply clicks, a box or a mask on the frame that was tracked last.

        Args:
            prompt: Its coordinates are pixels of that frame.
            number: The instance that it corrects; None makes an object of its own, which takes the
                place of whatever words found there.

        Returns:
            The number of the instance, which the hot start no longer ends.
        """
        present, previous = self._waiting[-1], None
        if number is None:
            number = self._session.max_obj_id + 1
            self.instances[number] = Instance(number, None, None)
        is_new = number not in self._session.obj_ids  # or no more, in favour of another prompt's
        if is_new:
            self._session.adopt(number)
        else:
            self._session.confirm(number)
        if prompt.box is None and prompt.mask is None and number in present.logits:
            previous = present.logits[number][None, None].clamp(-32, 32)
        self._state(self._session.obj_id_to_idx(number), prompt)
        with autocast(self._sam3.device, self._sam3.dtype):
            found = self._network.refine(self._session, number, self._time, previous)
        present.logits[number] = found["pred_masks"][0, 0].float()
        present.presences[number] = float(found["object_score_logits"].sigmoid())
        self._hidden.discard(number)
        if is_new:
            self._replace_same(number)
        self._prompted.add(number)
        return number

    def _state(self, row: int, prompt: ObjectPrompt) -> None:
        """Hand a prompt to the session, in pixels of the network's input."""
        session, device = self._session, self._sam3.device
        session.remove_mask_inputs(row, self._time)  # of a birth on this frame
        if prompt.mask is not None:
            mask = torch.as_tensor(prompt.mask, dtype=torch.float32)
            session.add_mask_inputs(row, self._time, mask[None, None])
            return
        H, W = self._waiting[-1].frame.image.shape[:2]
        points = [(click.x, click.y, click.label) for click in prompt.clicks]
        if prompt.box is not None:
            box = prompt.box
            points = [(box.x0, box.y0, 2), (box.x1, box.y1, 3), *points]
        size = int(self._network.config.image_size)
        coords = [[x * size / W, y * size / H] for x, y, _ in points]
        session.point_inputs_per_obj[row][self._time] = {
            "point_coords": torch.tensor([[coords]], dtype=torch.float32, device=device),
            "point_labels": torch.tensor([[[label for *_, label in points]]], device=device),
        }

    def _replace_same(self, number: int) -> None:
        """Let a stated object take the place, from this frame on, of the same thing found."""
        logits = self._waiting[-1].logits
        others = [n for n in logits if n not in self._prompted | {number}]
        masks = torch.stack([logits[n] > 0 for n in (number, *others)])
        ious = mask_ious(masks)[0, 1:].tolist()
        for other, iou in zip(others, ious, strict=True):
            if iou >= MIN_SAME:
                self._session.remove_object(other)
                self._session.removed_obj_ids.add(other)
                del logits[other]

    def hide(self, number: int) -> None:
        """Show an instance no more, nor on the frames held back; it is not found again either."""
        self._hidden.add(number)
        for waiting in self._waiting:
            waiting.logits.pop(number, None)

    def found_at(self, click: Click, concept: str) -> list[int]:
        """Return the instances of a concept whose masks cover a point of the last frame."""
        present = self._waiting[-1]
        H, W = present.frame.image.shape[:2]
        return [
            number
            for number, logits in present.logits.items()
            if self.instances[number].concept == concept
            and logits[_cell(click.y, H, len(logits)), _cell(click.x, W, len(logits))] > 0
        ]

    def ready(
        self, *, is_last: bool = False, with_confidences: bool = False
    ) -> Iterator[tuple[Frame, list[InstanceMask]]]:
        """Yield the frames that are certain by now, with their instances in order of appearance.

        Args:
            is_last: No frame follows: yield all that were held back.
            with_confidences: Give `InstanceMask.confidence` too.
        """
        while len(self._waiting) >= (1 if is_last else self._delay):
            waiting = self._waiting.popleft()
            yield waiting.frame, waiting.masks(self.instances, with_confidences=with_confidences)


def _thresholds(config: Any, threshold: float) -> tuple[float, float]:
    """Return the least score of a detection, and of one that is to be a new object."""
    if not threshold:
        return float(config.score_threshold_detection), float(config.new_det_thresh)
    return threshold, min(BIRTH_FACTOR * threshold, (1 + threshold) / 2)


def _centre(logits: Tensor) -> float:
    """Return the mean column of a mask."""
    columns = (logits > 0).nonzero()[:, 1].float()
    return float(columns.mean()) if len(columns) else float("inf")


def _cell(position: float, length: int, num_cells: int) -> int:
    """Return where a position in pixels of a frame is in a mask."""
    return min(max(int(position * num_cells / length), 0), num_cells - 1)
