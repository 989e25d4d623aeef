"""Clicks, boxes and masks become one prompt per object and frame, checked against the video."""

import io
import json
import logging
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.prompts import build_prompts
from sam_video.prompts.mask_zip import read_masks
from sam_video.request import Request
from sam_video.types import BoolMask, Box, Click, FrameSource, ObjectPrompt
from sam_video.video.frame_list import FrameList


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
    return build_from(
        source,
        click_coordinates=coordinates,
        click_labels=labels,
        click_frames=frames,
        click_object_ids=ids,
    )


def build_from(
    source: FrameSource, concepts: Sequence[str] = (), **fields: Any
) -> tuple[ObjectPrompt, ...]:
    request = Request(input_video=Path("clip.mp4"), **fields)
    return build_prompts(request, source, read_masks, concepts)


def short(prompts: tuple[ObjectPrompt, ...]) -> list[str]:
    """Write prompts as "object@frame +x -x [x0:x1] mask", which is easy to compare."""
    return [" ".join(_words(prompt)) for prompt in prompts]


def _words(prompt: ObjectPrompt) -> Iterator[str]:
    yield f"{prompt.object_id}@{prompt.frame_index}"
    yield from (f"{'-+'[click.label]}{click.x:g}" for click in prompt.clicks)
    if prompt.box is not None:
        yield f"[{prompt.box.x0:g}:{prompt.box.x1:g}]"
    if prompt.mask is not None:
        yield "mask"


def write_masks(folder: Path, *names: str, mask: BoolMask | None = None) -> Path:
    """Write a zip with the same mask under each of the names."""
    if mask is None:
        mask = np.zeros((720, 1280), np.bool_)
        mask[200:300, 400:500] = True
    data = io.BytesIO()
    np.save(data, mask)
    path = folder / "masks.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in names:
            archive.writestr(f"{name}.npy", data.getvalue())
    return path


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
@pytest.mark.parametrize("prompts", ["", "[]"])
def test_a_request_without_a_prompt_fails(text: str, prompts: str) -> None:
    with pytest.raises(PromptError) as caught:
        build_from(VIDEO, click_coordinates=text, box_coordinates=text, prompts=prompts)
    assert str(caught.value) == (
        "nothing says what to segment; expected click_coordinates, such as '[391,239]',"
        " box_coordinates, mask_prompts, prompts, or text_prompt, such as 'person, red car'"
    )


def test_a_request_with_words_needs_no_prompt() -> None:
    assert build_from(VIDEO, concepts=["person"]) == ()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("person", ["person@0 -1"], id="a concept"),
        pytest.param("person_2", ["person_2@0 -1"], id="an instance"),
        pytest.param("person_x", ["person@0 -1", "car@0 -1"], id="no instance"),
        pytest.param("", ["person@0 -1", "car@0 -1"], id="no name"),
    ],
)
def test_negative_clicks_alone_are_for_what_words_find(name: str, expected: list[str]) -> None:
    fields = {"click_coordinates": along_x(1), "click_labels": "0", "click_object_ids": name}
    assert short(build_from(VIDEO, ["person", "car"], **fields)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("person", ["dog@0 +1", "person@0 -2"], id="a concept"),
        pytest.param("person_2", ["dog@0 +1", "person_2@0 -2"], id="an instance"),
        pytest.param("sky", ["dog@0 +1 -2", "person@0 -2"], id="background"),
        pytest.param("dog", ["dog@0 +1 -2"], id="of the object"),
    ],
)
def test_negative_clicks_named_like_words_are_background_of_no_other_object(
    name: str, expected: list[str]
) -> None:
    fields = {"click_labels": "1,0", "click_object_ids": f"dog,{name}"}
    prompts = build_from(VIDEO, ["person"], click_coordinates=along_x(1, 2), **fields)
    assert short(prompts) == expected


def test_a_negative_click_without_a_name_corrects_the_nearest_object_also_with_words() -> None:
    box = {"box_coordinates": "[1,90,9,110]", "box_object_ids": "dog"}
    prompts = build_from(VIDEO, ["person"], click_coordinates=along_x(2), click_labels="0", **box)
    assert short(prompts) == ["dog@0 -2 [1:9]"]


def test_clicks_without_names_are_no_instances_of_a_concept_named_object() -> None:
    assert short(build_from(VIDEO, ["object"], click_coordinates="[1,100]")) == ["prompt_1@0 +1"]
    assert short(build_from(VIDEO, ["person"], click_coordinates="[1,100]")) == ["object_1@0 +1"]


def test_an_object_with_the_name_of_a_concept_has_its_own_negative_clicks() -> None:
    fields = {"click_labels": "1,0,0", "click_object_ids": "person,person,sky"}
    prompts = build_from(VIDEO, ["person"], click_coordinates=along_x(1, 2, 3), **fields)
    assert short(prompts) == ["person@0 +1 -2 -3"]


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


def test_a_box_and_clicks_of_one_object_and_frame_are_one_prompt() -> None:
    prompts = build_from(
        VIDEO,
        click_coordinates=along_x(1, 2, 3),
        click_labels="1,0,0",
        click_frames="5,5,9",
        click_object_ids="a",
        box_coordinates="[10,20,30,40],[50,60,70,80]",
        box_frames="5,6",
        box_object_ids="a,b",
    )
    assert short(prompts) == ["a@5 +1 -2 [10:30]", "a@9 -3", "b@6 [50:70]"]
    assert prompts[0].box == Box(10, 20, 30, 40)


def test_a_box_without_a_name_is_an_object_numbered_after_the_clicks() -> None:
    prompts = build_from(
        VIDEO,
        click_coordinates=along_x(1, 2, 3),
        click_labels="1,0,1",
        box_coordinates="[10,20,30,40],[50,60,70,80]",
    )
    assert short(prompts) == [
        "object_1@0 +1 -2",
        "object_2@0 +3",
        "object_3@0 [10:30]",
        "object_4@0 [50:70]",
    ]


def test_boxes_without_names_are_numbered_from_1_where_the_clicks_have_names() -> None:
    prompts = build_from(
        VIDEO,
        click_coordinates="[1,100]",
        click_object_ids="dog",
        box_coordinates="[10,20,30,40]",
        box_frames="3",
    )
    assert short(prompts) == ["dog@0 +1", "object_1@3 [10:30]"]


def test_json_can_correct_an_object_by_its_number() -> None:
    correction = [{"x": 9, "y": 9, "label": 0, "object_id": "object_1", "frame_index": 7}]
    prompts = build_from(VIDEO, box_coordinates="[1,2,3,4]", prompts=json.dumps(correction))
    assert short(prompts) == ["object_1@0 [1:3]", "object_1@7 -9"]


def test_points_of_json_without_a_name_are_one_object() -> None:
    prompts = build_from(
        VIDEO,
        prompts='[{"label":1,"x":210,"y":350,"frame_index":0},'
        '{"label":1,"x":250,"y":220,"frame_index":0}]',
    )
    assert short(prompts) == ["1@0 +210 +250"]


def test_all_kinds_of_prompts_mix(tmp_path: Path) -> None:
    entries = [
        {"points": [[5, 5], [6, 5]], "labels": [1, 0], "object_id": "box", "frame_index": 4},
        {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4, "object_id": 7},
        {"x": 8, "y": 8, "label": 0, "object_id": "mask", "frame_index": 9},
        {"x": 9, "y": 9, "label": 0, "object_id": "nothing", "frame_index": 4},
    ]
    prompts = build_from(
        VIDEO,
        click_coordinates=along_x(1, 2),
        click_labels="0,1",
        click_frames="20,30",
        click_object_ids="mask,click",
        box_coordinates="[10,20,30,40]",
        box_frames="4",
        box_object_ids="box",
        mask_prompts=write_masks(tmp_path, "3_mask", "2_click"),
        prompts=json.dumps(entries),
    )
    assert short(prompts) == [
        "click@2 mask",
        "click@4 -9",
        "click@30 +2",
        "box@4 +5 -6 -9 [10:30]",
        "mask@3 mask",
        "mask@4 -9",
        "mask@9 -8",
        "mask@20 -1",
        "7@0 [1:3]",
        "7@4 -9",
    ]


def test_objects_come_in_the_order_of_clicks_boxes_masks_and_json(tmp_path: Path) -> None:
    prompts = build_from(
        VIDEO,
        prompts=json.dumps([{"x": 1, "y": 1, "object_id": name} for name in "edcba"]),
        mask_prompts=write_masks(tmp_path, "5_d", "4_e", "5_c"),
        box_coordinates="[1,2,3,4]",
        box_frames="1",
        box_object_ids="b",
        click_coordinates="[1,2]",
        click_frames="1",
        click_object_ids="a",
    )
    assert list(dict.fromkeys(prompt.object_id for prompt in prompts)) == ["a", "b", "e", "c", "d"]


@pytest.mark.parametrize("in_json", range(4))
def test_it_does_not_matter_which_field_says_something(in_json: int) -> None:
    """Clicks of one object that follow those of the other fields may as well be JSON."""
    clicks = [(1, 1, 0), (2, 0, 0), (3, 1, 6), (4, 0, 9)]
    texts, entries = clicks[: 4 - in_json], clicks[4 - in_json :]
    prompts = build_from(
        VIDEO,
        click_coordinates=along_x(*(x for x, _, _ in texts)),
        click_labels=",".join(str(label) for _, label, _ in texts),
        click_frames=",".join(str(frame) for _, _, frame in texts),
        click_object_ids="a",
        prompts=json.dumps(
            [
                {"x": x, "y": 100, "label": label, "frame_index": frame, "object_id": "a"}
                for x, label, frame in entries
            ]
        ),
    )
    assert short(prompts) == ["a@0 +1 -2", "a@6 +3", "a@9 -4"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_order_of_boxes_does_not_change_their_objects(order: tuple[int, ...]) -> None:
    boxes = [("[1,2,3,4]", "0", "a"), ("[5,6,7,8]", "3", "a"), ("[9,9,10,10]", "3", "b")]
    coordinates, frames, ids = zip(*(boxes[i] for i in order), strict=True)
    prompts = build_from(
        VIDEO,
        box_coordinates=",".join(coordinates),
        box_frames=",".join(frames),
        box_object_ids=",".join(ids),
    )
    assert sorted(short(prompts)) == ["a@0 [1:3]", "a@3 [5:7]", "b@3 [9:10]"]


def test_a_mask_is_kept_as_it_is(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((720, 1280)) > 0.5
    (prompt,) = build_from(VIDEO, mask_prompts=write_masks(tmp_path, "0_a", mask=mask))
    assert prompt.mask is not None
    assert np.array_equal(prompt.mask, mask)
    assert prompt.is_positive


def test_any_frame_of_a_still_image_is_its_one_frame_for_all_kinds(tmp_path: Path) -> None:
    prompts = build_from(
        STILL,
        click_coordinates="[1,2]",
        click_frames="3",
        click_object_ids="a",
        box_coordinates="[1,2,3,4]",
        box_frames="5",
        box_object_ids="a",
        mask_prompts=write_masks(tmp_path, "7_b"),
        prompts='[{"x": 1, "y": 2, "object_id": "c", "frame_index": 11}]',
    )
    assert short(prompts) == ["a@0 +1 [1:3]", "b@0 mask", "c@0 +1"]


def test_a_box_that_reaches_beyond_the_picture_is_clipped_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        prompts = build_from(
            VIDEO, box_coordinates="[0,0,1280,720],[-5,1,9.5,4],[1270,700,1e300,720.5]"
        )
    assert [prompt.box for prompt in prompts] == [
        Box(0, 0, 1280, 720),
        Box(0, 1, 9.5, 4),
        Box(1270, 700, 1280, 720),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        "clipping 2 boxes that reach beyond the picture, the first being box_coordinates[1]"
    ]


ORDER = "expected [x0, y0, x1, y1] with x0 < x1 and y0 < y1"
PICTURE = "expected a box on the 1280x720 picture"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"box_coordinates": "1,2,3,4,5,6,5,9"}, f"box_coordinates[1] is [5, 6, 5, 9]; {ORDER}"),
        ({"box_coordinates": "5,6,7,2"}, f"box_coordinates[0] is [5, 6, 7, 2]; {ORDER}"),
        (
            {"box_coordinates": "1280,0,1300,9"},
            f"box_coordinates[0] is [1280, 0, 1300, 9]; {PICTURE}",
        ),
        ({"box_coordinates": "0,-9,5,0"}, f"box_coordinates[0] is [0, -9, 5, 0]; {PICTURE}"),
        ({"prompts": '[{"box":[3,2,1,4]}]'}, f"prompts[0].box is [3, 2, 1, 4]; {ORDER}"),
        (
            {"prompts": '[{"x_min":-3,"y_min":2,"x_max":-1.5,"y_max":4}]'},
            f"prompts[0] is [-3, 2, -1.5, 4]; {PICTURE}",
        ),
        (
            {"prompts": '[{"x":1,"y":1},{"points":[[1,2],[1280,2]]}]'},
            "prompts[1].points[1] is [1280, 2]; expected a point inside the 1280x720 picture",
        ),
        (
            {"prompts": '[{"x":1,"y":-1}]'},
            "prompts[0] is [1, -1]; expected a point inside the 1280x720 picture",
        ),
    ],
)
@pytest.mark.parametrize("source", [VIDEO, STILL], ids=["video", "still"])
def test_a_value_that_does_not_fit_the_picture_fails(
    fields: dict[str, str], message: str, source: FrameSource
) -> None:
    with pytest.raises(PromptError) as caught:
        build_from(source, **fields)
    assert str(caught.value) == message


@SOURCES
@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"box_coordinates": "1,2,3,4 5,6,7,8", "box_frames": "0,99"}, "box_frames[1]"),
        ({"prompts": '[{"x":1,"y":2,"frame_index":99}]'}, "prompts[0].frame_index"),
        ({"mask_prompts": "99_a"}, "mask_prompts['99_a.npy']"),
    ],
    ids=["box", "JSON", "mask"],
)
def test_a_frame_past_the_last_one_fails_wherever_it_stands(
    source: FrameSource, fields: dict[str, Any], place: str, tmp_path: Path
) -> None:
    if "mask_prompts" in fields:
        fields = {"mask_prompts": write_masks(tmp_path, fields["mask_prompts"])}
    with pytest.raises(PromptError) as caught:
        build_from(source, **fields)
    assert str(caught.value) == f"{place} is 99; expected a frame from 0 to 73"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"box_coordinates": "1,2,3,4 5,6,7,8", "box_object_ids": "a"},
            "box_coordinates[1] is a box for 'a' on frame 0, as box_coordinates[0] is;"
            " expected only one",
            id="two boxes",
        ),
        pytest.param(
            {
                "box_coordinates": "1,2,3,4",
                "box_object_ids": "1",
                "box_frames": "5",
                "prompts": '[{"box":[1,2,3,4],"frame_index":5}]',
            },
            "prompts[0].box is a box for '1' on frame 5, as box_coordinates[0] is;"
            " expected only one",
            id="a box in two fields",
        ),
        pytest.param(
            {"prompts": '[{"box":[1,2,3,4],"x_min":1,"y_min":2,"x_max":3,"y_max":4}]'},
            "prompts[0] is a box for '1' on frame 0, as prompts[0].box is; expected only one",
            id="two boxes of one entry",
        ),
        pytest.param(
            {"masks": ("0_a", "00_a")},
            "mask_prompts['0_a.npy'] is a mask for 'a' on frame 0, as mask_prompts['00_a.npy'] is;"
            " expected only one",
            id="two masks",
        ),
        pytest.param(
            {"masks": ("0_a",), "click_coordinates": "[1,2]", "click_object_ids": "a"},
            "mask_prompts['0_a.npy'] is a mask for 'a' on frame 0, and click_coordinates[0] is"
            " for it too; expected a mask alone, or clicks and a box",
            id="mask and click",
        ),
        pytest.param(
            {"masks": ("3_1",), "prompts": '[{"box":[1,2,3,4],"frame_index":3}]'},
            "mask_prompts['3_1.npy'] is a mask for '1' on frame 3, and prompts[0].box is"
            " for it too; expected a mask alone, or clicks and a box",
            id="mask and box",
        ),
        pytest.param(
            {"masks": ("0_a",), "click_coordinates": "[1,2]", "click_labels": "0"},
            "mask_prompts['0_a.npy'] is a mask for 'a' on frame 0, and click_coordinates[0] is"
            " for it too; expected a mask alone, or clicks and a box",
            id="mask and a negative click without a name",
        ),
        pytest.param(
            {"masks": ("0_a",), "prompts": '[{"x":1,"y":2,"label":0,"object_id":"background"}]'},
            "mask_prompts['0_a.npy'] is a mask for 'a' on frame 0, and prompts[0] is"
            " for it too; expected a mask alone, or clicks and a box",
            id="mask and background",
        ),
        pytest.param(
            {"prompts": '[{"x":1,"y":2,"label":0}]'},
            "the label in prompts is 0 for every click; expected a 1 (foreground) among them",
            id="nothing positive in JSON",
        ),
    ],
)
def test_prompts_that_cannot_be_joined_fail(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fields = dict(fields)
    if "masks" in fields:
        fields["mask_prompts"] = write_masks(tmp_path, *fields.pop("masks"))
    with pytest.raises(PromptError) as caught:
        build_from(VIDEO, **fields)
    assert str(caught.value) == message


def test_two_masks_that_a_still_image_brings_together_fail(tmp_path: Path) -> None:
    with pytest.raises(
        PromptError, match=r"^mask_prompts\['7_a.npy'\] is a mask for 'a' on frame 0"
    ):
        build_from(STILL, mask_prompts=write_masks(tmp_path, "0_a", "7_a"))


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        (
            {"click_coordinates": "1,2," * MAX_PROMPTS.default},
            {"x": 1, "y": 2},
            "prompts and click_coordinates together hold 10001 clicks;"
            " expected at most 10000 (SAM_VIDEO_MAX_PROMPTS)",
        ),
        (
            {"box_coordinates": "1,2,3,4," * MAX_PROMPTS.default},
            {"box": [1, 2, 3, 4]},
            "prompts and box_coordinates together hold 10001 boxes;"
            " expected at most 10000 (SAM_VIDEO_MAX_PROMPTS)",
        ),
    ],
    ids=["clicks", "boxes"],
)
def test_fields_that_together_hold_more_than_allowed_fail(
    text: dict[str, str], entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(PromptError) as caught:
        build_from(VIDEO, **text, prompts=json.dumps([entry]))
    assert str(caught.value) == message


def test_fractions_for_coordinates_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        build_from(VIDEO, click_coordinates="[0.4,0.7],[1,0]", box_coordinates="[0,0,0.5,1]")
    assert [record.getMessage() for record in caplog.records] == [
        "all coordinates are between 0 and 1; expected pixels, and they are taken as pixels,"
        " not as fractions of the picture"
    ]


def test_boxes_of_fal_without_names_are_objects_of_their_own() -> None:
    box = {"x_min": 10, "y_min": 20, "x_max": 30, "y_max": 40, "frame_index": 0}
    prompts = build_from(VIDEO, prompts=json.dumps([box, box | {"x_max": 50}]))
    assert short(prompts) == ["1@0 [10:30]", "2@0 [10:50]"]
