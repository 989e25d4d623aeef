"""JSON prompts in any published form are read, and every mistake is told by its place."""

import json
import logging
from typing import Any

import pytest

from sam_video.errors import PromptError
from sam_video.limits import MAX_PROMPTS
from sam_video.prompts.json_list import parse_prompts, parse_words
from sam_video.prompts.stated import TEXT_LENGTH_PER_PROMPT
from sam_video.types import Box, Click

KEYS = (
    "frame_index, object_id, points, labels, box, x, y, label, x_min, y_min, x_max, y_max, text,"
    " prompt"
)
POINT = {"x": 1, "y": 2}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param(
            {"frame_index": 0, "object_id": 1, "points": [[244.22, 667.2]], "labels": [1]},
            [("1", 0, Click(244.22, 667.2, 1), "prompts[0].points[0]")],
            id="points",
        ),
        pytest.param(
            {
                "frame_index": 9,
                "object_id": "dog",
                "points": [[1, 2], [3, 4]],
                "labels": [1, 0],
                "box": [5, 6, 7.5, 8],
            },
            [
                ("dog", 9, Click(1, 2, 1), "prompts[0].points[0]"),
                ("dog", 9, Click(3, 4, 0), "prompts[0].points[1]"),
                ("dog", 9, Box(5, 6, 7.5, 8), "prompts[0].box"),
            ],
            id="points and a box",
        ),
        pytest.param(
            {"label": 0, "x": 210, "y": 350, "frame_index": 3, "object_id": 2},
            [("2", 3, Click(210, 350, 0), "prompts[0]")],
            id="x and y",
        ),
        pytest.param(
            {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4, "frame_index": 5, "object_id": 6},
            [("6", 5, Box(1, 2, 3, 4), "prompts[0]")],
            id="x_min to y_max",
        ),
        pytest.param(
            {"box": [1, 2, 3, 4]}, [("1", 0, Box(1, 2, 3, 4), "prompts[0].box")], id="box"
        ),
        pytest.param(POINT, [("1", 0, Click(1, 2, 1), "prompts[0]")], id="nothing but a point"),
        pytest.param(
            {"points": [], "labels": [], "box": [1, 2, 3, 4]},
            [("1", 0, Box(1, 2, 3, 4), "prompts[0].box")],
            id="a box and no points",
        ),
        pytest.param(
            POINT | {"points": [[3, 4]], "label": 0},
            [
                ("1", 0, Click(3, 4, 1), "prompts[0].points[0]"),
                ("1", 0, Click(1, 2, 0), "prompts[0]"),
            ],
            id="both forms of points",
        ),
    ],
)
def test_each_published_form_is_read(
    entry: dict[str, Any], expected: list[tuple[str, int, Click | Box, str]]
) -> None:
    prompts = parse_prompts(json.dumps([entry]))
    assert [(p.object_id, p.frame_index, p.value, p.place) for p in prompts] == expected
    assert {p.frame_place for p in prompts} == {"prompts[0].frame_index"}


def test_entries_of_all_forms_come_in_their_order() -> None:
    prompts = parse_prompts(
        json.dumps([{"box": [1, 2, 3, 4]}, POINT, {"points": [[5, 6], [7, 8]], "object_id": "b"}])
    )
    assert [p.place for p in prompts] == [
        "prompts[0].box",
        "prompts[1]",
        "prompts[2].points[0]",
        "prompts[2].points[1]",
    ]


def test_entries_without_a_name_are_one_object() -> None:
    text = (
        '[{"label":1,"x":210,"y":350,"frame_index":0},{"label":1,"x":250,"y":220,"frame_index":0}]'
    )
    assert [p.object_id for p in parse_prompts(text)] == ["1", "1"]


FAL_BOX = {"x_min": 1, "y_min": 2, "x_max": 3, "y_max": 4}


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param([FAL_BOX, FAL_BOX], ["1", "2"], id="boxes"),
        pytest.param([FAL_BOX, FAL_BOX | {"frame_index": 3}], ["1", "2"], id="frames"),
        pytest.param([{"box": [1, 2, 3, 4]}, FAL_BOX], ["1", "2"], id="forms"),
        pytest.param([FAL_BOX, POINT], ["1", "1"], id="one box and a point"),
        pytest.param([FAL_BOX, POINT, FAL_BOX], ["2", "1", "3"], id="boxes and a point"),
        pytest.param(
            [FAL_BOX, FAL_BOX | {"object_id": 2}, FAL_BOX], ["1", "2", "3"], id="a number in use"
        ),
        pytest.param([FAL_BOX | {"object_id": 1}] * 2, ["1", "1"], id="with names"),
        pytest.param(
            [{"box": [1, 2, 3, 4], "points": [[2, 3]]}, FAL_BOX], ["1", "1", "2"], id="with points"
        ),
    ],
)
def test_several_boxes_without_a_name_are_objects_of_their_own(
    entries: list[dict[str, Any]], expected: list[str]
) -> None:
    assert [p.object_id for p in parse_prompts(json.dumps(entries))] == expected


@pytest.mark.parametrize("text", ["", " \n", "[]", " [ ] "])
def test_nothing_is_no_prompts(text: str) -> None:
    assert parse_prompts(text) == ()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        pytest.param({}, [1, 1, 1], id="missing"),
        pytest.param({"labels": []}, [1, 1, 1], id="empty"),
        pytest.param({"labels": [1, 0]}, [1, 0, 0], id="the last one repeats"),
        pytest.param({"labels": [1.0, 0.0, 1]}, [1, 0, 1], id="floats"),
        pytest.param({"labels": [0, 1, 0, 7]}, [0, 1, 0], id="surplus that is not read"),
    ],
)
def test_each_point_gets_a_label(labels: dict[str, Any], expected: list[int]) -> None:
    prompts = parse_prompts(json.dumps([{"points": [[1, 2]] * 3} | labels]))
    assert [p.value.label for p in prompts if isinstance(p.value, Click)] == expected


def test_surplus_labels_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        parse_prompts('[{"points": [[1, 2]], "labels": [1, 0]}]')
    assert [record.getMessage() for record in caplog.records] == [
        "prompts[0].labels has 2 values for 1 points; the surplus is ignored"
    ]


@pytest.mark.parametrize(
    ("object_id", "name"),
    [
        ("dog", "dog"),
        (" left hand ", "left hand"),
        ("", ""),
        (0, "0"),
        (-3, "-3"),
        ("Löffel 🥄",) * 2,
    ],
)
def test_a_name_is_a_text_or_a_whole_number(object_id: str | int, name: str) -> None:
    (prompt,) = parse_prompts(json.dumps([POINT | {"object_id": object_id}]))
    assert prompt.object_id == name


def test_a_frame_may_be_written_as_a_float() -> None:
    (prompt,) = parse_prompts(json.dumps([POINT | {"frame_index": 12.0}]))
    assert prompt.frame_index == 12


NUMBER = "expected a finite number"
LABEL = "expected 1 (foreground) or 0 (background)"
FRAME = "expected a whole number from 0 up"
NAME = "expected a text or a whole number"
MISTAKES = [
    pytest.param("3", ' is 3; expected an object, such as {"x": 391, "y": 239}', id="number"),
    pytest.param("null", ' is null; expected an object, such as {"x": 391, "y": 239}', id="null"),
    pytest.param("[1, 2]", " is [1, 2]; expected an object", id="list"),
    pytest.param("{}", " has neither a point nor a box; expected points, box, x and y", id="empty"),
    pytest.param('{"points": []}', " has neither a point nor a box", id="no points"),
    pytest.param(
        '{"x":1,"y":2,"z":3}', f" has unknown key 'z'; expected any of {KEYS}", id="unknown key"
    ),
    pytest.param(
        '{"X":1,"bbox":[1,2,3,4]}',
        f" has unknown keys 'X', 'bbox'; expected any of {KEYS}",
        id="unknown keys",
    ),
    pytest.param(
        "{" + ",".join(f'"k{i}":0' for i in range(9)) + "}",
        " has unknown keys 'k0', 'k1', 'k2', 'k3', 'k4', …; expected",
        id="many unknown keys",
    ),
    pytest.param('{"x":1,"y":2,"x":3}', " has 'x' more than once; expected it once", id="twice"),
    pytest.param('{"x":1}', " has no y; expected x, y together", id="x alone"),
    pytest.param(
        '{"x_min":1,"y_min":2,"x_max":3}',
        " has no y_max; expected x_min, y_min, x_max, y_max together",
        id="three of four",
    ),
    pytest.param('{"x":"1","y":2}', f".x is '1'; {NUMBER}", id="text as a number"),
    pytest.param('{"x":1,"y":true}', f".y is true; {NUMBER}", id="true as a number"),
    pytest.param('{"x":1,"y":null}', f".y is null; {NUMBER}", id="null as a number"),
    pytest.param('{"x":1,"y":NaN}', f".y is nan; {NUMBER}", id="NaN"),
    pytest.param('{"x":-Infinity,"y":1}', f".x is -inf; {NUMBER}", id="Infinity"),
    pytest.param('{"x":1e999,"y":1}', f".x is inf; {NUMBER}", id="float overflow"),
    pytest.param('{"x":1' + "0" * 400 + ',"y":1}', f".x is inf; {NUMBER}", id="integer overflow"),
    pytest.param('{"x":1' + "0" * 9999 + ',"y":1}', f".x is inf; {NUMBER}", id="huge integer"),
    pytest.param('{"x":1,"y":{"x":1}}', f".y is an object; {NUMBER}", id="object as a number"),
    pytest.param(
        '{"x_min":1,"y_min":2,"x_max":[3],"y_max":4}', f".x_max is [3]; {NUMBER}", id="max"
    ),
    pytest.param('{"points":5}', ".points is 5; expected a list of points", id="points"),
    pytest.param('{"points":[1,2]}', ".points[0] is 1; expected [x, y]", id="flat points"),
    pytest.param('{"points":[[1,2],[3]]}', ".points[1] is [3]; expected [x, y]", id="short point"),
    pytest.param('{"points":[[1,2,3]]}', ".points[0] is [1, 2, 3]; expected [x, y]", id="long"),
    pytest.param('{"points":[[1,"2"]]}', f".points[0][1] is '2'; {NUMBER}", id="text in a point"),
    pytest.param('{"points":[[1,2]],"labels":1}', ".labels is 1; expected a list", id="labels"),
    pytest.param(
        '{"points":[[1,2],[3,4]],"labels":[1,3]}', f".labels[1] is 3; {LABEL}", id="label 3"
    ),
    pytest.param('{"points":[[1,2]],"labels":[true]}', f".labels[0] is true; {LABEL}", id="true"),
    pytest.param('{"x":1,"y":2,"label":"1"}', f".label is '1'; {LABEL}", id="label as text"),
    pytest.param('{"x":1,"y":2,"label":0.5}', f".label is 0.5; {LABEL}", id="half a label"),
    pytest.param(
        '{"label":1,"box":[1,2,3,4]}', ".label is 1; expected a label beside x and y", id="of a box"
    ),
    pytest.param('{"box":[1,2,3]}', ".box is [1, 2, 3]; expected [x0, y0, x1, y1]", id="short box"),
    pytest.param('{"box":null}', ".box is null; expected [x0, y0, x1, y1]", id="null box"),
    pytest.param('{"box":[1,2,3,NaN]}', f".box[3] is nan; {NUMBER}", id="NaN in a box"),
    pytest.param('{"x":1,"y":2,"frame_index":-1}', f".frame_index is -1; {FRAME}", id="before 0"),
    pytest.param('{"x":1,"y":2,"frame_index":1.5}', f".frame_index is 1.5; {FRAME}", id="half"),
    pytest.param('{"x":1,"y":2,"frame_index":"0"}', f".frame_index is '0'; {FRAME}", id="text"),
    pytest.param('{"x":1,"y":2,"frame_index":true}', f".frame_index is true; {FRAME}", id="bool"),
    pytest.param('{"x":1,"y":2,"frame_index":NaN}', f".frame_index is nan; {FRAME}", id="no frame"),
    pytest.param('{"x":1,"y":2,"frame_index":1e16}', f".frame_index is 1e+16; {FRAME}", id="far"),
    pytest.param('{"x":1,"y":2,"object_id":null}', f".object_id is null; {NAME}", id="no name"),
    pytest.param('{"x":1,"y":2,"object_id":false}', f".object_id is false; {NAME}", id="bool name"),
    pytest.param('{"x":1,"y":2,"object_id":1.0}', f".object_id is 1.0; {NAME}", id="float name"),
    pytest.param('{"x":1,"y":2,"object_id":["a"]}', f".object_id is ['a']; {NAME}", id="list name"),
]


@pytest.mark.parametrize(("entry", "message"), MISTAKES)
def test_a_mistake_in_an_entry_fails(entry: str, message: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse_prompts(f'[{{"x": 5, "y": 6}}, {entry}]')
    assert str(caught.value).startswith(f"prompts[1]{message}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("5", "5"),
        ("null", "null"),
        ('"[391,239]"', "'[391,239]'"),
        ('{"x": 1, "y": 2}', "an object"),
    ],
)
def test_json_that_is_no_list_fails(text: str, shown: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse_prompts(text)
    assert str(caught.value).startswith(f"prompts is {shown}; expected a JSON list, such as [{{")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        pytest.param("[391,239],[1,2]", "line 1, column 10 is ',[1,2]' (Extra data)", id="clicks"),
        pytest.param(
            '[{"x": 1,\n  y: 2}]', "line 2, column 3 is 'y: 2}]'", id="key without quotes"
        ),
        pytest.param('[{"x": 1', "line 1, column 9 is its end", id="cut"),
        pytest.param("[{'x': 1}]", "line 1, column 3 is \"'x': 1}]\"", id="Python's quotes"),
        pytest.param('["\x00"]', "line 1, column 3 is '\\x00\"]'", id="control character"),
        pytest.param('["' + "\\z" * 999, "line 1, column 3 is '" + "\\\\z" * 10 + "'", id="escape"),
    ],
)
def test_text_that_is_no_json_fails(text: str, where: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse_prompts(text)
    message = str(caught.value)
    assert message.startswith(f"prompts is not JSON: at {where}")
    assert message.isprintable()
    assert '; expected a list, such as [{"frame_index": 0, "object_id": "dog",' in message


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 500_000, id="open lists"),
        pytest.param("[" * 500_000 + "]" * 500_000, id="lists"),
        pytest.param('[{"x":' * 150_000, id="objects"),
        pytest.param("[" + "[" * 200 + "]" * 200 + "]", id="deep enough to be read"),
        pytest.param('[{"points":' + "[" * 200 + "]" * 200 + "}]", id="deep points"),
        pytest.param('[{"object_id":' + '{"a":' * 200 + "1" + "}" * 200 + "}]", id="deep objects"),
        pytest.param("[" + "9" * 999_998 + "]", id="an integer"),
        pytest.param('[{"x":' + "9" * 5000 + '.5,"y":1}]', id="digits of a float"),
        pytest.param('[{"object_id":' + "9" * 5000 + ',"x":1,"y":1}]', id="an integer as a name"),
        pytest.param("[{" + '"x":1,' * 150_000 + '"y":2}]', id="one key again and again"),
        pytest.param("[{" + ",".join(f'"{i}":1' for i in range(90_000)) + "}]", id="keys"),
        pytest.param('[{"' + "k" * 900_000 + '":1}]', id="a long key"),
        pytest.param('[{"\\ud800":1}]', id="a key of half a character"),
        pytest.param('[{"x":"\\ud800","y":1}]', id="half a character"),
        pytest.param('[{"x":"' + "a" * 900_000 + '","y":1}]', id="a long text"),
        pytest.param('[{"box":[' + "1," * 400_000 + "1]}]", id="a long box"),
        pytest.param("\ufeff[]", id="byte order mark"),
        pytest.param("[" + " " * MAX_PROMPTS.default * TEXT_LENGTH_PER_PROMPT + "]", id="too long"),
    ],
)
def test_a_hostile_text_fails_with_one_short_line(text: str) -> None:
    with pytest.raises(PromptError, match=r"^prompts") as caught:
        parse_prompts(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_entries_of_words_are_read_apart_from_the_others() -> None:
    text = json.dumps([{"text": "dog, red car"}, POINT, {"prompt": " person "}])
    assert parse_words(text) == (
        ("prompts[0].text", "dog, red car"),
        ("prompts[2].prompt", " person "),
    )
    assert [p.place for p in parse_prompts(text)] == ["prompts[1]"]


@pytest.mark.parametrize("text", ["", "[]", json.dumps([POINT])])
def test_no_entry_of_words_is_no_words(text: str) -> None:
    assert parse_words(text) == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"text": 1}, "prompts[0].text is 1; expected words, such as 'person, red car'"),
        ({"prompt": " "}, "prompts[0].prompt is ' '; expected words"),
        ({"text": None}, "prompts[0].text is null; expected words"),
        (
            {"frame_index": 3, "text": "dog"},
            "prompts[0] has text beside frame_index; expected words alone, such as",
        ),
        ({"text": "a", "prompt": "b"}, "prompts[0] has text beside prompt; expected words"),
        ({"text": "a", "sort": 1}, "prompts[0] has unknown key 'sort'; expected any of frame_in"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_in_an_entry_of_words_fails(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError) as caught:
        parse_words(json.dumps([entry]))
    assert str(caught.value).startswith(message)
