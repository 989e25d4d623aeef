"""The tracker: prompts condition, memories propagate, frames go in and masks come out.

All prompts are known before tracking starts. First the prompted frames are read and segmented;
then each object that enters late is tracked backward from its first prompt, its masks spooled to
disk; then all objects are tracked forward and every frame is yielded, in order. Objects do not
influence one another, and the forward pass does not depend on the backward one. Nothing is kept in
memory per frame of the video.

Threads share the work: one encodes the images of the frames ahead, if that is worth it, and others
have a shard of the objects each; these wait neither for one another nor for what is done with the
masks, but for a few frames at most. Where the GPU's memory does not suffice, fewer objects are
tracked at a time, and images are not encoded ahead.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import islice, starmap
from typing import Self

from torch import Tensor

from sam_video.errors import frame_outside_error
from sam_video.model.interface import ImageFeatures, Model, PendingResults, Prediction
from sam_video.tracking.batches import Batches, grouped, result_where_memory_suffices
from sam_video.tracking.mask_spool import MaskSpool
from sam_video.tracking.memory import MAX_POINTERS, Memory, MemoryBank, stack
from sam_video.tracking.objects import TrackedObject
from sam_video.types import (
    BoolMask,
    Candidate,
    Frame,
    FrameSource,
    MaskFrame,
    ObjectMask,
    ObjectPrompt,
)
from sam_video.workers.ahead import ahead
from sam_video.workers.threads import Future, OrderedThreads

PendingMasks = Callable[[], list[ObjectMask]]
"""Waits for the masks of some objects, which may still be on their way from a GPU."""

MAX_BATCH = 16
"""Objects in one call of the network: bounds its memory, and more gain nothing."""

MAX_AHEAD, MAX_BYTES_AHEAD = 2, 64 * 2**20
"""Frames that may be encoded and tracked while the masks of the one before them are made use of;
only one where the masks of a frame have more bytes than that."""


class Tracker:
    """Tracks objects through one video: `condition`, then `backward` or not, then `forward`.

    Args:
        model: As `load_model` returns it.
        source: The video; it is read two or three times.
        prompts: One per object and frame. Objects are numbered in the order of their first one.
        with_confidences: Give `ObjectMask.confidence` too.
    """

    def __init__(
        self,
        model: Model,
        source: FrameSource,
        prompts: Sequence[ObjectPrompt],
        *,
        with_confidences: bool = False,
    ) -> None:
        self._model = model
        self._source = source
        self._hw = (source.info.height, source.info.width)
        self._positives = [prompt for prompt in prompts if prompt.is_positive]
        self.objects = self._tracked_objects(prompts)
        """What is tracked, by name; a `LivePass` adds objects and removes them."""
        self._with_confidences = with_confidences
        self._spool = MaskSpool()
        self._num_shards = max(1, min(self.num_objects, model.num_workers))
        self._share_cores = partial(model.share_cores, self._num_shards + model.encodes_ahead)
        self._threads = OrderedThreads(self._num_shards, self._share_cores)
        is_large = self.num_objects * math.prod(self._hw) > MAX_BYTES_AHEAD
        self._num_ahead = 1 if is_large else MAX_AHEAD
        self._resources = ExitStack()
        self._span = MAX_POINTERS
        self._batches = Batches(MAX_BATCH, "objects", model.free_recordings)
        self._image_batches = Batches(model.num_images, "images", model.free_recordings)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self._spool.close)
            stack.enter_context(self._threads)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _tracked_objects(self, prompts: Sequence[ObjectPrompt]) -> dict[str, TrackedObject]:
        first_frames: dict[str, int] = {}
        for prompt in self._positives:
            earliest = first_frames.get(prompt.object_id, prompt.frame_index)
            first_frames[prompt.object_id] = min(earliest, prompt.frame_index)
        corrections: dict[str, dict[int, ObjectPrompt]] = defaultdict(dict)
        for prompt in prompts:
            if not prompt.is_positive:
                corrections[prompt.object_id][prompt.frame_index] = prompt
        return {
            name: TrackedObject(name, index, first, MemoryBank(), corrections[name])
            for index, (name, first) in enumerate(first_frames.items())
        }

    @property
    def num_objects(self) -> int:
        """How many objects are tracked."""
        return len(self.objects)

    @property
    def num_backward_frames(self) -> int:
        """How many frames `backward` will pass."""
        return max((o.first_frame for o in self.objects.values()), default=0)

    def condition(self) -> None:
        """Segment the prompted frames; each prompt becomes a memory of its object.

        Raises:
            PromptError: A prompt is on a frame that the video does not have.
            torch.OutOfMemoryError: The GPU's memory does not suffice for one object; so it is with
                the other passes.
        """
        by_frame = grouped(self._positives, lambda prompt: prompt.frame_index)
        wanted = set(by_frame).union(*(o.corrections for o in self.objects.values()))
        found = set()
        for frame in self._source.frames_at(wanted):
            found.add(frame.index)
            if frame.index in by_frame:
                (image,) = self._model.encode_images([frame.image])
                self.condition_on(frame.index, image, by_frame[frame.index])
        if wanted - found:
            num_frames = self._source.count_frames(max(wanted))
            raise frame_outside_error("frame_index", min(wanted - found), num_frames)
        self._span = self._source.count_frames(MAX_POINTERS)

    def condition_on(self, time: int, image: ImageFeatures, prompts: list[ObjectPrompt]) -> None:
        """Segment the positive prompts of one frame; each becomes a memory of its object."""

        def segment(batch: list[ObjectPrompt]) -> tuple[Prediction, list[Memory]]:
            prediction = self.segment_prompts(image, batch)
            return prediction, self._memories(time, image, prediction, is_prompted=True)

        for group in grouped(prompts, _prompt_shape).values():
            for batch, (prediction, memories) in self._batches.compute(group, segment):
                for row, (prompt, memory) in enumerate(zip(batch, memories, strict=True)):
                    tracked = self.objects[prompt.object_id]
                    tracked.bank.add_conditioning(memory)
                    tracked.predictions[time] = prediction.row(row)

    def segment_prompts(self, image: ImageFeatures, prompts: list[ObjectPrompt]) -> Prediction:
        """Return what positive prompts of one shape mean on a frame, without remembering it."""
        informed = self._model.without_memory(image)
        masks = [prompt.mask for prompt in prompts if prompt.mask is not None]
        if masks:
            return self._model.adopt_masks(image, informed, masks)
        return self._model.decode(image, informed, prompts, self._hw)

    def backward(self) -> Iterator[int]:
        """Track late objects back to the start, for `forward` to yield; yield each index passed."""
        late = [o.backward_copy() for o in self.objects.values() if o.first_frame > 0]
        if not late:
            return
        frames = self._source.frames_backward(self.num_backward_frames - 1)
        for frame, masks in self._track(frames, late):
            self._spool.append(frame.index, masks)
            yield frame.index

    def masks_before(self, time: int) -> tuple[ObjectMask, ...]:
        """Return the masks of a frame that `backward` has passed, of objects that enter later."""
        return self._spool.read(time)

    def forward(self) -> Iterator[MaskFrame]:
        """Yield every frame of the video with the masks of the objects tracked on it."""
        for frame, tracked in self._track(self._source.frames(), list(self.objects.values())):
            masks = [*self.masks_before(frame.index), *tracked]
            yield MaskFrame(frame, tuple(sorted(masks, key=lambda mask: mask.object_index)))

    def _track(
        self, frames: Generator[Frame, None, None], objects: list[TrackedObject]
    ) -> Iterator[tuple[Frame, list[ObjectMask]]]:
        """Yield each frame with the masks of those objects that are on it."""
        begun = self._begun(frames, objects)
        if self._model.encodes_ahead:
            begun = ahead(begun, self._num_ahead)
        for frame, calls in self._resources.enter_context(closing(begun)):
            yield frame, [mask for call in calls for some in call.result() for mask in some()]

    def _begun(
        self, frames: Generator[Frame, None, None], objects: list[TrackedObject]
    ) -> Generator[tuple[Frame, list[Future[list[PendingMasks]]]], None, None]:
        """Yield each frame once it is encoded, with the calls that track each shard on it."""
        if self._model.encodes_ahead:
            self._share_cores()
        shards = self._shards(objects)
        with closing(frames):
            while group := list(islice(frames, self._image_batches.size)):
                for frame, image in zip(group, self.encode(group, objects), strict=True):
                    steps = [partial(self.advance, frame, image, shard) for shard in shards]
                    yield frame, list(starmap(self._threads.submit, enumerate(steps)))

    def _shards(self, objects: list[TrackedObject]) -> list[list[TrackedObject]]:
        """Divide objects among the threads, so that on any frame each has about as many of them."""
        by_entry = sorted(objects, key=lambda tracked: tracked.first_frame)
        return [by_entry[number :: self._num_shards] for number in range(self._num_shards)]

    def encode(
        self, frames: list[Frame], objects: list[TrackedObject] | None = None
    ) -> list[ImageFeatures | None]:
        """Return the features of frames; None where none of some objects needs them.

        Also None where the GPU's memory does not suffice beside the tracking.
        """

        def encode(batch: list[Frame]) -> list[ImageFeatures]:
            call = partial(self._model.encode_images, [frame.image for frame in batch])
            if len(batch) > 1:
                return call()
            return [image for images in result_where_memory_suffices(call) for image in images]

        needed = frames
        if objects is not None:
            needed = [f for f in frames if any(o.is_tracked_on(f.index) for o in objects)]
        found: dict[int, ImageFeatures] = {}
        for batch, images in self._image_batches.compute(needed, encode):
            found |= zip((frame.index for frame in batch), images, strict=False)
        return [found.get(frame.index) for frame in frames]

    def advance(
        self, frame: Frame, image: ImageFeatures | None, shard: list[TrackedObject]
    ) -> list[PendingMasks]:
        """Return a shard's masks on a frame: tracked, or predicted from the prompts there."""
        time = frame.index
        masks: list[PendingMasks] = []
        others = []
        for tracked in shard:
            if (prediction := tracked.predictions.pop(time, None)) is not None:
                take = partial(self._object_masks, prediction=prediction)
                masks += [found for _, found in self._batches.compute([tracked], take)]
            elif tracked.is_on(time):
                others.append(tracked)
        if not others:
            return masks
        features = image or self._model.encode_images([frame.image])[0]

        def step(batch: list[TrackedObject]) -> tuple[list[Memory], PendingMasks]:
            prediction, memories = self._step(time, features, batch)
            return memories, self._object_masks(batch, prediction)

        for group in grouped(others, lambda tracked: tracked.shape_at(time)).values():
            for batch, (memories, found) in self._batches.compute(group, step):
                for tracked, memory in zip(batch, memories, strict=True):
                    if time in tracked.corrections:
                        tracked.bank.add_conditioning(memory)
                    else:
                        tracked.bank.add_recent(memory)
                masks.append(found)
        return masks

    def _step(
        self, time: int, image: ImageFeatures, objects: list[TrackedObject]
    ) -> tuple[Prediction, list[Memory]]:
        """Predict a batch of objects, of which all or none have a correction, on a frame."""
        memory = stack(tracked.bank.recall(time) for tracked in objects)
        informed = self._model.with_memory(image, memory, self._span)
        prediction = self._model.track(image, informed)
        corrections = [o.corrections[time] for o in objects if time in o.corrections]
        if corrections:
            prediction = self._model.decode(image, informed, corrections, self._hw, prediction)
        return prediction, self._memories(time, image, prediction, is_prompted=bool(corrections))

    def _memories(
        self, time: int, image: ImageFeatures, prediction: Prediction, *, is_prompted: bool
    ) -> list[Memory]:
        maps = self._model.encode_memory(image, prediction, is_prompted=is_prompted)
        return [
            Memory(time, features, pointer)
            for features, pointer in zip(maps, prediction.pointers, strict=True)
        ]

    def _object_masks(self, objects: list[TrackedObject], prediction: Prediction) -> PendingMasks:
        pending = self._model.results_of(
            prediction, self._hw, with_confidences=self._with_confidences
        )
        return partial(_masks_of, [(o.object_id, o.object_index) for o in objects], pending)

    def with_candidates(self, masks: MaskFrame) -> MaskFrame:
        """Add all masks that the prompts of a frame may mean to the prompted objects.

        Mask prompts have one meaning, and no candidates.
        """
        (image,) = self._model.encode_images([masks.frame.image])
        informed = self._model.without_memory(image)
        prompts = [p for p in self._positives if p.frame_index == masks.frame.index]
        found: dict[str, tuple[Candidate, ...]] = {}

        def segment(batch: list[ObjectPrompt]) -> tuple[BoolMask, Tensor]:
            return self._model.candidates(image, informed, batch, self._hw)

        for group in grouped((p for p in prompts if p.mask is None), _prompt_shape).values():
            for batch, (many, ious) in self._batches.compute(group, segment):
                for prompt, three, scores in zip(batch, many, ious.tolist(), strict=True):
                    found[prompt.object_id] = tuple(map(Candidate, three, scores))
        objects = (replace(o, candidates=found.get(o.object_id, ())) for o in masks.objects)
        return replace(masks, objects=tuple(objects))


def _masks_of(names: list[tuple[str, int]], pending: PendingResults) -> list[ObjectMask]:
    found = pending.result()
    levels = [None] * len(names) if found.confidences is None else found.confidences
    columns = zip(names, found.masks, found.scores, found.ious, levels, strict=True)
    return [ObjectMask(*name, *values) for name, *values in columns]


def _prompt_shape(prompt: ObjectPrompt) -> tuple[bool, int]:
    """Prompts with equal shapes can share one call of the prompt encoder."""
    return prompt.mask is not None, len(prompt.clicks) + 2 * (prompt.box is not None)
