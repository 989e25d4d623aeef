"""Clicks, boxes and prompts that say nonsense cannot be made."""

import re
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest

from sam_video.errors import PromptError
from sam_video.types import Box, Click, ObjectPrompt

CLICK, BOX = Click(3, 4), Box(1, 2, 3, 4)
MASK = np.eye(4, 6, dtype=np.bool_)
LABEL = "expected 1 (foreground) or 0 (background)"
BOOL_ARRAY = "expected a bool array of shape (height, width)"


def prompt(**fields: Any) -> Callable[[], ObjectPrompt]:
    given: dict[str, Any] = {"object_id": "dog", "frame_index": 0}
    return lambda: ObjectPrompt(**(given | fields))


def of(kind: type, *values: Any) -> Callable[[], Any]:
    return lambda: kind(*values)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(
            of(Click, float("nan"), 1), "Click.x is nan; expected a finite number", id="nan"
        ),
        pytest.param(
            of(Click, 1, float("-inf")), "Click.y is -inf; expected a finite number", id="infinity"
        ),
        pytest.param(of(Click, "1", 1), "Click.x is '1'; expected a finite number", id="a text"),
        pytest.param(of(Click, None, 1), "Click.x is None; expected a finite number", id="nothing"),
        pytest.param(of(Click, 1, 10**400), "Click.y is 1000", id="more than any float"),
        pytest.param(
            of(Click, np.zeros(2), 1),
            "Click.x is a float64 array of shape (2,); expected a finite number",
            id="an array",
        ),
        pytest.param(of(Click, 1, 1, 7), f"Click.label is 7; {LABEL}", id="label 7"),
        pytest.param(of(Click, 1, 1, -1), f"Click.label is -1; {LABEL}", id="label -1"),
        pytest.param(of(Click, 1, 1, 0.5), f"Click.label is 0.5; {LABEL}", id="half a label"),
        pytest.param(of(Click, 1, 1, "1"), f"Click.label is '1'; {LABEL}", id="a text as label"),
        pytest.param(
            of(Box, 0, 0, float("nan"), 9), "Box.x1 is nan; expected a finite number", id="nan box"
        ),
        pytest.param(
            of(Box, 5, 0, 1, 9),
            "Box(x0=5, y0=0, x1=1, y1=9) is empty; expected x0 < x1 and y0 < y1",
            id="inverted box",
        ),
        pytest.param(of(Box, 0, 3, 9, 3), "expected x0 < x1 and y0 < y1", id="flat box"),
        pytest.param(
            prompt(),
            "ObjectPrompt('dog', 0) is empty; expected clicks, a box or a mask",
            id="empty",
        ),
        pytest.param(
            prompt(object_id=1, box=BOX),
            "ObjectPrompt.object_id is 1; expected a text",
            id="number as name",
        ),
        pytest.param(
            prompt(frame_index=-1, box=BOX),
            "ObjectPrompt.frame_index is -1; expected a whole number from 0 up",
            id="negative frame",
        ),
        pytest.param(
            prompt(frame_index=1.5, box=BOX), "ObjectPrompt.frame_index is 1.5", id="half a frame"
        ),
        pytest.param(
            prompt(clicks=((1, 2),)),
            "ObjectPrompt.clicks[0] is (1, 2); expected a Click",
            id="tuple as click",
        ),
        pytest.param(
            prompt(clicks="12"), "ObjectPrompt.clicks[0] is '12'; expected a Click", id="text"
        ),
        pytest.param(
            prompt(box=(1, 2, 3, 4)),
            "ObjectPrompt.box is (1, 2, 3, 4); expected a Box",
            id="tuple as box",
        ),
        pytest.param(
            prompt(mask=MASK.astype(np.uint8)),
            f"ObjectPrompt.mask is a uint8 array of shape (4, 6); {BOOL_ARRAY}",
            id="mask of numbers",
        ),
        pytest.param(
            prompt(mask=MASK[None]),
            f"ObjectPrompt.mask is a bool array of shape (1, 4, 6); {BOOL_ARRAY}",
            id="mask of three axes",
        ),
        pytest.param(prompt(mask=MASK & False), "ObjectPrompt.mask has no pixel", id="no pixel"),
        pytest.param(
            prompt(mask=MASK, clicks=(CLICK,)),
            "ObjectPrompt.mask stands beside clicks or a box; expected a mask alone",
            id="mask with clicks",
        ),
        pytest.param(
            prompt(mask=MASK, box=BOX), "ObjectPrompt.mask stands beside", id="mask with a box"
        ),
    ],
)
def test_nonsense_fails(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(PromptError, match=re.escape(message)) as caught:
        make()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("label", [True, np.int64(1), np.uint8(1), np.bool_(True)], ids=repr)
def test_a_label_of_another_whole_type_becomes_an_int(label: Any) -> None:
    click = Click(1.5, 2, label)
    assert (click, type(click.label)) == (Click(1.5, 2, 1), int)


def test_clicks_may_come_as_a_list_and_alone() -> None:
    made = [prompt(clicks=clicks)() for clicks in ([CLICK], (CLICK,), CLICK)]
    assert [found.clicks for found in made] == [(CLICK,)] * 3


def test_a_frame_index_of_numpy_becomes_an_int() -> None:
    assert type(ObjectPrompt("dog", np.int64(3), box=BOX).frame_index) is int  # type: ignore[arg-type]


def test_values_stay_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        CLICK.x = 1  # type: ignore[misc]
