"""Join a video without sound and its sound in one file."""

from collections.abc import Iterator
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from sam_video.errors import VideoError
from sam_video.types import SAMPLE_RATE, Samples
from sam_video.writers.atomic_files import public_name

BIT_RATE = 160_000
"""Bits per second of the sound."""


def add_sound(pictures: Path, sound: Iterator[Samples], target: Path) -> None:
    """Join a video and a sound in an MP4 file, the sound as AAC in stereo.

    Args:
        pictures: An MP4 file without sound; it stays unchanged.
        sound: Blocks of samples from the start of the video on; empty for a silent video.
        target: The file to write; an incomplete file may stay after an error.

    Raises:
        VideoError: The target cannot be written.
    """
    first = next(sound, None)
    heard = None if first is None else chain([first], sound)
    try:
        _join(pictures, heard, target)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{public_name(target)!r} cannot be written: {error.strerror}") from None


def _join(pictures: Path, sound: Iterator[Samples] | None, target: Path) -> None:
    with (
        av.open(f"file:{pictures}") as source,
        av.open(f"file:{target}", "w", "mp4", options={"movflags": "+faststart"}) as output,
    ):
        streams = [_copied(source, output)]
        if sound is not None:
            streams.append(_encoded(sound, output))
        # In the order of time, so that no stream waits for the other in memory.
        for packet in merge(*streams, key=_decoding_seconds):
            output.mux(packet)


def _decoding_seconds(packet: "Packet[Any]") -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


def _copied(source: InputContainer, output: OutputContainer) -> "Iterator[Packet[Any]]":
    stream = source.streams.video[0]
    copy = output.add_stream_from_template(stream)

    def packets() -> "Iterator[Packet[Any]]":
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                yield packet

    return packets()


def _encoded(sound: Iterator[Samples], output: OutputContainer) -> "Iterator[Packet[Any]]":
    stream = output.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", bit_rate=BIT_RATE)

    def packets() -> "Iterator[Packet[Any]]":
        position = 0
        for samples in sound:
            frame = AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = SAMPLE_RATE, position
            yield from stream.encode(frame)
            position += samples.shape[1]
        yield from stream.encode(None)

    return packets()
