"""The pictures of a video file, decoded with PyAV (FFmpeg), come what may."""

import io
import logging
import os
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container import Flags, InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from sam_video.errors import VideoError
from sam_video.limits import MAX_FRAME_PIXELS, MAX_FRAMES, MAX_SECONDS
from sam_video.video.file_types import describe_unreadable
from sam_video.workers.watchdog import check_headroom, report_progress

logger = logging.getLogger(__name__)

_StreamT = TypeVar("_StreamT", AudioStream, VideoStream)

DEMUXERS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,asf,ogg,mxf,gxf,nut,ivf,obu,av1,"
    "h264,hevc,vvc,evc,h261,h263,mjpeg,mpjpeg,vc1,vc1test,dv,dirac,rm,swf,wtv,nsv,dhav,avs2,avs3,"
    "yuv4mpegpipe,cavsvideo,dnxhd,cine,cdxl,flic,roq,bink,smk,smjpeg,film_cpk,4xm"
)
"""FFmpeg's readers of containers that hold their own pictures, and do not name other files."""

MAX_THREADS = 8
"""Of the decoder; each holds a frame more in memory."""

MAX_HELD = 8
"""Pictures that are held back: encoders put fewer between a picture and what it refers to."""

THREADS_BYTES = 256 * 2**20
"""Of memory, for the frames that threads hold, and again for those held back: fewer large ones."""

MAX_PADDING_PX = 256
"""By which FFmpeg's buffers are wider and higher than pictures: edges, and what alignment takes."""

SLOWEST, FASTEST, USUAL_RATE = Fraction(1, 60), Fraction(1000), Fraction(25)
"""Frames per second: what a header may say and be believed, and what is taken where none is."""


class DamageError(Exception):
    """Something does not decode."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of its video stream."""

    frame_rate: Fraction
    """Average frames per second, or the usual rate where the file says nothing credible."""
    num_frames: int | None
    """As the file says, or None; counted where it would be more than a request may process."""
    pixel_aspect: Fraction
    """Width of a pixel divided by its height, before rotation."""


class Decoder:
    """The best video stream of a file, as FFmpeg chooses it, decoded from the start or from a seek.

    Args:
        path: Its suffix does not matter.

    Raises:
        VideoError: There is no video stream, it cannot be decoded, or its frames are too large.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._has_warned = False
        self.is_damaged = False
        """Whether anything did not decode in a pass from the start."""
        with open_stream(path) as (container, stream):
            num_pixels = stream.width * stream.height
            self._num_threads = _num_threads(num_pixels)
            self._num_held = min(MAX_HELD, _num_pictures(num_pixels))
            frame_rate = _frame_rate(stream)
            self.header = Header(
                frame_rate,
                _num_frames(container, stream, frame_rate),
                stream.sample_aspect_ratio or Fraction(1),
            )

    def pictures(self) -> Generator[av.VideoFrame, None, None]:
        """Yield every picture that decodes, in presentation order.

        In damaged data FFmpeg's threads lose pictures, and make others of the rest than one thread
        does. So from the first sign of damage on, and in all later passes, one thread decodes. A
        few pictures are held back, as one may refer to a damaged one that is shown after it.
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
        """Yield pictures from the key frame at or before a time stamp, as far as a seek finds it.

        The first may be of another place, or lack what they refer to: the caller must check.

        Args:
            key_pts: The time stamp of a key frame.
            strict_from: If given, the first sign of damage in what is shown at this time stamp or
                later is an error, and a few pictures are held back, as `pictures` does it.

        Raises:
            DamageError: There is such a sign.
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
        with open_stream(self._path) as (container, stream):
            stream.thread_type = "AUTO" if self._num_threads > 1 else "NONE"
            stream.thread_count = self._num_threads
            if key_pts is not None:
                # The first packet may tell of the encoder what all pictures need: old x264's does.
                stream.decode(next(container.demux(stream)))
                container.seek(key_pts, stream=stream)
            for packet in read_packets(container, stream):
                pictures, is_damaged = _decode_packet(stream, packet, strict_from)
                if key_pts is None:
                    self.is_damaged |= is_damaged
                if is_damaged and is_strict:
                    raise DamageError
                num_packets += _holds_picture(packet, strict_from)
                if self.is_damaged and num_pictures + len(pictures) and key_pts is None:
                    self._warn()
                for picture in pictures:
                    earlier, last = last, _set_pts(picture, earlier, last)
                    num_pictures += _is_shown_from(picture, strict_from)
                    yield picture
        # PyAV drops what comes after an error while the decoder is emptied, and does not tell.
        if is_strict and num_pictures < num_packets:
            raise DamageError

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning("%r is damaged; the frames that decode are used", self._path.name)


def _num_threads(num_pixels: int) -> int:
    return max(1, min(MAX_THREADS, os.cpu_count() or 1, _num_pictures(num_pixels)))


def _num_pictures(num_pixels: int) -> int:
    """Return how many pictures of a size may be held."""
    return THREADS_BYTES // max(1, 3 * num_pixels)  # as 4:2:0 of 10 bits


class _VideoFile(io.FileIO):
    """A file that answers an impossible seek as FFmpeg expects; PyAV would print an exception."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return -1


@contextmanager
def open_stream(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file of any origin, by the readers of `DEMUXERS` alone, and its best video stream.

    Raises:
        VideoError: It cannot be opened, has no video stream, or its frames are too large.
    """
    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "none",
        "max_pixels": str(MAX_FRAME_PIXELS.value),
    }
    try:
        # Opened by number, because FFmpeg would take the suffix of a name as evidence.
        file = _VideoFile(os.open(path, os.O_RDONLY))
    except OSError as error:
        raise VideoError(f"{path.name!r} cannot be read: {error.strerror}") from None
    with file:
        try:
            container = av.open(file, "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            check_headroom(error)
            raise VideoError(f"{path.name!r} is {describe_unreadable(path)}") from None
        with container:
            # PyAV asks for made-up time stamps, which are in the wrong order in AVI.
            container.flags &= ~cast(int, Flags.gen_pts.value)
            stream = _video_stream(path, container)
            stream.codec_context.options = {"max_pixels": str(_max_coded_pixels(stream))}
            yield container, stream


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    # A cover picture makes no video of a song.
    if not isinstance(stream, VideoStream) or Disposition.attached_pic in stream.disposition:
        found = ", ".join(sorted({stream.type for stream in container.streams} - {"video"}))
        raise VideoError(f"{path.name!r} has no video stream ({found or 'nothing'} only)")
    if stream.codec_context is None:
        raise VideoError(f"{path.name!r} is of a codec that cannot be decoded here")
    if stream.width * stream.height > MAX_FRAME_PIXELS.value:
        raise VideoError(
            f"{path.name!r} has frames of {stream.width}x{stream.height} pixels;"
            f" expected at most {MAX_FRAME_PIXELS} per frame"
        )
    return stream


def _max_coded_pixels(stream: VideoStream) -> int:
    """Return the limit as FFmpeg counts, whose buffers are larger than what they hold."""
    width, height = (size + MAX_PADDING_PX for size in (stream.width, stream.height))
    return max(MAX_FRAME_PIXELS.value, width * height)


def read_packets(
    container: InputContainer, stream: _StreamT
) -> "Iterator[Packet[_StreamT] | None]":
    """Yield the stream's packets, the last of which empties the decoder: None in a broken file."""
    while True:
        try:
            for packet in container.demux(stream):
                report_progress()
                yield packet
        except IndexError:
            # PyAV trips over the first packet of a stream that begins in the middle of the file,
            # and is prepared when asked anew.
            continue
        except av.FFmpegError as error:
            check_headroom(error)
            yield None
        return


def _holds_picture(packet: "Packet[VideoStream] | None", pts: int | None) -> bool:
    if packet is None or packet.size == 0 or packet.is_discard:
        return False
    return _is_shown_from(packet, pts)


def _is_shown_from(item: "Packet[VideoStream] | av.VideoFrame", pts: int | None) -> bool:
    """Whether a picture is shown at a time stamp or later, as far as it tells."""
    own = item.dts if item.pts is None else item.pts
    return pts is None or own is None or own >= pts


def _decode_packet(
    stream: VideoStream, packet: "Packet[VideoStream] | None", pts: int | None
) -> tuple[list[av.VideoFrame], bool]:
    """Return the pictures that a packet completes, and any sign of damage shown from `pts` on."""
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
    """Give a picture the time stamp that it lacks, and return it.

    AVI has the order of decoding only, and not for the last pictures; those follow the two before.
    """
    if picture.pts is None:
        picture.pts = picture.dts
    if picture.pts is None and earlier is not None and last is not None:
        picture.pts = 2 * last - earlier
    return picture.pts


def _num_frames(container: InputContainer, stream: VideoStream, frame_rate: Fraction) -> int | None:
    """Return the number of frames that the file states, if it does.

    For a number that may be refused nobody's word is taken: the packets are counted, which takes
    seconds where decoding takes hours.
    """
    stated = stream.frames or None
    expected = stated or (container.duration or 0) * frame_rate / av.time_base
    if expected <= MAX_FRAMES.value and expected <= MAX_SECONDS.value * frame_rate:
        return stated
    return sum(_holds_picture(packet, None) for packet in read_packets(container, stream)) or None


def _frame_rate(stream: VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and SLOWEST <= rate <= FASTEST:
            return rate
    return USUAL_RATE
