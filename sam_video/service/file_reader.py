"""Read untrusted files in a sandbox, a process of its own."""

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
"""The types that the caller and the sandbox send to each other."""

MAX_COUNTED = 10_000_000
"""Largest count of frames: more than four days at 24 frames per second."""


class FileReader:
    """Reads the files of a request, any of which may make its decoder crash, hang or fill memory.

    One sandbox reads all files, from entering this context manager to leaving it; opened files stay
    readable as long. The results are those of `video.source.open_video`,
    `prompts.mask_zip.read_masks` and `video.sound.read_sound`.

    Raises:
        RequestError: A limit's environment variable has a value that is not accepted.
    """

    def __init__(self) -> None:
        self._sandbox = Sandbox("sam_video.service.reading", MESSAGE_TYPES)

    def __enter__(self) -> Self:
        self._sandbox.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.__exit__()

    def open_video(self, path: Path, name: str = "") -> "VideoFile":
        """Open a video or an image; the suffix of its name is ignored.

        Args:
            path: The file.
            name: Its name in messages; by default its quoted file name.

        Raises:
            VideoError: It cannot be read within the limits on memory and time.
        """
        return VideoFile(self._sandbox, path, name)

    def read_masks(self, path: Path, *, width: int, height: int) -> tuple[StatedPrompt, ...]:
        """Read a zip of masks for a video of `width` and `height` pixels.

        Raises:
            PromptError: It does not fit, or cannot be read within the limits.
        """
        try:
            return tuple(self._sandbox.run("masks", str(path), width, height))
        except ProcessFailure as failure:
            raise PromptError(f"mask_prompts is {quoted(path.name)}, which {failure}") from None

    def read_sound(
        self, path: Path, spans: Sequence[Span], name: str = ""
    ) -> Generator[Samples, None, None]:
        """Yield the sound of a file in some spans of time, in blocks of about a second.

        Raises:
            VideoError: It exceeds the limits on memory or time, or crashes the decoder.
        """
        with _failures_named(path, name):
            yield from self._sandbox.run("sound", str(path), name, spans)


class VideoFile:
    """A file that a sandbox reads, as a `FrameSource`."""

    def __init__(self, sandbox: Sandbox, path: Path, name: str = "") -> None:
        self._sandbox = sandbox
        self._path = path
        self._name = name
        (self.info,) = self._run("info")

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield every frame from index `start` to the last that decodes."""
        return self._run("frames", start)

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the frames of these indices in increasing order, omitting those past the end."""
        return self._run("frames_at", sorted(set(indices)))

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the frames `last`, `last - 1`, …, `first`."""
        return self._run("frames_backward", last, first)

    def count_frames(self, limit: int) -> int:
        """Return the number of frames, at most `limit`."""
        return int(deque(self._run("counts", limit, False), 1).pop())

    def count_exactly(self) -> int:
        """Decode the whole file and return the number of its frames."""
        return int(deque(self._run("counts", MAX_COUNTED, True), 1).pop())

    def _run(self, function: str, *arguments: Any) -> Generator[Any, None, None]:
        with _failures_named(self._path, self._name):
            yield from self._sandbox.run(function, str(self._path), self._name, *arguments)


@contextmanager
def _failures_named(path: Path, name: str) -> Iterator[None]:
    try:
        yield
    except ProcessFailure as failure:
        raise VideoError(f"{name or repr(path.name)} {failure}") from None
