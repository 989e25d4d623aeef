"""Write masks as one video."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from sam_video.types import MaskFrame, VideoInfo
from sam_video.writers.pictures import Picture, mask_picture
from sam_video.writers.render import Opacity, render
from sam_video.writers.sink import Step
from sam_video.writers.video_encoder import VideoEncoder
from sam_video.writers.video_forms import H264, VP9_ALPHA

MIN_FRAME_RATE = Fraction(1, 3600)
"""MP4 cannot show a frame for much longer than an hour."""


class MaskVideoWriter:
    """Write all frames as one video: `output_video.mp4`, or `output_video.webm` with `alpha`.

    Args:
        folder: An existing folder for the video.
        info: Size, pixel aspect and frame rate of the source.
        mask_type: As in `render`.
        annotation_type: As in `render`.
        video_fps: Frames per second; 0 keeps the time of the source.
        interval: Every Nth frame of the source is written. Other written frames, such as prompted
            ones, are shown as long as these.

    Raises:
        VideoError: The frames are too large for the video, or there is no ffmpeg program.
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
        opacity: Opacity = mask_picture,
    ) -> None:
        has_alpha = mask_type == "alpha"
        self._path = folder / ("output_video.webm" if has_alpha else "output_video.mp4")
        self._mask_type = mask_type
        self._annotation_type = annotation_type
        self._opacity = opacity
        self._encoder = VideoEncoder(
            self._path,
            width=info.width,
            height=info.height,
            frame_rate=Fraction(video_fps) or _thinned_rate(info, interval),
            pixel_aspect=info.pixel_aspect,
            form=VP9_ALPHA if has_alpha else H264,
        )

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw one frame; `finish` completes the video."""
        image = render(masks, self._mask_type, self._annotation_type, self._opacity)
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
        """Remove an incomplete video."""
        self._encoder.close()


def _thinned_rate(info: VideoInfo, interval: int) -> Fraction:
    """Return the rate at which a frame takes the time of N frames, or of all if there are fewer."""
    return max(info.frame_rate / min(interval, info.num_frames or interval), MIN_FRAME_RATE)
