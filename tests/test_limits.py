"""What a request may ask for, and how an operator sets it."""

import json
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_video.cli import main
from sam_video.errors import RequestError, SamVideoError, VideoError
from sam_video.limits import (
    GPU_FEATURES,
    LIMITS,
    MAX_FRAME_PIXELS,
    MAX_FRAMES,
    MAX_OBJECTS,
    MAX_PROMPTS,
    MAX_SECONDS,
    MAX_ZIP_BYTES,
    MAX_ZIP_MEMBERS,
    Limit,
    check_limits,
    gpu_features,
)
from sam_video.request import Request
from sam_video.service.pipeline import segment_video
from sam_video.service.session import Session
from sam_video.types import Click, ObjectPrompt
from sam_video.video.source import open_video
from tests.clips import draw_clip
from tests.fake_model import FakeModel

SIZE = (32, 24)
ONE_CLICK: dict[str, Any] = {"click_coordinates": "[5,5]"}
TWO_CLICKS: dict[str, Any] = {"click_coordinates": "[5,5],[9,9]"}


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.variable)
def test_an_environment_variable_sets_a_limit(
    limit: Limit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(limit.variable, raising=False)
    assert limit.value == limit.default
    monkeypatch.setenv(limit.variable, " 7 ")
    assert limit.value == 7
    monkeypatch.setenv(limit.variable, str(limit.largest))
    assert limit.value == limit.largest
    monkeypatch.setenv(limit.variable, str(limit.largest + 1))
    with pytest.raises(RequestError, match=f"; expected a whole number from 1 to {limit.largest}"):
        check_limits()


def test_what_was_not_measured_on_a_gpu_is_off_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SAM_VIDEO_GPU_FEATURES", raising=False)
    assert gpu_features() == frozenset()
    monkeypatch.setenv("SAM_VIDEO_GPU_FEATURES", " kernel, recording ")
    assert gpu_features() == set(GPU_FEATURES)
    monkeypatch.setenv("SAM_VIDEO_GPU_FEATURES", "kernel,fast")
    message = "SAM_VIDEO_GPU_FEATURES is 'kernel,fast'; expected any of recording, kernel"
    with pytest.raises(RequestError, match=message):
        check_limits()


def test_an_empty_variable_sets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, "")
    assert MAX_FRAMES.value == MAX_FRAMES.default


def test_a_message_names_the_limit_and_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, "250")
    assert f"expected at most {MAX_FRAMES}" == "expected at most 250 (SAM_VIDEO_MAX_FRAMES)"


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e6", "many", "٣", "9" * 19])
def test_a_limit_that_is_no_number_fails(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, text)
    message = f"SAM_VIDEO_MAX_FRAMES is {text!r}; expected a whole number from 1 to 2147483647"
    with pytest.raises(RequestError, match=re.escape(message)):
        check_limits()


def test_a_limit_that_is_no_number_fails_before_the_command_line_does_anything(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, "many")
    assert main(["info", "missing.mp4"]) == 2
    assert capsys.readouterr().err.startswith("error: SAM_VIDEO_MAX_FRAMES is 'many'; expected")


def test_a_video_is_read_with_the_largest_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: Callable[[Request], int]
) -> None:
    for limit in LIMITS:
        monkeypatch.setenv(limit.variable, str(limit.largest))
    assert predict(ask(tmp_path, masks=two_masks(), output_overlay=True)) == 13


def two_masks() -> bytes:
    """Return a zip with two masks of the clip's size."""
    picture, archived = BytesIO(), BytesIO()
    Image.fromarray(np.ones(SIZE[::-1], np.bool_)).save(picture, "png")
    with zipfile.ZipFile(archived, "w") as archive:
        for name in ("0_dog.png", "0_cat.png"):
            archive.writestr(name, picture.getvalue())
    return archived.getvalue()


def ask(folder: Path, *, masks: bytes = b"", name: str = "clip.mp4", **inputs: Any) -> Request:
    """Ask for masks of a clip of 12 frames, 2 per second."""
    if not (folder / name).exists():
        draw_clip(folder / name, size=SIZE, frame_rate=2)
    if masks:
        inputs["mask_prompts"] = folder / "masks.zip"
        inputs["mask_prompts"].write_bytes(masks)
    return Request(input_video=folder / name, model="pocket", **inputs)


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Request], int]:
    """Return a function that runs a request, with a model of a few lines, and counts its files."""
    monkeypatch.setattr("sam_video.service.session.load_model", lambda *_, **__: FakeModel())
    return lambda request: len(list(Session().predict(request, tmp_path / "out")))


EXCEEDED = {
    "pixels of a video": (MAX_FRAME_PIXELS, 767, ONE_CLICK),
    "pixels of an animation": (MAX_FRAME_PIXELS, 767, ONE_CLICK | {"name": "clip.gif"}),
    "frames": (MAX_FRAMES, 11, ONE_CLICK),
    "frames after the first": (MAX_FRAMES, 9, ONE_CLICK | {"start_frame": 2}),
    "frames at an interval": (MAX_FRAMES, 3, ONE_CLICK | {"frame_interval": 3}),
    "frames of a preview": (MAX_FRAMES, 1, TWO_CLICKS | {"click_frames": "0,9", "preview": True}),
    "seconds": (MAX_SECONDS, 5, ONE_CLICK),
    "objects by clicks": (MAX_OBJECTS, 1, TWO_CLICKS),
    "objects by masks": (MAX_OBJECTS, 1, {"masks": two_masks()}),
    "clicks": (MAX_PROMPTS, 1, TWO_CLICKS | {"click_object_ids": "dog"}),
    "boxes": (MAX_PROMPTS, 1, {"box_coordinates": "[1,1,5,5],[2,2,7,7]"}),
    "structured clicks": (
        MAX_PROMPTS, 1, {"prompts": json.dumps([{"points": [[1, 1], [2, 2]]}])},
    ),
    "clicks of two fields": (MAX_PROMPTS, 1, ONE_CLICK | {"prompts": '[{"x": 1, "y": 1}]'}),
    "a long text": (MAX_PROMPTS, 5, {"click_coordinates": "[5,5]" + " " * 10_000}),
    "masks": (MAX_PROMPTS, 1, {"masks": two_masks()}),
    "members of a zip": (MAX_ZIP_MEMBERS, 1, {"masks": two_masks()}),
    "bytes of a zip": (MAX_ZIP_BYTES, 1535, {"masks": two_masks()}),
}  # fmt: skip


@pytest.mark.parametrize("case", EXCEEDED)
def test_a_request_beyond_a_limit_fails_before_the_model_is_loaded(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit, most, inputs = EXCEEDED[case]
    request = ask(tmp_path, **inputs)
    monkeypatch.setenv(limit.variable, str(most))
    monkeypatch.setattr("sam_video.service.session.load_model", None)
    message = rf"(expected at most|than|, for) {most} \({limit.variable}\)"
    with pytest.raises(SamVideoError, match=message):
        list(Session().predict(request, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", sorted(EXCEEDED.keys() - {"boxes", "a long text"}))
def test_a_request_at_a_limit_is_run(
    case: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predict: Callable[[Request], int],
) -> None:
    limit, most, inputs = EXCEEDED[case]
    monkeypatch.setenv(limit.variable, str(most + 1))
    assert predict(ask(tmp_path, **inputs)) > 0


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        pytest.param({"end_frame": 3}, 4, id="up to an end"),
        pytest.param({"start_frame": 8}, 4, id="from a start"),
        pytest.param({"frame_interval": 3}, 4, id="at an interval"),
        pytest.param({"preview": True}, 1, id="a preview"),
    ],
)
def test_what_is_not_processed_does_not_count(
    inputs: dict[str, Any],
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predict: Callable[[Request], int],
) -> None:
    monkeypatch.setenv(MAX_FRAMES.variable, "4")
    assert predict(ask(tmp_path, **ONE_CLICK, **inputs)) == expected


def test_a_start_beyond_the_seconds_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: Callable[[Request], int]
) -> None:
    monkeypatch.setenv(MAX_SECONDS.variable, "2")
    assert predict(ask(tmp_path, **ONE_CLICK, start_frame=8)) == 4


@pytest.mark.parametrize(("limit", "most"), [(MAX_FRAMES, 5), (MAX_SECONDS, 1)])
def test_a_video_that_does_not_say_how_long_it_is_fails_where_it_becomes_too_long(
    limit: Limit,
    most: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predict: Callable[[Request], int],
) -> None:
    draw_clip(tmp_path / "clip.h264", num_frames=30, size=SIZE, codec="libx264")
    assert open_video(tmp_path / "clip.h264").info.num_frames is None
    monkeypatch.setenv(limit.variable, str(most))
    with pytest.raises(RequestError, match=rf"or more to process; .* {most} \({limit.variable}\)"):
        predict(ask(tmp_path, **ONE_CLICK, name="clip.h264"))
    assert list((tmp_path / "out").iterdir()) == []
    assert predict(ask(tmp_path, **ONE_CLICK, name="clip.h264", end_frame=4)) == 5


def test_a_header_that_states_too_many_frames_is_not_believed(
    tmp_path: Path, predict: Callable[[Request], int]
) -> None:
    request = ask(tmp_path, **ONE_CLICK)
    data = bytearray(request.input_video.read_bytes())
    place = data.index(b"stts") + 12
    assert struct.unpack_from(">I", data, place) == (12,)
    struct.pack_into(">I", data, place, 2_000_000_000)
    request.input_video.write_bytes(data)
    assert open_video(request.input_video).info.num_frames == 12
    assert predict(request) == 12


def test_too_many_objects_from_python_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_OBJECTS.variable, "1")
    prompts = [ObjectPrompt(name, 0, (Click(5, 5),)) for name in ("dog", "cat")]
    with pytest.raises(SamVideoError, match=r"2 objects .* at most 1 \(SAM_VIDEO_MAX_OBJECTS\)"):
        next(segment_video(ask(tmp_path).input_video, prompts, model="pocket"))


def test_a_raised_limit_of_pixels_holds_against_pillows_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, predict: Callable[[Request], int]
) -> None:
    request = ask(tmp_path, masks=two_masks(), name="clip.gif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert predict(request) == 12


def test_nothing_is_printed_where_pillow_would_warn(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (10_000, 9_000)).save(path)
    command = [sys.executable, "-m", "sam_video", "info", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "error: 'large.png' has too many pixels;"
        " expected at most 52000000 (SAM_VIDEO_MAX_FRAME_PIXELS) per frame\n"
    )


def test_more_pixels_than_pillow_opens_at_all_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ask(tmp_path, name="clip.gif").input_video
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setenv(MAX_FRAME_PIXELS.variable, "200")
    with pytest.raises(VideoError, match=r"too many pixels; .* 200 \(SAM_VIDEO_MAX_FRAME_PIXELS"):
        open_video(path)
