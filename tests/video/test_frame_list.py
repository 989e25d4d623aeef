"""Images from elsewhere are a video, if they are images."""

import re
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sam_video.errors import VideoError
from sam_video.types import Frame
from sam_video.video.frame_list import FrameList

IMAGE = np.zeros((4, 6, 3), np.uint8)
OF_ANY_SIZE = "expected a uint8 array of shape (height, width, 3)"


def test_frames_are_numbered_and_timed_by_the_rate() -> None:
    frames = list(FrameList([IMAGE, IMAGE + 1], Fraction(2)).frames())
    assert [(frame.index, frame.pts_seconds) for frame in frames] == [(0, 0.0), (1, 0.5)]
    assert frames[1].image.max() == 1


def test_an_array_of_images_is_a_video() -> None:
    assert FrameList(np.stack([IMAGE] * 5)).info.num_frames == 5  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        pytest.param([], "images is empty; expected at least one", id="none"),
        pytest.param(np.empty((0, 4, 6, 3), np.uint8), "images is empty", id="empty array"),
        pytest.param(
            [IMAGE[..., 0]],
            f"images[0] is uint8 of shape (4, 6); {OF_ANY_SIZE}",
            id="gray",
        ),
        pytest.param([IMAGE.astype(np.float32)], "images[0] is float32", id="floats"),
        pytest.param([IMAGE[:0]], "images[0] is uint8 of shape (0, 6, 3)", id="no rows"),
        pytest.param([np.zeros((4, 6, 4), np.uint8)], "shape (4, 6, 4); expected", id="alpha"),
        pytest.param(["a.png"], f"images[0] is str of shape (); {OF_ANY_SIZE}", id="a name"),
    ],
)
def test_what_is_no_video_fails(images: Any, message: str) -> None:
    with pytest.raises(VideoError, match=re.escape(message)):
        FrameList(images)


def read_all(source: FrameList) -> list[Frame]:
    return list(source.frames())


def read_third(source: FrameList) -> list[Frame]:
    return list(source.frames_at([2]))


def read_backward(source: FrameList) -> list[Frame]:
    return list(source.frames_backward(2))


@pytest.mark.parametrize("read", [read_all, read_third, read_backward])
@pytest.mark.parametrize(
    ("odd", "shown"),
    [
        (np.zeros((4, 7, 3), np.uint8), "uint8 of shape (4, 7, 3)"),
        (np.zeros((4, 6, 3)), "float64 of shape (4, 6, 3)"),
    ],
    ids=["another size", "another type"],
)
def test_an_image_unlike_the_first_fails_when_it_is_read(read: Any, odd: Any, shown: str) -> None:
    message = f"images[2] is {shown}; expected a uint8 array of shape (4, 6, 3)"
    with pytest.raises(VideoError, match=re.escape(message)):
        read(FrameList([IMAGE, IMAGE, odd]))


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), None, "fast"])
def test_a_rate_that_is_no_number_above_0_fails(rate: Any) -> None:
    message = f"frame_rate is {rate!r}; expected a number above 0"
    with pytest.raises(VideoError, match=re.escape(message)):
        FrameList([IMAGE], rate)


def test_a_rate_may_be_any_number() -> None:
    assert FrameList([IMAGE], 25).info.frame_rate == Fraction(25)  # type: ignore[arg-type]
