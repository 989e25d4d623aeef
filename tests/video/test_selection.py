"""Selected frames against the plain filter that they stand for."""

from collections.abc import Generator, Sequence
from itertools import islice

import numpy as np
import pytest

from sam_video.errors import RequestError
from sam_video.types import Click, Frame, MaskFrame, ObjectPrompt
from sam_video.video.frame_list import FrameList
from sam_video.video.selection import ENDLESS, FrameSelection, select_frames

NUM_FRAMES = 20
SOURCE = FrameList([np.full((2, 2, 3), index, np.uint8) for index in range(NUM_FRAMES)])

SELECTIONS = pytest.mark.parametrize(
    ("regular", "prompted"),
    [
        pytest.param(range(ENDLESS), (), id="all"),
        pytest.param(range(3, 9), (), id="from-to"),
        pytest.param(range(0, ENDLESS, 4), (), id="every-fourth"),
        pytest.param(range(0, ENDLESS, 4), (4, 5, 19), id="every-fourth-and-prompted"),
        pytest.param(range(5, 12, 3), (0, 1, 8, 9, 15, 15), id="prompted-outside"),
        pytest.param(range(0), (2, 7), id="prompted-alone"),
        pytest.param(range(15, 40, 2), (), id="past-the-end"),
    ],
)


def expected_indices(regular: range, prompted: tuple[int, ...]) -> list[int]:
    return [index for index in range(NUM_FRAMES) if index in regular or index in prompted]


@SELECTIONS
def test_every_reader_gives_the_frames_that_a_filter_gives(
    regular: range, prompted: tuple[int, ...]
) -> None:
    selection = FrameSelection(SOURCE, regular, prompted)
    indices = expected_indices(regular, prompted)
    forward = list(selection.frames())
    assert [frame.image[0, 0, 0] for frame in forward] == indices
    assert [frame.index for frame in forward] == list(range(len(indices)))
    assert [frame.pts_seconds for frame in forward] == [index / 24 for index in indices]
    assert selection.info.num_frames == len(indices)
    for last in range(-1, len(indices)):
        backward = [frame.image[0, 0, 0] for frame in selection.frames_backward(last)]
        assert backward == indices[: last + 1][::-1]
        assert selection.count_frames(last + 1) == last + 1
        assert selection.count_backward(last + 1) == last + 1
        for start in range(last + 3):
            some = [frame.image[0, 0, 0] for frame in selection.frames(start)]
            assert some == indices[start:]
            backward = [frame.image[0, 0, 0] for frame in selection.frames_backward(last, start)]
            assert backward == indices[start : last + 1][::-1]
        assert [frame.image[0, 0, 0] for frame in selection.frames_at({0, last})] == [
            indices[place] for place in sorted({0, last}) if place >= 0
        ]
    assert selection.count_frames(1000) == len(indices)
    assert list(selection.frames_at([1000])) == []


@SELECTIONS
def test_what_goes_in_comes_out_under_its_own_index(
    regular: range, prompted: tuple[int, ...]
) -> None:
    selection = FrameSelection(SOURCE, regular, prompted)
    indices = expected_indices(regular, prompted)
    prompts = [ObjectPrompt("a", index, (Click(0, 0),)) for index in indices]
    assert [p.frame_index for p in selection.renumbered(prompts)] == list(range(len(indices)))
    restored = [selection.original(MaskFrame(frame, ())) for frame in selection.frames()]
    assert [masks.frame.index for masks in restored] == indices


@pytest.mark.parametrize(
    ("options", "prompted", "inside"),
    [
        pytest.param({"start_frame": 5}, (1, 3), range(5, 20), id="before"),
        pytest.param({"end_frame": 5}, (8, 19), range(6), id="after"),
        pytest.param(
            {"start_frame": 5, "end_frame": 9, "frame_interval": 3},
            (0, 6, 12),
            (5, 6, 8),
            id="around",
        ),
    ],
)
def test_prompted_frames_outside_have_numbers_and_do_not_come_out(
    options: dict[str, int], prompted: tuple[int, ...], inside: Sequence[int]
) -> None:
    selection = select_frames(SOURCE, prompted, **options)
    numbered = sorted({*prompted, *inside})
    first = numbered.index(inside[0])
    for frames in (selection.frames(), selection.frames(first)):
        assert [numbered[frame.index] for frame in frames] == list(inside)
    assert [frame.image[0, 0, 0] for frame in selection.frames()] == list(inside)
    backward = [frame.image[0, 0, 0] for frame in selection.frames_backward(len(numbered) - 1)]
    assert backward == list(inside)[::-1]
    assert list(selection.frames_backward(first - 1)) == []
    prompts = [ObjectPrompt("a", index, (Click(0, 0),)) for index in prompted]
    places = [prompt.frame_index for prompt in selection.renumbered(prompts)]
    assert [frame.image[0, 0, 0] for frame in selection.frames_at(places)] == list(prompted)
    assert selection.info.num_frames == selection.count_backward(len(numbered)) == len(inside)
    assert selection.count_backward(first + 2) == 2
    assert selection.count_frames(1000) == len(numbered)


def test_negative_clicks_outside_the_range_are_ignored_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    selection = select_frames(SOURCE, (2, 3, 7), start_frame=5)
    prompts = [ObjectPrompt("a", index, (Click(0, 0, int(index == 2)),)) for index in (2, 3, 7)]
    assert [prompt.frame_index for prompt in selection.renumbered(prompts)] == [0, 1, 4]
    (message,) = caplog.messages
    assert message == (
        "ignoring negative clicks on 1 frames outside start_frame and end_frame,"
        " the first being frame 3"
    )


def test_decoding_ends_with_the_last_selected_frame() -> None:
    class Counted(FrameList):
        num_read = 0

        def frames(self, start: int = 0) -> Generator[Frame, None, None]:
            for frame in super().frames(start):
                self.num_read += 1
                yield frame

    source = Counted([image.image for image in SOURCE.frames()])
    list(FrameSelection(source, range(2, 6)).frames())
    assert source.num_read == 4
    list(islice(FrameSelection(source, range(ENDLESS)).frames(), 3))
    assert source.num_read == 7


def test_every_nth_is_counted_among_the_regular_frames() -> None:
    selection = FrameSelection(SOURCE, range(3, ENDLESS, 2), [6])
    indices = expected_indices(range(3, ENDLESS, 2), (6,))
    assert [index for index in indices if selection.is_nth(index, 3)] == [3, 6, 9, 15]


def test_a_video_that_ends_before_its_start_frame_fails() -> None:
    with pytest.raises(RequestError, match=r"^start_frame is 20; expected a frame from 0 to 19$"):
        select_frames(SOURCE, (), start_frame=20)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, range(20)),
        ({"start_frame": 5}, range(5, 20)),
        ({"end_frame": 5}, range(6)),
        ({"start_frame": 19, "end_frame": 100}, range(19, 20)),
        ({"frame_interval": 7}, range(0, 20, 7)),
    ],
)
def test_frames_are_selected_as_asked(options: dict[str, int], expected: range) -> None:
    selection = select_frames(SOURCE, (), **options)
    assert [frame.image[0, 0, 0] for frame in selection.frames()] == list(expected)
