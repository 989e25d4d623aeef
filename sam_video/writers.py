"""Sinks for masks: images, a video, and `rle.json`, each written frame by frame.

A file is there complete under its own name, or not at all; memory does not grow with the number
of frames.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam_video import rle
from sam_video.encoder import VideoEncoder
from sam_video.errors import RequestError
from sam_video.render import render
from sam_video.types import MaskFrame, ObjectMask, VideoInfo

MAX_IMAGE_SIDE_PX = {"webp": 16383, "jpg": 65500}
"""Largest width or height that the format can hold; png holds any frame."""


class Sink(Protocol):
    """Takes the frames of one prediction in order and writes them to files.

    Use it as a context manager, and call `finish` inside, after the last frame. Leaving the
    context without it removes what has been begun and not completed.
    """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def write(self, masks: MaskFrame) -> list[Path]:
        """Take one frame; return the files that are complete now and were not before."""
        ...

    def finish(self) -> list[Path]:
        """Complete what the last frame has left open, and return those files."""
        ...


class ImageSequenceWriter:
    """Write every frame as `frame_{index:05d}.{webp,jpg,png}`, at the frame's exact size.

    Args:
        folder: Where the images go; it exists.
        info: The video that the masks are of.
        mask_type: As in `render`. `binary` has one channel (in webp, which knows no such images,
            three equal ones), and is lossless in png and webp.
        annotation_type: As in `render`.
        image_format: `webp`, `jpg` or `png`.
        quality: 0 to 100, of jpg and lossy webp.

    Raises:
        RequestError: The frames are larger than the image format can hold.
    """

    def __init__(
        self,
        folder: Path,
        info: VideoInfo,
        *,
        mask_type: str,
        annotation_type: str,
        image_format: str,
        quality: int,
    ) -> None:
        limit = MAX_IMAGE_SIDE_PX.get(image_format)
        if limit is not None and max(info.width, info.height) > limit:
            raise RequestError(
                f"output_format is {image_format!r}, which holds at most {limit} pixels a side; "
                f"expected png for frames of {info.width}x{info.height}"
            )
        self._folder = folder
        self._mask_type = mask_type
        self._annotation_type = annotation_type
        self._image_format = image_format
        self._quality = quality

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: every image is complete as soon as it is there."""

    def write(self, masks: MaskFrame) -> list[Path]:
        """Write one image and return its path."""
        image = render(masks, self._mask_type, self._annotation_type)
        path = self._folder / f"frame_{masks.frame.index:05d}.{self._image_format}"
        data = _encode_image(image, self._image_format, self._quality)
        with _appearing(path) as partial:
            partial.write_bytes(data)
        return [path]

    def finish(self) -> list[Path]:
        """Return nothing: every image has been returned already."""
        return []


class MaskVideoWriter:
    """Write all frames as one video, `output_video.mp4`.

    Args:
        folder: Where the video goes; it exists.
        info: Of the source: its size, pixel aspect and frame rate.
        mask_type: As in `render`.
        annotation_type: As in `render`.
        video_fps: Frames per second; 0 is the source's own rate.
    """

    def __init__(
        self, folder: Path, info: VideoInfo, *, mask_type: str, annotation_type: str, video_fps: int
    ) -> None:
        self._path = folder / "output_video.mp4"
        self._mask_type = mask_type
        self._annotation_type = annotation_type
        self._encoder = VideoEncoder(
            self._path,
            width=info.width,
            height=info.height,
            frame_rate=Fraction(video_fps) or info.frame_rate,
            pixel_aspect=info.pixel_aspect,
        )

    def __enter__(self) -> Self:
        self._encoder.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._encoder.__exit__(kind, error, traceback)

    def write(self, masks: MaskFrame) -> list[Path]:
        """Add one frame; the video is not complete before `finish`."""
        image = render(masks, self._mask_type, self._annotation_type)
        if image.ndim == 2:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        self._encoder.write(image)
        return []

    def finish(self) -> list[Path]:
        """Complete the video and return its path."""
        self._encoder.finish()
        return [self._path]


class RleWriter:
    """Write every object's mask on every frame as COCO run lengths, in `rle.json`.

    Hand it every frame that is processed: their number is the file's `num_frames`. A frame lists
    the objects that are visible on it; `objects` lists all that were tracked on any frame. `score`
    is the predicted IoU: the model's own estimate (0 to 1) of how good the mask is.

    Args:
        folder: Where `rle.json` goes; it exists.
        info: Of the source: its size and frame rate.
    """

    def __init__(self, folder: Path, info: VideoInfo) -> None:
        self._path = folder / "rle.json"
        self._info = info
        self._num_frames = 0
        self._index_of: dict[str, int] = {}
        # The head of the file is known last, so the frames wait in one that has no name.
        self._frames = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (__exit__ closes it)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._frames.close()

    def write(self, masks: MaskFrame) -> list[Path]:
        """Add one frame; the file is not complete before `finish`."""
        separator = b",\n" if self._num_frames else b""
        self._frames.write(separator + _json_bytes(_frame_entry(masks)))
        self._num_frames += 1
        for item in masks.objects:
            self._index_of[item.object_id] = item.object_index + 1
        return []

    def finish(self) -> list[Path]:
        """Put the head and the frames together and return the file's path."""
        video = {
            "width": self._info.width,
            "height": self._info.height,
            "frame_rate": float(self._info.frame_rate),
            "num_frames": self._num_frames,
        }
        by_index = sorted(self._index_of.items(), key=lambda pair: pair[1])
        objects = [{"object_id": object_id, "index": index} for object_id, index in by_index]
        self._frames.seek(0)
        with _appearing(self._path) as partial, partial.open("wb") as file:
            file.write(b'{"video": %b,\n' % _json_bytes(video))
            file.write(b'"objects": %b,\n"frames": [\n' % _json_bytes(objects))
            shutil.copyfileobj(self._frames, file)
            file.write(b"\n]}\n")
        return [self._path]


def _frame_entry(masks: MaskFrame) -> dict[str, Any]:
    return {
        "frame_index": masks.frame.index,
        "timestamp": masks.frame.pts_seconds,
        "objects": [_object_entry(item) for item in masks.objects if item.mask.any()],
    }


def _object_entry(item: ObjectMask) -> dict[str, Any]:
    segmentation = rle.encode(item.mask)
    return {
        "object_id": item.object_id,
        "segmentation": segmentation,
        "bbox": rle.bbox_xywh(segmentation),
        "area": rle.area(segmentation),
        "score": round(float(item.predicted_iou), 4),
    }


def _json_bytes(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # A name may hold half of a surrogate pair, which UTF-8 has no bytes for; Python's escape for
    # it, such as \ud83d, is JSON's too.
    return text.encode("utf-8", errors="backslashreplace")


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Give a partial name beside `path`; what is written there becomes `path`, or is removed."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _encode_image(image: npt.NDArray[np.uint8], image_format: str, quality: int) -> bytes:
    """Encode `(H, W)` gray or `(H, W, 3)` RGB; gray is lossless in webp."""
    if image_format == "webp":
        return _encode_webp(image, quality)
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    # Left to itself, OpenCV writes png in the fastest of its ways.
    parameters = [cv2.IMWRITE_JPEG_QUALITY, quality] if image_format == "jpg" else []
    encoded, data = cv2.imencode(f".{image_format}", pixels, parameters)
    assert encoded
    return data.tobytes()


def _encode_webp(image: npt.NDArray[np.uint8], quality: int) -> bytes:
    data = BytesIO()
    # Method 2 takes half the time of OpenCV's 4, which cannot be changed, for 4 % larger files.
    if image.ndim == 2:
        Image.fromarray(image).save(data, "webp", method=2, lossless=True, quality=0)
    else:
        Image.fromarray(image).save(data, "webp", method=2, quality=quality)
    return data.getvalue()
