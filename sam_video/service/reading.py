"""The inside of the file reader: what its sandbox reads of files from anywhere.

The path of a video comes with the name that messages call it by.
"""

from collections.abc import Generator, Sequence
from functools import cache
from pathlib import Path

from sam_video.prompts.mask_zip import read_masks
from sam_video.prompts.stated import StatedPrompt
from sam_video.service import file_reader
from sam_video.types import Frame, Samples, Span, VideoInfo
from sam_video.video.images import ImageSource
from sam_video.video.sound import read_sound
from sam_video.video.source import VideoSource, open_video
from sam_video.video.source_file import SourceFile

MESSAGE_TYPES = file_reader.MESSAGE_TYPES


@cache
def _file(path: str, name: str) -> SourceFile:
    """Return what notices that a file changes between what is asked of it."""
    return SourceFile(Path(path), name)


@cache
def _source(path: str, name: str) -> VideoSource | ImageSource:
    """Open a video once for all that is asked of it."""
    return open_video(_file(path, name))


def info(path: str, name: str) -> Generator[VideoInfo, None, None]:
    """Yield what is known of a video."""
    yield _source(path, name).info


def frames(path: str, name: str, start: int) -> Generator[Frame, None, None]:
    """Yield all frames from number `start` on."""
    return _source(path, name).frames(start)


def frames_at(path: str, name: str, indices: Sequence[int]) -> Generator[Frame, None, None]:
    """Yield the frames of these indices."""
    return _source(path, name).frames_at(indices)


def frames_backward(path: str, name: str, last: int, first: int) -> Generator[Frame, None, None]:
    """Yield the frames from `last` back to `first`."""
    return _source(path, name).frames_backward(last, first)


def counts(path: str, name: str, limit: int, decodes_all: bool) -> Generator[int, None, None]:
    """Yield how far counting is, now and then, so that its log is seen; at last the number."""
    return _source(path, name).counts(limit, decodes_all=decodes_all)


def masks(path: str, width: int, height: int) -> Generator[StatedPrompt, None, None]:
    """Yield the masks of a zip."""
    yield from read_masks(Path(path), width=width, height=height)


def sound(path: str, name: str, spans: Sequence[Span]) -> Generator[Samples, None, None]:
    """Yield the sound that a file has in some spans of time."""
    return read_sound(_file(path, name), spans)
