"""Synthetic clips with known masks: a disc and a rectangle that move over a textured background."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image

from sam_video.types import BoolMask, RGBImage

CODECS = {".mp4": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
OPTIONS = {
    "libx264": {"crf": "10", "preset": "veryfast"},
    "libx265": {"x265-params": "log-level=none"},
    "libvpx-vp9": {"crf": "15", "b": "0", "deadline": "realtime", "cpu-used": "8"},
}
TIME_BASE = Fraction(1, 90000)
DISC_COLOUR = (220, 40, 40)
RECTANGLE_COLOUR = (40, 90, 230)


def draw_frame(
    index: int, size: tuple[int, int] = (96, 64)
) -> tuple[RGBImage, dict[str, BoolMask]]:
    """Draw frame `index` of the clip.

    Args:
        index: The disc moves right and the rectangle down as it grows.
        size: Width and height in pixels, at least 16 each.

    Returns:
        `(H, W, 3)` uint8 RGB, and the `(H, W)` masks of "disc" and "rectangle", which never meet.
    """
    W, H = size
    y, x = np.mgrid[:H, :W]
    texture = 110 + 25 * np.sin(x / 3) * np.cos(y / 4) + (x * 7919 + y * 104729) % 23
    image = np.repeat(texture[..., None], 3, axis=2).astype(np.uint8)
    step = (index % 24) / 24
    radius = H / 7
    disc = (x - W * (0.12 + 0.4 * step)) ** 2 + (y - H * 0.3) ** 2 <= radius**2
    top, left = H * (0.55 + 0.2 * step), W * 0.7
    rectangle = (x >= left) & (x < left + W / 5) & (y >= top) & (y < top + H / 6)
    image[disc], image[rectangle] = DISC_COLOUR, RECTANGLE_COLOUR
    return image, {"disc": disc, "rectangle": rectangle}


def draw_clip(
    path: Path,
    *,
    num_frames: int = 12,
    size: tuple[int, int] = (96, 64),
    frame_rate: Fraction | int = 24,
    times: Sequence[float] | None = None,
    rotation: int = 0,
    hflip: bool = False,
    pixel_aspect: Fraction | None = None,
    codec: str | None = None,
    pix_fmt: str | None = None,
    options: dict[str, str] | None = None,
) -> list[dict[str, BoolMask]]:
    """Write a clip and return its masks, one dict of "disc" and "rectangle" per frame.

    Args:
        path: The suffix chooses the container: mp4, mov, mkv, webm, avi, ts, …, gif, webp, png
            (APNG).
        num_frames: A gif, webp or png of one frame is a still image.
        size: Width and height as shown, that is after rotation; odd sizes are welcome.
        frame_rate: Constant rate, where `times` is not given.
        times: Presentation time in seconds per frame, for a variable frame rate.
        rotation: Degrees counter-clockwise (0, 90, 180, 270) that a player must turn the coded
            picture to show it; mp4 and mov only.
        hflip: Whether a player must then mirror it left to right; mp4 and mov only.
        pixel_aspect: Width of a pixel divided by its height, as coded.
        codec: An encoder of FFmpeg's, where the container's usual one will not do.
        pix_fmt: As FFmpeg names it; 4:4:4 by default where the size is odd.
        options: The encoder's, beside those that make it fast.
    """
    drawn = [draw_frame(index, size) for index in range(num_frames)]
    times = times or [float(index / Fraction(frame_rate)) for index in range(num_frames)]
    images = [image for image, _ in drawn]
    if path.suffix in {".gif", ".webp", ".png"}:
        _write_animation(path, images, times)
    else:
        coded = [np.rot90(image[:, ::-1] if hflip else image, -rotation // 90) for image in images]
        codec = codec or CODECS.get(path.suffix, "mpeg4")
        is_odd = (size[0] % 2 or size[1] % 2) and codec != "libvpx-vp9"
        with av.open(path, "w") as container:
            stream = cast(VideoStream, container.add_stream(codec, rate=Fraction(frame_rate)))
            stream.height, stream.width = coded[0].shape[:2]
            stream.pix_fmt = pix_fmt or ("yuv444p" if is_odd else "yuv420p")
            stream.codec_context.options = OPTIONS.get(codec, {"b": "4M"}) | (options or {})
            if path.suffix != ".avi" and codec not in {"mpeg4", "mpeg2video"}:
                stream.codec_context.time_base = TIME_BASE
            if pixel_aspect:
                stream.codec_context.sample_aspect_ratio = pixel_aspect
            if rotation or hflip:
                stream.set_display_rotation(rotation, hflip=hflip)
            for image, time in zip(coded, times, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image))
                frame.pts, frame.time_base = round(time / TIME_BASE), TIME_BASE
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return [masks for _, masks in drawn]


def _write_animation(path: Path, images: list[RGBImage], times: Sequence[float]) -> None:
    ends = [*times[1:], 2 * times[-1] - times[-2]] if len(times) > 1 else [0.1]
    durations = [round(1000 * (end - start)) for start, end in zip(times, ends, strict=True)]
    first, *rest = [Image.fromarray(image) for image in images]
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    if rest:
        options |= {"save_all": True, "append_images": rest, "duration": durations}
    first.save(path, **options)
