"""Clicks become one prompt per object and frame, checked against the video."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_video.errors import PromptError
from sam_video.frames import FrameList
from sam_video.prompts import build_prompts
from sam_video.request import Request
from sam_video.types import Click, FrameSource, ObjectPrompt


def video(num_frames: int, *, stated: int | None, is_still: bool = False) -> FrameSource:
    """Return a video of black frames whose header states some count."""
    source = FrameList([np.broadcast_to(np.uint8(0), (720, 1280, 3))] * num_frames)
    source.info = replace(source.info, num_frames=stated, is_still=is_still)
    return source


VIDEO = video(74, stated=74)
UNCOUNTED = video(74, stated=None)
MISCOUNTED = video(74, stated=9)
STILL = video(1, stated=1, is_still=True)
FOUR = "[1,1],[2,2],[3,3],[4,4]"


def build(
    coordinates: str,
    *,
    labels: str = "1",
    frames: str = "0",
    ids: str = "",
    source: FrameSource = VIDEO,
) -> tuple[ObjectPrompt, ...]:
    request = Request(
        input_video=Path("clip.mp4"),
        click_coordinates=coordinates,
        click_labels=labels,
        click_frames=frames,
        click_object_ids=ids,
    )
    return build_prompts(request, source)


def short(prompts: tuple[ObjectPrompt, ...]) -> list[str]:
    """Write prompts as "object@frame +x -x", which is easy to compare."""
    return [
        f"{prompt.object_id}@{prompt.frame_index} "
        + " ".join(f"{'-+'[click.label]}{click.x:g}" for click in prompt.clicks)
        for prompt in prompts
    ]


def along_x(*xs: int) -> str:
    return ",".join(f"[{x},100]" for x in xs)


def test_the_published_example_makes_two_objects() -> None:
    prompts = build(
        along_x(1, 2, 3, 4, 5),
        labels="1,1,0,1,1",
        frames="0,0,10,20,20",
        ids="dog,dog,background,cat,cat",
    )
    assert short(prompts) == ["dog@0 +1 +2", "dog@10 -3", "cat@20 +4 +5"]


@pytest.mark.parametrize(
    ("coordinates", "fields", "expected"),
    [
        pytest.param(
            "[800,200],[820,240]",
            {"labels": "1,0", "ids": "object_1,object_1"},
            ["object_1@0 +800 -820"],
            id="one positive and one negative point of one object",
        ),
        pytest.param("[320,300]", {"ids": "1"}, ["1@0 +320"], id="a number in quotes is a name"),
        pytest.param(
            "[120,80],[60,40]",
            {"labels": "1,0", "source": STILL},
            ["object_1@0 +120 -60"],
            id="still image without names, one negative",
        ),
        pytest.param(
            "[120,80],[60,40]",
            {"labels": "1,1", "frames": "0,0", "source": STILL},
            ["object_1@0 +120", "object_2@0 +60"],
            id="still image without names, two positives",
        ),
        pytest.param(
            "[100,120],[400,220],[640,360]",
            {"ids": "seg_1,seg_2,seg_3"},
            ["seg_1@0 +100", "seg_2@0 +400", "seg_3@0 +640"],
            id="three names on the default frame",
        ),
        pytest.param(
            "[120, 340], [400, 220]",
            {"labels": "1", "ids": "obj1"},
            ["obj1@0 +120 +400"],
            id="one name for two clicks",
        ),
        pytest.param(
            "[100,100],[120,110],[300,200],[320,210]",
            {"labels": "1,1,1,1", "frames": "0,0,0,0", "ids": "obj_1,obj_1,obj_2,obj_2"},
            ["obj_1@0 +100 +120", "obj_2@0 +300 +320"],
            id="two clicks each",
        ),
        pytest.param(
            "[101,52],[240,77]",
            {"labels": "1,1", "frames": "0,30", "ids": "left hand,Löffel 🥄"},
            ["left hand@0 +101", "Löffel 🥄@30 +240"],
            id="names with a space and beyond ASCII",
        ),
        pytest.param(
            "[391,239],[178,320]",
            {"frames": "1,15,30", "ids": "bee_1,bee_2"},
            ["bee_1@1 +391", "bee_2@15 +178"],
            id="more frames than clicks",
        ),
        pytest.param(
            "[200,150],[136,107],[264,193],[80,70],[320,70],[80,230],[320,230]",
            {
                "labels": "1,1,1,0,0,0,0",
                "frames": "0,0,0,0,0,0,0",
                "ids": ",".join(["component"] * 7),
                "source": STILL,
            },
            ["component@0 +200 +136 +264 -80 -320 -80 -320"],
            id="seven clicks of one object",
        ),
        pytest.param("320,240 9,9", {}, ["object_1@0 +320", "object_2@0 +9"], id="space between"),
        pytest.param(FOUR, {"labels": "1,0", "ids": "a"}, ["a@0 +1 -2 -3 -4"], id="few labels"),
        pytest.param(FOUR, {"labels": "1,1,0,1,1", "ids": "a"}, ["a@0 +1 +2 -3 +4"], id="surplus"),
        pytest.param(FOUR, {"frames": "", "ids": "a"}, ["a@0 +1 +2 +3 +4"], id="empty frames"),
        pytest.param(FOUR, {"ids": "a,a,b,b"}, ["a@0 +1 +2", "b@0 +3 +4"], id="two names"),
        pytest.param(FOUR, {"ids": "a,,b,"}, ["a@0 +1", "@0 +2 +4", "b@0 +3"], id="empty names"),
        pytest.param(
            FOUR,
            {"ids": "a,b,c,d,e,f"},
            ["a@0 +1", "b@0 +2", "c@0 +3", "d@0 +4"],
            id="surplus names",
        ),
    ],
)
def test_what_clients_send_is_understood(
    coordinates: str, fields: dict[str, object], expected: list[str]
) -> None:
    assert short(build(coordinates, **fields)) == expected  # type: ignore[arg-type]


def test_coordinates_are_not_rounded() -> None:
    (prompt,) = build("[10.5,20.25]")
    assert prompt.clicks == (Click(10.5, 20.25, 1),)
    assert prompt.box is None
    assert prompt.mask is None


def test_objects_come_in_the_order_in_which_something_positive_names_them() -> None:
    prompts = build(
        along_x(1, 2, 3, 4), labels="0,1,1,1", frames="0,50,20,10", ids="late,first,late,first"
    )
    assert short(prompts) == ["first@10 +4", "first@50 +2", "late@0 -1", "late@20 +3"]


def test_clicks_of_one_object_and_frame_are_one_prompt_wherever_they_stand() -> None:
    prompts = build(along_x(1, 2, 3, 4), labels="1,1,0,1", frames="5,6,5,5", ids="a,a,a,a")
    assert short(prompts) == ["a@5 +1 -3 +4", "a@6 +2"]


def test_negative_clicks_alone_on_a_frame_stay_a_prompt() -> None:
    prompts = build(along_x(1, 2), labels="1,0", frames="0,7", ids="a")
    assert [prompt.is_positive for prompt in prompts] == [True, False]


def test_a_negative_click_before_the_first_positive_one_is_kept() -> None:
    prompts = build(along_x(1, 2), labels="1,0", frames="9,3", ids="a")
    assert short(prompts) == ["a@3 -2", "a@9 +1"]


class TestWithoutNames:
    def test_positive_clicks_are_numbered_past_the_negative_ones(self) -> None:
        prompts = build(along_x(100, 110, 500), labels="1,0,1")
        assert short(prompts) == ["object_1@0 +100 -110", "object_2@0 +500"]

    def test_a_negative_click_joins_the_nearest_positive_one_of_its_frame(self) -> None:
        prompts = build(along_x(100, 500, 490), labels="1,1,0", frames="0,8,0")
        assert short(prompts) == ["object_1@0 +100 -490", "object_2@8 +500"]

    def test_a_negative_click_alone_on_its_frame_joins_the_nearest_of_all(self) -> None:
        prompts = build(along_x(100, 500, 490), labels="1,1,0", frames="0,8,20")
        assert short(prompts) == ["object_1@0 +100", "object_2@8 +500", "object_2@20 -490"]

    def test_distance_counts_both_axes(self) -> None:
        prompts = build("[100,700],[140,100],[100,100]", labels="1,1,0")
        assert short(prompts) == ["object_1@0 +100", "object_2@0 +140 -100"]

    def test_the_first_of_two_equally_near_is_joined(self) -> None:
        prompts = build(along_x(100, 300, 200), labels="1,1,0")
        assert short(prompts) == ["object_1@0 +100 -200", "object_2@0 +300"]

    def test_on_a_still_image_all_clicks_are_on_one_frame(self) -> None:
        prompts = build(along_x(100, 500, 490), labels="1,1,0", frames="0,8,0", source=STILL)
        assert short(prompts) == ["object_1@0 +100", "object_2@0 +500 -490"]


class TestBackgroundNames:
    def test_their_clicks_go_to_every_object_that_is_there(self) -> None:
        prompts = build(
            along_x(1, 2, 3, 4), labels="1,1,1,0", frames="0,10,11,10", ids="a,b,c,background"
        )
        assert short(prompts) == ["a@0 +1", "a@10 -4", "b@10 +2 -4", "c@11 +3"]

    def test_the_earliest_positive_click_counts_wherever_it_stands(self) -> None:
        prompts = build(along_x(1, 2, 3), labels="1,1,0", frames="30,5,10", ids="a,a,background")
        assert short(prompts) == ["a@5 +2", "a@10 -3", "a@30 +1"]

    def test_their_clicks_keep_the_order_given(self) -> None:
        prompts = build(along_x(1, 2, 3), labels="0,1,0", ids="background,a,a")
        assert short(prompts) == ["a@0 -1 +2 -3"]

    def test_on_a_still_image_every_object_is_there(self) -> None:
        prompts = build(along_x(1, 2), labels="1,0", frames="5,0", ids="a,background", source=STILL)
        assert short(prompts) == ["a@0 +1 -2"]

    def test_without_an_object_on_the_frame_they_are_ignored_and_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            prompts = build(
                along_x(1, 2, 3), labels="1,0,0", frames="20,4,5", ids="a,background,background"
            )
        assert short(prompts) == ["a@20 +1"]
        assert [record.getMessage() for record in caplog.records] == [
            "ignoring 2 background clicks on frames where no object is yet, the first being"
            " click_coordinates[1] on frame 4"
        ]

    def test_more_corrections_than_allowed_fails(self) -> None:
        ids = ",".join([*(f"object {i}" for i in range(1000)), "background"])
        labels = ",".join(["1"] * 1000 + ["0"])
        expected = r"^click_object_ids has background clicks for 1000 objects; expected at most"
        with pytest.raises(PromptError, match=expected):
            build("[1,2]," * 1101, labels=labels, ids=ids)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_a_request_without_a_prompt_fails(text: str) -> None:
    expected = r"^nothing says what to segment; expected click_coordinates, such as '\[391,239\]'$"
    with pytest.raises(PromptError, match=expected):
        build(text)


@pytest.mark.parametrize("ids", ["", "a", "a,b"])
def test_only_negative_clicks_fails(ids: str) -> None:
    expected = r"^click_labels is 0 for every click; expected a 1 \(foreground\) among them$"
    with pytest.raises(PromptError, match=expected):
        build(along_x(1, 2), labels="0", ids=ids)


@pytest.mark.parametrize("coordinates", ["[0,0]", "[1279.9,719.9]", "[-0.0,0]"])
def test_a_point_on_the_edge_is_inside(coordinates: str) -> None:
    assert len(build(coordinates)) == 1


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        ("[99999,99999]", "click_coordinates[0] is [99999, 99999]"),
        ("[5,5],[1280,0]", "click_coordinates[1] is [1280, 0]"),
        ("[0,720]", "click_coordinates[0] is [0, 720]"),
        ("[-0.5,3]", "click_coordinates[0] is [-0.5, 3]"),
        ("[3,-1]", "click_coordinates[0] is [3, -1]"),
        ("[1e300,1]", "click_coordinates[0] is [1e+300, 1]"),
    ],
)
@pytest.mark.parametrize("source", [VIDEO, STILL], ids=["video", "still"])
def test_a_point_outside_the_picture_fails(
    coordinates: str, message: str, source: FrameSource
) -> None:
    with pytest.raises(PromptError) as caught:
        build(coordinates, source=source)
    assert str(caught.value) == f"{message}; expected a point inside the 1280x720 picture"


SOURCES = pytest.mark.parametrize(
    "source", [VIDEO, UNCOUNTED, MISCOUNTED], ids=["counted", "uncounted", "miscounted"]
)


@SOURCES
def test_the_last_frame_can_be_prompted_whatever_the_header_says(source: FrameSource) -> None:
    assert short(build("[1,2]", frames="73", source=source)) == ["object_1@73 +1"]


@SOURCES
def test_a_frame_past_the_last_one_fails(source: FrameSource) -> None:
    with pytest.raises(
        PromptError, match=r"^click_frames\[1\] is 99; expected a frame from 0 to 73$"
    ):
        build(along_x(1, 2), frames="0,99", source=source)


def test_any_frame_of_a_still_image_is_its_one_frame() -> None:
    assert short(build(along_x(1, 2), frames="3,99", ids="a", source=STILL)) == ["a@0 +1 +2"]
