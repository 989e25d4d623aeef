"""Masks as one video."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.pictures import Picture
from sam_video.writers.render import render
from sam_video.writers.sink import Step
from sam_video.writers.video_encoder import VideoEncoder

MIN_FRAME_RATE = Fraction(1, 3600)
"""MP4 holds no frame that is shown much longer."""


class MaskVideoWriter:
    """Write all frames as one video: `output_video.mp4`, or `output_video.webm` with `alpha`.

    Args:
        folder: Where the video goes; it exists.
        info: Of the source: its size, pixel aspect and frame rate.
        mask_type: As in `render`.
        annotation_type: As in `render`.
        video_fps: Frames per second; 0 keeps the time of the source.
        interval: How many frames of the source there are for each one that is written. One that is
            written between those is shown as long as they are.

    Raises:
        VideoError: The frames are larger than the video can hold, or there is no ffmpeg program.
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        *,
        mask_type: str,
        annotation_type: str,
        video_fps: int,
        interval: int = 1,
    ) -> None:
        has_alpha = mask_type == "alpha"
        self._path = folder / ("output_video.webm" if has_alpha else "output_video.mp4")
        self._mask_type = mask_type
        self._annotation_type = annotation_type
        self._encoder = VideoEncoder(
            self._path,
            width=info.width,
            height=info.height,
            frame_rate=Fraction(video_fps) or _thinned_rate(info, interval),
            pixel_aspect=info.pixel_aspect,
            has_alpha=has_alpha,
        )

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw one frame; the video is not complete before `finish`."""
        image = render(masks, self._mask_type, self._annotation_type)
        if image.ndim == 2:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        return partial(self._write, image)

    def _write(self, image: Picture) -> list[Path]:
        self._encoder.write(image)
        return []

    def finish(self) -> list[Path]:
        """Complete the video and return its path."""
        self._encoder.finish()
        return [self._path]

    def close(self) -> None:
        """Remove the video if it is not complete."""
        self._encoder.close()


def _thinned_rate(info: VideoInfo, interval: int) -> Fraction:
    """Return the rate at which one of every N frames takes the time of N, or of all there are."""
    return max(info.frame_rate / min(interval, info.num_frames or interval), MIN_FRAME_RATE)
