"""Synthetic clips whose picture flashes while their sound beeps, and how to find both again."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

WIDTH, HEIGHT = 64, 48
EVENT_SECONDS = 0.125
TIME_BASE = Fraction(1, 90000)

CODECS: dict[str, tuple[str, str]] = {
    "mp4": ("libx264", "aac"),
    "mov": ("libx264", "pcm_s16le"),
    "mkv": ("libx264", "flac"),
    "webm": ("libvpx", "libopus"),
    "avi": ("mjpeg", "pcm_u8"),
    "ts": ("libx264", "aac"),
    "mpg": ("mpeg2video", "mp2"),
    "flv": ("libx264", "aac"),
}
"""Of the picture and the sound, by the suffix of the container."""


def draw_flash_clip(
    path: Path,
    *,
    times: Sequence[float],
    events: Sequence[float],
    sound: tuple[float, float],
    sound_codec: str | None = None,
    sound_rate: int | None = None,
    layout: str = "mono",
    frame_rate: int = 24,
) -> None:
    """Write a clip.

    Args:
        path: The suffix chooses the container and its codecs.
        times: When each frame is shown, in seconds.
        events: When a flash and a beep begin; each lasts `EVENT_SECONDS`.
        sound: When the sound begins and ends.
        sound_codec: An encoder of FFmpeg's, where the container's usual one will not do.
        sound_rate: Samples per second; by default 44100, which must be resampled, where the codec
            knows it.
        layout: Of the channels, as FFmpeg names it; all sound alike.
        frame_rate: What the header says, where `times` allow it.
    """
    video_codec, audio_codec = CODECS[path.suffix[1:]]
    with av.open(path, "w") as container:
        video = cast(VideoStream, container.add_stream(video_codec, rate=frame_rate))
        video.width, video.height = WIDTH, HEIGHT
        video.pix_fmt = "yuvj420p" if video_codec == "mjpeg" else "yuv420p"
        if video_codec == "libx264":
            video.codec_context.time_base = TIME_BASE
            video.codec_context.options = {"preset": "veryfast"}
        audio_name: Any = sound_codec or audio_codec
        sound_rate = sound_rate or (48000 if audio_name == "libopus" else 44100)
        audio = cast(AudioStream, container.add_stream(audio_name, rate=sound_rate, layout=layout))
        items: list[tuple[float, Any, Any]] = []
        items += [(time, video, _picture(time, events)) for time in times]
        step = 1152 / sound_rate
        for number in range(round((sound[1] - sound[0]) / step)):
            time = sound[0] + number * step
            items.append((time, audio, _beeps(time, events, sound_rate, layout)))
        for _, stream, frame in sorted(items, key=lambda item: item[0]):
            container.mux(stream.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def is_during(time: float | npt.NDArray[Any], events: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Whether there is a flash and a beep at a time."""
    # The small shift is for the time stamps that a container rounds.
    shifted = np.asarray(time) + 1e-3
    during = [(shifted >= event) & (shifted < event + EVENT_SECONDS) for event in events]
    return np.asarray(np.any(np.stack(during), axis=0))


def _picture(time: float, events: Sequence[float]) -> av.VideoFrame:
    level = 230 if is_during(time, events) else 20
    frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8))
    frame.pts, frame.time_base = round(time / TIME_BASE), TIME_BASE
    return frame


def _beeps(time: float, events: Sequence[float], rate: int, layout: str) -> av.AudioFrame:
    times = time + np.arange(1152) / rate
    wave = 0.7 * np.sin(2 * np.pi * 1000 * times) * is_during(times - 1e-3, events)
    num_channels = av.AudioLayout(layout).nb_channels
    samples = np.repeat(wave.astype(np.float32), num_channels)
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, round(time * rate), Fraction(1, rate)
    return frame


def flashes(path: Path) -> list[float]:
    """Return when flashes begin, in seconds from the start of the file."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
        times = [float(frame.time) for frame in frames if frame.time is not None]
        levels = [frame.to_ndarray(format="gray").mean() for frame in frames]
    return _onsets(np.array(times), np.array(levels) > 125)


def beeps(path: Path) -> list[float]:
    """Return when beeps begin, in seconds from the start of the file."""
    times, levels = [], []
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            assert frame.time is not None
            samples = np.abs(frame.to_ndarray()).max(axis=0)
            times.append(float(frame.time) + np.arange(samples.size) / frame.sample_rate)
            levels.append(samples)
    time, loud = np.concatenate(times), np.concatenate(levels) > 0.3
    # A wave crosses zero, so loud is what has been loud within the last 10 ms.
    held = np.convolve(loud, np.ones(480), "full")[: loud.size] > 0
    return _onsets(time, held)


def _onsets(times: npt.NDArray[Any], active: npt.NDArray[np.bool_]) -> list[float]:
    begins = active & ~np.concatenate([[False], active[:-1]])
    return [float(time) for time in times[begins]]
