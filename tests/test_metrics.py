"""What a prediction cost, in figures."""

import time

import numpy as np
import pytest

from sam_video.frames import FrameList
from sam_video.metrics import Metrics, PeakMemory, TimedSource


def test_time_is_counted_by_stage() -> None:
    metrics = Metrics(frames=10)
    with metrics.count_as("total"):
        with metrics.count_as("decoding"):
            time.sleep(0.02)
        with metrics.count_as("encoding"):
            time.sleep(0.01)
    assert metrics.decoding_seconds >= 0.02
    assert metrics.encoding_seconds >= 0.01
    assert 0 <= metrics.tracking_seconds < metrics.total_seconds
    assert metrics.frames_per_second == pytest.approx(10 / metrics.total_seconds)


def test_a_prediction_that_never_began_has_no_speed() -> None:
    assert Metrics().frames_per_second == 0


def test_a_timed_source_gives_the_frames_of_its_source() -> None:
    source = FrameList([np.full((2, 2, 3), index, np.uint8) for index in range(4)])
    timed = TimedSource(source, Metrics())
    assert timed.info == source.info
    assert [f.index for f in timed.frames()] == [0, 1, 2, 3]
    assert [f.index for f in timed.frames_at({3, 1, 9})] == [1, 3]
    assert [f.index for f in timed.frames_backward(2)] == [2, 1, 0]
    assert timed.count_frames(3) == 3


def test_peak_memory_counts_what_was_held_and_let_go_since_it_began() -> None:
    peak = PeakMemory()
    before = peak.megabytes()
    held = np.ones(100 * 2**20, np.uint8)
    del held
    assert before + 90 <= peak.megabytes() <= before + 150
    assert PeakMemory().megabytes() < before + 60
