"""Any text may come in: a value comes out that its own rendering gives again, or one line.

A short part runs with the tests, from fixed seeds; `make fuzz` goes on for minutes.
"""

import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sam_video.checkpoints.catalogue import CHECKPOINTS
from sam_video.cli import main
from sam_video.errors import PromptError, RequestError, SamVideoError
from sam_video.limits import LIMITS, MAX_FRAMES, Limit
from sam_video.prompts.concepts import parse_concepts
from sam_video.prompts.enhance import enhanced
from sam_video.prompts.json_list import parse_prompts, parse_words
from sam_video.prompts.mask_zip import read_masks
from sam_video.prompts.stated import StatedPrompt
from sam_video.prompts.text import parse_boxes, parse_clicks
from sam_video.request import Request
from sam_video.types import Box, Click
from sam_video.writers.filenames import MAX_NAME_BYTES, FileNames

settings.register_profile("test", max_examples=80, deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", max_examples=10_000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
few = settings(
    max_examples=settings().max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""For what takes longer."""

SIZE = (8, 6)
FORMS: list[Callable[[list[tuple[float, float]]], str]] = [
    lambda points: ",".join(f"[{x!r},{y!r}]" for x, y in points),
    json.dumps,
    lambda points: str(points)[1:-1],
    lambda points: " ".join(f"{x!r},{y!r}" for x, y in points),
    lambda points: json.dumps([{"x": x, "y": y} for x, y in points]),
]
"""The ways in which people write points."""

texts = st.text(max_size=200) | st.text("[](){},.;:'\"-+0123456789eExyNaN \n", max_size=200)
numbers = st.floats(-1e9, 1e9).map(lambda number: round(number, 6))
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8)
number_lists = st.lists(numbers, max_size=9).map(str) | st.lists(st.integers(0, 20)).map(str)
names = st.text(max_size=9) | st.sampled_from(["", " ", "dog", "0", "../a", "a\n", "\x1b[m"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["frame_index", "object_id", "points", "labels", "box", "x", "y", "text", "?"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "frame_index": st.integers(-1, 10**16),
        "object_id": names | st.integers(),
        "points": st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=3),
        "labels": st.lists(st.integers(0, 1), max_size=3),
        "box": st.lists(numbers, min_size=4, max_size=4),
        "x": numbers, "y": numbers, "label": st.integers(-1, 2),
        **dict.fromkeys(("x_min", "y_min", "x_max", "y_max"), numbers),
    },
)  # fmt: skip

Said = list[tuple[Any, int, str | None]]


def said(prompts: Iterable[StatedPrompt]) -> Said:
    """Return what prompts say, without where they say it."""
    return [(prompt.value, prompt.frame_index, prompt.object_id) for prompt in prompts]


def assert_one_line(error: SamVideoError | str) -> None:
    text = str(error)
    assert text.isprintable(), text
    assert 0 < len(text) < 1000


def rendered_names(prompts: Sequence[StatedPrompt]) -> str:
    ids = [prompt.object_id for prompt in prompts if prompt.object_id is not None]
    # One empty name is told from none at all by a comma after it.
    return ",".join(ids) + ("," if ids and not "".join(ids) else "")


def rendered_clicks(prompts: Sequence[StatedPrompt]) -> dict[str, str]:
    """Write clicks as the four texts of a request."""
    clicks = [prompt.value for prompt in prompts if isinstance(prompt.value, Click)]
    return {
        "click_coordinates": ",".join(f"[{click.x!r},{click.y!r}]" for click in clicks),
        "click_labels": ",".join(str(click.label) for click in clicks),
        "click_frames": ",".join(str(prompt.frame_index) for prompt in prompts),
        "click_object_ids": rendered_names(prompts),
    }


def rendered_boxes(prompts: Sequence[StatedPrompt]) -> dict[str, str]:
    """Write boxes as the three texts of a request."""
    boxes = [prompt.value for prompt in prompts if isinstance(prompt.value, Box)]
    return {
        "box_coordinates": ",".join(str([box.x0, box.y0, box.x1, box.y1]) for box in boxes),
        "box_frames": ",".join(str(prompt.frame_index) for prompt in prompts),
        "box_object_ids": rendered_names(prompts),
    }


def rendered_json(prompts: Iterable[StatedPrompt]) -> str:
    """Write clicks and boxes as JSON, each in an entry of its own."""
    items = []
    for prompt in prompts:
        item = {"frame_index": prompt.frame_index, "object_id": prompt.object_id}
        if isinstance(prompt.value, Click):
            click = prompt.value
            items.append(item | {"points": [[click.x, click.y]], "labels": [click.label]})
        elif isinstance(prompt.value, Box):
            box = prompt.value
            items.append(item | {"box": [box.x0, box.y0, box.x1, box.y1]})
    return json.dumps(items)


@given(texts | number_lists, texts | number_lists, texts | number_lists, texts)
@example("1,2", "1", "0", ",")
def test_any_texts_are_clicks_or_a_mistake(a: str, b: str, c: str, d: str) -> None:
    try:
        clicks = parse_clicks(
            click_coordinates=a, click_labels=b, click_frames=c, click_object_ids=d
        )
    except PromptError as error:
        assert_one_line(error)
        return
    for click in clicks:
        assert isinstance(click.value, Click)
        assert math.isfinite(click.value.x) and math.isfinite(click.value.y)
        assert click.value.label in (0, 1)
        assert click.frame_index >= 0
    assert said(parse_clicks(**rendered_clicks(clicks))) == said(clicks)


@given(texts | number_lists, texts | number_lists, texts)
def test_any_texts_are_boxes_or_a_mistake(a: str, b: str, c: str) -> None:
    try:
        boxes = parse_boxes(box_coordinates=a, box_frames=b, box_object_ids=c)
    except PromptError as error:
        assert_one_line(error)
        return
    assert said(parse_boxes(**rendered_boxes(boxes))) == said(boxes)


@given(points, st.sampled_from(FORMS))
def test_points_are_read_as_they_were_written(
    expected: list[tuple[float, float]], form: Callable[[list[tuple[float, float]]], str]
) -> None:
    clicks = parse_clicks(
        click_coordinates=form(expected), click_labels="1", click_frames="0", click_object_ids=""
    )
    values = [click.value for click in clicks]
    assert [(v.x, v.y) for v in values if isinstance(v, Click)] == expected


@given(texts | json_values.map(json.dumps) | st.lists(entries, max_size=4).map(json.dumps))
def test_any_json_is_prompts_or_a_mistake(text: str) -> None:
    try:
        prompts, _ = parse_prompts(text), parse_words(text)
    except PromptError as error:
        assert_one_line(error)
        return
    assert said(parse_prompts(rendered_json(prompts))) == said(prompts)


request_texts = texts | st.sampled_from(["true", "NO", " 7 ", "-1", "9" * 5000, "pocket", "png"])


@given(st.dictionaries(st.sampled_from([f.name for f in fields(Request)]) | texts, request_texts))
def test_any_options_are_a_request_or_a_mistake(options: dict[str, str]) -> None:
    try:
        request = Request.from_text({"input_video": "a.mp4"} | options)
    except RequestError as error:
        assert_one_line(error)
        return
    for field in fields(Request):
        if field.default is not MISSING and field.name not in options:
            assert getattr(request, field.name) == field.default
    values = {field.name: getattr(request, field.name) for field in fields(Request)}
    written = {name: str(value) for name, value in values.items() if value is not None}
    assert Request.from_text(written) == request


SENTENCE = (
    "please PLEASE segment find track mask me you can to the a two all both of and or & in on with"
    " black white red big cat dog dogs people man's shirt glasses boxes 3 video . , ;"
)
phrases = st.lists(st.sampled_from(SENTENCE.split()), min_size=1, max_size=9).map(" ".join)


@given(phrases | texts)
def test_a_phrase_has_concepts_that_stay_what_they_are(phrase: str) -> None:
    concepts = enhanced(phrase)
    assert concepts == [phrase] or all(concepts)
    assert [again for concept in concepts for again in enhanced(concept)] == concepts


@given(phrases | texts, st.booleans())
def test_any_words_are_concepts_or_a_mistake(text: str, enhances: bool) -> None:
    try:
        concepts = parse_concepts("text_prompt", text, enhances=enhances)
    except PromptError as error:
        assert_one_line(error)
        return
    assert all(concept and concept == concept.strip() for concept in concepts)
    assert len({concept.casefold() for concept in concepts}) == len(concepts)
    assert parse_concepts("text_prompt", ", ".join(concepts), enhances=enhances) == concepts


words = st.sampled_from(["predict", "info", "-i", "-o", "--model", "--", "-h", "pocket"]) | texts
inputs = st.tuples(st.sampled_from([f.name for f in fields(Request)]), texts).map("=".join)


@few
@given(arguments=st.lists(words | inputs, max_size=6))
def test_any_command_line_is_answered(arguments: list[str], tmp_path: Path) -> None:
    folder = ["-o", str(tmp_path)] if "predict" in arguments[:1] else []
    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), patch.dict(CHECKPOINTS, clear=True):
        try:
            status = main(arguments + folder)
        except SystemExit as end:  # after --help
            assert end.code == 0
            return
    assert status in (0, 1, 2)
    if status:
        assert_one_line(err.getvalue().removesuffix("\n"))


@given(st.sampled_from(LIMITS), st.text(max_size=30) | st.integers().map(str))
def test_any_text_is_a_limit_or_a_mistake(limit: Limit, text: str) -> None:
    with patch("os.environ", {limit.variable: text}):
        try:
            value = limit.value
        except RequestError as error:
            assert_one_line(error)
            return
        assert value > 0
        assert str(limit) == f"{value} ({limit.variable})"
    with patch("os.environ", {limit.variable: str(value)}):
        assert limit.value == value


def test_a_limit_holds_where_another_is_set() -> None:
    with patch("os.environ", {"SAM_VIDEO_MAX_FRAME": "1"}):
        assert MAX_FRAMES.value == MAX_FRAMES.default


@given(st.lists(st.text(max_size=400) | names, max_size=20))
def test_any_names_are_safe_and_told_apart(object_ids: list[str]) -> None:
    file_names = FileNames()
    given_names = {object_id: file_names.of(object_id) for object_id in object_ids}
    assert len({name.casefold() for name in given_names.values()}) == len(given_names)
    for name in given_names.values():
        assert 0 < len(name.encode()) <= MAX_NAME_BYTES
        assert name.isprintable() and not set(name) & set("/\\:*?\"<>|'`")
        assert name == name.strip(" .")
        assert file_names.of(name) in given_names.values() or name not in given_names


mask_names = st.text(min_size=1, max_size=9).filter(
    lambda name: name == name.strip() and not set(name) & set("/\\\0\r") and name.isprintable()
)
masks = st.binary(min_size=SIZE[0] * SIZE[1], max_size=SIZE[0] * SIZE[1]).map(
    lambda data: np.frombuffer(data, np.uint8).reshape(SIZE[::-1]) > 127
)


@few
@given(
    expected=st.dictionaries(
        st.tuples(st.integers(0, 10**9), mask_names), masks, min_size=1, max_size=4
    )
)
def test_masks_are_read_as_they_were_written(expected: dict[Any, Any], tmp_path: Path) -> None:
    expected = {key: mask for key, mask in expected.items() if mask.any()}
    path = tmp_path / "masks.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for (frame_index, name), mask in expected.items():
            file = io.BytesIO()
            np.save(file, mask)
            archive.writestr(f"{frame_index}_{name}.npy", file.getvalue())
    if not expected:
        return
    prompts = read_masks(path, width=SIZE[0], height=SIZE[1])
    found = {(prompt.frame_index, prompt.object_id): prompt.value for prompt in prompts}
    assert found.keys() == expected.keys()
    assert all(np.array_equal(np.asarray(found[key]), expected[key]) for key in expected)
