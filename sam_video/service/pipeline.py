"""Compose reading, tracking and selection into one pass from a video and prompts to masks."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

from sam_video.detection.query import TextQuery
from sam_video.model.device import device_errors
from sam_video.model.interface import Model
from sam_video.model.load import load_model
from sam_video.progress import frame_progress
from sam_video.prompts import fit_prompts
from sam_video.service.file_reader import FileReader
from sam_video.service.metrics import TimedSource
from sam_video.service.text_frames import TextFrames
from sam_video.service.words import query_of
from sam_video.tracking.tracker import Tracker
from sam_video.types import FrameSource, MaskFrame, ObjectPrompt, Timer
from sam_video.video.read_ahead import ReadAhead, queue_size
from sam_video.video.selection import FrameSelection, select_frames


def segment_video(
    video: Path | str | FrameSource,
    prompts: Sequence[ObjectPrompt] = (),
    *,
    model: str | Model = "large",
    track_backward: bool = True,
    start_frame: int = -1,
    end_frame: int = -1,
    frame_interval: int = 1,
    text: str | TextQuery | None = None,
    text_model: str = "auto",
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
        text: What to find by words, such as `dog, red car`; there may be no prompts then. Negative
            clicks named like a concept exclude its instances under them.
        text_model: The detector for a text, as in a `Request`.

    Raises:
        RequestError: The video ends before `start_frame`, there is too much to process, or the
            detector needs a package that is missing.
        PromptError: A prompt or word cannot be used, or there are too many objects.
        VideoError: The video cannot be read.
        CheckpointError: The checkpoint or the detector cannot be loaded.
        DeviceError: The GPU cannot be used, fails, or has too little memory.
    """
    query = query_of(text, text_model=text_model, model=model)
    with _opened(video) as source:
        fitted = fit_prompts(prompts, source, query.may_find if query else None)
        selection = select_frames(
            source,
            {prompt.frame_index for prompt in fitted},
            start_frame=start_frame,
            end_frame=end_frame,
            frame_interval=frame_interval,
        )
        loaded = load_model(model) if isinstance(model, str) else model
        yield from mask_frames(loaded, selection, fitted, track_backward=track_backward, text=query)


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

    Raises:
        DeviceError: The GPU fails, or has too little memory.
        PromptError, VideoError: As for `segment_video`.
    """
    with (
        device_errors(),
        ReadAhead(selection, queue_size(selection.info)) as ahead,
    ):
        source = TimedSource(ahead, wait_timer)
        numbered = selection.renumbered(prompts)
        options = {
            "track_backward": track_backward,
            "with_confidences": with_confidences,
            "with_candidates": with_candidates,
        }
        if text is None:
            frames = _prompted(model, source, numbered, selection, **options)
        else:
            count = selection.count_backward
            found = TextFrames(model, source, numbered, text, count_backward=count, **options)
            frames = found.frames()
        with closing(frames):
            yield from map(selection.original, frames)


@contextmanager
def _opened(video: Path | str | FrameSource) -> Iterator[FrameSource]:
    if isinstance(video, str | Path):
        with FileReader() as reader:
            yield reader.open_video(Path(video))
    else:
        yield video


def _prompted(
    model: Model,
    source: FrameSource,
    prompts: Sequence[ObjectPrompt],
    selection: FrameSelection,
    *,
    track_backward: bool,
    with_confidences: bool,
    with_candidates: bool,
) -> Generator[MaskFrame, None, None]:
    """Run the tracker's passes in order and show their progress."""
    with Tracker(model, source, prompts, with_confidences=with_confidences) as tracker:
        tracker.condition()
        passed = selection.count_backward(tracker.num_backward_frames) if track_backward else 0
        num_frames = selection.info.num_frames
        total = None if num_frames is None else num_frames + passed
        with frame_progress(total) as progress:
            if track_backward:
                for _ in tracker.backward():
                    progress.update()
            for masks in tracker.forward():
                yield tracker.with_candidates(masks) if with_candidates else masks
                progress.update()
