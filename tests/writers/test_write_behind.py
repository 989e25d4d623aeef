"""Masks are drawn and written while the next ones are tracked."""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sam_video.service.metrics import Metrics
from sam_video.types import Frame, MaskFrame
from sam_video.writers.for_request import rle_writer
from sam_video.writers.images import ImageSequenceWriter
from sam_video.writers.sink import Sink, Step
from sam_video.writers.videos import MaskVideoWriter
from sam_video.writers.write_behind import WriteBehind
from sam_video.writers.zips import mask_zip
from tests.mask_frames import INFO, moving_discs, write_all
from tests.worker_threads import (
    Cancelled,
    cancelled_when,
    take_too_long,
    wait_until,
    worker_threads,
)

pytestmark = pytest.mark.usefixtures("no_worker_left")


class Log:
    """A sink that writes a small file per frame, and notes what is done with it and where."""

    def __init__(self, folder: Path, step: Callable[[str, int], None] | None = None) -> None:
        self.folder = folder
        self.step = step or (lambda name, index: None)
        self.on_prepare: Callable[[int], object] = lambda index: None
        self.calls: list[str] = []
        self.threads: set[threading.Thread] = set()
        self._in_use = threading.Lock()

    def _do(self, name: str, index: int = -1) -> None:
        assert self._in_use.acquire(blocking=False), "two threads at once"
        try:
            self.calls.append(f"{name} {index}" if index >= 0 else name)
            self.threads.add(threading.current_thread())
            self.step(name, index)
        finally:
            self._in_use.release()

    def close(self) -> None:
        self._do("close")

    def prepare(self, masks: MaskFrame) -> Step:
        self.on_prepare(masks.frame.index)
        return partial(self._write, masks.frame.index)

    def _write(self, index: int) -> list[Path]:
        self._do("write", index)
        path = self.folder / f"{index}.txt"
        path.touch()
        return [path]

    def finish(self) -> list[Path]:
        self._do("finish")
        return []


def empty_frame(index: int) -> MaskFrame:
    return MaskFrame(Frame(index, float(index), np.zeros((2, 2, 3), np.uint8)), ())


def noting(completed: list[Path]) -> Callable[[Path], Path]:
    """Return what leaves files where they are, and adds them to a list."""

    def publish(path: Path) -> Path:
        completed.append(path)
        return path

    return publish


def run(sinks: Sequence[Sink], frames: Iterable[MaskFrame], size: int = 2) -> list[Path]:
    """Write all frames to all sinks and return the files in the order in which they come."""
    completed: list[Path] = []
    with WriteBehind(sinks, size, publish=noting(completed)) as writer:
        files = [path for masks in frames for path in writer.write(masks, sinks)]
        files += writer.finish()
    assert files == completed
    return files


def fail_at(name: str, index: int = -1) -> Callable[[str, int], None]:
    """Return a step that fails."""

    def step(called: str, called_index: int) -> None:
        if (called, called_index) == (name, index):
            raise OSError("no space left")

    return step


def test_files_are_those_of_writing_at_once(tmp_path: Path) -> None:
    def sinks(name: str) -> list[Sink]:
        folder = tmp_path / name
        folder.mkdir()
        images = ImageSequenceWriter(
            folder,
            INFO,
            mask_type="highlighted",
            annotation_type="both",
            image_format="png",
            quality=80,
        )
        video = MaskVideoWriter(
            folder, INFO, mask_type="binary", annotation_type="mask", video_fps=0
        )
        return [images, video, rle_writer("coco", folder, INFO), mask_zip(folder)]

    frames = moving_discs(6)
    direct = {p.name: p.read_bytes() for sink in sinks("now") for p in write_all(sink, frames)}
    behind = run(sinks("behind"), frames)
    assert {path.name: path.read_bytes() for path in behind} == direct
    assert [path.name for path in behind[:6]] == [f"frame_{index:05d}.png" for index in range(6)]
    assert {path.name for path in (tmp_path / "behind").iterdir()} == set(direct)


def test_a_sink_is_used_by_one_thread_in_order(tmp_path: Path) -> None:
    log = Log(tmp_path)
    files = run([log], map(empty_frame, range(5)))
    assert [path.name for path in files] == [f"{index}.txt" for index in range(5)]
    writes = [f"write {index}" for index in range(5)]
    assert log.calls == [*writes, "finish", "close"]
    (thread,) = log.threads
    assert thread is not threading.current_thread()


def test_a_frame_goes_to_the_sinks_that_it_is_for(tmp_path: Path) -> None:
    first, second = Log(tmp_path), Log(tmp_path)
    with WriteBehind([first, second], 2) as writer:
        for index in range(4):
            list(writer.write(empty_frame(index), [first, second] if index % 2 else [second]))
        list(writer.finish())
    assert first.calls == ["write 1", "write 3", "finish", "close"]
    assert second.calls == [*(f"write {n}" for n in range(4)), "finish", "close"]


def test_frames_are_prepared_side_by_side_and_written_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    log, meeting = Log(tmp_path), threading.Barrier(3, timeout=60)
    prepared: list[int] = []

    def prepare(index: int) -> None:
        meeting.wait()
        time.sleep(0.01 * (2 - index % 3))  # those that come first end last
        prepared.append(index)

    log.on_prepare = prepare
    files = run([log], map(empty_frame, range(12)), size=4)
    assert prepared != sorted(prepared)
    assert [path.name for path in files] == [f"{index}.txt" for index in range(12)]
    assert log.calls == [*(f"write {index}" for index in range(12)), "finish", "close"]


def test_what_fails_while_it_is_prepared_fails_after_the_frames_before(tmp_path: Path) -> None:
    log = Log(tmp_path)

    def prepare(index: int) -> None:
        if index == 2:
            raise ValueError("cannot be drawn")

    log.on_prepare = prepare
    with pytest.raises(ValueError, match="cannot be drawn"):
        run([log], map(empty_frame, range(9)), size=4)
    assert log.calls == ["write 0", "write 1", "close"]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_slow_sink_slows_its_caller(tmp_path: Path, size: int) -> None:
    num_made = 0
    waiting: list[int] = []

    def frames() -> Iterable[MaskFrame]:
        nonlocal num_made
        for index in range(12):
            num_made += 1
            yield empty_frame(index)

    def step(name: str, index: int) -> None:
        if name == "write":
            time.sleep(0.02)
            waiting.append(num_made - index)

    run([Log(tmp_path, step)], frames(), size)
    assert max(waiting) == size + 1  # the last one is in the caller's hands


def test_files_come_while_the_caller_waits(tmp_path: Path) -> None:
    may_go_on = threading.Event()

    def step(name: str, index: int) -> None:
        if name == "write" and index == 1:
            wait_until(may_go_on.is_set)

    log = Log(tmp_path, step)
    with WriteBehind([log], 1) as writer:
        assert list(writer.write(empty_frame(0), [log])) in ([], [tmp_path / "0.txt"])
        wait_until((tmp_path / "0.txt").exists)
        files = [path.name for path in writer.write(empty_frame(1), [log])]
        wait_until(lambda: "write 1" in log.calls)
        last = writer.write(empty_frame(2), [log])
        may_go_on.set()
        files += [path.name for path in (*last, *writer.finish())]
    assert files[-2:] == ["1.txt", "2.txt"]


def test_a_failing_sink_fails_in_the_callers_next_step(tmp_path: Path) -> None:
    log = Log(tmp_path, fail_at("write", 1))
    other = Log(tmp_path)
    with (
        pytest.raises(OSError, match="no space left") as caught,
        WriteBehind([other, log], 2) as writer,
    ):
        for index in range(10):
            list(writer.write(empty_frame(index), [other, log]))
            if index == 1:
                wait_until(lambda: "close" in log.calls)
    assert index == 2
    assert traceback.extract_tb(caught.tb)[-1].name == "step"
    assert log.calls == ["write 0", "write 1", "close"]
    assert other.calls == ["write 0", "write 1", "close"]


@pytest.mark.parametrize("name", ["finish", "close"])
def test_a_sink_that_fails_at_the_end_fails(tmp_path: Path, name: str) -> None:
    log = Log(tmp_path, fail_at(name))
    with pytest.raises(OSError, match="no space left"):
        run([log], [empty_frame(0)])
    assert log.calls[-1] == "close"


def test_a_sink_that_cannot_be_entered_fails_before_anything_is_written(tmp_path: Path) -> None:
    first, second = Log(tmp_path), Log(tmp_path, fail_at("write", 0))
    with pytest.raises(OSError, match="no space left"):
        run([first, second], [empty_frame(0)])
    assert (first.calls, second.calls) == (["write 0", "close"], ["write 0", "close"])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit, Cancelled])
def test_leaving_interrupts_a_slow_sink(tmp_path: Path, error: type[BaseException]) -> None:
    def step(name: str, index: int) -> None:
        if name == "write" and index == 1:
            take_too_long()

    log = Log(tmp_path, step)
    completed: list[Path] = []
    with pytest.raises(error), WriteBehind([log], 4, publish=noting(completed)) as writer:
        for index in range(3):
            list(writer.write(empty_frame(index), [log]))
        wait_until(lambda: "write 1" in log.calls)
        raise error
    assert worker_threads() == []
    assert log.calls == ["write 0", "write 1", "close"]
    assert completed == [tmp_path / "0.txt"]


@pytest.mark.parametrize("is_finishing", [False, True], ids=["writing", "finishing"])
def test_waiting_for_a_slow_sink_can_be_cancelled(tmp_path: Path, is_finishing: bool) -> None:
    slow = "finish" if is_finishing else "write"

    def step(name: str, index: int) -> None:
        if name == slow:
            take_too_long()

    log = Log(tmp_path, step)
    with (
        pytest.raises(Cancelled),
        cancelled_when(lambda: any(call.startswith(slow) for call in log.calls)),
    ):
        run([log], map(empty_frame, range(4)))
    assert worker_threads() == []
    assert log.calls[-1] == "close"
    assert log.calls.count("close") == 1


def test_leaving_ends_an_encoder_that_hangs(tmp_path: Path) -> None:
    video = MaskVideoWriter(tmp_path, INFO, mask_type="binary", annotation_type="mask", video_fps=0)
    with suppress(KeyboardInterrupt), WriteBehind([video], 20) as writer:
        wait_until(lambda: hasattr(video._encoder, "_process"))
        process = video._encoder._process
        os.kill(process.pid, signal.SIGSTOP)
        for masks in moving_discs(16):  # more than the pipe holds
            list(writer.write(masks, [video]))
        raise KeyboardInterrupt
    assert process.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_every_step_of_a_sink_is_timed(tmp_path: Path) -> None:
    metrics = Metrics()
    log = Log(tmp_path, lambda name, index: time.sleep(0.01 if name != "close" else 0))
    with WriteBehind([log], 2, timer=lambda: metrics.count_as("encoding")) as writer:
        for index in range(2):
            list(writer.write(empty_frame(index), [log]))
        list(writer.finish())
    assert metrics.encoding_seconds >= 0.03
