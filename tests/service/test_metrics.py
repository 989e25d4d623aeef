"""What a prediction cost, in figures."""

import subprocess
import sys
import time
from collections.abc import Generator
from functools import partial

import numpy as np
import pytest
import torch

from sam_video.service.metrics import Metrics, PeakMemory, TimedSource, timed
from sam_video.video.frame_list import FrameList


def test_time_is_counted_by_stage() -> None:
    metrics = Metrics(frames=10)
    with metrics.count_as("total"):
        with metrics.count_as("decoding"):
            time.sleep(0.02)
        with metrics.count_as("encoding"):
            time.sleep(0.01)
    assert metrics.decoding_seconds >= 0.02
    assert metrics.encoding_seconds >= 0.01
    assert metrics.tracking_seconds == 0
    assert metrics.frames_per_second == pytest.approx(10 / metrics.total_seconds)


def test_what_tracking_waits_for_is_not_tracking() -> None:
    metrics = Metrics()
    with metrics.count_as("total"), metrics.count_as("tracking"):
        time.sleep(0.02)
        with metrics.pause("tracking"):
            time.sleep(0.02)
    assert metrics.total_seconds >= 0.04
    assert 0.02 <= metrics.tracking_seconds <= metrics.total_seconds - 0.02


def test_stages_that_overlap_are_each_told_in_full() -> None:
    text = str(Metrics(3, 2, decoding_seconds=1.5, tracking_seconds=2, encoding_seconds=1))
    assert "decoding 1.5 s, tracking 2.0 s and encoding 1.0 s at the same time" in text


def test_a_prediction_that_never_began_has_no_speed() -> None:
    assert Metrics().frames_per_second == 0


def test_a_timed_source_gives_the_frames_of_its_source() -> None:
    source = FrameList([np.full((2, 2, 3), index, np.uint8) for index in range(4)])
    metrics = Metrics()
    same = TimedSource(source, partial(metrics.count_as, "decoding"))
    assert same.info == source.info
    assert [f.index for f in same.frames()] == [0, 1, 2, 3]
    assert [f.index for f in same.frames_at({3, 1, 9})] == [1, 3]
    assert [f.index for f in same.frames_backward(2)] == [2, 1, 0]
    assert same.count_frames(3) == 3
    assert metrics.decoding_seconds > 0


def test_only_the_steps_of_a_generator_are_timed_and_it_is_closed() -> None:
    metrics = Metrics()
    is_closed = []

    def steps() -> Generator[int | None, None, None]:
        try:
            yield from (0, None, 2)
        finally:
            is_closed.append(True)

    items = timed(steps(), partial(metrics.count_as, "tracking"))
    assert next(items) == 0
    time.sleep(0.05)
    assert next(items) is None
    assert metrics.tracking_seconds < 0.05
    items.close()
    assert is_closed


HELD_AND_LET_GO = """
import numpy as np
from sam_video.service.metrics import PeakMemory
peak = PeakMemory()
before = peak.megabytes()
held = np.ones(100 * 2**20, np.uint8)
del held
print(before, peak.megabytes(), PeakMemory().megabytes())
"""


def test_peak_memory_counts_what_was_held_and_let_go_since_it_began() -> None:
    # In a process of its own: from this large one the system may take pages back meanwhile.
    command = [sys.executable, "-c", HELD_AND_LET_GO]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    before, peak, after = map(float, result.stdout.split())
    assert before + 90 <= peak <= before + 150
    assert after < before + 60


def test_the_memory_of_a_gpu_counts_as_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    reserved = 5 * 2**20
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 2 * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: reserved)
    assert PeakMemory().gpu_megabytes() == 5.0


def test_a_gpu_that_pytorch_was_not_loaded_for_has_no_memory_in_use() -> None:
    script = (
        "import sys\n"
        "from sam_video.service.metrics import PeakMemory\n"
        "print(PeakMemory().gpu_megabytes(), 'torch' in sys.modules)\n"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert output.stdout.split() == [b"0.0", b"False"]
