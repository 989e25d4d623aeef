"""Prompts from Python are held against the video before anything runs."""

import logging
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.prompts import fit_prompts
from sam_video.types import BoolMask, Box, Click, FrameSource, ObjectPrompt
from sam_video.video.frame_list import FrameList

MASK = np.ones((48, 64), np.bool_)


def video(*, is_still: bool = False) -> FrameSource:
    """Return a video of 64x48, 3 frames long, whose header says 9."""
    source = FrameList([np.zeros((48, 64, 3), np.uint8)] * (1 if is_still else 3))
    source.info = replace(source.info, num_frames=9, is_still=is_still)
    return source


VIDEO, STILL = video(), video(is_still=True)


def click(x: float, y: float, label: int = 1, *, name: str = "dog", frame: int = 0) -> ObjectPrompt:
    return ObjectPrompt(name, frame, clicks=(Click(x, y, label),))


def box(*xyxy: float) -> ObjectPrompt:
    return ObjectPrompt("dog", 0, box=Box(*xyxy))


def mask(mask: BoolMask, name: str = "dog") -> ObjectPrompt:
    return ObjectPrompt(name, 0, mask=mask)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        pytest.param(
            [click(1, 1), click(64, 1, name="cat")],
            "prompts[1].clicks[0] is [64, 1]; expected a point inside the 64x48 picture",
            id="click to the right",
        ),
        pytest.param([click(-0.5, 1)], "prompts[0].clicks[0] is [-0.5, 1]", id="click to the left"),
        pytest.param(
            [box(64, 0, 90, 9)],
            "prompts[0].box is [64, 0, 90, 9]; expected a box on the 64x48 picture",
            id="box beside the picture",
        ),
        pytest.param(
            [mask(np.ones((10, 10), np.bool_))],
            "prompts[0].mask is 10x10; expected 64x48, the size of the video",
            id="small mask",
        ),
        pytest.param(
            [mask(MASK), mask(MASK.T, "cat")],
            "prompts[1].mask is 48x64; expected 64x48",
            id="masks of two sizes",
        ),
        pytest.param(
            [click(1, 1, frame=3)],
            "prompts[0].frame_index is 3; expected a frame from 0 to 2",
            id="frame after the last one that decodes",
        ),
        pytest.param(
            [click(1, 1), click(2, 2, name="cat"), click(3, 3)],
            "prompts[2] is for 'dog' on frame 0, as prompts[0] is; expected only one",
            id="two for one object and frame",
        ),
        pytest.param(
            [click(1, 1), click(2, 2, 0, name="cat")],
            "prompts has nothing positive for 'cat'; expected a click, a box or a mask",
            id="object with negative clicks alone",
        ),
        pytest.param([click(1, 1, 0)], "prompts has nothing positive; expected", id="all negative"),
        pytest.param([], "prompts has nothing positive; expected", id="none"),
        pytest.param(
            [click(1, 1), ("dog", 0)],
            "prompts[1] is ('dog', 0); expected an ObjectPrompt",
            id="a tuple",
        ),
    ],
)
def test_prompts_that_do_not_fit_the_video_fail(prompts: Any, message: str) -> None:
    with pytest.raises(PromptError, match=re.escape(message)):
        fit_prompts(prompts, VIDEO)


def test_two_prompts_on_frames_of_a_still_image_fail() -> None:
    with pytest.raises(PromptError, match=r"prompts\[1\] is for 'dog' on frame 0, as prompts\[0\]"):
        fit_prompts([click(1, 1), click(2, 2, frame=5)], STILL)


def test_on_a_still_image_any_frame_is_its_one_frame() -> None:
    (fitted,) = fit_prompts([click(1, 1, frame=5)], STILL)
    assert fitted.frame_index == 0


def test_prompts_that_fit_stay_as_they_are() -> None:
    prompts = [
        click(63.9, 47.9),
        click(5, 5, 0, frame=2),
        ObjectPrompt("cat", 2, (Click(1, 1, 0),), Box(0, 0, 64, 48)),
        mask(MASK, "bee"),
    ]
    for before, after in zip(prompts, fit_prompts(prompts, VIDEO), strict=True):
        assert (before.object_id, before.frame_index) == (after.object_id, after.frame_index)
        assert (before.clicks, before.box) == (after.clicks, after.box)
        assert before.mask is after.mask


def test_boxes_are_clipped_to_the_picture_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    (fitted,) = fit_prompts([box(-5, 2, 90.5, 40)], VIDEO)
    assert fitted.box == Box(0, 2, 64, 40)
    assert [record.getMessage() for record in caplog.records] == [
        "clipping 1 boxes that reach beyond the picture, the first being prompts[0].box"
    ]


@pytest.mark.parametrize(
    ("prompts", "is_warned"),
    [
        pytest.param([click(0.4, 0.7), click(1, 0, name="cat")], True, id="fractions"),
        pytest.param([box(0.1, 0.2, 0.5, 1)], True, id="box of fractions"),
        pytest.param([click(1, 0)], False, id="whole pixels"),
        pytest.param([click(0.4, 0.7), click(3, 3, name="cat")], False, id="one beyond 1"),
        pytest.param([mask(MASK)], False, id="mask"),
    ],
)
def test_fractions_for_coordinates_are_logged_once(
    caplog: pytest.LogCaptureFixture, prompts: list[ObjectPrompt], is_warned: bool
) -> None:
    with caplog.at_level(logging.WARNING):
        fit_prompts(prompts, VIDEO)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == is_warned
    assert all("expected pixels" in message for message in messages)


def test_as_many_clicks_as_a_request_may_have_fit() -> None:
    clicks = tuple(Click(i % 64, i % 48, i % 2) for i in range(MAX_PROMPTS.default))
    (fitted,) = fit_prompts([ObjectPrompt("dog", 0, clicks)], VIDEO)
    assert fitted.clicks == clicks


def is_of_dogs(name: str) -> bool:
    return name.startswith("dog")


def test_where_words_find_objects_there_may_be_no_prompts() -> None:
    assert fit_prompts([], VIDEO, is_of_dogs) == ()


def test_objects_that_words_may_find_need_nothing_positive() -> None:
    prompts = [click(1, 1, 0, name="dog_1"), click(1, 1, 0)]
    assert [p.object_id for p in fit_prompts(prompts, VIDEO, is_of_dogs)] == ["dog_1", "dog"]
    with pytest.raises(PromptError, match="nothing positive for 'cat'"):
        fit_prompts([*prompts, click(1, 1, 0, name="cat")], VIDEO, is_of_dogs)
    with pytest.raises(PromptError, match="expected a point inside the 64x48 picture"):
        fit_prompts([click(64, 1, 0)], VIDEO, is_of_dogs)
