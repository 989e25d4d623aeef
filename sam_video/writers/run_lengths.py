"""Masks as run lengths, in one of the three forms of `rle.json`."""

from collections.abc import Callable
from pathlib import Path

from sam_video.types import VideoInfo
from sam_video.writers.coco import CocoWriter
from sam_video.writers.sink import Sink
from sam_video.writers.start_length import StartLengthWriter
from sam_video.writers.youtube_vis import YouTubeVisWriter


def rle_writer(rle_format: str, folder: Path, info: VideoInfo) -> Sink:
    """Create the writer for `coco`, `youtube_vis` or `start_length`.

    Args:
        rle_format: One of the three.
        folder: Where `rle.json` goes; it exists.
        info: Of the source: its size and frame rate.
    """
    writers: dict[str, Callable[[Path, VideoInfo], Sink]] = {
        "coco": CocoWriter,
        "youtube_vis": YouTubeVisWriter,
        "start_length": StartLengthWriter,
    }
    return writers[rle_format](folder, info)
