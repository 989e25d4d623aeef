"""Compose reading, tracking and selection into one pass from a video and prompts to masks."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path

from sam_video.cleaning import MaskCleaning
from sam_video.detection.query import TextQuery
from sam_video.model.device import device_errors
from sam_video.model.interface import Model
from sam_video.model.load import load_model
from sam_video.progress import frame_progress
from sam_video.prompts import fit_prompts
from sam_video.service.file_reader import FileReader
from sam_video.service.metrics import TimedSource
from sam_video.service.text_frames import TextFrames
from sam_video.tracking.tracker import Tracker
from sam_video.types import FrameSource, MaskFrame, ObjectPrompt, Timer, VideoInfo
from sam_video.video.read_ahead import ReadAhead
from sam_video.video.selection import FrameSelection, select_frames

MAX_QUEUED_FRAMES, MAX_QUEUED_BYTES = 4, 64 * 2**20
"""Limits of the queue between decoding and tracking, and of that between tracking and writing."""


def segment_video(
    video: Path | str | FrameSource,
    prompts: Sequence[ObjectPrompt],
    *,
    model: str | Model = "large",
    track_backward: bool = True,
    start_frame: int = -1,
    end_frame: int = -1,
    frame_interval: int = 1,
    text: TextQuery | None = None,
    cleaning: MaskCleaning | None = None,
) -> Generator[MaskFrame, None, None]:
    """Yield every frame of a video with the masks of the objects that are prompted or found.

    Args:
        video: A file that FFmpeg or Pillow reads, in a sandbox, or a source of frames. A thread
            reads up to four frames ahead, so each frame must have an image of its own.
        prompts: At most one per object and frame; at least one positive prompt per object that
            words do not find.
        model: A checkpoint's name, or a loaded model to reuse.
        track_backward: Also track from an object's first prompt back to the start.
        start_frame: First frame to process; -1 is the start.
        end_frame: Last frame to process, inclusive; -1 is the end.
        frame_interval: Process only every Nth frame and the prompted frames.
        text: What to find by words; there may be no prompts then. Negative clicks named like a
            concept exclude its instances under them.
        cleaning: What is cleaned in the masks that are yielded.

    Raises:
        RequestError: The video ends before `start_frame`, or there is too much to process.
        PromptError: A prompt cannot be used with this video, or there are too many objects.
        VideoError: The video cannot be read.
        CheckpointError: The checkpoint cannot be loaded.
        DeviceError: The GPU cannot be used, fails, or has too little memory.
    """
    with _opened(video) as source:
        fitted = fit_prompts(prompts, source, text.may_find if text else None)
        selection = select_frames(
            source,
            {prompt.frame_index for prompt in fitted},
            start_frame=start_frame,
            end_frame=end_frame,
            frame_interval=frame_interval,
        )
        loaded = load_model(model) if isinstance(model, str) else model
        yield from mask_frames(
            loaded,
            selection,
            fitted,
            track_backward=track_backward,
            text=text,
            cleaning=cleaning,
        )


def mask_frames(
    model: Model,
    selection: FrameSelection,
    prompts: Sequence[ObjectPrompt],
    *,
    track_backward: bool,
    with_confidences: bool = False,
    with_candidates: bool = False,
    wait_timer: Timer = nullcontext,
    text: TextQuery | None = None,
    cleaning: MaskCleaning | None = None,
) -> Generator[MaskFrame, None, None]:
    """Yield the selected frames with their masks and their indices in the source.

    Decoding runs ahead in a thread, and progress is shown on standard error.

    Args:
        model: The loaded model.
        selection: The frames.
        prompts: On selected frames, with the indices of the source.
        track_backward: Also track from an object's first prompt back to the start.
        with_confidences: Also set `ObjectMask.confidence`.
        with_candidates: Also set `ObjectMask.candidates`.
        wait_timer: Entered around every wait for a frame.
        text: What to find by words.
        cleaning: What is cleaned in the masks that are yielded.

    Raises:
        DeviceError: The GPU fails, or has too little memory.
        PromptError, VideoError: As for `segment_video`.
    """
    with (
        device_errors(),
        ReadAhead(selection, queue_size(selection.info)) as ahead,
        ExitStack() as stack,
    ):
        source = TimedSource(ahead, wait_timer)
        numbered = selection.renumbered(prompts)
        if text is None:
            tracker = stack.enter_context(
                Tracker(model, source, numbered, with_confidences=with_confidences)
            )
            frames = _track(tracker, selection, track_backward=track_backward)
            if with_candidates:
                frames = map(tracker.with_candidates, frames)
        else:
            found = TextFrames(
                model,
                source,
                numbered,
                text,
                track_backward=track_backward,
                with_confidences=with_confidences,
                with_candidates=with_candidates,
                count_backward=selection.count_backward,
            )
            frames = stack.enter_context(closing(found.frames()))
        for masks in map(selection.original, frames):
            yield cleaning.apply(masks) if cleaning else masks


def queue_size(info: VideoInfo, bytes_per_pixel: int = 3) -> int:
    """Return the capacity, in frames, of a queue between two threads: fewer if they are large."""
    num_bytes = info.width * info.height * bytes_per_pixel
    return max(1, min(MAX_QUEUED_FRAMES, MAX_QUEUED_BYTES // num_bytes))


@contextmanager
def _opened(video: Path | str | FrameSource) -> Iterator[FrameSource]:
    if isinstance(video, str | Path):
        with FileReader() as reader:
            yield reader.open_video(Path(video))
    else:
        yield video


def _track(
    tracker: Tracker, selection: FrameSelection, *, track_backward: bool
) -> Iterator[MaskFrame]:
    """Run the tracker's passes in order and show their progress."""
    tracker.condition()
    passed = selection.count_backward(tracker.num_backward_frames) if track_backward else 0
    num_frames = selection.info.num_frames
    total = None if num_frames is None else num_frames + passed
    with frame_progress(total) as progress:
        if track_backward:
            for _ in tracker.backward():
                progress.update()
        for masks in tracker.forward():
            yield masks
            progress.update()
