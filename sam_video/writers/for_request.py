"""Create the writers for a request."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sam_video.cleaning import MaskCleaning
from sam_video.export_formats import parse_export_formats
from sam_video.request import Request
from sam_video.types import ObjectPrompt, VideoInfo
from sam_video.writers.boxes import BoxWriter
from sam_video.writers.candidates import CandidateWriter
from sam_video.writers.coco import CocoWriter
from sam_video.writers.exports import EXPORTED_FILES, export_sinks
from sam_video.writers.images import ImageSequenceWriter
from sam_video.writers.overlays import OverlayWriter, SoundReader
from sam_video.writers.previews import PreviewWriter
from sam_video.writers.sink import Sink
from sam_video.writers.start_length import StartLengthWriter
from sam_video.writers.videos import MaskVideoWriter
from sam_video.writers.youtube_vis import YouTubeVisWriter
from sam_video.writers.zips import confidence_zip, mask_zip


def primary_sink(
    request: Request, info: VideoInfo, prompts: Sequence[ObjectPrompt], folder: Path
) -> Sink:
    """Create the sink that draws masks; only this one skips frames by `output_frame_interval`."""
    if request.preview:
        return PreviewWriter(folder, info, prompts)
    drawn: dict[str, Any] = {
        "mask_type": request.mask_type,
        "annotation_type": request.annotation_type,
        "opacity": MaskCleaning.from_text(request.mask_cleaning).alpha,
    }
    if request.output_video:
        interval = request.frame_interval * request.output_frame_interval
        return MaskVideoWriter(
            folder, info, video_fps=request.video_fps, interval=interval, **drawn
        )
    return ImageSequenceWriter(
        folder, info, image_format=request.output_format, quality=request.output_quality, **drawn
    )


def file_patterns(request: Request) -> list[str]:
    """Return patterns for the names of all files that the sinks of a request may write."""
    names = {
        "frame_*." + request.output_format: not (request.output_video or request.preview),
        "output_video.*": request.output_video and not request.preview,
        "preview_*.png": request.preview,
        "overlay.mp4": request.output_overlay and not request.preview,
        "rle.json": request.output_rle or request.multimask_output,
        "boxes.json": request.output_boxes,
        "masks.zip": request.output_masks,
        "confidences.zip": request.output_confidences,
        "candidate_*.png": request.multimask_output,
    }
    exported = [EXPORTED_FILES[name] for name in parse_export_formats(request.export_formats)]
    return [*(name for name, is_written in names.items() if is_written), *exported]


def extra_sinks(
    request: Request,
    info: VideoInfo,
    prompts: Sequence[ObjectPrompt],
    folder: Path,
    read_sound: SoundReader,
) -> Iterator[Sink]:
    """Create the sinks that get every processed frame; `read_sound` reads the input's sound."""
    if request.output_overlay and not request.preview:
        yield OverlayWriter(folder, info, read_sound, video_fps=request.video_fps)
    if request.output_rle or request.multimask_output:
        yield rle_writer(request.rle_format, folder, info)
    if request.output_boxes:
        yield BoxWriter(folder)
    if request.output_masks:
        yield mask_zip(folder)
    if request.output_confidences:
        yield confidence_zip(folder)
    if request.multimask_output:
        yield CandidateWriter(folder, info)
    yield from export_sinks(request, info, prompts, folder)


def rle_writer(rle_format: str, folder: Path, info: VideoInfo) -> Sink:
    """Create the writer for `coco`, `youtube_vis` or `start_length`.

    Args:
        rle_format: One of the three.
        folder: An existing folder for `rle.json`.
        info: Size and frame rate of the source.
    """
    writers: dict[str, Callable[[Path, VideoInfo], Sink]] = {
        "coco": CocoWriter,
        "youtube_vis": YouTubeVisWriter,
        "start_length": StartLengthWriter,
    }
    return writers[rle_format](folder, info)
