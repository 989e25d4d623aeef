"""Any video or image file as frames."""

import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import islice
from math import cos, radians, sin
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from sam_video.errors import VideoError
from sam_video.types import Frame, FrameSource, RGBImage, VideoInfo
from sam_video.video.decoder import Decoder
from sam_video.video.file_types import describe_other
from sam_video.video.images import BLOCK_BYTES, open_image
from sam_video.workers.watchdog import check_headroom

NO_PTS = -(2**63)
"""Stands for a missing time stamp, as in FFmpeg."""

MIN_BLOCK = 64
"""Frames that reading backward decodes at once where key frames are near each other."""

UNSPECIFIED_COLORSPACE = 2
"""As FFmpeg numbers it."""


def open_video(path: Path) -> FrameSource:
    """Open a video or an image, whatever its name says that it is.

    Args:
        path: A video in any container and codec that FFmpeg reads, or an image that Pillow reads.

    Raises:
        VideoError: The file is missing, is something else, is too large, or nothing of it decodes.
    """
    try:
        if path.exists() and not path.is_file():
            raise VideoError(f"{path.name!r} is not a file")
        other = describe_other(path)
    except OSError as error:
        raise VideoError(f"{path.name!r} cannot be read: {error.strerror}") from None
    if other is not None:
        raise VideoError(f"{path.name!r} is {other}; expected a video or an image")
    return open_image(path) or VideoSource(path)


class VideoSource:
    """A video file as a `FrameSource`.

    Rotation and mirroring that the file asks for are applied, to the nearest quarter turn;
    non-square pixels stay as they are. Colours become 8-bit RGB as FFmpeg does it, without tone
    mapping. Where the size changes in the middle, frames are scaled to the size of the first. Of a
    damaged file, what decodes is used, and one warning is logged.

    Raises:
        VideoError: There is no video stream, its frames are too large, or none decodes.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._decoder = Decoder(path)
        with closing(self._decoder.pictures()) as pictures:
            first = next(pictures, None)
        if first is None:
            raise VideoError(f"{path.name!r} has a video stream of which no frame decodes")
        header = self._decoder.header
        width, height = self._coded_wh = first.width, first.height
        pixel_aspect = header.pixel_aspect
        self._orientation = _Orientation(first)
        if self._orientation.is_transposed:
            width, height, pixel_aspect = height, width, 1 / pixel_aspect
        self.info = VideoInfo(width, height, header.frame_rate, header.num_frames, pixel_aspect)

    def frames(self) -> Generator[Frame, None, None]:
        """Yield every frame from the first to the last that decodes."""
        reformatter = VideoReformatter()
        for index, picture in enumerate(self._decoder.pictures()):
            yield self._frame(index, picture, reformatter)

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, leaving out those past the end."""
        wanted = {index for index in indices if index >= 0}
        reformatter = VideoReformatter()
        pictures = islice(self._decoder.pictures(), max(wanted, default=-1) + 1)
        for index, picture in enumerate(pictures):
            if index in wanted:
                yield self._frame(index, picture, reformatter)

    def frames_backward(self, last: int) -> Generator[Frame, None, None]:
        """Yield the frames `last`, `last - 1`, …, 0, the same to the bit as forward.

        A pass forward notes where the key frames are. Then blocks of at most `BLOCK_BYTES` are
        decoded, the last block first, each from a key frame on where its size allows.
        """
        reformatter = VideoReformatter()
        timeline, block = self._survey(last)
        end = len(timeline)
        while end > 0:
            if not block:
                block = self._read_block(timeline, timeline.block_start(end), end)
            end -= 1
            yield self._frame(end, block.pop(), reformatter)

    def count_frames(self, limit: int) -> int:
        """Decode up to `limit` frames and return how many there are."""
        return sum(1 for _ in islice(self._decoder.pictures(), max(0, limit)))

    def _survey(self, last: int) -> tuple["_Timeline", deque[av.VideoFrame]]:
        """Decode up to frame `last` and return what was noted, and the last block of pictures."""
        timeline = _Timeline()
        block: deque[av.VideoFrame] = deque()
        for picture in islice(self._decoder.pictures(), max(0, last + 1)):
            timeline.note(picture)
            block.append(picture)
            end = len(timeline)
            while len(block) > end - timeline.block_start(end):
                block.popleft()
        return timeline, block

    def _frame(self, index: int, picture: av.VideoFrame, reformatter: VideoReformatter) -> Frame:
        rgb = self._to_rgb(picture, reformatter)
        image = self._orientation.apply(np.ascontiguousarray(rgb.to_ndarray(), np.uint8))
        if picture.pts is None or picture.time_base is None:
            return Frame(index, float(index / self.info.frame_rate), image)
        return Frame(index, float(picture.pts * picture.time_base), image)

    def _to_rgb(self, picture: av.VideoFrame, reformatter: VideoReformatter) -> av.VideoFrame:
        width, height = self._coded_wh
        for colorspace in (picture.colorspace, UNSPECIFIED_COLORSPACE):
            # Some files are tagged with a matrix that does not exist or does not fit.
            picture.colorspace = colorspace
            try:
                # Bicubic, because FFmpeg's own conversion is; other filters give other colours.
                return reformatter.reformat(
                    picture, width, height, format="rgb24", interpolation="BICUBIC"
                )
            except av.FFmpegError as error:
                check_headroom(error, width * height)
        name = picture.format.name
        raise VideoError(f"{self._path.name!r} has pixels of format {name}, which has no RGB form")

    def _read_block(self, timeline: "_Timeline", start: int, end: int) -> deque[av.VideoFrame]:
        """Decode the pictures from `start` up to `end`."""
        for key in timeline.keys_before(start):
            block = self._seek_block(timeline, key, start, end)
            if len(block) == end - start:
                return block
        block = deque(islice(self._decoder.pictures(), start, end))
        if len(block) < end - start:
            raise VideoError(f"{self._path.name!r} changed while it was read")
        return block

    def _seek_block(
        self, timeline: "_Timeline", key: int, start: int, end: int
    ) -> deque[av.VideoFrame]:
        """Decode as many pictures from `start` up to `end` as a seek to frame `key` gives right."""
        block: deque[av.VideoFrame] = deque()
        try:
            with closing(self._decoder.pictures_from(timeline.pts[key])) as pictures:
                for picture in pictures:
                    if picture.pts is not None and picture.pts < timeline.pts[start]:
                        continue
                    if not timeline.matches(start + len(block), picture):
                        break
                    block.append(picture)
                    if len(block) == end - start:
                        break
        except av.FFmpegError as error:  # it cannot seek
            check_headroom(error)
            return deque()
        return block


class _Timeline:
    """What a pass forward notes of each picture, by which a seek is planned and checked."""

    def __init__(self) -> None:
        self.pts = array("q")
        self._checksums = array("L")
        self._keys: list[int] = []
        self._is_ordered = True
        self._max_block = 1

    def __len__(self) -> int:
        return len(self.pts)

    def note(self, picture: av.VideoFrame) -> None:
        """Add the next picture."""
        if not self.pts:
            num_bytes = sum(plane.buffer_size for plane in picture.planes)
            self._max_block = max(1, BLOCK_BYTES // num_bytes)
        if picture.pts is None or (self.pts and picture.pts <= self.pts[-1]):
            self._is_ordered = False
        if picture.key_frame:
            self._keys.append(len(self))
        self.pts.append(NO_PTS if picture.pts is None else picture.pts)
        self._checksums.append(_checksum(picture))

    def matches(self, index: int, picture: av.VideoFrame) -> bool:
        """Whether a picture is the one that was noted as `index`, to the bit."""
        return self.pts[index] == picture.pts and self._checksums[index] == _checksum(picture)

    def block_start(self, end: int) -> int:
        """Return where to begin the block that ends before `end`; it never decreases with `end`.

        At a key frame, as a block that begins elsewhere decodes in vain what is before it; and no
        earlier than is worth opening the file for, as every picture held takes memory.
        """
        start = max(0, end - self._max_block)
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end) - 1
        if first > last:
            return start
        place = bisect_right(self._keys, end - MIN_BLOCK) - 1
        return self._keys[max(first, place)]

    def keys_before(self, index: int) -> list[int]:
        """Return the key frames from which to reach `index`, the most promising first.

        The second is for files whose seeks land late, and for key frames that need what is before
        them. There is none where time stamps do not tell frames apart; frame 0 needs no seek.
        """
        if not self._is_ordered:
            return []
        place = bisect_right(self._keys, index)
        return [key for key in reversed(self._keys[max(0, place - 2) : place]) if key > 0]


def _checksum(picture: av.VideoFrame) -> int:
    """Return the CRC-32 of the picture's first plane, which for most formats is its brightness."""
    plane = picture.planes[0]
    bits = picture.format.components[0].bits
    if len(picture.planes) == 1:
        bits = picture.format.padded_bits_per_pixel
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1)
    return zlib.crc32(np.ascontiguousarray(rows[:, : plane.width * -(-bits // 8)]).data)


class _Orientation:
    """The quarter turn and the mirroring that a picture's display matrix asks for.

    The matrix takes `(x, y)` to `(a x + c y, b x + d y)`; see FFmpeg's libavutil/display.h.
    """

    def __init__(self, picture: av.VideoFrame) -> None:
        a, b, c, d = _display_matrix(picture)
        self.is_transposed = abs(b) + abs(c) > abs(a) + abs(d)
        flip_x, flip_y = (c < 0, b < 0) if self.is_transposed else (a < 0, d < 0)
        self._step_y, self._step_x = -1 if flip_y else 1, -1 if flip_x else 1

    def apply(self, image: RGBImage) -> RGBImage:
        """Return the image as it is shown."""
        pixels = image.view("V3")[..., 0]  # moved as one item, they take half the time
        shown = (pixels.T if self.is_transposed else pixels)[:: self._step_y, :: self._step_x]
        return np.ascontiguousarray(shown)[..., None].view(np.uint8)


def _display_matrix(picture: av.VideoFrame) -> tuple[float, float, float, float]:
    try:
        side_data = cast(Any, picture.side_data)  # PyAV's stub knows of motion vectors only
        matrix = np.frombuffer(side_data["DISPLAYMATRIX"], np.int32)
        return float(matrix[0]), float(matrix[1]), float(matrix[3]), float(matrix[4])
    except KeyError:
        return 1, 0, 0, 1
    except ValueError:  # PyAV stumbles over side data newer than itself; the angle it still gives
        angle = radians(picture.rotation)
        return cos(angle), -sin(angle), sin(angle), cos(angle)
