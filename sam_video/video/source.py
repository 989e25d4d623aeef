"""Read any video or image file as frames."""

from collections import deque
from collections.abc import Generator, Iterable
from contextlib import closing
from math import cos, radians, sin
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from sam_video.errors import VideoError
from sam_video.types import Frame, RGBImage, VideoInfo
from sam_video.video.decoder import Decoder
from sam_video.video.file_types import describe_other
from sam_video.video.images import ImageSource, open_image
from sam_video.video.picture_reader import PictureReader
from sam_video.video.source_file import SourceFile
from sam_video.workers.watchdog import check_headroom

UNSPECIFIED_COLORSPACE = 2
"""FFmpeg's number for it."""


def open_video(source: Path | SourceFile) -> "VideoSource | ImageSource":
    """Open a video or an image; the suffix of its name is ignored.

    Args:
        source: A video in any container and codec that FFmpeg reads, or an image that Pillow reads.

    Raises:
        VideoError: The file is missing, is of another kind, has too large frames, or none decodes.
    """
    file = source if isinstance(source, SourceFile) else SourceFile(source)
    try:
        if file.path.exists() and not file.path.is_file():
            kind = "a folder" if file.path.is_dir() else "not a file"
            raise VideoError(f"{file.name} is {kind}; expected a video or an image")
    except OSError as error:
        raise VideoError(f"{file.name} cannot be read: {error.strerror}") from None
    other = describe_other(file)
    if other is not None:
        raise VideoError(f"{file.name} is {other}; expected a video or an image")
    return open_image(file) or VideoSource(file)


class VideoSource:
    """A video file as a `FrameSource`.

    The file's rotation and mirroring are applied, to the nearest quarter turn; non-square pixels
    stay as they are. FFmpeg converts colours to 8-bit RGB, without tone mapping. If the size
    changes, frames are scaled to the size of the first. A damaged file gives the frames that
    decode, and one warning is logged.

    Raises:
        VideoError: There is no video stream, its frames are too large, or none decodes.
    """

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        decoder = Decoder(file)
        with closing(decoder.pictures()) as pictures:
            first = next(pictures, None)
        if first is None:
            raise VideoError(f"{file.name} has a video stream of which no frame decodes")
        self._pictures = PictureReader(file, decoder, first)
        header = decoder.header
        width, height = self._coded_wh = first.width, first.height
        pixel_aspect = header.pixel_aspect
        self._orientation = _Orientation(first)
        if self._orientation.is_transposed:
            width, height, pixel_aspect = height, width, 1 / pixel_aspect
        self.info = VideoInfo(
            width,
            height,
            header.frame_rate,
            header.num_frames,
            pixel_aspect,
            peak_rate=header.peak_rate,
        )

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield every frame from index `start` to the last that decodes."""
        reformatter = VideoReformatter()
        for index, picture in enumerate(self._pictures.forward(start), start):
            yield self._frame(index, picture, reformatter)

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, omitting those past the end."""
        reformatter = VideoReformatter()
        for index, picture in self._pictures.at(indices):
            yield self._frame(index, picture, reformatter)

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames `last`, `last - 1`, …, `first`, bit for bit the same as forward."""
        reformatter = VideoReformatter()
        for index, picture in self._pictures.backward(last, first):
            yield self._frame(index, picture, reformatter)

    def count_frames(self, limit: int) -> int:
        """Return the number of frames, at most `limit`."""
        return deque(self.counts(limit), 1).pop()

    def counts(self, limit: int, *, decodes_all: bool = False) -> Generator[int, None, None]:
        """Yield the result of `count_frames`; before that, now and then, the count so far.

        Args:
            limit: The count to stop at.
            decodes_all: Decode all frames, and do not rely on the container's packets.
        """
        return self._pictures.counts(limit, decodes_all=decodes_all)

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
                # Bicubic, like FFmpeg's own conversion; other filters give other colours.
                return reformatter.reformat(
                    picture, width, height, format="rgb24", interpolation="BICUBIC"
                )
            except av.FFmpegError as error:
                check_headroom(error, width * height)
        name = picture.format.name
        raise VideoError(f"{self._file.name} has pixels of format {name}, which has no RGB form")


class _Orientation:
    """The quarter turn and the mirroring of a picture's display matrix.

    The matrix maps `(x, y)` to `(a x + c y, b x + d y)`; see FFmpeg's libavutil/display.h.
    """

    def __init__(self, picture: av.VideoFrame) -> None:
        a, b, c, d = _display_matrix(picture)
        self.is_transposed = abs(b) + abs(c) > abs(a) + abs(d)
        flip_x, flip_y = (c < 0, b < 0) if self.is_transposed else (a < 0, d < 0)
        self._step_y, self._step_x = -1 if flip_y else 1, -1 if flip_x else 1

    def apply(self, image: RGBImage) -> RGBImage:
        """Return the image as it is shown."""
        pixels = image.view("V3")[..., 0]  # pixels as single items move in half the time
        shown = (pixels.T if self.is_transposed else pixels)[:: self._step_y, :: self._step_x]
        return np.ascontiguousarray(shown)[..., None].view(np.uint8)


def _display_matrix(picture: av.VideoFrame) -> tuple[float, float, float, float]:
    try:
        side_data = cast(Any, picture.side_data)  # PyAV's stub has motion vectors only
        matrix = np.frombuffer(side_data["DISPLAYMATRIX"], np.int32)
        return float(matrix[0]), float(matrix[1]), float(matrix[3]), float(matrix[4])
    except KeyError:
        return 1, 0, 0, 1
    except ValueError:  # PyAV does not know a newer kind of side data, but gives the angle
        angle = radians(picture.rotation)
        return cos(angle), -sin(angle), sin(angle), cos(angle)
