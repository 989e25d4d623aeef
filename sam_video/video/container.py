"""Open a video file with PyAV (FFmpeg), and read its packets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container import Flags, InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from sam_video.errors import VideoError
from sam_video.limits import MAX_FRAME_PIXELS
from sam_video.video.file_types import describe_unreadable
from sam_video.video.source_file import SourceFile
from sam_video.workers.watchdog import check_headroom, report_progress

_StreamT = TypeVar("_StreamT", AudioStream, VideoStream)

DEMUXERS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,asf,ogg,mxf,gxf,nut,ivf,obu,av1,"
    "h264,hevc,vvc,evc,h261,h263,mjpeg,mpjpeg,vc1,vc1test,dv,dirac,rm,swf,wtv,nsv,dhav,avs2,avs3,"
    "yuv4mpegpipe,cavsvideo,dnxhd,cine,cdxl,flic,roq,bink,smk,smjpeg,film_cpk,4xm"
)
"""FFmpeg's demuxers for containers that hold their own pictures and do not refer to other files."""

ENCRYPTED_TAGS = ("encv", "drmi")
"""Tags of encrypted sample entries in MP4."""

MAX_PADDING_PX = 256
"""Most columns and rows that FFmpeg adds to pictures in its buffers, for edges and alignment."""


@contextmanager
def open_stream(file: SourceFile) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open an untrusted file, with `DEMUXERS` only, and its best video stream.

    Raises:
        VideoError: It cannot be opened, has no video stream, or its frames are too large.
    """
    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "none",
        "max_pixels": str(MAX_FRAME_PIXELS.value),
    }
    with file.open() as opened:
        try:
            container = av.open(opened, "r", options=options, metadata_errors="replace")
        except (av.FFmpegError, OSError, ValueError) as error:
            check_headroom(error)
            raise VideoError(f"{file.name} is {describe_unreadable(file)}") from None
        with container:
            # PyAV lets FFmpeg generate missing time stamps, which are in the wrong order for AVI.
            container.flags &= ~cast(int, Flags.gen_pts.value)
            stream = _video_stream(file, container)
            stream.codec_context.options = {"max_pixels": str(_max_coded_pixels(stream))}
            yield container, stream


def _video_stream(file: SourceFile, container: InputContainer) -> VideoStream:
    stream = container.streams.best("video")
    # The cover picture of a song is not a video.
    if not isinstance(stream, VideoStream) or Disposition.attached_pic in stream.disposition:
        found = ", ".join(sorted({stream.type for stream in container.streams} - {"video"}))
        raise VideoError(f"{file.name} has no video stream ({found or 'nothing'} only)")
    if stream.codec_context is None:
        raise VideoError(f"{file.name} is of a codec that cannot be decoded here")
    if stream.width * stream.height > MAX_FRAME_PIXELS.value:
        raise VideoError(
            f"{file.name} has frames of {stream.width}x{stream.height} pixels;"
            f" expected at most {MAX_FRAME_PIXELS} per frame"
        )
    return stream


def _max_coded_pixels(stream: VideoStream) -> int:
    """Return the limit for FFmpeg, which counts the pixels of its padded buffers."""
    width, height = (size + MAX_PADDING_PX for size in (stream.width, stream.height))
    return max(MAX_FRAME_PIXELS.value, width * height)


def read_packets(
    container: InputContainer, stream: _StreamT
) -> "Iterator[Packet[_StreamT] | None]":
    """Yield the stream's packets; the last, which flushes the decoder, is None in a broken file."""
    while True:
        try:
            for packet in container.demux(stream):
                report_progress()
                yield packet
        except IndexError:
            # PyAV raises this once for a stream that begins in the middle of the file; the next
            # call succeeds.
            continue
        except av.FFmpegError as error:
            check_headroom(error)
            yield None
        return


def is_encrypted(stream: VideoStream, packet: "Packet[VideoStream]") -> bool:
    """Return whether a stream needs a key, judged by its tags and one of its packets."""
    if "enc_key_id" in stream.metadata or stream.codec_context.codec_tag in ENCRYPTED_TAGS:
        return True
    return any(packet.has_sidedata(kind) for kind in ("encryption_info", "encryption_init_info"))


def holds_picture(packet: "Packet[VideoStream] | None") -> bool:
    """Return whether a packet holds a picture; a later packet may complete its decoding."""
    return packet is not None and packet.size > 0 and not packet.is_discard
