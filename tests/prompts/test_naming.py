"""Every click, box and mask finds the object that it is for."""

import numpy as np
import pytest

from sam_video.errors import PromptError
from sam_video.prompts.naming import MAX_NAME_LENGTH, with_names
from sam_video.prompts.stated import StatedPrompt
from sam_video.types import BoolMask, Box, Click

Stated = tuple[Click | Box | BoolMask, int, str | None]
"""A value, its frame and its name."""


def mask(x0: int, x1: int) -> BoolMask:
    """Draw a rectangle of rows 10 to 20 without its middle row."""
    drawn = np.zeros((100, 200), np.bool_)
    drawn[10:20, x0:x1] = True
    drawn[15] = False
    return drawn


def names(*prompts: Stated) -> list[str]:
    """Name prompts, and return the names in the order of the prompts."""
    stated = [
        StatedPrompt(value, frame_index, object_id, f"click_coordinates[{i}]", f"click_frames[{i}]")
        for i, (value, frame_index, object_id) in enumerate(prompts)
    ]
    name_at = {prompt.place: name for name, prompt in with_names(stated)}
    return [name_at[prompt.place] for prompt in stated]


POSITIVE = {"click": Click(60, 15), "box": Box(60, 10, 70, 20), "mask": mask(60, 70)}


@pytest.mark.parametrize("value", POSITIVE.values(), ids=POSITIVE.keys())
class TestEverythingPositive:
    def test_without_a_name_is_numbered(self, value: Click | Box | BoolMask) -> None:
        assert names((value, 0, None), (value, 3, None)) == ["object_1", "object_2"]

    def test_with_a_name_takes_no_number(self, value: Click | Box | BoolMask) -> None:
        assert names((value, 0, "a"), (value, 3, None)) == ["a", "object_1"]

    def test_is_refined_by_a_negative_click_that_is_near(
        self, value: Click | Box | BoolMask
    ) -> None:
        near, far = (Click(50, 15, 0), 0, None), (Click(20, 15, 0), 0, None)
        other = (Click(30, 15), 0, "other")
        assert names(other, (value, 0, "a"), near, far)[2:] == ["a", "other"]

    def test_is_refined_on_a_frame_where_there_is_nothing(
        self, value: Click | Box | BoolMask
    ) -> None:
        assert names((value, 0, "a"), (Click(1, 1), 9, "b"), (Click(50, 15, 0), 4, None))[2] == "a"

    def test_is_where_background_clicks_go(self, value: Click | Box | BoolMask) -> None:
        clicks: list[Stated] = [
            (Click(1, 1, 0), 5, "background"),
            (Click(1, 1, 0), 4, "background"),
        ]
        assert names((value, 4, "a"), *clicks) == ["a", "a", "a"]


@pytest.mark.parametrize("inside", [Box(40, 10, 90, 20), mask(40, 90)], ids=["box", "mask"])
@pytest.mark.parametrize("x", [40, 65, 89.9])
def test_a_click_inside_an_area_is_nearer_to_it_than_to_any_other(
    inside: Box | BoolMask, x: float
) -> None:
    click: Stated = (Click(x, 15, 0), 0, None)
    others: list[Stated] = [(Click(x, 15.5), 0, "b"), (Box(x + 60, 10, 200, 20), 0, "c")]
    assert names(*others, (inside, 0, "a"), click)[-1] == "a"


def test_the_distance_to_a_box_is_that_to_its_nearest_corner() -> None:
    boxes: list[Stated] = [(Box(0, 0, 50, 50), 0, "a"), (Box(70, 70, 99, 99), 0, "b")]
    assert names(*boxes, (Click(59, 59, 0), 0, None))[-1] == "a"
    assert names(*boxes, (Click(61, 61, 0), 0, None))[-1] == "b"


def test_prompts_come_by_object_and_keep_their_order() -> None:
    stated = [
        StatedPrompt(Click(x, 1, label), 0, object_id, f"{x}", "")
        for x, label, object_id in [(1, 0, "b"), (2, 1, "a"), (3, 1, "b"), (4, 0, "-"), (5, 1, "a")]
    ]
    pairs = [(name, prompt.place) for name, prompt in with_names(stated)]
    assert pairs == [("a", "2"), ("a", "4"), ("a", "5"), ("b", "1"), ("b", "3"), ("b", "4")]


def test_the_longest_name_is_accepted() -> None:
    assert names((Click(1, 1), 0, "é" * MAX_NAME_LENGTH)) == ["é" * MAX_NAME_LENGTH]


def test_a_longer_name_fails() -> None:
    expected = r"^click_coordinates\[0\] is named 'a+…', 1001 characters; expected at most 1000$"
    with pytest.raises(PromptError, match=expected):
        names((Click(1, 1), 0, "a" * (MAX_NAME_LENGTH + 1)))


def test_a_name_with_half_a_character_fails() -> None:
    expected = r"^click_coordinates\[1\] is named 'dog\\udc80'; expected valid Unicode$"
    with pytest.raises(PromptError, match=expected):
        names((Click(1, 1), 0, "a"), (Click(1, 1), 0, "dog\udc80"))
