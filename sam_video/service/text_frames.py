"""Masks of what words find, together with those of the objects that prompts name.

What words find is known only once the video has been searched: objects that enter late are tracked
backward, and false ones are never yielded. So the tracker goes through the video once, its masks
wait on disk, and the frames are read again to be yielded with them. Where the words are looked for
on the first frame alone, all prompts are known after it, and the rest is as without words.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace

from sam_video.detection.query import TextQuery
from sam_video.detection.rounds import Rounds
from sam_video.model.interface import Model
from sam_video.progress import frame_progress
from sam_video.service.cast import Cast, Meanings, blank_doubles
from sam_video.tracking.live import LivePass
from sam_video.tracking.mask_spool import MaskSpool
from sam_video.tracking.tracker import Tracker
from sam_video.types import FrameSource, MaskFrame, ObjectPrompt


class TextFrames:
    """Finds the instances of a query in a video, and yields every frame with all masks.

    Args:
        model: The loaded model.
        source: The video; it is read several times.
        prompts: Of objects of their own, of instances to refine, and of instances to exclude.
        query: What to find.
        track_backward: Also track each object back from where it is first prompted or found.
        with_confidences: Also set `ObjectMask.confidence`.
        with_candidates: Also set `ObjectMask.candidates`; for still images.
        count_backward: Returns how many frames `source` has before an index; for the progress.
    """

    def __init__(
        self,
        model: Model,
        source: FrameSource,
        prompts: Sequence[ObjectPrompt],
        query: TextQuery,
        *,
        track_backward: bool,
        with_confidences: bool = False,
        with_candidates: bool = False,
        count_backward: Callable[[int], int] = lambda index: index,
    ) -> None:
        self._model, self._source = model, source
        self._query = replace(query, interval=0) if source.info.is_still else query
        self._prompts = Meanings(prompts, query)
        self._track_backward = track_backward
        self._with_confidences = with_confidences
        self._with_candidates = with_candidates
        self._count_backward = count_backward
        self._rounds = Rounds(self._query, self._prompts.own_names, self._prompts.excluding)
        self._association = self._rounds.association
        self._spool = MaskSpool()

    def frames(self) -> Generator[MaskFrame, None, None]:
        """Yield every frame of the video, in order; only once."""
        with closing(self._spool):
            yield from self._searched() if self._query.interval else self._prompted()

    def _prompted(self) -> Iterator[MaskFrame]:
        """Look for the words on the first frame; then all prompts are known, and are tracked."""
        with self._tracker(self._prompts.own) as tracker:
            for _ in self._search(tracker):
                pass
        cast = Cast(self._association, self._query, self._prompts)
        with self._tracker([*self._prompts.own, *cast.prompts()]) as tracker:
            tracker.condition()
            with frame_progress(self._num_steps(tracker, num_passes=1)) as progress:
                for _ in self._backward(tracker):
                    progress.update()
                for masks in tracker.forward():
                    found = tracker.with_candidates(masks) if self._with_candidates else masks
                    yield cast.composed(masks.frame, found.objects)
                    progress.update()

    def _searched(self) -> Iterator[MaskFrame]:
        """Look for the words all along the video; yield its frames once that is done."""
        with ExitStack() as stack:
            with self._tracker(self._prompts.own) as tracker:
                num_steps = self._num_steps(tracker, num_passes=2 + self._track_backward)
                progress = stack.enter_context(frame_progress(num_steps))
                for _ in self._search(tracker):
                    progress.update()
            before = stack.enter_context(self._tracker(self._late()))
            for num_passed in self._pass_late(before):
                progress.update(num_passed)
            cast = Cast(self._association, self._query, self._prompts)
            refined = cast.prompts(refined_alone=True)
            again = stack.enter_context(self._tracker(refined))
            again.condition()
            for _ in self._backward(again):
                pass
            names = {prompt.object_id for prompt in refined}
            known = {*self._prompts.own_names, *self._association.instances}
            for masks in again.forward():
                index = masks.frame.index
                waiting = [m for m in self._spool.read(index) if m.object_id in known]
                waiting += blank_doubles(before.masks_before(index), waiting)
                others = [item for item in waiting if item.object_id not in names]
                yield cast.composed(masks.frame, [*others, *masks.objects])
                progress.update()

    def _tracker(self, prompts: Sequence[ObjectPrompt]) -> Tracker:
        return Tracker(self._model, self._source, prompts, with_confidences=self._with_confidences)

    def _num_steps(self, tracker: Tracker, num_passes: int) -> int | None:
        """Return how many frames a tracker's backward pass and some whole passes have."""
        num_frames = self._source.info.num_frames
        if num_frames is None:
            return None
        passed = self._count_backward(tracker.num_backward_frames) if self._track_backward else 0
        return passed + num_passes * num_frames

    def _backward(self, tracker: Tracker) -> Iterator[int]:
        return tracker.backward() if self._track_backward else iter(())

    def _search(self, tracker: Tracker) -> Iterator[int]:
        """Track while the detector looks, as long as it does; spool the masks."""
        tracker.condition()
        yield from self._backward(tracker)
        with (
            self._rounds as rounds,
            LivePass(tracker, self._model, self._source, rounds) as live,
        ):
            for masks in live.frames():
                self._spool.append(masks.frame.index, masks.objects)
                yield masks.frame.index
                if rounds.is_over:
                    return

    def _late(self) -> list[ObjectPrompt]:
        """Return prompts for what is to be tracked backward from where it was found."""
        if not self._track_backward:
            return []
        return [item.prompt for item in self._association.believed() if not item.is_first]

    def _pass_late(self, before: Tracker) -> Iterator[int]:
        """Track late instances backward; yield how many frames of the progress that makes."""
        before.condition()
        num_passed = 0
        for index in self._backward(before):
            clicks = self._prompts.excluding.get(index, ())
            if clicks:
                masks = {item.object_id: item.mask for item in before.masks_before(index)}
                self._association.exclude(masks, clicks)
            num_passed += 1
            yield 1
        if self._track_backward and self._source.info.num_frames is not None:
            yield max(0, self._source.info.num_frames - num_passed)
