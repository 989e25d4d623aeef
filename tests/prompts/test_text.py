"""Texts of any form become the same prompts, unreadable ones a message that quotes them."""

import logging

import pytest

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.prompts.stated import TEXT_LENGTH_PER_PROMPT, StatedPrompt
from sam_video.prompts.text import parse_boxes, parse_clicks
from sam_video.types import Box, Click

MAX_TEXT_LENGTH = MAX_PROMPTS.default * TEXT_LENGTH_PER_PROMPT

FOUR_POINTS = "[1,1],[2,2],[3,3],[4,4]"


def parse(
    coordinates: str, *, labels: str = "1", frames: str = "0", ids: str = ""
) -> tuple[StatedPrompt, ...]:
    return parse_clicks(
        click_coordinates=coordinates,
        click_labels=labels,
        click_frames=frames,
        click_object_ids=ids,
    )


def clicks(prompts: tuple[StatedPrompt, ...]) -> list[Click]:
    return [prompt.value for prompt in prompts if isinstance(prompt.value, Click)]


def points(coordinates: str) -> list[tuple[float, float]]:
    return [(click.x, click.y) for click in clicks(parse(coordinates))]


def parse_box_texts(
    coordinates: str, *, frames: str = "0", ids: str = ""
) -> tuple[StatedPrompt, ...]:
    return parse_boxes(box_coordinates=coordinates, box_frames=frames, box_object_ids=ids)


def boxes(coordinates: str) -> list[Box]:
    return [p.value for p in parse_box_texts(coordinates) if isinstance(p.value, Box)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[1,2],[3,4]", id="plain"),
        pytest.param("[[1,2],[3,4]]", id="JSON list of lists"),
        pytest.param("[[1, 2], [3, 4]]", id="Python list of lists"),
        pytest.param("[1, 2], [3, 4]", id="Python list without its brackets"),
        pytest.param("[1,2] , [3,4]", id="space before the comma"),
        pytest.param("[1,2],\n[3,4]", id="line break"),
        pytest.param("\t[1,\u00a02]\r\n,\u3000[3,4]\n", id="any white space"),
        pytest.param("(1,2),(3,4)", id="tuples"),
        pytest.param("[(1, 2), (3, 4)]", id="list of tuples"),
        pytest.param("1,2,3,4", id="bare numbers"),
        pytest.param("[1,2,3,4]", id="flat list"),
        pytest.param("1,2 3,4", id="pairs with spaces between"),
        pytest.param("1 2 3 4", id="spaces only"),
        pytest.param("1 2\n3 4", id="a pair a line"),
        pytest.param("1,2;3,4", id="semicolon"),
        pytest.param("[1,2],[3,4],", id="trailing comma"),
        pytest.param("[[1,2,],[3,4,],]", id="trailing commas inside"),
        pytest.param("[1,2],[3,4", id="missing last bracket"),
        pytest.param("1,2],[3,4]", id="missing first bracket"),
        pytest.param("[1,2][3,4]", id="missing comma"),
        pytest.param("[[[1,2],[3,4]]]", id="nested once more"),
        pytest.param('[{"x":1,"y":2},{"x":3,"y":4}]', id="JSON objects"),
        pytest.param('[{"y":2,"x":1},{"x":3,"y":4}]', id="JSON objects in any key order"),
        pytest.param('{"x": 1, "y": 2}, {"X": 3, "Y": 4}', id="objects without a list"),
        pytest.param("[{'x': 1, 'y': 2}, {'x': 3, 'y': 4}]", id="Python dicts"),
        pytest.param('[{\\"x\\":1,\\"y\\":2},[3,4]]', id="escaped quotes"),
        pytest.param("{x: 1, y: 2}, {x: 3, y: 4}", id="keys without quotes"),
        pytest.param("x=1 y=2, x=3 y=4", id="equals signs"),
        pytest.param("'[1,2],[3,4]'", id="quotes around all"),
        pytest.param('["1","2"],["3","4"]', id="quoted numbers"),
        pytest.param("1e0,2E+0,30e-1,.4e1", id="exponents"),
        pytest.param("+1,2.,3.0,04", id="signs and points"),
        pytest.param("[(np.int64(1), np.float64(2.0)), (np.int64(3), 4)]", id="NumPy scalars"),
        pytest.param("[Point(x=1, y=2), Point(x=3, y=4)]", id="named tuples"),
        pytest.param(
            "\uff3b\uff11\uff0c\uff12\uff3d\uff0c\uff3b\uff13\uff0c\uff14\uff3d", id="full width"
        ),
        pytest.param("\u30101\u30012\u3011\u3001\u30143\uff644\u3015", id="Chinese and Japanese"),
        pytest.param("[\u0661\u060c\u0662]\u061b[\u06f3,\u06f4]", id="Arabic and Persian"),
        pytest.param("[\u0661\u066b\u0660,2],[3,4]", id="Arabic decimal separator"),
        pytest.param("[\u0967,\u09e8],[\u0e53,4]", id="Hindi, Bengali and Thai digits"),
        pytest.param("\u201c[1,2],[3,4]\u201d", id="typographic quotes"),
    ],
)
def test_two_points_are_read_however_they_are_written(text: str) -> None:
    assert points(text) == [(1, 2), (3, 4)]


@pytest.mark.parametrize("text", ["1,2", "[1,2]", "[[1,2]]", " [1, 2] ", '[{"x":1,"y":2}]'])
def test_a_single_point_is_read(text: str) -> None:
    assert points(text) == [(1, 2)]


def test_floats_and_signs_are_kept() -> None:
    assert points("[10.5,20.4],[-3,1e-3]") == [(10.5, 20.4), (-3, 0.001)]


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_blank_coordinates_are_no_clicks(text: str) -> None:
    assert parse(text, labels="1,0,7", frames="x", ids="a,b") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("[]", "it holds no number", id="empty list"),
        pytest.param(",,;", "it holds no number", id="separators only"),
        pytest.param("x:", "it holds no number", id="key only"),
        pytest.param("[1,2,3]", "it holds an odd count of numbers, 3", id="odd count"),
        pytest.param("7", "it holds an odd count of numbers, 1", id="one number"),
        pytest.param("[NaN,1]", "'NaN' is not a finite number", id="NaN"),
        pytest.param("[1,-nan]", "'-nan' is not a finite number", id="signed nan"),
        pytest.param("[Infinity,1]", "'Infinity' is not a finite number", id="Infinity"),
        pytest.param("[1,-inf]", "'-inf' is not a finite number", id="negative inf"),
        pytest.param("[1e999,1]", "'1e999' is not a finite number", id="overflow"),
        pytest.param("[-1e999,1]", "'-1e999' is not a finite number", id="negative overflow"),
        pytest.param("[np.float64(nan),1]", "'nan' is not a finite number", id="NumPy nan"),
        pytest.param("[1,null]", "'null' is not a finite number", id="null"),
        pytest.param("[1,2],[foo,bar]", "'foo' is not a finite number", id="words"),
        pytest.param("[100px,200px]", "'100px' is not a finite number", id="units"),
        pytest.param("[320x240]", "'320x240' is not a finite number", id="size"),
        pytest.param("[1.2.3,4]", "'1.2.3' is not a finite number", id="two points"),
        pytest.param("[1-2]", "'1-2' is not a finite number", id="range"),
        pytest.param("[1_0,2]", "'1_0' is not a finite number", id="underscore"),
        pytest.param("[0x10,2]", "'0x10' is not a finite number", id="hexadecimal"),
        pytest.param("[1\u00b2,2]", "'1\u00b2' is not a finite number", id="superscript"),
        pytest.param(
            "[\u0661\u066c\u0662,2]",
            "'1\u066c2' is not a finite number",
            id="Arabic thousands separator",
        ),
        pytest.param("[\u22125,2]", "'\u22125' is not a finite number", id="typographic minus"),
        pytest.param('{"x":1,"y":2,"label":0}', "'label' is not a finite", id="another key"),
        pytest.param('{"1":[10,20]}', "':' is not a finite number", id="numbers as keys"),
        pytest.param('{"points":[[1,2]]}', "'points' is not a finite number", id="key of a list"),
        pytest.param('{"x":1,"x":2}', "point 0 has not one x and one y", id="x twice"),
        pytest.param('[5,6],{"x":1},{"x":2}', "point 1 has not one x and one y", id="y missing"),
        pytest.param('{"x":[1,3],"y":[2,4]}', "point 0 has not one x and one y", id="columns"),
    ],
)
def test_text_that_is_no_list_of_points_fails(text: str, reason: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse(text)
    message = str(caught.value)
    assert message.startswith(f"click_coordinates is {text!r}: {reason}")
    assert message.endswith("; expected points in pixels, such as [391,239],[178,320]")


@pytest.mark.parametrize("text", ["[1,\n2,\u2028\r\x00\x1b[31m", "[1,foo\x85" * 50_000])
def test_the_message_is_one_short_line_when_an_odd_text_fails(text: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


def test_as_many_clicks_as_allowed_are_read() -> None:
    assert len(parse("[1,2]," * MAX_PROMPTS.default)) == MAX_PROMPTS.default


def test_one_click_more_than_allowed_fails() -> None:
    with pytest.raises(
        PromptError, match=r"holds more clicks than 10000 \(SAM_VIDEO_MAX_PROMPTS\);"
    ):
        parse("[1,2]," * (MAX_PROMPTS.default + 1))


@pytest.mark.parametrize("field", ["coordinates", "labels", "frames", "ids"])
def test_a_text_beyond_the_limit_fails(field: str) -> None:
    texts = {"coordinates": "1,2", field: "1" * (MAX_TEXT_LENGTH + 1)}
    message = rf"^click_\w*{field} is '1+…' and 1000001 characters long; expected at most 1000000,"
    with pytest.raises(PromptError, match=message):
        parse(**texts)


@pytest.mark.parametrize("unit", ["1", "x:", "a(", "nan(", " ", "[", "1e", "1.", "-", "\\"])
def test_the_longest_hostile_text_fails(unit: str) -> None:
    with pytest.raises(PromptError, match=r"^click_coordinates is '"):
        parse((unit * MAX_TEXT_LENGTH)[: MAX_TEXT_LENGTH - 1] + "z")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param("1,0,0,1", [1, 0, 0, 1], id="one per click"),
        pytest.param("1, 0 ,0,\n1", [1, 0, 0, 1], id="white space"),
        pytest.param("[1,0,0,1]", [1, 0, 0, 1], id="brackets"),
        pytest.param("[[1],[0],[0],[1]]", [1, 0, 0, 1], id="nested brackets"),
        pytest.param("1 0 0 1", [1, 0, 0, 1], id="spaces only"),
        pytest.param('["1","0","0","1"]', [1, 0, 0, 1], id="quotes"),
        pytest.param("1.0,0.0,0.,1", [1, 0, 0, 1], id="floats"),
        pytest.param("1,0,", [1, 0, 0, 0], id="trailing comma"),
        pytest.param("[1,0,]", [1, 0, 0, 0], id="trailing comma in brackets"),
        pytest.param("1,0", [1, 0, 0, 0], id="the last one repeats"),
        pytest.param("0", [0, 0, 0, 0], id="one for all"),
        pytest.param("", [1, 1, 1, 1], id="empty"),
        pytest.param(" \n", [1, 1, 1, 1], id="blank"),
        pytest.param("[]", [1, 1, 1, 1], id="empty list"),
        pytest.param(
            "\uff3b\uff11\uff0c\u0660\uff0c\uff10\uff0c\uff11\uff3d",
            [1, 0, 0, 1],
            id="other scripts",
        ),
        pytest.param("1,1,0,1,1,1", [1, 1, 0, 1], id="surplus"),
        pytest.param("1,1,0,1,9,x", [1, 1, 0, 1], id="surplus that is not read"),
    ],
)
def test_each_click_gets_a_label(labels: str, expected: list[int]) -> None:
    assert [click.label for click in clicks(parse(FOUR_POINTS, labels=labels))] == expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("1,0,3", "click_labels[2] is 3"),
        ("2", "click_labels[0] is 2"),
        ("1,-1", "click_labels[1] is -1"),
        ("0.5", "click_labels[0] is 0.5"),
        ("1,foreground", "click_labels[1] is 'foreground'"),
        ("1,,0", "click_labels[1] is ''"),
        ("1,0,,", "click_labels[2] is ''"),
        ("true", "click_labels[0] is 'true'"),
        ("nan", "click_labels[0] is 'nan'"),
        ("1" * 9999, f"click_labels[0] is '{'1' * 79}…'"),
    ],
)
def test_a_label_that_is_neither_1_nor_0_fails(labels: str, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse(FOUR_POINTS, labels=labels)
    assert str(caught.value) == f"{message}; expected 1 (foreground) or 0 (background)"


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        pytest.param("", [0, 0, 0, 0], id="empty"),
        pytest.param("0, 30", [0, 30, 30, 30], id="the last one repeats"),
        pytest.param("[5,1,2,9]", [5, 1, 2, 9], id="brackets"),
        pytest.param("10.0,+3,", [10, 3, 3, 3], id="float, sign, trailing comma"),
        pytest.param("\uff15\u3001\u0661\u060c\u0968", [5, 1, 2, 2], id="other scripts"),
        pytest.param("1,15,30,45,60", [1, 15, 30, 45], id="surplus"),
    ],
)
def test_each_click_gets_a_frame(frames: str, expected: list[int]) -> None:
    assert [prompt.frame_index for prompt in parse(FOUR_POINTS, frames=frames)] == expected


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ("-1", "click_frames[0] is -1"),
        ("0,1.5", "click_frames[1] is 1.5"),
        ("first", "click_frames[0] is 'first'"),
        ("0,1,inf", "click_frames[2] is 'inf'"),
        ("9" * 16, f"click_frames[0] is {'9' * 16}"),
        ("9" * 5000, f"click_frames[0] is '{'9' * 79}…'"),
    ],
)
def test_a_frame_that_is_no_whole_number_fails(frames: str, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse(FOUR_POINTS, frames=frames)
    assert str(caught.value) == f"{message}; expected a whole number from 0 up"


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        pytest.param("", [None] * 4, id="empty names nothing"),
        pytest.param(" \t", [None] * 4, id="blank names nothing"),
        pytest.param("a", ["a"] * 4, id="one for all"),
        pytest.param("a,a,b,b", ["a", "a", "b", "b"], id="one per click"),
        pytest.param(" a , a,b ,b ", ["a", "a", "b", "b"], id="spaces around"),
        pytest.param("a,b,c,d,e,f", ["a", "b", "c", "d"], id="surplus"),
        pytest.param("a,,b,", ["a", "", "b", ""], id="nothing between commas is a name"),
        pytest.param(",", ["", "", "", ""], id="a comma alone"),
        pytest.param("0,1", ["0", "1", "1", "1"], id="numbers are names"),
        pytest.param('["a","a","b", "b"]', ["a", "a", "b", "b"], id="JSON list"),
        pytest.param("[a,a,b ,b]", ["a", "a", "b", "b"], id="list without quotes"),
        pytest.param("['a', 'a', 'b', b]", ["a", "a", "b", "b"], id="Python list"),
        pytest.param("[a,a,b,b,]", ["a", "a", "b", "b"], id="trailing comma in brackets"),
        pytest.param(' ["a"] ', ["a"] * 4, id="one in brackets"),
        pytest.param("[1, 2.50]", ["1", "2.50", "2.50", "2.50"], id="numbers in brackets"),
        pytest.param('["a, b", "\\u72d7"]', ["a, b", "狗", "狗", "狗"], id="comma, escape in JSON"),
        pytest.param("['a, b', c d]", ["a, b", "c d", "c d", "c d"], id="comma in a Python list"),
        pytest.param("['it's', '']", ["'it's'", "", "", ""], id="quote within a name"),
        pytest.param("[]", [None] * 4, id="empty list names nothing"),
        pytest.param("[,]", [""] * 4, id="a comma in brackets"),
        pytest.param("[true,null]", ["true", "null", "null", "null"], id="words of JSON"),
        pytest.param("a [1],b [2]", ["a [1]", "b [2]", "b [2]", "b [2]"], id="brackets in names"),
        pytest.param("[1] a,b [2]", ["[1] a", "b [2]", "b [2]", "b [2]"], id="no list"),
        pytest.param(
            "[a [1],b [2]]", ["a [1]", "b [2]", "b [2]", "b [2]"], id="brackets in a list"
        ),
        pytest.param('"a",b', ['"a"', "b", "b", "b"], id="quotes without brackets"),
        pytest.param("\uff11,\u3001", ["\uff11"] + ["\u3001"] * 3, id="names of any script"),
        pytest.param(
            "left hand,Löffel 🥄",
            ["left hand", "Löffel 🥄", "Löffel 🥄", "Löffel 🥄"],
            id="any text",
        ),
    ],
)
def test_each_click_gets_a_name(ids: str, expected: list[str | None]) -> None:
    assert [prompt.object_id for prompt in parse(FOUR_POINTS, ids=ids)] == expected


@pytest.mark.parametrize("unit", ["[", "[]", "'", '"', "',", "[,", "\\"])
def test_the_longest_hostile_names_are_names(unit: str) -> None:
    text = (unit * MAX_TEXT_LENGTH)[: MAX_TEXT_LENGTH - 2]
    assert len(parse(FOUR_POINTS, ids=f"[{text}]")) == 4


def test_clicks_and_boxes_know_their_place() -> None:
    *_, click = parse(FOUR_POINTS)
    *_, box = parse_box_texts("1,2,3,4 5,6,7,8")
    assert (click.place, click.frame_place) == ("click_coordinates[3]", "click_frames[3]")
    assert (box.place, box.frame_place) == ("box_coordinates[1]", "box_frames[1]")


def test_surplus_values_are_logged_once_per_field(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parse("[1,2],[3,4]", labels="1,1,1", frames="1,15,30,45", ids="a,b,c")
    assert [record.getMessage() for record in caplog.records] == [
        "click_labels has 3 values for 2 clicks; the surplus is ignored",
        "click_frames has 4 values for 2 clicks; the surplus is ignored",
        "click_object_ids has 3 values for 2 clicks; the surplus is ignored",
    ]


def test_values_that_fit_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parse("[1,2],[3,4]", labels="1", frames="0,1", ids="a")
    assert caplog.records == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[1,2,3,4],[5,6,7,8]", id="plain"),
        pytest.param("[[1,2,3,4],[5,6,7,8]]", id="JSON list of lists"),
        pytest.param("[[1, 2], [3, 4]], [[5, 6], [7, 8]]", id="corners"),
        pytest.param("(1,2,3,4) (5,6,7,8),", id="tuples and a trailing comma"),
        pytest.param("1,2,3,4,5,6,7,8", id="bare numbers"),
        pytest.param("1 2 3 4\n5 6 7 8", id="a box a line"),
        pytest.param("[1.0,2e0,3,+4],[5.,6,7,8", id="floats and a missing bracket"),
        pytest.param("[array([1., 2., 3., 4.]), np.array([5, 6, 7, 8])]", id="NumPy"),
        pytest.param('[{"x0":1,"y0":2,"x1":3,"y1":4},{"x0":5,"y0":6,"x1":7,"y1":8}]', id="objects"),
        pytest.param('[{"x1":3,"y1":4,"x0":1,"y0":2},[5,6,7,8]]', id="keys in any order"),
        pytest.param(
            "{'x_min': 1, 'y_min': 2, 'x_max': 3, 'y_max': 4} {X_MIN=5 Y_MIN=6 X_MAX=7 Y_MAX=8}",
            id="min and max",
        ),
    ],
)
def test_two_boxes_are_read_however_they_are_written(text: str) -> None:
    assert boxes(text) == [Box(1, 2, 3, 4), Box(5, 6, 7, 8)]


def test_blank_box_coordinates_are_no_boxes() -> None:
    assert parse_box_texts(" \n", frames="x", ids="a") == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("[]", "it holds no number", id="empty list"),
        pytest.param(
            "[1,2,3]", "it holds a count of numbers that 4 does not divide, 3", id="three numbers"
        ),
        pytest.param(
            "[1,2,3,4],[5,6]", "it holds a count of numbers that 4 does not divide, 6", id="a point"
        ),
        pytest.param("[1,2,3,NaN]", "'NaN' is not a finite number", id="NaN"),
        pytest.param("[1,2,3,1e999]", "'1e999' is not a finite number", id="overflow"),
        pytest.param('{"x":1,"y":2,"w":3,"h":4}', "'x' is not a finite number", id="x and y"),
        pytest.param(
            '{"x0":1,"y0":2,"x1":3,"x1":4}',
            "box 0 has not one each of x0, y0, x1 and y1",
            id="x1 twice",
        ),
        pytest.param(
            '[1,2,3,4],{"x0":1,"y0":2,"x1":3},4',
            "box 1 has not one each of x0, y0, x1 and y1",
            id="y1 missing",
        ),
        pytest.param(
            "[1,2,3,4]," * (MAX_PROMPTS.default + 1),
            "it holds more boxes than 10000 (SAM_VIDEO_MAX_PROMPTS)",
            id="many",
        ),
    ],
)
def test_text_that_is_no_list_of_boxes_fails(text: str, reason: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse_box_texts(text)
    shown = text if len(text) <= 80 else text[:79] + "…"
    assert str(caught.value) == (
        f"box_coordinates is {shown!r}: {reason};"
        " expected boxes in pixels as [x0,y0,x1,y1], such as [300,90,420,330]"
    )


@pytest.mark.parametrize("unit", ["x0", "x_min:", "x_", "y1 ", "x0\\", "1", "a("])
def test_the_longest_hostile_text_of_boxes_fails(unit: str) -> None:
    with pytest.raises(PromptError, match=r"^box_coordinates is [\'\"]"):
        parse_box_texts((unit * MAX_TEXT_LENGTH)[: MAX_TEXT_LENGTH - 1] + "z")


@pytest.mark.parametrize("field", ["coordinates", "frames", "ids"])
def test_a_text_of_boxes_beyond_the_limit_fails(field: str) -> None:
    texts = {"coordinates": "1,2,3,4", field: "1" * (MAX_TEXT_LENGTH + 1)}
    message = rf"^box_\w*{field} is '1+…' and 1000001 characters long; expected at most 1000000,"
    with pytest.raises(PromptError, match=message):
        parse_box_texts(**texts)


def test_frames_and_names_of_boxes_repeat_their_last_value() -> None:
    prompts = parse_box_texts("1,2,3,4 " * 3, frames="5, 9", ids=" left hand ,dog")
    assert [p.frame_index for p in prompts] == [5, 9, 9]
    assert [p.object_id for p in prompts] == ["left hand", "dog", "dog"]


def test_a_frame_of_a_box_that_is_no_whole_number_fails() -> None:
    expected = r"^box_frames\[1\] is -1; expected a whole number from 0 up$"
    with pytest.raises(PromptError, match=expected):
        parse_box_texts("1,2,3,4 5,6,7,8", frames="0,-1")


def test_surplus_values_for_boxes_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parse_box_texts("1,2,3,4", frames="1,15", ids="a,b")
    assert [record.getMessage() for record in caplog.records] == [
        "box_frames has 2 values for 1 boxes; the surplus is ignored",
        "box_object_ids has 2 values for 1 boxes; the surplus is ignored",
    ]
