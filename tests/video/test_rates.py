"""Frame rates that the times of frames bear out."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest

from sam_video.video.rates import rate_of
from sam_video.video.source import open_video
from tests.clips import draw_clip

MILLISECONDS = 0.001


def rounded_steps(rate: Fraction, num_frames: int, tick: float = MILLISECONDS) -> list[float]:
    times = [round(index / rate / Fraction(tick)) * tick for index in range(num_frames)]
    return [after - before for before, after in pairwise(times)]


@pytest.mark.parametrize("num_frames", [2, 5, 20, 300])
@pytest.mark.parametrize("rate", [Fraction(24), Fraction(25), Fraction(30), Fraction(15)], ids=str)
def test_rounded_times_give_the_rate(rate: Fraction, num_frames: int) -> None:
    assert rate_of(rounded_steps(rate, num_frames), MILLISECONDS) == rate


def test_a_rate_of_television_is_told_from_whole_numbers() -> None:
    rate = rate_of(rounded_steps(Fraction(30000, 1001), 300), MILLISECONDS)
    assert rate == pytest.approx(29.97, abs=4e-3)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(60000, 1001), Fraction(25)])
def test_times_in_fine_ticks_give_the_exact_rate(rate: Fraction) -> None:
    assert rate_of([float(1 / rate)] * 9, 1 / 90000) == rate


def test_pauses_and_equal_times_do_not_count() -> None:
    steps = [0.04] * 9 + [5.0, 0.0, 2.0]
    assert rate_of(steps, MILLISECONDS) == 25
    assert rate_of([0.0, 0.0], MILLISECONDS) is None
    assert rate_of([], MILLISECONDS) is None


def test_the_short_steps_give_the_highest_rate() -> None:
    steps = [0.04] * 10 + [0.12] * 20
    assert rate_of(steps, MILLISECONDS, 0.1) == 25


@pytest.mark.parametrize("num_frames", [2, 20])
@pytest.mark.parametrize("name", ["a.mkv", "a.flv"])
def test_a_header_that_gives_a_thousand_frames_per_second_is_not_believed(
    tmp_path: Path, name: str, num_frames: int
) -> None:
    times = [index / 30 for index in range(num_frames)]
    draw_clip(tmp_path / name, num_frames=num_frames, codec="libx264", frame_rate=1000, times=times)
    with av.open(tmp_path / name) as container:
        assert container.streams.video[0].average_rate == 1000
    assert open_video(tmp_path / name).info.frame_rate == 30


@pytest.mark.parametrize("rate", [120, 240, 480])
def test_a_high_rate_that_is_true_is_kept(tmp_path: Path, rate: int) -> None:
    draw_clip(tmp_path / "a.mp4", num_frames=20, frame_rate=rate)
    assert open_video(tmp_path / "a.mp4").info.frame_rate == rate


def test_a_variable_rate_has_a_highest_one(tmp_path: Path) -> None:
    times = [0.0]
    for index in range(30):
        times.append(times[-1] + (1 / 25 if index % 3 else 0.2))
    draw_clip(tmp_path / "a.mp4", num_frames=len(times), times=times)
    info = open_video(tmp_path / "a.mp4").info
    assert info.frame_rate == pytest.approx(11, abs=1)
    assert info.peak_rate == 25


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.gif", "a.avi"])
def test_a_constant_rate_is_its_own_highest(tmp_path: Path, name: str) -> None:
    draw_clip(tmp_path / name, num_frames=30, frame_rate=25)
    info = open_video(tmp_path / name).info
    assert info.peak_rate == info.frame_rate == 25
