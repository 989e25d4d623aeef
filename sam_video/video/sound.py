"""Read the sound of a video file in some spans of its time."""

import logging
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from sam_video.errors import VideoError
from sam_video.types import SAMPLE_RATE, Samples, Span
from sam_video.video.container import open_stream, read_packets
from sam_video.video.source_file import SourceFile
from sam_video.workers.watchdog import check_headroom

logger = logging.getLogger(__name__)

TOLERANCE = SAMPLE_RATE // 50
"""Samples that sound may be off its time before it is moved, since a move can be heard."""

PREROLL_SECONDS = 1.0
"""Seconds of sound that are decoded before the first span, since codecs need time to settle."""

MIN_RATE, MAX_RATE, MAX_SAMPLES = 4000, 768_000, 2**20
"""Accepted samples per second, and most samples per frame, of a source; this limits memory."""

MAX_SILENT_SPANS = 16
"""Most spans, from the last heard one on, that are searched for that of a block of sound."""


def read_sound(source: Path | SourceFile, spans: Sequence[Span]) -> Generator[Samples, None, None]:
    """Yield the sound of a file in some spans of time, in blocks of about a second.

    It is the best audio stream; missing parts are silent. A damaged stream gives the parts that
    decode, and one warning is logged. A file without sound yields nothing. A file that was removed
    or changed counts as one without sound, and a warning is logged.

    Args:
        source: A video or an image; it may be untrusted.
        spans: Stretches of the source, and their times in the output video.
    """
    waiting: list[Samples] = []
    file = source if isinstance(source, SourceFile) else SourceFile(source)
    for samples in _soundtrack(file, spans):
        waiting.append(samples)
        if sum(block.shape[1] for block in waiting) >= SAMPLE_RATE:
            yield np.concatenate(waiting, axis=1)
            waiting = []
    if waiting:
        yield np.concatenate(waiting, axis=1)


def _soundtrack(file: SourceFile, spans: Sequence[Span]) -> Generator[Samples, None, None]:
    """Yield the sound of the spans from time 0 on, with silence for missing parts."""
    written = current = 0
    start_seconds = min(span.source_start for span in spans) - PREROLL_SECONDS
    for seconds, samples in _read_sound(file, start_seconds):
        for number, span in enumerate(spans[current : current + MAX_SILENT_SPANS], current):
            position, heard = _place(seconds, samples, span, written)
            if heard.shape[1]:
                yield from _silence(position - written)
                yield heard
                written, current = position + heard.shape[1], number
                break


def _place(seconds: float, samples: Samples, span: Span, written: int) -> tuple[int, Samples]:
    """Cut a block of the source's samples to a span and to new ones; return its output position."""
    start, end = round(span.start * SAMPLE_RATE), round(span.end * SAMPLE_RATE)
    position = start + round((seconds - span.source_start) * SAMPLE_RATE)
    if abs(position - written) <= TOLERANCE:
        position = written
    first = max(0, max(start, written) - position)
    return position + first, samples[:, first : max(first, end - position)]


def _silence(num_samples: int) -> Iterator[Samples]:
    for start in range(0, num_samples, SAMPLE_RATE):
        yield np.zeros((2, min(SAMPLE_RATE, num_samples - start)), np.float32)


def _read_sound(
    file: SourceFile, start_seconds: float
) -> Generator[tuple[float, Samples], None, None]:
    """Yield the samples of a file's best audio stream, with their times in its own timeline.

    Args:
        file: A video or an image; a file without sound yields nothing.
        start_seconds: Packets before this time are skipped.
    """
    problem = None
    try:
        file.open().close()
    except VideoError as error:
        logger.warning("%s; what is written has no sound", error)
        return
    try:
        with open_stream(file) as (container, _):
            stream = container.streams.best("audio")
            if isinstance(stream, AudioStream):
                problem = yield from _decode(container, stream, start_seconds)
    except VideoError:  # an animated image
        return
    except av.FFmpegError as error:
        check_headroom(error)
        problem = error.strerror
    if problem is not None:
        logger.warning("the sound of %s is damaged (%s); what decodes is used", file.name, problem)


def _decode(
    container: InputContainer, stream: AudioStream, start_seconds: float
) -> Generator[tuple[float, Samples], None, str | None]:
    """Yield as `_read_sound`; return a description of the first error, or None."""
    if stream.codec_context is None:
        return "a codec that cannot be decoded here"
    problem = None
    converter = _Converter()
    end_seconds = start_seconds
    for packet in read_packets(container, stream):
        if packet is not None and _seconds(packet, start_seconds) < start_seconds:
            continue
        try:
            frames = stream.decode(packet)
            parts = [part for frame in frames for part in converter.convert(frame)]
        except (av.FFmpegError, ValueError) as error:
            check_headroom(error)
            reason = error.strerror if isinstance(error, av.FFmpegError) else str(error)
            problem = problem or reason
            continue
        for part in parts:
            seconds = _seconds(part, end_seconds)
            end_seconds = seconds + part.samples / SAMPLE_RATE
            # A file of floats may hold NaN or infinity, for which the encoder fails.
            yield seconds, np.clip(np.nan_to_num(part.to_ndarray()), -1, 1)
    return problem


def _seconds(item: "Packet[Any] | AudioFrame", default: float) -> float:
    if item.pts is None or item.time_base is None:
        return default
    return float(item.pts * item.time_base)


class _Converter:
    """Converts frames of any, even changing, format to stereo at `SAMPLE_RATE`."""

    def __init__(self) -> None:
        self._format: tuple[str, str, int] | None = None

    def convert(self, frame: AudioFrame) -> list[AudioFrame]:
        """Return the frames that are complete now.

        Raises:
            av.FFmpegError, ValueError: The frame cannot be converted.
        """
        if not MIN_RATE <= frame.sample_rate <= MAX_RATE:
            raise ValueError(f"{frame.sample_rate} samples per second")
        if frame.samples > MAX_SAMPLES:
            raise ValueError(f"{frame.samples} samples in one packet")
        frame_format = frame.format.name, frame.layout.name, frame.sample_rate
        if frame_format != self._format:
            self._resampler = AudioResampler(format="fltp", layout="stereo", rate=SAMPLE_RATE)
            self._format = frame_format
        return self._resampler.resample(frame)
