"""Read the header of a video file, and correct values that cannot be right."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from sam_video.limits import MAX_FRAMES, MAX_SECONDS
from sam_video.video.container import holds_picture, is_encrypted, read_packets
from sam_video.video.rates import rate_of

SLOWEST, FASTEST, USUAL_RATE = Fraction(1, 60), Fraction(1000), Fraction(25)
"""Frames per second: the range that is accepted from a header, and the default."""

UNUSUAL_RATE = Fraction(240)
"""Frames per second above which a header's rate is used only if the time stamps agree."""

MAX_FACTOR = Fraction(2)
"""Largest ratio of the header's rate to that of most time stamps."""

PEAK_QUANTILE, MIN_PEAK_FACTOR, MAX_PEAK_RATE = 0.1, Fraction(6, 5), Fraction(240)
"""The quantile of the steps that gives the peak rate; the smallest ratio of this to the average
rate, since a smaller one is disorder of time stamps; and the largest peak rate."""

PROBED_PACKETS, PROBED_BYTES = 300, 2**24
"""Packets and bytes of a file that are read to measure the steps between its frames."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header's facts about the video stream."""

    frame_rate: Fraction
    """Average frames per second, or the usual rate if the file has no credible one."""
    peak_rate: Fraction
    """Frames per second where frames are closest in time, judged by the start of the file."""
    num_frames: int | None
    """As in the header, or None; counted if it exceeds the limits on a request."""
    pixel_aspect: Fraction
    """Width of a pixel divided by its height, before rotation."""
    is_encrypted: bool
    """Whether decoding needs a key."""


def read_header(container: InputContainer, stream: VideoStream) -> Header:
    """Read the header of a newly opened file and its first packets, or all if they are counted."""
    packets = read_packets(container, stream)
    first = next(packets, None)
    has_key = first is not None and is_encrypted(stream, first)
    probed = list(_probed(chain([first], packets)))
    steps = _steps(probed, stream)
    frame_rate = _frame_rate(stream, steps)
    num_frames = stream.frames or None
    expected = num_frames or (container.duration or 0) * frame_rate / av.time_base
    # A request may be refused for this number, so it must be right: counting packets takes seconds,
    # while decoding takes hours.
    if expected > MAX_FRAMES.value or expected > MAX_SECONDS.value * frame_rate:
        counted = sum(map(holds_picture, packets))
        num_frames = (sum(is_picture for _, is_picture in probed) + counted) or None
    pixel_aspect = stream.sample_aspect_ratio or Fraction(1)
    peak_rate = _peak_rate(steps, frame_rate, stream)
    return Header(frame_rate, peak_rate, num_frames, pixel_aspect, has_key)


def _probed(
    packets: "Iterator[Packet[VideoStream] | None]",
) -> Iterator[tuple[int | None, bool]]:
    """Yield for each of the first packets its time stamp and whether it holds a picture."""
    num_packets = num_bytes = 0
    while num_packets < PROBED_PACKETS and num_bytes < PROBED_BYTES:
        packet = next(packets, None)
        if packet is None:
            return
        num_packets, num_bytes = num_packets + 1, num_bytes + packet.size
        yield packet.pts, holds_picture(packet)


def _steps(probed: list[tuple[int | None, bool]], stream: VideoStream) -> list[float]:
    """Return the seconds between frames; empty without time stamps."""
    stamps = sorted({pts for pts, is_picture in probed if is_picture and pts is not None})
    return [float((after - before) * _tick(stream)) for before, after in pairwise(stamps)]


def _tick(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, av.time_base)


def _frame_rate(stream: VideoStream, steps: list[float]) -> Fraction:
    stated = [
        rate
        for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate)
        if rate is not None and SLOWEST <= rate <= FASTEST
    ]
    usual = [rate for rate in stated if rate <= UNUSUAL_RATE]
    seen = rate_of(steps, float(_tick(stream)))
    if seen is None or not SLOWEST <= seen <= FASTEST:
        return next(iter(usual), USUAL_RATE)
    if not stated or stated[0] > min(UNUSUAL_RATE, MAX_FACTOR * seen):
        return seen
    return stated[0]


def _peak_rate(steps: list[float], frame_rate: Fraction, stream: VideoStream) -> Fraction:
    peak = rate_of(steps, float(_tick(stream)), PEAK_QUANTILE) or frame_rate
    if peak < MIN_PEAK_FACTOR * frame_rate:
        return frame_rate
    return max(frame_rate, min(peak, MAX_PEAK_RATE))
