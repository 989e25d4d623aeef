"""Who is who after a search by words."""

import numpy as np
import pytest

from sam_video.service.cast import blank_doubles
from sam_video.types import BoolMask, ObjectMask


def item(name: str, left: int, *, size: int = 200, with_confidence: bool = False) -> ObjectMask:
    """Return an object with a square mask, on a frame of 1200 x 800 pixels."""
    mask: BoolMask = np.zeros((800, 1200), dtype=bool)
    mask[100 : 100 + size, left : left + size] = True
    confidence = mask.astype(np.uint8) * np.uint8(200) if with_confidence else None
    return ObjectMask(name, 0, mask, 0.9, 0.8, confidence)


def shown(late: list[ObjectMask], others: list[ObjectMask]) -> list[str]:
    """Return the late objects that keep a mask."""
    return [found.object_id for found in blank_doubles(late, others) if found.mask.any()]


@pytest.mark.parametrize(
    ("left", "is_shown"), [(0, False), (30, False), (40, True), (500, True)], ids=str
)
def test_a_late_object_is_blanked_where_it_is_another_one(left: int, is_shown: bool) -> None:
    assert shown([item("late", left)], [item("other", 0)]) == ["late"] * is_shown


def test_of_two_late_objects_that_are_one_thing_the_older_is_shown() -> None:
    assert shown([item("older", 5), item("younger", 10)], []) == ["older"]


def test_a_blank_object_has_neither_score_nor_confidence() -> None:
    late, other = item("late", 3, with_confidence=True), item("other", 0)
    (blank,) = blank_doubles([late], [other])
    assert blank.object_score == 0
    assert blank.confidence is not None
    assert not blank.confidence.any()
    assert late.mask.any()


def test_objects_of_a_few_pixels_and_empty_masks_are_compared_too() -> None:
    small, empty = item("small", 0, size=3), item("empty", 0, size=0)
    assert shown([small, empty], [item("other", 0, size=3)]) == []
    assert shown([small], [empty]) == ["small"]
