"""Run requests one after another on a loaded checkpoint, and write their files.

Importing this module loads no PyTorch, which takes seconds: errors in a request come before that.
"""

import ctypes
import logging
import os
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sam_video.checkpoints.catalogue import resolve_checkpoint
from sam_video.cleaning import MaskCleaning
from sam_video.detection.query import TextQuery
from sam_video.errors import DeviceError, RequestError
from sam_video.prompts import build_concepts, build_prompts
from sam_video.request import Request
from sam_video.service.file_reader import FileReader
from sam_video.service.loading import load_model
from sam_video.service.metrics import Metrics, PeakMemory, TimedSource, timed
from sam_video.service.words import DetectorKeeper
from sam_video.types import Click, FrameSource, MaskFrame, ObjectPrompt
from sam_video.video.read_ahead import queue_size
from sam_video.video.selection import FrameSelection, select_frames
from sam_video.workers.threads import POLL_SECONDS
from sam_video.writers import (
    OutputFolder,
    WriteBehind,
    extra_sinks,
    file_patterns,
    primary_sink,
)

if TYPE_CHECKING:
    from sam_video.model.interface import Model
    from sam_video.model.sam2 import SegmentationModel

USUAL_NUM_FOUND = 10
"""Objects that words are taken to find, for the memory of frames that wait."""

logger = logging.getLogger(__name__)


class Session:
    """Runs requests one after another on a loaded checkpoint.

    The checkpoint of the last request stays loaded; a request that names another replaces it.

    Args:
        model: The checkpoint to load at once; None loads with the first request.
        names_files: Whether messages name the file of `input_video`; False suits a server that
            makes up file names.

    Raises:
        CheckpointError: The checkpoint cannot be loaded.
        DeviceError: The GPU cannot be used, or has too little memory.
    """

    def __init__(self, model: str | None = None, *, names_files: bool = True) -> None:
        self._names_files = names_files
        self._name: str | None = None
        self._model: SegmentationModel | None = None
        self._check_has_ended = threading.Event()
        self._check_has_ended.set()
        self._detectors = DetectorKeeper()
        self.metrics = Metrics()
        """The figures of the last request."""
        self.is_busy = False
        """Whether a request is running."""
        if model is not None:
            self._load(model)

    def _load(self, name: str) -> "SegmentationModel":
        if self._model is None or self._name != name:
            path = resolve_checkpoint(name)
            while not self._check_has_ended.wait(POLL_SECONDS):
                pass  # a check holds the model
            self._model = None  # frees its memory before the next model is loaded
            self._model = load_model(name, checkpoint=path)
            self._name = name
        return self._model

    def check(self) -> None:
        """Run one small image through the loaded model, unless it is in use or none is loaded.

        Only one thread may call this at a time.

        Raises:
            DeviceError: The GPU fails, or the results are not finite numbers.
        """
        try:
            self._check_has_ended.clear()
            if not self.is_busy and self._model is not None:  # looked at in this order: see `_load`
                _check(self._model)
        finally:
            self._check_has_ended.set()

    def predict(self, request: Request, folder: Path) -> Generator[Path, None, None]:
        """Yield the files of a prediction, each as soon as it is complete.

        Args:
            request: The inputs.
            folder: The output folder. If the prediction fails or is abandoned, its files are
                removed, and the files that they had replaced are restored.

        Raises:
            RequestError: As for `segment_video`, or another prediction is using the folder.
            PromptError, VideoError, CheckpointError, DeviceError: As for `segment_video`.
        """
        with OutputFolder(folder) as output, self._busy(), output.errors_named():
            yield from self._predict(request, output)

    @contextmanager
    def _busy(self) -> Iterator[None]:
        try:
            self.is_busy = True
            yield
        finally:
            self.is_busy = False
            _release_heap()

    def _predict(self, request: Request, output: OutputFolder) -> Iterator[Path]:
        self.metrics = metrics = Metrics()
        peak = PeakMemory()
        decoding = partial(metrics.count_as, "decoding")
        with metrics.count_as("total"), FileReader() as reader:
            with decoding():
                name = self._name_of(request.input_video)
                source = TimedSource(reader.open_video(request.input_video, name), decoding)
            if request.multimask_output and not source.info.is_still:
                raise RequestError("multimask_output is true for a video; expected a still image")
            concepts = build_concepts(request)
            sought = concepts.wanted if concepts else ()
            prompts = build_prompts(request, source, reader.read_masks, sought)
            metrics.objects = len({prompt.object_id for prompt in prompts})
            selection = _selection(request, source, prompts, has_words=bool(sought))
            query = self._detectors.query(request, concepts, selection.info) if concepts else None
            output.open(file_patterns(request))
            primary = primary_sink(request, source.info, prompts, output.private)
            read_sound = partial(reader.read_sound, request.input_video, name=name)
            extra = list(extra_sinks(request, source.info, prompts, output.private, read_sound))
            writer = WriteBehind(
                [primary, *extra],
                _num_waiting(request, source, metrics.objects, has_words=bool(sought)),
                publish=output.publish,
                timer=partial(metrics.count_as, "encoding"),
            )
            found = (
                self._mask_frames(self._load(request.model), selection, request, prompts, query)
                if prompts or query
                else _first_frame(selection)
            )
            with (
                closing(found) as frames,
                ExitStack() as stack,
            ):
                stack.push(writer)  # before entering it, since a cancellation may come in between
                writer.__enter__()
                names: set[str] = set()
                for masks in frames:
                    metrics.frames += 1
                    names |= {item.object_id for item in masks.objects}
                    is_drawn = selection.is_nth(masks.frame.index, request.output_frame_interval)
                    yield from writer.write(masks, [primary, *extra] if is_drawn else extra)
                yield from writer.finish()
            metrics.objects = len(names) if query else metrics.objects
        metrics.peak_memory_mb, metrics.peak_gpu_memory_mb = peak.megabytes(), peak.gpu_megabytes()
        logger.info("%s", metrics)

    def _name_of(self, path: Path) -> str:
        """Return the name of `input_video` in messages, with its file name if a user gave that."""
        is_given = self._names_files or not os.path.exists(path)  # noqa: PTH110 (it never raises)
        name = path.name or str(path)
        return f"input_video ({name!r})" if is_given else "input_video"

    def _mask_frames(
        self,
        model: "Model",
        selection: FrameSelection,
        request: Request,
        prompts: Sequence[ObjectPrompt],
        query: TextQuery | None,
    ) -> Generator[MaskFrame, None, None]:
        """Yield the frames of a request; those of a preview have only what is prompted there.

        The first of them also has what the words find on it.
        """
        from sam_video.service.pipeline import mask_frames  # noqa: PLC0415

        frames = mask_frames(
            model,
            selection,
            prompts,
            track_backward=request.track_backward and not request.preview,
            with_confidences=request.output_confidences,
            with_candidates=request.multimask_output,
            wait_timer=partial(self.metrics.pause, "tracking"),
            text=query,
        )
        cleaning = MaskCleaning.from_text(request.mask_cleaning)
        with closing(timed(frames, partial(self.metrics.count_as, "tracking"))) as found:
            for number, masks in enumerate(map(cleaning.apply, found)):
                if request.preview and (number or not query):
                    yield _prompted_alone(masks, prompts)
                else:
                    yield masks


def _check(model: "SegmentationModel") -> None:
    """Let a model segment a small image."""
    from sam_video.model.device import device_errors  # noqa: PLC0415

    with device_errors():
        (image,) = model.encode_images([np.full((64, 64, 3), 128, np.uint8)])
        click = ObjectPrompt("", 0, (Click(32, 32),))
        found = model.decode(image, model.without_memory(image), [click], (64, 64))
        numbers = found.mask_logits.sum() + found.predicted_ious + found.object_score_logits
        if not numbers.isfinite().all():
            raise DeviceError("the model's masks are not finite numbers; restart the process")


def _selection(
    request: Request, source: FrameSource, prompts: Sequence[ObjectPrompt], *, has_words: bool
) -> FrameSelection:
    """Select the frames of a request.

    A preview with prompts has only the prompted frames; one with words, also the first frame.
    """
    prompted = {prompt.frame_index for prompt in prompts}
    if request.preview and has_words:
        first = max(0, request.start_frame)
        select_frames(source, (), start_frame=first)  # which checks that there is such a frame
        return FrameSelection(source, range(first, first + 1), prompted)
    if request.preview and prompts:
        return FrameSelection(source, range(0), prompted)
    return select_frames(
        source,
        prompted,
        start_frame=request.start_frame,
        end_frame=request.end_frame,
        frame_interval=request.frame_interval,
    )


def _num_waiting(
    request: Request, source: FrameSource, num_prompted: int, *, has_words: bool
) -> int:
    """Return how many frames may wait to be written, by the bytes of their masks."""
    num_found = request.max_objects or USUAL_NUM_FOUND
    num_objects = num_prompted + has_words * num_found
    return queue_size(source.info, 3 + num_objects * (1 + request.output_confidences))


def _first_frame(selection: FrameSelection) -> Generator[MaskFrame, None, None]:
    """Yield the first selected frame without masks, for a preview without prompts."""
    for frame in selection.frames_at([0]):
        yield selection.original(MaskFrame(frame, ()))


def _prompted_alone(masks: MaskFrame, prompts: Sequence[ObjectPrompt]) -> MaskFrame:
    """Omit objects without a prompt on the frame: tracking drifts across frames left out."""
    named = {p.object_id for p in prompts if p.frame_index == masks.frame.index}
    return replace(masks, objects=tuple(o for o in masks.objects if o.object_id in named))


def _release_heap() -> None:
    """Return free heap memory to the system; only glibc needs this, and only it has the function.

    glibc keeps free pages below pages in use. With several heaps, each for a few threads, most
    memory stays anyway; the environment variable `MALLOC_ARENA_MAX` sets their number.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
