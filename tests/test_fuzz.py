"""Anything may come in: a value comes out, or one line that says what is wrong.

A short part runs with the tests, from fixed seeds; `make fuzz` goes on for minutes.
"""

import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import MISSING, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sam_video.errors import PromptError, RequestError, SamVideoError, VideoError
from sam_video.prompts.json_list import parse_prompts
from sam_video.prompts.mask_zip import read_masks
from sam_video.prompts.text import parse_boxes, parse_clicks
from sam_video.request import Request
from sam_video.types import Click
from sam_video.video import open_video
from tests.clips import draw_clip

settings.register_profile("test", max_examples=80, deadline=None, derandomize=True, database=None)
settings.register_profile("fuzz", max_examples=20_000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
few = settings(
    max_examples=settings().max_examples // 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
"""For what takes longer."""

SIZE = (32, 24)
RENDERINGS: list[Callable[[list[tuple[float, float]]], str]] = [
    lambda points: ",".join(f"[{x!r},{y!r}]" for x, y in points),
    json.dumps,
    lambda points: str(points)[1:-1],
    lambda points: " ".join(f"{x!r},{y!r}" for x, y in points),
    lambda points: json.dumps([{"x": x, "y": y} for x, y in points]),
]

texts = st.text(max_size=200) | st.text("[](){},.;:'\"-+0123456789eExyNaN \n", max_size=200)
numbers = st.floats(-1e9, 1e9).map(lambda number: round(number, 6))
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["frame_index", "object_id", "points", "labels", "box", "x", "y", "?"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def assert_one_line(error: SamVideoError) -> None:
    text = str(error)
    assert text.isprintable(), text
    assert 0 < len(text) < 1000


@given(texts, texts, texts, texts)
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


@given(texts, texts, texts)
def test_any_texts_are_boxes_or_a_mistake(a: str, b: str, c: str) -> None:
    try:
        parse_boxes(box_coordinates=a, box_frames=b, box_object_ids=c)
    except PromptError as error:
        assert_one_line(error)


@given(points, st.sampled_from(RENDERINGS))
def test_points_are_read_as_they_were_written(
    expected: list[tuple[float, float]], rendering: Callable[[list[tuple[float, float]]], str]
) -> None:
    clicks = parse_clicks(
        click_coordinates=rendering(expected),
        click_labels="1",
        click_frames="0",
        click_object_ids="",
    )
    values = [click.value for click in clicks]
    assert [(v.x, v.y) for v in values if isinstance(v, Click)] == expected


@given(texts | json_values.map(json.dumps))
def test_any_json_is_prompts_or_a_mistake(text: str) -> None:
    try:
        parse_prompts(text)
    except PromptError as error:
        assert_one_line(error)


@given(points, st.integers(0, 10**6), st.text("abc 1", min_size=1, max_size=9).map(str.strip))
def test_json_prompts_are_read_as_they_were_written(
    expected: list[tuple[float, float]], frame_index: int, name: str
) -> None:
    entry = {"frame_index": frame_index, "object_id": name or "a", "points": expected}
    prompts = parse_prompts(json.dumps([entry]))
    values = [prompt.value for prompt in prompts]
    assert [(v.x, v.y) for v in values if isinstance(v, Click)] == expected
    assert {prompt.frame_index for prompt in prompts} == {frame_index}
    assert {prompt.object_id for prompt in prompts} == {name or "a"}


@given(st.dictionaries(st.sampled_from([f.name for f in fields(Request)]), texts, max_size=5))
def test_any_options_are_a_request_or_a_mistake(options: dict[str, str]) -> None:
    try:
        request = Request.from_text({"input_video": "a.mp4"} | options)
    except RequestError as error:
        assert_one_line(error)
        return
    for field in fields(Request):
        if field.default is not MISSING and field.name not in options:
            assert getattr(request, field.name) == field.default


def small_zip() -> bytes:
    """Return a zip with a PNG and an npy mask."""
    mask = np.zeros(SIZE[::-1], np.bool_)
    mask[5:9, 4:20] = True
    picture, array, archived = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.fromarray(mask).save(picture, "png")
    np.save(array, mask)
    with zipfile.ZipFile(archived, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0_dog.png", picture.getvalue())
        archive.writestr("3_cat.npy", array.getvalue())
    return archived.getvalue()


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """Return copies of some bytes with a few of them changed, taken out, doubled or cut off."""
    places = st.integers(0, len(data) - 1)
    changes = st.lists(st.tuples(places, st.sampled_from("=-+<"), st.integers(0, 255)), max_size=6)

    def mutated(steps: list[tuple[int, str, int]]) -> bytes:
        copy = bytearray(data)
        for place, kind, value in steps:
            if kind == "=" and place < len(copy):
                copy[place] = value
            elif kind == "-":
                del copy[place : place + value % 8]
            elif kind == "+":
                copy[place:place] = copy[place : place + value]
            elif kind == "<" and value < 40:
                del copy[place:]
        return bytes(copy)

    return changes.map(mutated)


@few
@given(data=mutations(small_zip()) | st.binary(max_size=300))
def test_any_zip_is_masks_or_a_mistake(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "masks.zip"
    path.write_bytes(data)
    try:
        masks = read_masks(path, width=SIZE[0], height=SIZE[1])
    except PromptError as error:
        assert_one_line(error)
        return
    for mask in masks:
        assert isinstance(mask.value, np.ndarray)
        assert mask.value.shape == SIZE[::-1]


def clip_bytes(folder: Path, name: str, **options: Any) -> bytes:
    draw_clip(folder / name, num_frames=4, size=SIZE, **options)
    return (folder / name).read_bytes()


@pytest.fixture(scope="module", params=["a.mp4", "a.mkv", "a.gif", "a.png"])
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clip_bytes(tmp_path_factory.mktemp("clip"), request.param)


@few
@given(data=st.data())
def test_any_file_is_frames_or_a_mistake(clip: bytes, data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(data.draw(mutations(clip)))
    try:
        source = open_video(path)
        frames = list(islice(source.frames(), 20))
    except VideoError as error:
        assert_one_line(error)
        return
    shapes = {frame.image.shape for frame in frames}
    assert shapes <= {(source.info.height, source.info.width, 3)}
