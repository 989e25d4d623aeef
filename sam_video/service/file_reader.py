"""Files from anywhere are read in a process of their own."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from sam_video.errors import PromptError, VideoError
from sam_video.prompts.stated import StatedPrompt, quoted
from sam_video.types import Frame, Samples, Span, VideoInfo
from sam_video.workers.sandbox import ProcessFailure, Sandbox

MESSAGE_TYPES = (VideoInfo, Frame, StatedPrompt, Span)
"""What is sent to the process that reads, and comes back from it."""


MAX_COUNTED = 10_000_000
"""Frames that are counted at most: more than four days at 24 frames per second."""


class FileReader:
    """Reads the files of a request, any of which may crash, hang or bloat what decodes it.

    All of them are read in one process, which lives from entering this context manager to leaving
    it; what is opened can be read as long. What comes out is what `video.open_video`,
    `mask_zip.read_masks` and `audio.read_sound` give.

    Raises:
        RequestError: The variable of a limit has a value that is not accepted.
    """

    def __init__(self) -> None:
        self._process = Sandbox("sam_video.service.reading", MESSAGE_TYPES)

    def __enter__(self) -> Self:
        self._process.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__()

    def open_video(self, path: Path, name: str = "") -> "VideoFile":
        """Open a video or an image, whatever its name says that it is.

        Args:
            path: The file.
            name: What messages call it; by default its quoted name.

        Raises:
            VideoError: It cannot be read, or only with more memory or time than the limits allow.
        """
        return VideoFile(self._process, path, name)

    def read_masks(self, path: Path, *, width: int, height: int) -> tuple[StatedPrompt, ...]:
        """Read a zip of masks for a video of `width` and `height` pixels.

        Raises:
            PromptError: It cannot be read, does not fit, or takes more than the limits allow.
        """
        try:
            return tuple(self._process.run("masks", str(path), width, height))
        except ProcessFailure as failure:
            raise PromptError(f"mask_prompts is {quoted(path.name)}, which {failure}") from None

    def read_sound(
        self, path: Path, spans: Sequence[Span], name: str = ""
    ) -> Generator[Samples, None, None]:
        """Yield the sound that a file has in some spans of time, in blocks of about a second.

        Raises:
            VideoError: It takes more memory or time than the limits allow, or crashes the decoder.
        """
        with _failures_named(path, name):
            yield from self._process.run("sound", str(path), name, spans)


class VideoFile:
    """A file in a guarded process, as a `FrameSource`."""

    def __init__(self, process: Sandbox, path: Path, name: str = "") -> None:
        self._process = process
        self._path = path
        self._name = name
        (self.info,) = self._run("info")

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield every frame from number `start` to the last that decodes."""
        return self._run("frames", start)

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, leaving out those past the end."""
        return self._run("frames_at", sorted(set(indices)))

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames `last`, `last - 1`, …, `first`."""
        return self._run("frames_backward", last, first)

    def count_frames(self, limit: int) -> int:
        """Return how many frames there are, up to `limit`."""
        return int(deque(self._run("counts", limit, False), 1).pop())

    def count_exactly(self) -> int:
        """Decode the whole file and return how many frames there are."""
        return int(deque(self._run("counts", MAX_COUNTED, True), 1).pop())

    def _run(self, function: str, *arguments: Any) -> Generator[Any, None, None]:
        with _failures_named(self._path, self._name):
            yield from self._process.run(function, str(self._path), self._name, *arguments)


@contextmanager
def _failures_named(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except ProcessFailure as failure:
        raise VideoError(f"{name or repr(path.name)} {failure}") from None
