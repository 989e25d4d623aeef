"""Read the pictures of a video file from any frame on, without decoding all earlier ones."""

import logging
import time
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import islice

import av

from sam_video.errors import VideoError
from sam_video.video.decoder import DamageError, Decoder
from sam_video.video.frame_map import MIN_BLOCK, FrameMap, map_packets
from sam_video.video.source_file import SourceFile
from sam_video.workers.watchdog import check_headroom

logger = logging.getLogger(__name__)

NEAR_PIXELS = 2**30
"""Pixels up to which frames are decoded from the start: a second or two of decoding."""

PIXELS_PER_PICTURE = 2**15
"""The constant cost of decoding a picture, as a number of pixels."""

NUM_CHECKED = 32
"""Frames at the start that are compared with a map made from packets."""

SECONDS_PER_REPORT = 5.0
"""Seconds between progress messages of a long search."""


class _LostError(Exception):
    """A seek has found other pictures than the expected ones."""


class PictureReader:
    """Reads pictures by seeking, bit for bit the same as decoding the file from its start.

    A map of the frames, extended on demand, gives the key frame to seek to. Near the start, or if
    time stamps are not reliable, decoding makes the map. Otherwise the container's packets make it,
    and each seek is checked; then frame indices may be wrong after damage in a part of the file
    that was not decoded.

    Args:
        file: The file.
        decoder: Decodes it.
        first: Its first picture.
    """

    def __init__(self, file: SourceFile, decoder: Decoder, first: av.VideoFrame) -> None:
        self._file = file
        self._decoder = decoder
        self._picture_bytes = sum(plane.buffer_size for plane in first.planes)
        self._picture_cost = first.width * first.height + PIXELS_PER_PICTURE
        self._trusts_packets = True
        self._map = FrameMap(self._picture_bytes)

    def forward(self, start: int = 0) -> Generator[av.VideoFrame, None, None]:
        """Yield the pictures from frame `start` on."""
        if self._map.stop <= start and self._is_far(start):
            self._reach(start)
        if start < self._map.stop:
            yield from self._forward(self._map, start)
        elif not self._map.is_complete:
            yield from islice(self._decoder.pictures(), start, None)

    def at(self, indices: Iterable[int]) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Yield frames in increasing order, with their indices, omitting those past the end."""
        wanted = deque(sorted({index for index in indices if index >= 0}))
        while wanted:
            start = wanted[0]
            with closing(self.forward(start)) as pictures:
                for index, picture in enumerate(pictures, start):
                    if index == wanted[0]:
                        yield wanted.popleft(), picture
                        if not wanted or self._has_key_between(index + MIN_BLOCK, wanted[0]):
                            break
            if wanted and wanted[0] == start:  # the index is past the end
                return

    def backward(
        self, last: int, first: int = 0
    ) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Yield the frames `last`, `last - 1`, …, `first`, with their indices.

        Blocks of bounded size are decoded, the last block first, each from a key frame if its size
        allows. Before that, frames that were not decoded yet are decoded once, for the map.
        """
        if last < first:
            return
        self._reach(last)
        known, end = self._map, min(last + 1, self._map.stop)
        if not known.has_checksums:
            known = self._decoded_map(first, end)
            end = min(end, known.stop)
        while end > first:
            block = self._read_block(known, max(first, known.block_start(end)), end)
            while block:
                end -= 1
                yield end, block.pop()

    def counts(self, limit: int, *, decodes_all: bool = False) -> Generator[int, None, None]:
        """Yield the number of frames, at most `limit`; before that, now and then, the count so far.

        Args:
            limit: The count to stop at.
            decodes_all: Decode all frames, and do not rely on the container's packets.
        """
        if decodes_all:
            self._trusts_packets = False
            if not self._map.has_checksums:
                self._map = FrameMap(self._picture_bytes)
        if limit > 0:
            yield from self._reaching(limit - 1)
        yield max(0, min(limit, self._map.stop))

    def _is_far(self, index: int) -> bool:
        return index * self._picture_cost > NEAR_PIXELS

    def _has_key_between(self, index: int, wanted: int) -> bool:
        """Return whether a seek to `wanted` can start after `index`, and so is the shorter way."""
        if wanted >= self._map.stop or self._decoder.is_damaged:
            return False
        return max(self._map.keys_before(wanted), default=0) > index

    def _reach(self, index: int) -> None:
        for _ in self._reaching(index):
            pass

    def _reaching(self, index: int) -> Generator[int, None, None]:
        """Extend the map up to a frame or the end; yield the count so far now and then."""
        if index < self._map.stop or self._map.is_complete:
            return
        if self._is_far(index) and self._trusts_packets and not self._decoder.is_damaged:
            found = map_packets(self._file, index, self._picture_bytes)
            self._trusts_packets = found is not None and self._is_true(found, index)
            if found is not None and self._trusts_packets:
                self._map = found
                return
        if not self._map.has_checksums:
            self._map = FrameMap(self._picture_bytes)
        yield from self._noting(self._map, index + 1)

    def _noting(self, known: FrameMap, stop: int) -> Generator[int, None, None]:
        """Extend a map by decoding, up to frame `stop`; yield the count so far now and then."""
        start = known.stop
        pictures = self._forward(known, start - 1) if start else self._decoder.pictures()
        reported = time.monotonic()
        with closing(pictures):
            for picture in islice(pictures, bool(start), stop - start + bool(start)):
                known.note(picture)
                if time.monotonic() - reported > SECONDS_PER_REPORT:
                    reported = time.monotonic()
                    logger.info("looking for frame %d: %d frames are decoded", stop - 1, known.stop)
                    yield known.stop
        known.is_complete = known.stop < stop

    def _is_true(self, found: FrameMap, index: int) -> bool:
        """Return whether decoding confirms a map: at the start, at `index` and at its known end."""
        with closing(self._decoder.pictures()) as pictures:
            stop = min(NUM_CHECKED, found.stop)
            first = enumerate(islice(pictures, stop))
            if sum(found.matches(index, picture) for index, picture in first) < stop:
                return False
        places = {min(index, found.stop - 1), found.stop - 1 if found.is_complete else index}
        return all(self._lands(found, place) for place in places)

    def _lands(self, found: FrameMap, index: int) -> bool:
        """Return whether a seek reaches a frame, and the video's end after it if it is the last."""
        is_last = found.is_complete and index == found.stop - 1
        for key in found.keys_before(index):
            try:
                with closing(self._sought(found, key, index)) as pictures:
                    deque(islice(pictures, 2 if is_last else 1), 0)
                    return True
            except (_LostError, DamageError, av.FFmpegError) as error:
                check_headroom(error)
        return False

    def _forward(self, known: FrameMap, start: int) -> Generator[av.VideoFrame, None, None]:
        """Yield the pictures from a frame of a map on, by seeking as long as they match the map."""
        index = start
        if not self._decoder.is_damaged:
            for key in known.keys_before(start):
                try:
                    for picture in self._sought(known, key, start):
                        yield picture
                        index += 1
                except (_LostError, DamageError, av.FFmpegError) as error:
                    check_headroom(error)
                else:
                    return
                if index > start:
                    break
        yield from islice(self._decoder.pictures(), index, None)

    def _sought(
        self, known: FrameMap, key: int, start: int
    ) -> Generator[av.VideoFrame, None, None]:
        """Yield the pictures from frame `start` on that follow a seek to a key frame.

        Raises:
            _LostError: They do not match the map.
            DamageError: They are damaged.
            av.FFmpegError: The file cannot seek.
        """
        # Without checksums, the key frame must match too.
        first = index = start if known.has_checksums else key
        first_pts = known.pts(first)
        with closing(self._decoder.pictures_from(known.pts(key), first_pts)) as pictures:
            for picture in pictures:
                if index == first and picture.pts is not None and picture.pts < first_pts:
                    continue
                if index >= known.stop and known.is_complete:
                    raise _LostError
                if index < known.stop and not known.matches(index, picture):
                    raise _LostError
                if index >= start:
                    yield picture
                index += 1
        if index < known.stop:
            raise _LostError

    def _decoded_map(self, first: int, stop: int) -> FrameMap:
        """Return a map with checksums from the key frame before `first` up to `stop`."""
        base = max(self._map.keys_before(first), default=0)
        known = FrameMap(self._picture_bytes, base)
        pictures = self._forward(self._map, base) if base else self._decoder.pictures()
        with closing(pictures):
            for picture in islice(pictures, stop - base):
                known.note(picture)
        return known

    def _read_block(self, known: FrameMap, start: int, end: int) -> deque[av.VideoFrame]:
        """Decode the pictures from `start` up to `end`."""
        for key in known.keys_before(start):
            block = self._seek_block(known, key, start, end)
            if len(block) == end - start:
                return block
        block = deque(islice(self._decoder.pictures(), start, end))
        if len(block) < end - start:
            raise VideoError(f"{self._file.name} changed while it was read")
        return block

    def _seek_block(self, known: FrameMap, key: int, start: int, end: int) -> deque[av.VideoFrame]:
        """Seek to frame `key` and decode from `start` up to `end` while pictures match the map."""
        block: deque[av.VideoFrame] = deque()
        try:
            with closing(self._decoder.pictures_from(known.pts(key))) as pictures:
                for picture in pictures:
                    if picture.pts is not None and picture.pts < known.pts(start):
                        continue
                    if not known.matches(start + len(block), picture):
                        break
                    block.append(picture)
                    if len(block) == end - start:
                        break
        except av.FFmpegError as error:  # it cannot seek
            check_headroom(error)
            return deque()
        return block
