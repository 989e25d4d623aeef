"""Write the source with masks drawn over it, as a video with its sound."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from fractions import Fraction
from functools import partial
from pathlib import Path

from sam_video.types import MaskFrame, RGBImage, Samples, Span, VideoInfo
from sam_video.writers.atomic_files import atomic_path
from sam_video.writers.mux import add_sound
from sam_video.writers.render import highlighted
from sam_video.writers.sink import Step
from sam_video.writers.timeline import Timeline
from sam_video.writers.video_encoder import VideoEncoder

SoundReader = Callable[[Sequence[Span]], Generator[Samples, None, None]]
"""Yields the source's sound in some spans of time, like `video.sound.read_sound`."""


class OverlayWriter:
    """Write the source with all masks drawn over it, and with its sound, as `overlay.mp4`.

    The video begins with the first written frame. It has a constant rate, but shows every frame at
    its time in the source, even at a variable rate, so that the sound fits. By default the rate is
    the source's where its frames are closest in time.

    Args:
        folder: An existing folder for `overlay.mp4`.
        info: Size, pixel aspect and frame rate of the source.
        read_sound: Reads the sound of the source.
        video_fps: Frames per second; 0 is the source's own rate.
    """

    def __init__(
        self, folder: Path, info: VideoInfo, read_sound: SoundReader, video_fps: int = 0
    ) -> None:
        rate = Fraction(video_fps) or info.peak_rate or info.frame_rate
        self._path = folder / "overlay.mp4"
        self._silent = folder / ".overlay.mp4.silent"
        self._read_sound = read_sound
        self._timeline = Timeline(info.frame_rate, rate)
        self._slot = 0
        self._shown: RGBImage | None = None
        self._encoder = VideoEncoder(
            self._silent,
            width=info.width,
            height=info.height,
            frame_rate=rate,
            pixel_aspect=info.pixel_aspect,
        )

    def prepare(self, masks: MaskFrame) -> Step:
        """Draw one frame; `finish` completes the video."""
        return partial(self._write, masks.frame.index, masks.frame.pts_seconds, highlighted(masks))

    def _write(self, index: int, pts_seconds: float, image: RGBImage) -> list[Path]:
        self._show_until(self._timeline.place(index, pts_seconds))
        self._shown = image
        return []

    def finish(self) -> list[Path]:
        """Complete the video without sound, add the sound, and return the path of the result."""
        self._show_until(self._timeline.finish())
        self._encoder.finish()
        with (
            atomic_path(self._path) as path,
            closing(self._read_sound(self._timeline.spans)) as sound,
        ):
            add_sound(self._silent, sound, path)
        return [self._path]

    def close(self) -> None:
        """Remove an incomplete video, and the one without sound."""
        try:
            self._encoder.close()
        finally:
            self._silent.unlink(missing_ok=True)

    def _show_until(self, slot: int) -> None:
        """Encode the last frame once for each slot before `slot`."""
        for _ in range(self._slot, slot):
            assert self._shown is not None
            self._encoder.write(self._shown)
        self._slot = slot
