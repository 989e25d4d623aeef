"""Measure the time that a prediction spends in each stage, and its memory."""

import resource
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sam_video.types import Frame, FrameSource, Timer, VideoInfo

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

T = TypeVar("T")


@dataclass(slots=True)
class Metrics:
    """The figures of one prediction.

    Decoding, tracking and encoding run at the same time, so their seconds may add up to more than
    the total. The total minus tracking is the time that reading and writing files added.
    """

    frames: int = 0
    """Number of frames handed to the writers."""
    objects: int = 0
    """Number of prompted objects."""
    decoding_seconds: float = 0.0
    """Time for opening the video and decoding frames, in all passes over it."""
    tracking_seconds: float = 0.0
    """Time for tracking, without waiting for frames."""
    encoding_seconds: float = 0.0
    """Time for drawing masks, several frames at a time, and writing files."""
    total_seconds: float = 0.0
    """Time from opening the video to the last file."""
    peak_memory_mb: float = 0.0
    """Peak memory of this process in MiB, without its child processes that decode and encode."""
    peak_gpu_memory_mb: float = 0.0
    """Peak memory of the GPU in MiB; 0 without a GPU."""

    @property
    def frames_per_second(self) -> float:
        """Frames per second over the whole prediction."""
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

        Only one thread at a time may count a stage.
        """
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, time.perf_counter() - start)

    @contextmanager
    def pause(self, stage: str) -> Iterator[None]:
        """Subtract the time spent inside from a stage that is being counted around it."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._add(stage, start - time.perf_counter())

    def _add(self, stage: str, seconds: float) -> None:
        name = f"{stage}_seconds"
        setattr(self, name, getattr(self, name) + seconds)


class PeakMemory:
    """The peak memory of this process and its GPU since the creation of this object.

    Only Linux can reset the peak; elsewhere it is the peak since the process started.
    """

    def __init__(self) -> None:
        with suppress(OSError):
            _CLEAR_REFS.write_text("5")  # see proc(5)
        if (cuda := _cuda()) is not None:
            cuda.reset_peak_memory_stats()

    def megabytes(self) -> float:
        """Return the peak of the process in MiB."""
        with suppress(OSError):
            for line in _STATUS.read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def gpu_megabytes(self) -> float:
        """Return the peak of what PyTorch reserved on the GPU, in MiB.

        What it has allocated leaves out what recorded work uses when it is replayed.
        """
        return 0.0 if (cuda := _cuda()) is None else float(cuda.max_memory_reserved()) / 2**20


def _cuda() -> Any | None:
    """Return PyTorch's interface to the GPU, if there is one; unless loaded, it has used none."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


class TimedSource:
    """Wraps a video, with a timer around every step of reading."""

    def __init__(self, source: FrameSource, timer: Timer) -> None:
        self._source = source
        self._timer = timer

    @property
    def info(self) -> VideoInfo:
        """The source's info."""
        return self._source.info

    def frames(self, start: int = 0) -> Generator[Frame, None, None]:
        """Yield the source's frames from index `start` on."""
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
    """Yield a generator's items, with a timer around each of its steps."""
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
