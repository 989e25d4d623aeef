"""The forward pass on which objects come and go while it runs."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain, islice
from typing import Self

from sam_video.model.interface import ImageFeatures, Model
from sam_video.tracking.batches import Batches
from sam_video.tracking.discovery import Discovery
from sam_video.tracking.memory import MemoryBank
from sam_video.tracking.objects import TrackedObject
from sam_video.tracking.tracker import MAX_AHEAD, MAX_BATCH, PendingMasks, Tracker
from sam_video.types import BoolMask, Box, Frame, FrameSource, MaskFrame, ObjectMask, ObjectPrompt
from sam_video.workers.ahead import ahead
from sam_video.workers.threads import Future, OrderedThreads

_Begun = tuple[Frame, ImageFeatures | None, list[Future[list[PendingMasks]]]]
"""A frame, its features once they are computed, and the calls that track the objects on it."""


class LivePass:
    """Tracks the objects of a tracker forward, and those that a discovery finds on the way.

    A context manager, inside that of the tracker, and in place of its `forward`. The masks of an
    object do not depend on when others come and go.

    Args:
        tracker: After `condition`, and `backward` or not.
        model: The tracker's.
        source: The tracker's.
        discovery: Says which objects come and go.
    """

    def __init__(
        self, tracker: Tracker, model: Model, source: FrameSource, discovery: Discovery
    ) -> None:
        self._tracker = tracker
        self._model = model
        self._source = source
        self._discovery = discovery
        self._hw = (source.info.height, source.info.width)
        self._threads = OrderedThreads(max(1, model.num_workers))
        self._shards: list[list[TrackedObject]] = [[] for _ in range(max(1, model.num_workers))]
        for tracked in tracker.objects.values():
            self._put(tracked)
        self._num_added = len(tracker.objects)
        self._batches = Batches(MAX_BATCH, "objects")
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._threads)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _put(self, tracked: TrackedObject) -> None:
        """Give an object to the thread that has the fewest; it stays there, to keep its order."""
        min(self._shards, key=len).append(tracked)

    def frames(self) -> Iterator[MaskFrame]:
        """Yield every frame of the video with the masks of the objects that are there by then."""
        begun: deque[_Begun] = deque()
        for frame, image in self._resources.enter_context(closing(self._encoded())):
            is_due = self._discovery.observe(frame)
            begun.append((frame, image, self._begin(frame, image)))
            while len(begun) > (1 if is_due else MAX_AHEAD):
                yield self._finished(*begun.popleft())
            if is_due:
                yield self._changed(*begun.pop())
        while begun:
            yield self._finished(*begun.popleft())

    def _encoded(self) -> Generator[tuple[Frame, ImageFeatures | None], None, None]:
        """Yield each frame, with its features from the first frame on that an object needs."""
        with closing(self._source.frames()) as frames:
            for frame in frames:
                if any(o.is_tracked_on(frame.index) for o in self._tracker.objects.values()):
                    break
                yield frame, None
            else:
                return
            images = self._images(chain((frame,), frames))
            if self._model.encodes_ahead:
                images = ahead(images, MAX_AHEAD)
            with closing(images):
                yield from images

    def _images(
        self, frames: Iterable[Frame]
    ) -> Generator[tuple[Frame, ImageFeatures | None], None, None]:
        iterator = iter(frames)
        while group := list(islice(iterator, self._model.num_images)):
            yield from zip(group, self._tracker.encode(group), strict=True)

    def _begin(self, frame: Frame, image: ImageFeatures | None) -> list[Future[list[PendingMasks]]]:
        """Have the objects tracked on a frame."""
        busy = [(number, list(shard)) for number, shard in enumerate(self._shards) if shard]
        num_threads = len(busy) + self._model.encodes_ahead
        return [
            self._threads.submit(number, partial(self._advance, num_threads, frame, image, shard))
            for number, shard in busy
        ]

    def _advance(
        self,
        num_threads: int,
        frame: Frame,
        image: ImageFeatures | None,
        shard: list[TrackedObject],
    ) -> list[PendingMasks]:
        self._model.share_cores(num_threads)  # more come to work as objects come
        return self._tracker.advance(frame, image, shard)

    def _finished(
        self, frame: Frame, _: ImageFeatures | None, calls: list[Future[list[PendingMasks]]]
    ) -> MaskFrame:
        tracked = [mask for call in calls for some in call.result() for mask in some()]
        masks = [*self._tracker.masks_before(frame.index), *tracked]
        return MaskFrame(frame, tuple(sorted(masks, key=lambda mask: mask.object_index)))

    def _changed(
        self, frame: Frame, image: ImageFeatures | None, calls: list[Future[list[PendingMasks]]]
    ) -> MaskFrame:
        """Return the masks of a frame after objects have come and gone."""
        masks = self._finished(frame, image, calls)
        lent = _Lent(self._model, frame, image)
        segment = partial(self._masks_in, lent)
        changes = self._discovery.decide(frame, masks.objects, segment)
        self._remove(changes.removals)
        left = [mask for mask in masks.objects if mask.object_id not in changes.removals]
        return MaskFrame(frame, (*left, *self._add(lent, changes.births)))

    def _masks_in(self, lent: "_Lent", boxes: Sequence[Box]) -> list[BoolMask]:
        """Return what boxes mean as prompts on a frame."""
        prompts = [ObjectPrompt("", lent.frame.index, box=box) for box in boxes]

        def segment(batch: list[ObjectPrompt]) -> BoolMask:
            prediction = self._tracker.segment_prompts(lent.image, batch)
            return self._model.results_of(prediction, self._hw).result().masks

        return [mask for _, masks in self._batches.compute(prompts, segment) for mask in masks]

    def _add(self, lent: "_Lent", prompts: Sequence[ObjectPrompt]) -> list[ObjectMask]:
        """Track new objects from a frame on; return their masks there."""
        if not prompts:
            return []
        time, first = lent.frame.index, self._num_added
        self._num_added += len(prompts)
        added = [
            TrackedObject(prompt.object_id, index, time, MemoryBank(), {})
            for index, prompt in enumerate(prompts, first)
        ]
        self._tracker.objects |= {tracked.object_id: tracked for tracked in added}
        self._tracker.condition_on(time, lent.image, list(prompts))
        for tracked in added:
            self._put(tracked)
        pending = self._tracker.advance(lent.frame, lent.image, added)
        return [mask for some in pending for mask in some()]

    def _remove(self, names: Sequence[str]) -> None:
        """Track objects no further."""
        for name in names:
            tracked = self._tracker.objects.pop(name)
            next(shard for shard in self._shards if tracked in shard).remove(tracked)


class _Lent:
    """A frame whose features are computed when they are first needed, if they were not before."""

    def __init__(self, model: Model, frame: Frame, image: ImageFeatures | None) -> None:
        self.frame = frame
        self._model = model
        self._image = image

    @property
    def image(self) -> ImageFeatures:
        """The features of the frame."""
        if self._image is None:
            (self._image,) = self._model.encode_images([self.frame.image])
        return self._image
