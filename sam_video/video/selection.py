"""Select the frames of a video that a prediction processes."""

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
"""The end of a video of unknown length; no video has so many frames."""


class FrameSelection:
    """Some frames of a video, as a `FrameSource` of their own, numbered 0, 1, 2, …

    A tracker that reads a selection sees them as neighbouring frames. "Number" is a frame's place
    in the selection, "index" its place in the source; `renumbered` and `original` translate between
    them. Prompted frames outside the bounds have numbers and `frames_at` yields them; the other
    readers skip them.

    Args:
        source: The whole video.
        regular: Indices of frames to process; it may extend past the end.
        prompted: Indices of further frames to process; the source must have them.
        bounds: Indices of frames to output; by default all.

    Raises:
        RequestError: The selection exceeds the limits on frames or time. If the source's length is
            not known, the readers raise this when they exceed a limit.
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
        """Return the number of output frames if the source has `num_frames`."""
        return max(0, self._place(min(num_frames, self._stop)) - self._num_before)

    def _check_length(self, num_frames: int) -> None:
        """Refuse a source of `num_frames` or more, if the selection exceeds the limits."""
        num_selected = self._num_selected(num_frames)
        if num_selected > MAX_FRAMES.value:
            raise RequestError(
                f"the video has {num_selected} frames or more to process; expected at most"
                f" {MAX_FRAMES}; end_frame and frame_interval select fewer"
            )
        # By the rate, because time stamps of a good file may jump by years.
        seconds = (min(num_frames, self._regular.stop) - self._regular.start) / self._rate
        if seconds > MAX_SECONDS.value:
            raise RequestError(
                f"the video has {float(seconds):.1f} seconds or more to process; expected at most"
                f" {MAX_SECONDS}; start_frame and end_frame select fewer"
            )

    def _place(self, index: int) -> int:
        """Return the number of selected frames before an index of the source."""
        regular = self._regular
        before = len(regular[: max(0, -(-(index - regular.start) // regular.step))])
        return before + bisect_left(self._extra, index)

    def _index(self, place: int) -> int:
        """Return the source's index of a selected frame, or the end for a number past the last."""
        return bisect_right(range(self._end), place, key=lambda index: self._place(index + 1))

    def _holds(self, index: int) -> bool:
        return self._place(index + 1) > self._place(index)

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames from number `start` on; decode nothing after the last one."""
        place = max(start, self._num_before)
        first = self._index(place)
        with closing(self._between(first)) as frames:
            selected = (frame for frame in frames if self._holds(frame.index))
            for number, frame in enumerate(selected, place):
                self._check_length(frame.index + 1)
                yield replace(frame, index=number)

    def _between(self, first: int) -> Generator[Frame, None, None]:
        """Yield the source's frames from `first` on; only prompted ones if none are regular."""
        if not self._regular:
            yield from self._source.frames_at(index for index in self._extra if index >= first)
            return
        with closing(self._source.frames(first)) as frames:
            yield from islice(frames, max(0, self._stop - first))

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames with these numbers in increasing order, omitting those past the end."""
        wanted = [self._index(place) for place in indices if place >= 0]
        with closing(self._source.frames_at(i for i in wanted if i < self._end)) as frames:
            for frame in frames:
                yield replace(frame, index=self._place(frame.index))

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames with the numbers `last`, `last - 1`, …, `first`."""
        if last < first:
            return
        end = min(self._index(last), self._stop - 1)
        start = max(self._index(first), self._start)
        with closing(self._source.frames_backward(end, start)) as frames:
            for frame in frames:
                if self._holds(frame.index):
                    yield replace(frame, index=self._place(frame.index))

    def count_frames(self, limit: int) -> int:
        """Return the number of selected frames, at most `limit`, also those outside the bounds."""
        if limit <= 0:
            return 0
        last = min(self._index(limit - 1), self._end - 1)
        return self._place(self._source.count_frames(last + 1))

    def count_backward(self, place: int) -> int:
        """Return the number of frames that `frames_backward` yields before a number."""
        return max(0, min(place, self._place(self._stop)) - self._num_before)

    def renumbered(self, prompts: Sequence[ObjectPrompt]) -> list[ObjectPrompt]:
        """Return prompts on selected frames, with the frames' numbers instead of their indices.

        Negative clicks correct tracked masks. Nothing is tracked outside the bounds, so such clicks
        have no effect there; one warning is logged.
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
        """Return whether a frame is an Nth regular one, N being `interval`, or only prompted."""
        return index not in self._regular or self._regular.index(index) % interval == 0


def select_frames(
    source: FrameSource,
    prompted: Collection[int],
    *,
    start_frame: int = -1,
    end_frame: int = -1,
    frame_interval: int = 1,
) -> FrameSelection:
    """Select every Nth frame from `start_frame` to `end_frame`, and the prompted frames.

    The tracker gets prompted frames outside this range, but they are not output.

    Args:
        source: The video; a still image always gives its one frame.
        prompted: Indices of prompted frames, which may be outside the range.
        start_frame: Index in the source; -1 is the first frame.
        end_frame: Index in the source, inclusive; -1 is the last frame.
        frame_interval: N.

    Raises:
        RequestError: The video ends before `start_frame`, or the selection exceeds the limits.
    """
    if source.info.is_still:
        return FrameSelection(source, range(1))
    start = min(max(0, start_frame), ENDLESS)
    # Every video has a first frame.
    if start > 0 and (num_frames := source.count_frames(start + 1)) <= start:
        raise RequestError(
            f"start_frame is {start_frame}; expected a frame from 0 to {num_frames - 1}"
        )
    stop = ENDLESS if end_frame < 0 else min(end_frame + 1, ENDLESS)
    regular = range(start, stop, min(frame_interval, ENDLESS))
    return FrameSelection(source, regular, prompted, range(start, stop))
