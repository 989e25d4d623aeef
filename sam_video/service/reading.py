"""The functions of `FileReader` that run in the sandbox and read untrusted files.

Each `path` of a video comes with its `name` in messages.
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
    """Return the one `SourceFile` of a path, which notices changes between calls."""
    return SourceFile(Path(path), name)


@cache
def _source(path: str, name: str) -> VideoSource | ImageSource:
    """Open a video once for all calls."""
    return open_video(_file(path, name))


def info(path: str, name: str) -> Generator[VideoInfo, None, None]:
    """Yield the info of a video."""
    yield _source(path, name).info


def frames(path: str, name: str, start: int) -> Generator[Frame, None, None]:
    """Yield all frames from index `start` on."""
    return _source(path, name).frames(start)


def frames_at(path: str, name: str, indices: Sequence[int]) -> Generator[Frame, None, None]:
    """Yield the frames of these indices."""
    return _source(path, name).frames_at(indices)


def frames_backward(path: str, name: str, last: int, first: int) -> Generator[Frame, None, None]:
    """Yield the frames from `last` back to `first`."""
    return _source(path, name).frames_backward(last, first)


def counts(path: str, name: str, limit: int, decodes_all: bool) -> Generator[int, None, None]:
    """Yield the count so far now and then, so that log messages arrive, and the result at last."""
    return _source(path, name).counts(limit, decodes_all=decodes_all)


def masks(path: str, width: int, height: int) -> Generator[StatedPrompt, None, None]:
    """Yield the masks of a zip."""
    yield from read_masks(Path(path), width=width, height=height)


def sound(path: str, name: str, spans: Sequence[Span]) -> Generator[Samples, None, None]:
    """Yield the sound of a file in some spans of time."""
    return read_sound(_file(path, name), spans)
