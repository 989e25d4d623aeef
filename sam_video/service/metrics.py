"""How long a prediction spent on what."""

import resource
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from sam_video.types import Frame, FrameSource, Timer, VideoInfo

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

T = TypeVar("T")


@dataclass(slots=True)
class Metrics:
    """One prediction in figures.

    Decoding, tracking and encoding run at the same time, so that their seconds may add up to more
    than the total. What the total has beyond tracking, reading and writing files has cost.
    """

    frames: int = 0
    """Frames of the video that came out."""
    objects: int = 0
    """Objects that were tracked."""
    decoding_seconds: float = 0.0
    """Spent opening the video and decoding frames, in all passes over it."""
    tracking_seconds: float = 0.0
    """Spent tracking, without what it waited for frames."""
    encoding_seconds: float = 0.0
    """Spent drawing masks, several frames at a time, and writing files."""
    total_seconds: float = 0.0
    """From the opening of the video to the last file."""
    peak_memory_mb: float = 0.0
    """Most memory that this process held, without those that read and encode, in units of 2**20."""
    peak_gpu_memory_mb: float = 0.0
    """Most memory of the GPU that was held; 0 without one."""

    @property
    def frames_per_second(self) -> float:
        """Over the whole prediction."""
        return self.frames / self.total_seconds if self.total_seconds else 0.0

    def __str__(self) -> str:
        return (
            f"{self.frames} frames, {self.objects} objects in {self.total_seconds:.1f} s "
            f"({self.frames_per_second:.2f} frames per second): "
            f"decoding {self.decoding_seconds:.1f} s, tracking {self.tracking_seconds:.1f} s and "
            f"encoding {self.encoding_seconds:.1f} s at the same time; "
            f"memory at most {self.peak_memory_mb:.0f} MB, GPU {self.peak_gpu_memory_mb:.0f} MB"
        )

    @contextmanager
    def count_as(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to `{stage}_seconds`.

        Each stage is counted in one thread at a time.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - start)

    @contextmanager
    def pause(self, stage: str) -> Iterator[None]:
        """Leave the time spent inside out of a stage that is being counted around it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, start - time.perf_counter())

    def _add(self, stage: str, seconds: float) -> None:
        name = f"{stage}_seconds"
        setattr(self, name, getattr(self, name) + seconds)


class PeakMemory:
    """The most memory that this process and its GPU have held since this was made.

    Linux forgets an earlier peak when it is asked to; elsewhere the peak is the process's own.
    """

    def __init__(self) -> None:
        with suppress(OSError):
            _CLEAR_REFS.write_text("5")  # see proc(5)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def megabytes(self) -> float:
        """Return what the process held, in units of 2**20 bytes."""
        with suppress(OSError):
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def gpu_megabytes(self) -> float:
        """Return what PyTorch held on the GPU, in units of 2**20 bytes."""
        return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0


class TimedSource:
    """A video with a timer around every step of reading; otherwise the video itself."""

    def __init__(self, source: FrameSource, timer: Timer) -> None:
        self._source = source
        self._timer = timer

    @property
    def info(self) -> VideoInfo:
        """The source's own."""
        return self._source.info

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield the source's frames from number `start` on."""
        return timed(self._source.frames(start), self._timer)

    def frames_at(self, indices: Iterable[int]) -> Generator[Frame, None, None]:
        """Yield the source's frames of these indices."""
        return timed(self._source.frames_at(indices), self._timer)

    def frames_backward(self, last: int, first: int = 0) -> Generator[Frame, None, None]:
        """Yield the source's frames from `last` back to `first`."""
        return timed(self._source.frames_backward(last, first), self._timer)

    def count_frames(self, limit: int) -> int:
        """Return the source's count."""
        with self._timer():
            return self._source.count_frames(limit)


def timed(items: Generator[T, None, None], timer: Timer) -> Generator[T, None, None]:
    """Yield what a generator yields, with a timer around each of its steps."""
    try:
        while True:
            with timer():
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        items.close()
