"""The one place that composes the others: a request goes in, files come out."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from tqdm import tqdm

from sam_video.checkpoints import resolve_checkpoint
from sam_video.errors import PromptError
from sam_video.metrics import Metrics, TimedSource
from sam_video.model import SegmentationModel
from sam_video.network import build_network, load_weights
from sam_video.prompts import build_prompts
from sam_video.request import Request
from sam_video.tracker import Tracker
from sam_video.types import FrameSource, MaskFrame, ObjectPrompt, VideoInfo
from sam_video.video import open_video
from sam_video.writers import ImageSequenceWriter, MaskVideoWriter, RleWriter, Sink

logger = logging.getLogger(__name__)


def load_model(name: str, *, checkpoint: Path | None = None) -> SegmentationModel:
    """Load a checkpoint by its name, downloading it where it is not at hand.

    Args:
        name: `large`, `base_plus`, `small`, `tiny` or `pocket`.
        checkpoint: A file of that architecture to use in place of the published one.

    Raises:
        CheckpointError: It is missing and cannot be fetched, or is not what it should be.
    """
    path = resolve_checkpoint(name, explicit=checkpoint)
    network = build_network(name)
    load_weights(network, path)
    return SegmentationModel(network)


def segment_video(
    video: Path | str | FrameSource,
    prompts: Sequence[ObjectPrompt],
    *,
    model: str | SegmentationModel = "large",
    track_backward: bool = True,
) -> Generator[MaskFrame, None, None]:
    """Yield every frame of a video with the masks of the prompted objects.

    Args:
        video: A file that FFmpeg or Pillow reads, or frames from elsewhere.
        prompts: At most one per object and frame; at least one that says where an object is.
        model: A checkpoint's name, or a loaded model to use again.
        track_backward: Also track from an object's first prompt back to the start.

    Raises:
        PromptError: A prompt cannot be used with this video.
        VideoError: The video cannot be read.
        CheckpointError: The checkpoint cannot be had.
    """
    source = open_video(Path(video)) if isinstance(video, str | Path) else video
    if not any(prompt.is_positive for prompt in prompts):
        raise PromptError("prompts has nothing positive; expected a click, a box or a mask")
    loaded = load_model(model) if isinstance(model, str) else model
    with Tracker(loaded, source, prompts) as tracker:
        yield from _track(tracker, source.info, track_backward=track_backward)


def _track(tracker: Tracker, info: VideoInfo, *, track_backward: bool) -> Iterator[MaskFrame]:
    """Run the tracker's passes in order and show their progress."""
    tracker.condition()
    passed = tracker.num_backward_frames if track_backward else 0
    total = None if info.num_frames is None else info.num_frames + passed
    with tqdm(total=total, desc="tracking", unit="frame", mininterval=0.5) as progress:
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
    """

    def __init__(self, model: str | None = None) -> None:
        self._name: str | None = None
        self._model: SegmentationModel | None = None
        self.metrics = Metrics()
        """Of the last request."""
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

    def predict(self, request: Request, folder: Path) -> Generator[Path, None, None]:
        """Yield the files of a prediction, each as soon as it is complete.

        Args:
            request: What to do.
            folder: Where the files go. If the prediction fails or is abandoned, none of them stay.

        Raises:
            PromptError, VideoError, CheckpointError: As `segment_video`.
        """
        written: list[Path] = []
        try:
            for path in self._predict(request, folder):
                written.append(path)
                yield path
        except BaseException:
            for path in written:
                path.unlink(missing_ok=True)
            raise

    def _predict(self, request: Request, folder: Path) -> Iterator[Path]:
        self.metrics = metrics = Metrics()
        with metrics.count_as("total"), ExitStack() as stack:
            source = TimedSource(open_video(request.input_video), metrics)
            prompts = build_prompts(request, source)
            model = self._load(request.model)
            tracker = stack.enter_context(Tracker(model, source, prompts))
            metrics.objects = tracker.num_objects
            folder.mkdir(parents=True, exist_ok=True)
            primary = stack.enter_context(_primary_sink(request, source.info, folder))
            extra = [stack.enter_context(s) for s in _extra_sinks(request, source.info, folder)]
            for masks in _track(tracker, source.info, track_backward=request.track_backward):
                metrics.frames += 1
                is_drawn = masks.frame.index % request.output_frame_interval == 0
                for sink in (primary, *extra) if is_drawn else extra:
                    yield from _timed(metrics, sink.write, masks)
            for sink in (primary, *extra):
                yield from _timed(metrics, sink.finish)
        logger.info("%s", metrics)


def _timed(metrics: Metrics, step: Callable[..., list[Path]], *arguments: MaskFrame) -> list[Path]:
    """Let a sink do a step, and return the files that it completed."""
    with metrics.count_as("encoding"):
        return step(*arguments)


def _primary_sink(request: Request, info: VideoInfo, folder: Path) -> Sink:
    """Create what draws the masks; `output_frame_interval` is about this one alone."""
    drawn = {"mask_type": request.mask_type, "annotation_type": request.annotation_type}
    if request.output_video:
        return MaskVideoWriter(folder, info, video_fps=request.video_fps, **drawn)
    return ImageSequenceWriter(
        folder, info, image_format=request.output_format, quality=request.output_quality, **drawn
    )


def _extra_sinks(request: Request, info: VideoInfo, folder: Path) -> Iterator[Sink]:
    """Create what writes data of every tracked frame."""
    if request.output_rle:
        yield RleWriter(folder, info)
