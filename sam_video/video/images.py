"""Read still and animated images as frames, with Pillow."""

import logging
import warnings
from collections.abc import Generator, Iterable
from contextlib import closing
from fractions import Fraction
from itertools import count, islice

import numpy as np
from PIL import (
    AvifImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from sam_video.errors import VideoError, one_line
from sam_video.limits import MAX_FRAME_PIXELS
from sam_video.types import Frame, RGBImage, VideoInfo
from sam_video.video.rates import rate_of
from sam_video.video.source_file import OpenFile, SourceFile
from sam_video.workers.watchdog import check_headroom, report_progress

logger = logging.getLogger(__name__)

BLOCK_BYTES = 256 * 2**20
"""Memory for the frames of one block when reading backward."""

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM", "JPEG2000")
_READERS = (AvifImagePlugin, Jpeg2KImagePlugin, TiffImagePlugin, WebPImagePlugin)
"""Imported here, since otherwise Pillow would import the readers of all its formats."""
ANIMATED_FORMATS = ("PNG", "GIF", "WEBP", "AVIF")

STRIP_PIXELS = 2**21
"""Most pixels of a picture that are converted at once."""

STILL_RATE = Fraction(25)
"""Frames per second of a still image, as in FFmpeg."""

PROBED_PICTURES, PROBED_PIXELS = 300, 2**27
"""Limits on an animation's part that is read to learn its rate; at least two pictures are read."""

# `MAX_FRAME_PIXELS` limits the size instead; the caller's own filters take precedence.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, append=True)


def open_image(file: SourceFile) -> "ImageSource | None":
    """Open a file of a format in `FORMATS`, or return None for any other.

    Raises:
        VideoError: The image is damaged or too large.
    """
    max_pixels = MAX_FRAME_PIXELS.value
    _let_pillow_read(max_pixels)
    try:
        with file.open() as opened, _open(file, opened) as image:
            num_pixels = image.width * image.height
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        num_pixels = max_pixels + 1
    if num_pixels > max_pixels:
        raise VideoError(
            f"{file.name} has too many pixels; expected at most {MAX_FRAME_PIXELS} per frame"
        )
    return ImageSource(file)


def _let_pillow_read(num_pixels: int) -> None:
    """Raise Pillow's limit, which is one for the whole process, to at least `num_pixels`."""
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, num_pixels)


class ImageSource:
    """A still image, or an animated GIF, WebP, PNG or AVIF, as a `FrameSource`.

    EXIF orientation is applied to still images. Transparent pixels are shown on white, as in
    browsers. A file with several pages, such as TIFF, gives its first page.

    Raises:
        VideoError: The first picture cannot be decoded.
    """

    def __init__(self, file: SourceFile) -> None:
        self._file = file
        self._has_warned = False
        with closing(self._decode()) as pictures:
            first_ms, picture = next(pictures)
            height, width = picture.shape[:2]
            num_probed = max(1, min(PROBED_PICTURES, PROBED_PIXELS // (width * height)))
            durations_ms = [first_ms, *(ms for ms, _ in islice(pictures, num_probed))]
        num_frames = len(durations_ms)
        is_still = num_frames == 1
        rate = STILL_RATE if is_still else 1000 * num_frames / sum(durations_ms, Fraction())
        peak_rate = rate_of([float(ms) / 1000 for ms in durations_ms], 0.001, 0)
        self.info = VideoInfo(
            width,
            height,
            rate,
            num_frames if num_frames <= num_probed else None,
            is_still=is_still,
            peak_rate=rate if is_still or peak_rate is None else max(rate, peak_rate),
        )

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield every frame from index `start` to the last that decodes."""
        elapsed_ms = Fraction()
        for index, (duration_ms, picture) in enumerate(self._decode()):
            if index >= start:
                yield Frame(index, float(elapsed_ms / 1000), picture)
            elapsed_ms += duration_ms

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, omitting those past the end."""
        wanted = {index for index in indices if index >= 0}
        for frame in islice(self.frames(), max(wanted, default=-1) + 1):
            if frame.index in wanted:
                yield frame

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield frames `last`, `last - 1`, …, `first`; every block of `BLOCK_BYTES` is one pass."""
        block_size = max(1, BLOCK_BYTES // (3 * self.info.width * self.info.height))
        end = self.count_frames(last + 1)
        while end > first:
            start = max(first, end - block_size)
            block = list(islice(self.frames(start), end - start))
            while block:
                yield block.pop()
            end = start

    def count_frames(self, limit: int) -> int:
        """Decode at most `limit` frames and return their number."""
        return sum(1 for _ in islice(self._decode(), max(0, limit)))

    def counts(self, limit: int, *, decodes_all: bool = True) -> Generator[int, None, None]:
        """Yield the result of `count_frames`, which always decodes the frames."""
        yield self.count_frames(limit)

    def _decode(self) -> Generator[tuple[Fraction, RGBImage], None, None]:
        """Yield the duration in milliseconds and the image of each picture."""
        with self._file.open() as opened, _open(self._file, opened) as image:
            first_shape: tuple[int, ...] = ()
            for index in count():
                try:
                    picture = _read_picture(image, index)
                    first_shape = first_shape or picture.shape
                    if picture.shape != first_shape:  # Pillow enlarges a GIF; browsers crop it
                        picture = _cropped(picture, first_shape)
                except Exception as error:  # as in _open
                    if not isinstance(error, EOFError):
                        check_headroom(error, image.width * image.height)
                    self._stop(index, error)
                    return
                report_progress()
                self._file.check()
                yield _duration_ms(image), picture
                if not _is_animation(image):
                    return

    def _stop(self, index: int, error: Exception) -> None:
        """Accept the end of an animation or a damaged picture; raise if no picture decoded."""
        if index == 0:
            raise VideoError(_damage(self._file, error)) from None
        if not isinstance(error, EOFError) and not self._has_warned:
            self._has_warned = True
            logger.warning("%s; its first %d frames are used", _damage(self._file, error), index)


def _open(file: SourceFile, opened: OpenFile) -> Image.Image:
    try:
        return Image.open(opened, formats=FORMATS)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise
    except Exception as error:  # Pillow's readers raise many kinds of errors for damaged data
        check_headroom(error)
        raise VideoError(_damage(file, error)) from None


def _is_animation(image: Image.Image) -> bool:
    return image.format in ANIMATED_FORMATS and getattr(image, "is_animated", False)


def _read_picture(image: Image.Image, index: int) -> RGBImage:
    """Decode a picture of the file; an index past the end raises EOFError."""
    if not _is_animation(image):
        return _to_rgb(ImageOps.exif_transpose(image))
    # An APNG may begin with a picture for programs without animation; it is not a frame.
    image.seek(index + 1 if image.info.get("default_image") else index)
    return _to_rgb(image)


def _cropped(picture: RGBImage, shape: tuple[int, ...]) -> RGBImage:
    height, width, _ = shape
    cropped = np.ascontiguousarray(picture[:height, :width])
    if cropped.shape != shape:
        raise ValueError("its size changes")
    return cropped


def _to_rgb(image: Image.Image) -> RGBImage:
    if image.width * image.height > MAX_FRAME_PIXELS.value:  # later pictures of a GIF may be larger
        raise ValueError(f"a picture of {image.width}x{image.height} pixels")
    image.load()
    if image.mode.startswith("I;16"):
        gray = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are of 32 bits, where 8 or 16 are read")
    picture = np.empty((image.height, image.width, 3), np.uint8)
    # In strips, because Pillow copies the whole image for conversion and again for NumPy.
    height = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, height):
        strip = image.crop((0, top, image.width, min(image.height, top + height)))
        picture[top : top + height] = np.asarray(_on_white(strip))
    return picture


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image in RGB, transparent pixels on white as in browsers."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _duration_ms(image: Image.Image) -> Fraction:
    """Return the picture's duration; 10 ms or less counts as 100, as in browsers and FFmpeg."""
    duration_ms = Fraction(image.info.get("duration") or 0).limit_denominator(1000)
    return duration_ms if duration_ms > 10 else Fraction(100)


def _damage(file: SourceFile, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{file.name} is a damaged image ({one_line(reason)})"
