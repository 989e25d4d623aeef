"""The frames of a video that a prediction processes."""

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice

from sam_video.errors import RequestError
from sam_video.limits import MAX_FRAMES, MAX_SECONDS
from sam_video.types import Frame, FrameSource, MaskFrame, ObjectPrompt, VideoInfo

logger = logging.getLogger(__name__)

ENDLESS = 10**15
"""Stands for the end of a video whose length is not known; more frames than any video has."""


class FrameSelection:
    """Some frames of a video, as a `FrameSource` of their own, numbered 0, 1, 2, …

    A tracker that reads a selection sees neighbouring frames, whatever lies between them in the
    source. `renumbered` and `original` translate what goes in and what comes out. Prompted frames
    outside the bounds have numbers, and `frames_at` gives them; the other readers pass them by.

    Args:
        source: The whole video.
        regular: Indices of frames to process; it may go on past the end.
        prompted: Indices of frames to process besides, which the source has.
        bounds: Indices that may come out; by default all.

    Raises:
        RequestError: More frames or a longer time are selected than a request may process. Where
            the source does not say how long it is, reading says so when it gets there.
    """

    def __init__(
        self,
        source: FrameSource,
        regular: range,
        prompted: Collection[int] = (),
        bounds: range = range(ENDLESS),
    ) -> None:
        self._source = source
        self._regular = regular
        self._extra = sorted(index for index in set(prompted) if index not in regular)
        last = self._extra[-1] if self._extra else -1
        self._end = max(regular.stop, last + 1)
        self._start = bounds.start
        self._stop = min(self._end, bounds.stop)
        self._num_before = self._place(bounds.start)
        num_frames = source.info.num_frames
        self._rate = source.info.frame_rate
        self._check_length(max(num_frames or 0, min(last + 1, self._stop)))
        if num_frames is None and self._stop < ENDLESS:
            num_frames = self._stop
        selected = None if num_frames is None else self._num_selected(num_frames)
        self.info: VideoInfo = replace(source.info, num_frames=selected)

    def _num_selected(self, num_frames: int) -> int:
        """Count what comes out of a source of so many frames."""
        return max(0, self._place(min(num_frames, self._stop)) - self._num_before)

    def _check_length(self, num_frames: int) -> None:
        """Refuse a source of so many frames, or more, if too many of them are selected."""
        num_selected = self._num_selected(num_frames)
        if num_selected > MAX_FRAMES.value:
            raise RequestError(
                f"the video has {num_selected} frames or more to process; expected at most"
                f" {MAX_FRAMES}, of which end_frame and frame_interval make fewer"
            )
        # By the rate and not by time stamps: those of a good file may jump, by years.
        seconds = (min(num_frames, self._regular.stop) - self._regular.start) / self._rate
        if seconds > MAX_SECONDS.value:
            raise RequestError(
                f"the video has {float(seconds):.1f} seconds or more to process; expected at most"
                f" {MAX_SECONDS}, of which start_frame and end_frame make fewer"
            )

    def _place(self, index: int) -> int:
        """Count the selected frames before an index of the source."""
        regular = self._regular
        before = len(regular[: max(0, -(-(index - regular.start) // regular.step))])
        return before + bisect_left(self._extra, index)

    def _index(self, place: int) -> int:
        """Return the source's index of a selected frame; past the last one, where to stop."""
        return bisect_right(range(self._end), place, key=lambda index: self._place(index + 1))

    def _holds(self, index: int) -> bool:
        return self._place(index + 1) > self._place(index)

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames from number `start` on, and decode no further than the last."""
        place = max(start, self._num_before)
        first = self._index(place)
        with closing(self._between(first)) as frames:
            selected = (frame for frame in frames if self._holds(frame.index))
            for number, frame in enumerate(selected, place):
                self._check_length(frame.index + 1)
                yield replace(frame, index=number)

    def _between(self, first: int) -> Generator[Frame, None, None]:
        """Yield the source's frames from one on, or as few of them as need be."""
        if not self._regular:
            yield from self._source.frames_at(index for index in self._extra if index >= first)
            return
        with closing(self._source.frames(first)) as frames:
            yield from islice(frames, max(0, self._stop - first))

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the selected frames with these numbers in increasing order, as far as they are."""
        wanted = [self._index(place) for place in indices if place >= 0]
        with closing(self._source.frames_at(i for i in wanted if i < self._end)) as frames:
            for frame in frames:
                yield replace(frame, index=self._place(frame.index))

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames number `last`, `last - 1`, …, `first`."""
        if last < first:
            return
        end = min(self._index(last), self._stop - 1)
        start = max(self._index(first), self._start)
        with closing(self._source.frames_backward(end, start)) as frames:
            for frame in frames:
                if self._holds(frame.index):
                    yield replace(frame, index=self._place(frame.index))

    def count_frames(self, limit: int) -> int:
        """Return how many numbers there are, up to `limit`, those outside the bounds included."""
        if limit <= 0:
            return 0
        last = min(self._index(limit - 1), self._end - 1)
        return self._place(self._source.count_frames(last + 1))

    def count_backward(self, place: int) -> int:
        """Return how many frames `frames_backward` gives before a number."""
        return max(0, min(place, self._place(self._stop)) - self._num_before)

    def renumbered(self, prompts: Sequence[ObjectPrompt]) -> list[ObjectPrompt]:
        """Return prompts on frames of the source as prompts on this selection, which has them.

        Negative clicks correct tracked masks. Outside the bounds nothing is tracked: such clicks
        have no effect, and one warning is logged.
        """
        bounds = range(self._start, self._stop)
        vain = [p for p in prompts if not p.is_positive and p.frame_index not in bounds]
        if vain:
            logger.warning(
                "ignoring negative clicks on %d frames outside start_frame and end_frame, the"
                " first being frame %d",
                len({prompt.frame_index for prompt in vain}),
                vain[0].frame_index,
            )
        return [replace(prompt, frame_index=self._place(prompt.frame_index)) for prompt in prompts]

    def original(self, masks: MaskFrame) -> MaskFrame:
        """Return the masks of a selected frame with its index in the source."""
        return replace(masks, frame=replace(masks.frame, index=self._index(masks.frame.index)))

    def is_nth(self, index: int, interval: int) -> bool:
        """Whether a frame is one of every `interval` regular ones, or here because of a prompt."""
        return index not in self._regular or self._regular.index(index) % interval == 0


def select_frames(
    source: FrameSource,
    prompted: Collection[int],
    *,
    start_frame: int = -1,
    end_frame: int = -1,
    frame_interval: int = 1,
) -> FrameSelection:
    """Select every Nth frame from the first to the last one asked for, and the prompted ones.

    Prompted frames outside are there to inform a tracker alone.

    Args:
        source: The video; of a still image its one frame is selected.
        prompted: Indices of prompted frames, which may lie outside.
        start_frame: Of the source; -1 is its first.
        end_frame: Of the source, inclusive; -1 is its last.
        frame_interval: Distance of the frames.

    Raises:
        RequestError: The video ends before `start_frame`, or too much of it is selected.
    """
    if source.info.is_still:
        return FrameSelection(source, range(1))
    start = min(max(0, start_frame), ENDLESS)
    # There is a first frame in any case.
    if start > 0 and (num_frames := source.count_frames(start + 1)) <= start:
        raise RequestError(
            f"start_frame is {start_frame}; expected a frame from 0 to {num_frames - 1}"
        )
    stop = ENDLESS if end_frame < 0 else min(end_frame + 1, ENDLESS)
    regular = range(start, stop, min(frame_interval, ENDLESS))
    return FrameSelection(source, regular, prompted, range(start, stop))
