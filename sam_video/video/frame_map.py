"""A map of the frames of a video file, to plan seeks and check their results."""

import zlib
from array import array
from bisect import bisect_left, bisect_right

import av
import numpy as np
import numpy.typing as npt
from av.packet import Packet
from av.video.stream import VideoStream

from sam_video.video.container import open_stream, read_packets
from sam_video.video.images import BLOCK_BYTES
from sam_video.video.source_file import SourceFile

NO_PTS = -(2**63)
"""A missing time stamp, as in FFmpeg."""

MIN_BLOCK = 64
"""Fewest frames that reading backward decodes at once, if key frames are near each other."""

MAX_REORDERED, PACKETS_AHEAD = 64, 512
"""Longest distance, in packets, between decoding and showing a frame (encoders use at most 16); and
packets read beyond the requested ones, since the next request is often for them."""

CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""FFmpeg's names of the containers that store the presentation time of each frame."""

CODECS = ("h264", "hevc", "av1", "vp8", "vp9", "mjpeg", "prores", "dnxhd", "ffv1")
"""FFmpeg's names of the codecs whose packets each hold one picture or are marked as not shown."""


class FrameMap:
    """The time stamps and checksums of successive frames, and the indices of the key frames.

    Args:
        picture_bytes: Size of a decoded picture.
        first: Index of the first frame in the map.
    """

    def __init__(self, picture_bytes: int, first: int = 0) -> None:
        self.first = first
        self.is_complete = False
        """Whether the video ends at the end of the map."""
        self.has_checksums = True
        """Whether the map comes from decoding; if not, it comes from the container's packets."""
        self._max_block = max(1, BLOCK_BYTES // picture_bytes)
        self._pts = array("q")
        self._checksums = array("L")
        self._keys: list[int] = []
        self._is_ordered = True

    @property
    def stop(self) -> int:
        """Index after the last frame in the map."""
        return self.first + len(self._pts)

    def note(self, picture: av.VideoFrame) -> None:
        """Add the next decoded picture."""
        pts = NO_PTS if picture.pts is None else picture.pts
        if pts == NO_PTS or (self._pts and pts <= self._pts[-1]):
            self._is_ordered = False
        if picture.key_frame:
            self._keys.append(self.stop)
        self._pts.append(pts)
        self._checksums.append(_checksum(picture))

    def note_packets(self, pts: npt.NDArray[np.int64], key_pts: npt.NDArray[np.int64]) -> None:
        """Fill an empty map from packets: increasing time stamps, and those of key frames."""
        self.has_checksums = False
        self._pts = array("q", pts.tobytes())
        self._keys = [int(key) for key in np.searchsorted(pts, key_pts)]

    def pts(self, index: int) -> int:
        """Return the time stamp of a frame in the map."""
        return self._pts[index - self.first]

    def matches(self, index: int, picture: av.VideoFrame) -> bool:
        """Return whether a picture is frame `index` of the map, bit for bit if it has checksums."""
        if picture.pts != self.pts(index):
            return False
        if self.has_checksums:
            return self._checksums[index - self.first] == _checksum(picture)
        return bool(picture.key_frame) or not self._is_key(index)

    def _is_key(self, index: int) -> bool:
        place = bisect_left(self._keys, index)
        return place < len(self._keys) and self._keys[place] == index

    def block_start(self, end: int) -> int:
        """Return the start of the block that ends before `end`; it never decreases with `end`.

        It is a key frame if possible, since other blocks must decode earlier frames in vain. It is
        the latest one that gives `MIN_BLOCK` frames, since every picture in a block takes memory.
        """
        start = max(self.first, end - self._max_block)
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end) - 1
        if first > last:
            return start
        place = bisect_right(self._keys, end - MIN_BLOCK) - 1
        return self._keys[max(first, place)]

    def keys_before(self, index: int) -> list[int]:
        """Return the key frames from which decoding reaches `index`, the best first.

        The second is for files whose seeks land late, and for key frames that need earlier frames.
        The list is empty if time stamps are not in order; frame 0 is left out, as it needs no seek.
        """
        if not self._is_ordered:
            return []
        place = bisect_right(self._keys, index)
        return [key for key in reversed(self._keys[max(0, place - 2) : place]) if key > 0]


def map_packets(file: SourceFile, last: int, picture_bytes: int) -> FrameMap | None:
    """Map a file up to frame `last` without decoding it, or return None if that is not reliable.

    The map is right if all packets decode.

    Raises:
        VideoError: The file cannot be opened.
    """
    pts, key_pts = array("q"), array("q")
    is_complete = False
    with open_stream(file) as (container, stream):
        if container.format.name not in CONTAINERS or _codec(stream) not in CODECS:
            return None
        for packet in read_packets(container, stream):
            if packet is None or packet.is_corrupt or packet.is_discard:
                return None
            is_complete = not packet.size
            if is_complete or len(pts) > last + PACKETS_AHEAD:
                break
            if not _is_shown(packet, stream):
                continue
            if packet.pts is None:
                return None
            pts.append(packet.pts)
            if packet.is_keyframe:
                key_pts.append(packet.pts)
    shown = np.unique(np.asarray(pts))
    if not len(pts) or len(shown) < len(pts):
        return None
    known = shown if is_complete else shown[:-MAX_REORDERED]
    keys = np.sort(np.asarray(key_pts))
    found = FrameMap(picture_bytes)
    found.is_complete = is_complete
    found.note_packets(known, keys[keys <= known[-1]])
    return found


def _codec(stream: VideoStream) -> str:
    return stream.codec_context.codec.canonical_name


def _is_shown(packet: "Packet[VideoStream]", stream: VideoStream) -> bool:
    """Return whether the picture of a packet is shown, and not only a reference for others."""
    codec = _codec(stream)
    if codec not in {"vp8", "vp9"}:
        return True
    data = memoryview(packet)
    if codec == "vp8":
        return bool(data[0] & 0x10)
    # A superframe, which ends in a marker, holds a hidden picture and one that is shown.
    return bool(data[0] & 0x0A) or data[-1] & 0xE0 == 0xC0


def _checksum(picture: av.VideoFrame) -> int:
    """Return a checksum of the picture's first plane, which is luma for most formats."""
    plane = picture.planes[0]
    bits = picture.format.components[0].bits
    if len(picture.planes) == 1:
        bits = picture.format.padded_bits_per_pixel
    num_bytes = plane.width * -(-bits // 8)
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    # Sums of eight bytes at once take a tenth of the time of a CRC of all bytes.
    words, rest = rows[:, : num_bytes // 8 * 8], rows[:, num_bytes // 8 * 8 : num_bytes]
    sums = np.add.reduce(words.view(np.uint64), axis=1)
    return zlib.crc32(rest.tobytes(), zlib.crc32(sums.data))
