"""Which writers a request asks for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from sam_video.request import Request
from sam_video.types import ObjectPrompt, VideoInfo
from sam_video.writers import (
    BoxWriter,
    CandidateWriter,
    ImageSequenceWriter,
    MaskVideoWriter,
    OverlayWriter,
    PreviewWriter,
    Sink,
    SoundReader,
    confidence_zip,
    mask_zip,
    rle_writer,
)


def primary_sink(
    request: Request, info: VideoInfo, prompts: Sequence[ObjectPrompt], folder: Path
) -> Sink:
    """Create what draws the masks; `output_frame_interval` is about this one alone."""
    if request.preview:
        return PreviewWriter(folder, info, prompts)
    drawn = {"mask_type": request.mask_type, "annotation_type": request.annotation_type}
    if request.output_video:
        return MaskVideoWriter(folder, info, video_fps=request.video_fps, **drawn)
    return ImageSequenceWriter(
        folder, info, image_format=request.output_format, quality=request.output_quality, **drawn
    )


def extra_sinks(
    request: Request, info: VideoInfo, folder: Path, read_sound: SoundReader
) -> Iterator[Sink]:
    """Create what writes every processed frame; `read_sound` reads the sound of the input."""
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
