"""Which slot of a constant rate a frame gets, and which stretches of the source are shown."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import pytest

from sam_video.types import Span
from sam_video.writers.timeline import Timeline

RATE = Fraction(25)


def slots(
    times: Sequence[float],
    rate: Fraction = RATE,
    indices: Sequence[int] | None = None,
    source_rate: Fraction = RATE,
) -> tuple[list[int], Timeline]:
    """Return the slots of frames and, last, of the end; and the time line."""
    timeline = Timeline(source_rate, rate)
    placed = [
        timeline.place(*frame) for frame in zip(indices or range(len(times)), times, strict=True)
    ]
    return [*placed, timeline.finish()], timeline


@pytest.mark.parametrize("first", [0.0, 1.4, -3.2, 95443.7])
@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(24), Fraction(240)], ids=str)
def test_of_a_constant_rate_every_frame_has_one_slot(first: float, rate: Fraction) -> None:
    rounded = [first + round(1000 * index / rate) / 1000 for index in range(1000)]
    placed, timeline = slots(rounded, rate, source_rate=rate)
    assert placed == list(range(1001))
    (span,) = timeline.spans
    assert (span.source_start, span.start) == (first, 0)
    assert span.end == pytest.approx(1000 / rate, abs=1e-3)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (Fraction(50), [0, 2, 4, 6, 8]),
        (Fraction(25, 2), [0, 1, 1, 2, 2]),
        (Fraction(5), [0, 0, 0, 1, 1]),
    ],
    ids=str,
)
def test_at_another_rate_frames_are_repeated_or_left_out(
    rate: Fraction, expected: list[int]
) -> None:
    assert slots([0, 0.04, 0.08, 0.12], rate)[0] == expected


def test_a_variable_rate_keeps_its_times() -> None:
    placed, _ = slots([5.0, 5.04, 5.5, 5.9, 6.0])
    assert placed == [0, 1, 13, 23, 25, 26]


def test_frames_that_share_a_slot_are_shown_one_after_the_other() -> None:
    placed, timeline = slots([5.0, 5.04, 5.5, 5.51, 5.52, 6.0])
    assert placed == [0, 1, 13, 14, 15, 25, 26]
    (span,) = timeline.spans
    assert span.source_end == pytest.approx(6.04)


def test_the_last_frame_is_shown_when_it_shares_a_slot() -> None:
    assert slots([0, 0.04, 0.05, 0.06])[0] == [0, 1, 2, 3, 4]


def test_frames_that_come_too_fast_for_too_long_are_left_out() -> None:
    placed, _ = slots([index / 50 for index in range(100)])
    assert placed[:8] == [0, 1, 2, 3, 4, 5, 6, 7]
    late = [slot / 25 - index / 50 for index, slot in enumerate(placed[:-1])]
    assert max(late) <= 0.25 + 0.02


def test_the_last_of_frames_far_apart_is_shown_as_long_as_the_others() -> None:
    assert slots([0, 0.4, 0.8], indices=[0, 10, 20])[0] == [0, 10, 20, 30]


def test_a_single_frame_is_shown_once() -> None:
    assert slots([7.0])[0] == [0, 1]
    assert slots([7.0], Fraction(1, 10))[0] == [0, 1]


def test_time_stamps_in_disorder_do_not_go_back() -> None:
    placed, timeline = slots([0, 0.08, 0.04, 0.12, 0.16])
    assert placed == [0, 2, 3, 4, 5, 6]
    assert len(timeline.spans) == 1


def test_a_new_start_begins_a_new_span(caplog: pytest.LogCaptureFixture) -> None:
    placed, timeline = slots([10, 10.04, 10.08, 2, 2.04, 0, 0.04])
    assert placed == [0, 1, 2, 3, 4, 5, 6, 7]
    starts = [(span.source_start, span.start) for span in timeline.spans]
    assert starts == [(10, 0), (2, 0.12), (0, 0.2)]
    assert [span.source_end for span in timeline.spans] == pytest.approx([10.12, 2.08, 0.08])
    (record,) = caplog.records
    assert record.getMessage() == "time stamps jump at frame 3; the overlay leaves the jump out"


def test_a_pause_of_a_minute_is_shown() -> None:
    placed, timeline = slots([0, 59, 59.04])
    assert placed == [0, 1475, 1476, 1477]
    assert len(timeline.spans) == 1


@pytest.mark.parametrize("jump", [61.0, 1e5, 3e7, 1e12])
def test_a_jump_ahead_is_shown_for_a_minute(jump: float) -> None:
    placed, timeline = slots([0, jump])
    assert placed == [0, 1501, 1502]
    assert [span.source_start for span in timeline.spans] == [0, jump]


def test_frames_that_are_left_out_make_no_pause() -> None:
    times = [0.0, 100.0, 200.0]
    placed, timeline = slots(times, indices=[0, 2500, 5000])
    assert placed == [0, 2500, 5000, 7500]
    assert timeline.spans == [Span(0.0, 300.0, 0.0)]


@pytest.mark.parametrize("step", [50.0, 1e6, -10.0])
@pytest.mark.parametrize("rate", [RATE, Fraction(240)], ids=str)
def test_the_number_of_slots_is_bounded_whatever_the_time_stamps(
    step: float, rate: Fraction
) -> None:
    placed, _ = slots([step * index for index in range(3000)], rate)
    assert placed[-1] <= 30_001 + 3000 * (21 + rate / RATE)
    assert all(earlier <= later for earlier, later in pairwise(placed))
