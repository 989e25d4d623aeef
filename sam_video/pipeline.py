"""The one place that composes the others: a request goes in, files come out."""

import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sam_video.checkpoints import resolve_checkpoint
from sam_video.device import device_errors
from sam_video.errors import DeviceError, PromptError, RequestError
from sam_video.file_reader import FileReader
from sam_video.heap import release_heap
from sam_video.metrics import Metrics, PeakMemory, TimedSource, timed
from sam_video.model import SegmentationModel
from sam_video.network import build_network, checked_input_size, load_weights
from sam_video.outputs import extra_sinks, primary_sink
from sam_video.progress import frame_progress
from sam_video.prompts import build_prompts, check_num_objects, frame_outside_error
from sam_video.read_ahead import ReadAhead
from sam_video.request import Request
from sam_video.selection import FrameSelection, select_frames
from sam_video.tracker import Tracker
from sam_video.types import Click, FrameSource, MaskFrame, ObjectPrompt, VideoInfo
from sam_video.write_behind import WriteBehind

logger = logging.getLogger(__name__)

MAX_QUEUED_FRAMES, MAX_QUEUED_BYTES = 4, 64 * 2**20
"""How much may be between decoding and tracking, and again between tracking and writing."""


def load_model(
    name: str, *, checkpoint: Path | None = None, input_size: int | None = None
) -> SegmentationModel:
    """Load a checkpoint by its name, downloading it where it is not at hand.

    Args:
        name: `large`, `base_plus`, `small`, `tiny` or `pocket`.
        checkpoint: A file of that architecture to use in place of the published one.
        input_size: 1024, or 768 or 512 pixels, which are faster and less accurate; None is what
            `SAM_VIDEO_INPUT_SIZE` says. `pocket` has its own.

    Raises:
        CheckpointError: It is missing and cannot be fetched, or is not what it should be.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """
    path = resolve_checkpoint(name, explicit=checkpoint)
    options = {} if name == "pocket" else {"image_size": checked_input_size(input_size)}
    network = build_network(name, **options)
    load_weights(network, path)
    with device_errors():
        model = SegmentationModel(network)
    if model.device.type == "cpu" and name != "pocket":
        logger.warning(
            "%s runs on the CPU, where a frame takes seconds, ten with large: no GPU is found"
            " (Docker needs `--gpus all`)",
            name,
        )
    return model


def segment_video(
    video: Path | str | FrameSource,
    prompts: Sequence[ObjectPrompt],
    *,
    model: str | SegmentationModel = "large",
    track_backward: bool = True,
    start_frame: int = -1,
    end_frame: int = -1,
    frame_interval: int = 1,
) -> Generator[MaskFrame, None, None]:
    """Yield every frame of a video with the masks of the prompted objects.

    Args:
        video: A file that FFmpeg or Pillow reads, in a process of its own, or frames from
            elsewhere. A thread reads up to four ahead, so that each must have an image of its own.
        prompts: At most one per object and frame; at least one that says where an object is.
        model: A checkpoint's name, or a loaded model to use again.
        track_backward: Also track from an object's first prompt back to the start.
        start_frame: First frame to process; -1 is the start.
        end_frame: Last frame to process, inclusive; -1 is the end.
        frame_interval: Process every Nth frame only, and the prompted ones.

    Raises:
        RequestError: The video ends before `start_frame`, or there is too much to process.
        PromptError: A prompt cannot be used with this video, or they name too many objects.
        VideoError: The video cannot be read.
        CheckpointError: The checkpoint cannot be had.
        DeviceError: The GPU cannot be used, fails, or has too little memory.
    """
    with _opened(video) as source:
        _check_prompts(prompts, source)
        selection = select_frames(
            source,
            {prompt.frame_index for prompt in prompts},
            start_frame=start_frame,
            end_frame=end_frame,
            frame_interval=frame_interval,
        )
        loaded = load_model(model) if isinstance(model, str) else model
        with (
            device_errors(),
            ReadAhead(selection, _queue_size(selection.info)) as ahead,
            Tracker(loaded, ahead, selection.renumbered(prompts)) as tracker,
        ):
            for masks in _track(tracker, selection.info, track_backward=track_backward):
                yield selection.original(masks)


@contextmanager
def _opened(video: Path | str | FrameSource) -> Iterator[FrameSource]:
    if isinstance(video, str | Path):
        with FileReader() as reader:
            yield reader.open_video(Path(video))
    else:
        yield video


def _check_prompts(prompts: Sequence[ObjectPrompt], source: FrameSource) -> None:
    if not any(prompt.is_positive for prompt in prompts):
        raise PromptError("prompts has nothing positive; expected a click, a box or a mask")
    check_num_objects(len({prompt.object_id for prompt in prompts}))
    last = max(prompt.frame_index for prompt in prompts)
    num_frames = source.count_frames(last + 1)
    if last >= num_frames:
        raise frame_outside_error("frame_index", last, num_frames)


def _queue_size(info: VideoInfo, bytes_per_pixel: int = 3) -> int:
    """Return how many frames may be between two threads: fewer where they are large."""
    num_bytes = info.width * info.height * bytes_per_pixel
    return max(1, min(MAX_QUEUED_FRAMES, MAX_QUEUED_BYTES // num_bytes))


def _track(tracker: Tracker, info: VideoInfo, *, track_backward: bool) -> Iterator[MaskFrame]:
    """Run the tracker's passes in order and show their progress."""
    tracker.condition()
    passed = tracker.num_backward_frames if track_backward else 0
    total = None if info.num_frames is None else info.num_frames + passed
    with frame_progress(total) as progress:
        if track_backward:
            for _ in tracker.backward():
                progress.update()
        for masks in tracker.forward():
            yield masks
            progress.update()


class Session:
    """Runs requests one after another on a loaded checkpoint.

    The checkpoint of the last request stays loaded; a request that names another replaces it.

    Args:
        model: The checkpoint to load at once; None loads with the first request.

    Raises:
        CheckpointError: The checkpoint cannot be had.
        DeviceError: The GPU cannot be used, or its memory does not suffice.
    """

    def __init__(self, model: str | None = None) -> None:
        self._name: str | None = None
        self._model: SegmentationModel | None = None
        self.metrics = Metrics()
        """Of the last request."""
        self.is_busy = False
        """Whether a request is running."""
        if model is not None:
            self._load(model)

    def _load(self, name: str) -> SegmentationModel:
        if self._model is None or self._name != name:
            path = resolve_checkpoint(name)
            self._model = None  # frees its memory before the next one takes its own
            torch.cuda.empty_cache()
            self._model = load_model(name, checkpoint=path)
            self._name = name
        return self._model

    def check(self) -> None:
        """Run one small picture through the loaded model.

        Raises:
            DeviceError: The GPU does not run it, or what comes out are no numbers.
        """
        model = self._model
        if model is None:  # or another one is on its way
            return
        with device_errors():
            (image,) = model.encode_images([np.full((64, 64, 3), 128, np.uint8)])
            click = ObjectPrompt("", 0, (Click(32, 32),))
            found = model.decode(image, model.without_memory(image), [click], frame_hw=(64, 64))
            numbers = found.mask_logits.sum() + found.predicted_ious + found.object_score_logits
            if not numbers.isfinite().all():
                raise DeviceError("the model's masks are no numbers; start it again")

    def predict(self, request: Request, folder: Path) -> Generator[Path, None, None]:
        """Yield the files of a prediction, each as soon as it is complete.

        Args:
            request: What to do.
            folder: Where the files go. If the prediction fails or is abandoned, none of them stay.

        Raises:
            RequestError, PromptError, VideoError, CheckpointError, DeviceError: As `segment_video`.
        """
        completed: list[Path] = []
        try:
            with self._busy(), device_errors():
                yield from self._predict(request, folder, completed)
        except BaseException:
            for path in completed:
                path.unlink(missing_ok=True)
            raise

    @contextmanager
    def _busy(self) -> Iterator[None]:
        try:
            self.is_busy = True
            yield
        finally:
            self.is_busy = False
            release_heap()

    def _predict(self, request: Request, folder: Path, completed: list[Path]) -> Iterator[Path]:
        self.metrics = metrics = Metrics()
        peak = PeakMemory()
        decoding = partial(metrics.count_as, "decoding")
        with metrics.count_as("total"), FileReader() as reader, ExitStack() as stack:
            with decoding():
                source = TimedSource(reader.open_video(request.input_video), decoding)
            if request.multimask_output and not source.info.is_still:
                raise RequestError("multimask_output is true for a video; expected a still image")
            prompts = build_prompts(request, source, reader.read_masks)
            selection = _selection(request, source, prompts)
            ahead = stack.enter_context(ReadAhead(selection, _queue_size(source.info)))
            tracker = Tracker(
                self._load(request.model),
                TimedSource(ahead, partial(metrics.pause, "tracking")),
                selection.renumbered(prompts),
                with_confidences=request.output_confidences,
            )
            stack.enter_context(tracker)
            metrics.objects = tracker.num_objects
            folder.mkdir(parents=True, exist_ok=True)
            primary = primary_sink(request, source.info, prompts, folder)
            read_sound = partial(reader.read_sound, request.input_video)
            extra = list(extra_sinks(request, source.info, folder, read_sound))
            writer = WriteBehind(
                [primary, *extra],
                _queue_size(source.info, 3 + metrics.objects * (1 + request.output_confidences)),
                completed=completed,
                timer=partial(metrics.count_as, "encoding"),
            )
            stack.push(writer)  # before it begins, or a cancellation might come in between
            writer.__enter__()
            frames = _mask_frames(tracker, selection, request, prompts)
            for masks in timed(frames, partial(metrics.count_as, "tracking")):
                metrics.frames += 1
                is_drawn = selection.is_nth(masks.frame.index, request.output_frame_interval)
                yield from writer.write(masks, [primary, *extra] if is_drawn else extra)
            yield from writer.finish()
        metrics.peak_memory_mb, metrics.peak_gpu_memory_mb = peak.megabytes(), peak.gpu_megabytes()
        logger.info("%s", metrics)


def _selection(
    request: Request, source: FrameSource, prompts: Sequence[ObjectPrompt]
) -> FrameSelection:
    """Select the frames that a request asks for; a preview has the prompted ones alone."""
    prompted = {prompt.frame_index for prompt in prompts}
    if request.preview:
        return FrameSelection(source, range(0), prompted)
    return select_frames(
        source,
        prompted,
        start_frame=request.start_frame,
        end_frame=request.end_frame,
        frame_interval=request.frame_interval,
    )


def _mask_frames(
    tracker: Tracker, selection: FrameSelection, request: Request, prompts: Sequence[ObjectPrompt]
) -> Generator[MaskFrame, None, None]:
    """Yield the frames of a request, under their indices in the source."""
    is_backward = request.track_backward and not request.preview
    for masks in _track(tracker, selection.info, track_backward=is_backward):
        found = tracker.with_candidates(masks) if request.multimask_output else masks
        found = selection.original(found)
        yield _prompted_alone(found, prompts) if request.preview else found


def _prompted_alone(masks: MaskFrame, prompts: Sequence[ObjectPrompt]) -> MaskFrame:
    """Leave out objects that have no prompt on the frame: without what lies between, they stray."""
    named = {p.object_id for p in prompts if p.frame_index == masks.frame.index}
    return replace(masks, objects=tuple(o for o in masks.objects if o.object_id in named))
