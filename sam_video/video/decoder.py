"""Decode the pictures of a video file, also of a damaged one, with PyAV (FFmpeg)."""

import logging
import os
from collections import deque
from collections.abc import Generator
from contextlib import closing
from itertools import islice

import av
from av.packet import Packet
from av.video.stream import VideoStream

from sam_video.errors import VideoError
from sam_video.limits import MAX_FRAME_PIXELS
from sam_video.video.container import holds_picture, open_stream, read_packets
from sam_video.video.header import read_header
from sam_video.video.source_file import SourceFile
from sam_video.workers.watchdog import check_headroom

logger = logging.getLogger(__name__)

MAX_THREADS = 8
"""Most threads of the decoder; each holds one more picture in memory."""

MAX_HELD = 8
"""Most pictures that are held back; encoders put fewer between a picture and its references."""

THREADS_BYTES = 256 * 2**20
"""Memory for the pictures that threads hold, and the same again for pictures held back."""


class DamageError(Exception):
    """Some of the data does not decode."""


class Decoder:
    """The best video stream of a file, as FFmpeg chooses it, decoded from the start or from a seek.

    Args:
        file: The file; its suffix is ignored.

    Raises:
        VideoError: There is no video stream, it cannot be decoded, it needs a key, or its frames
            are too large.
    """

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._has_warned = False
        self.is_damaged = False
        """Whether a pass from the start has found damage."""
        with open_stream(file) as (container, stream):
            num_pixels = stream.width * stream.height
            self._num_threads = _num_threads(num_pixels)
            self._num_held = min(MAX_HELD, _num_pictures(num_pixels))
            self.header = read_header(container, stream)
        if self.header.is_encrypted:
            raise VideoError(f"{file.name} is encrypted; expected a video that needs no key")

    def pictures(self) -> Generator[av.VideoFrame, None, None]:
        """Yield every picture that decodes, in presentation order.

        With damaged data, several FFmpeg threads lose pictures and decode others differently from
        one thread. So one thread decodes after the first sign of damage, and in all later passes. A
        few pictures are held back, since a picture may refer to a damaged one that is shown later.
        """
        if self._num_threads == 1:
            yield from self._decode(is_strict=False)
            return
        num_given = 0
        try:
            for picture in self._held_back(self._decode(is_strict=True)):
                yield picture
                num_given += 1
        except DamageError:
            self._num_threads = 1
            yield from islice(self._decode(is_strict=False), num_given, None)

    def pictures_from(
        self, key_pts: int, strict_from: int | None = None
    ) -> Generator[av.VideoFrame, None, None]:
        """Seek to the key frame at a time stamp, and yield the pictures from there on.

        The caller must check them: a seek may land elsewhere, and the first pictures may lack
        their references.

        Args:
            key_pts: The time stamp of a key frame.
            strict_from: If given, the first sign of damage at this time stamp or later is an error,
                and a few pictures are held back, as in `pictures`.

        Raises:
            DamageError: There is such damage.
            av.FFmpegError: The file cannot seek.
        """
        is_strict = strict_from is not None
        decoded = self._decode(is_strict=is_strict, key_pts=key_pts, strict_from=strict_from)
        return self._held_back(decoded) if is_strict else decoded

    def _held_back(
        self, decoded: Generator[av.VideoFrame, None, None]
    ) -> Generator[av.VideoFrame, None, None]:
        held: deque[av.VideoFrame] = deque()
        with closing(decoded):
            for picture in decoded:
                held.append(picture)
                if len(held) > self._num_held:
                    yield held.popleft()
        yield from held

    def _decode(
        self, *, is_strict: bool, key_pts: int | None = None, strict_from: int | None = None
    ) -> Generator[av.VideoFrame, None, None]:
        num_packets = num_pictures = 0
        earlier = last = None
        with open_stream(self._file) as (container, stream):
            stream.thread_type = "AUTO" if self._num_threads > 1 else "NONE"
            stream.thread_count = self._num_threads
            if key_pts is not None:
                # The first packet may hold data that all pictures need, as with old x264.
                stream.decode(next(container.demux(stream)))
                container.seek(key_pts, stream=stream)
            for packet in read_packets(container, stream):
                self._file.check()
                pictures, is_damaged = _decode_packet(stream, packet, strict_from)
                if key_pts is None:
                    self.is_damaged |= is_damaged
                if is_damaged and is_strict:
                    raise DamageError
                if packet is not None and holds_picture(packet):
                    num_packets += _is_shown_from(packet, strict_from)
                if self.is_damaged and num_pictures + len(pictures) and key_pts is None:
                    self._warn()
                for picture in pictures:
                    earlier, last = last, _set_pts(picture, earlier, last)
                    num_pictures += _is_shown_from(picture, strict_from)
                    yield picture
            self._file.check()
        # PyAV silently drops pictures after an error while it flushes the decoder.
        if is_strict and num_pictures < num_packets:
            raise DamageError

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("%s is damaged; the frames that decode are used", self._file.name)


def _num_threads(num_pixels: int) -> int:
    return max(1, min(MAX_THREADS, os.cpu_count() or 1, _num_pictures(num_pixels)))


def _num_pictures(num_pixels: int) -> int:
    """Return the number of pictures of this size that may be held."""
    return THREADS_BYTES // max(1, 3 * num_pixels)  # 3 bytes a pixel: 4:2:0 of 10 bits


def _is_shown_from(item: "Packet[VideoStream] | av.VideoFrame", pts: int | None) -> bool:
    """Return whether a picture is shown at `pts` or later; True if that is not known."""
    own = item.dts if item.pts is None else item.pts
    return pts is None or own is None or own >= pts


def _decode_packet(
    stream: VideoStream, packet: "Packet[VideoStream] | None", pts: int | None
) -> tuple[list[av.VideoFrame], bool]:
    """Return the pictures that a packet completes, and whether any is damaged from `pts` on."""
    matters = packet is None or _is_shown_from(packet, pts)
    try:
        pictures = stream.decode(packet)
    except av.FFmpegError as error:
        check_headroom(error, stream.width * stream.height)
        return [], matters
    fitting = [p for p in pictures if p.width * p.height <= MAX_FRAME_PIXELS.value]
    is_damaged = matters and (packet is None or packet.is_corrupt)
    is_damaged |= any(p.is_corrupt and _is_shown_from(p, pts) for p in pictures)
    is_damaged |= len(fitting) < len(pictures)
    if is_damaged:
        check_headroom(None, stream.width * stream.height)
    return fitting, is_damaged


def _set_pts(picture: av.VideoFrame, earlier: int | None, last: int | None) -> int | None:
    """Set a picture's time stamp if it has none, and return the time stamp.

    AVI has decoding time stamps only, and none for the last pictures; theirs are extrapolated from
    the two pictures before.
    """
    if picture.pts is None:
        picture.pts = picture.dts
    if picture.pts is None and earlier is not None and last is not None:
        picture.pts = 2 * last - earlier
    return picture.pts
