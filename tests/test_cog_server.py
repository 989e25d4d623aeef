"""The model behind Cog's real HTTP server: what a client sends, and what comes back."""

import base64
import json
import re
import threading
import zipfile
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.clips import draw_clip, draw_frame
from tests.cog_server import CogServer, data_uri, wait_for

ON_DISC = "[11,19]"
"""A click on the disc of the first frame of a drawn clip."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip of 4 frames as a data URI."""
    return clip_uri(tmp_path_factory.mktemp("clips") / "clip.mp4", num_frames=4)


def clip_uri(path: Path, num_frames: int) -> str:
    draw_clip(path, num_frames=num_frames)
    return data_uri(path.read_bytes(), "video/mp4")


def content_of(uri: str, media_type: str) -> bytes:
    head, _, text = uri.partition(",")
    assert head == f"data:{media_type};base64"
    return base64.b64decode(text)


def succeeded(answer: tuple[int, Any]) -> dict[str, Any]:
    status, prediction = answer
    assert (status, prediction.get("status")) == (200, "succeeded"), prediction
    return dict(prediction)


def error_of(answer: tuple[int, Any]) -> str:
    """Return the message of a failed prediction, which is one line."""
    status, prediction = answer
    assert (status, prediction["status"]) == (200, "failed")
    assert "\n" not in prediction["error"]
    return str(prediction["error"])


def test_every_frame_comes_back_as_a_mask(server: CogServer, clip: str) -> None:
    answer = server.predict(input_video=clip, click_coordinates=ON_DISC, output_format="png")
    images = [
        Image.open(BytesIO(content_of(uri, "image/png"))) for uri in succeeded(answer)["output"]
    ]
    assert [(image.size, image.mode) for image in images] == [((96, 64), "L")] * 4
    assert set(np.unique(np.stack([np.asarray(image) for image in images]))) == {0, 255}


def test_a_video_comes_back_that_plays(server: CogServer, clip: str) -> None:
    answer = server.predict(
        input_video=clip, click_coordinates=ON_DISC, mask_type="highlighted", output_video=True
    )
    (uri,) = succeeded(answer)["output"]
    with av.open(BytesIO(content_of(uri, "video/mp4")), "r") as container:
        (stream,) = container.streams.video
        frames = list(container.decode(stream))
    assert (stream.average_rate, len(frames)) == (Fraction(24), 4)
    assert {(frame.width, frame.height) for frame in frames} == {(96, 64)}


def test_the_data_file_comes_after_the_frames(server: CogServer, clip: str) -> None:
    answer = server.predict(input_video=clip, click_coordinates=ON_DISC, output_rle=True)
    *images, rle = succeeded(answer)["output"]
    assert len(images) == 4
    assert content_of(rle, "application/json").startswith(b'{"video": {"width": 96, "height": 64')


def test_masks_may_come_in_a_zip_and_go_out_in_one(server: CogServer, clip: str) -> None:
    given = draw_frame(0)[1]["disc"]
    picture, sent = BytesIO(), BytesIO()
    Image.fromarray(given).save(picture, "png")
    with zipfile.ZipFile(sent, "w") as archive:
        archive.writestr("0_disc.png", picture.getvalue())
    answer = server.predict(
        input_video=clip,
        mask_prompts=data_uri(sent.getvalue(), "application/zip"),
        prompts=json.dumps([{"x": 70, "y": 40, "frame_index": 0, "object_id": "rectangle"}]),
        output_masks=True,
        end_frame=1,
    )
    *images, masks = succeeded(answer)["output"]
    assert len(images) == 2
    with zipfile.ZipFile(BytesIO(content_of(masks, "application/zip"))) as archive:
        names = [f"{index}_{name}.png" for index in (0, 1) for name in ("disc", "rectangle")]
        assert archive.namelist() == names
        found = np.asarray(Image.open(BytesIO(archive.read("0_disc.png")))) == 255
    assert (found & given).sum() > 0.7 * (found | given).sum()


def test_a_client_may_send_the_defaults_of_the_schema(server: CogServer, clip: str) -> None:
    schemas = server.call("GET", "/openapi.json")[1]["components"]["schemas"]
    properties = schemas["Input"]["properties"]
    defaults = {name: item["default"] for name, item in properties.items() if "default" in item}
    assert "mask_prompts" in defaults
    given = {"input_video": clip, "click_coordinates": ON_DISC, "model": "pocket"}
    assert len(succeeded(server.predict(**(defaults | given)))["output"]) == 4


def test_a_preview_without_clicks_shows_where_to_click(server: CogServer, clip: str) -> None:
    (uri,) = succeeded(server.predict(input_video=clip, preview=True))["output"]
    assert Image.open(BytesIO(content_of(uri, "image/png"))).size == (96, 64)


def test_the_same_input_gives_the_same_bytes(server: CogServer, clip: str) -> None:
    first, second = (
        succeeded(server.predict(input_video=clip, click_coordinates=ON_DISC)) for _ in range(2)
    )
    assert first["output"] == second["output"]


def test_metrics_and_progress_are_there(server: CogServer, clip: str) -> None:
    answer = server.predict(
        input_video=clip,
        click_coordinates=ON_DISC,
        click_labels="1,0",
    )
    prediction = succeeded(answer)
    metrics = prediction["metrics"]
    assert (metrics["frames"], metrics["objects"]) == (4, 1)
    for name in ("decoding_seconds", "tracking_seconds", "encoding_seconds", "frames_per_second"):
        assert metrics[name] > 0
    assert re.search(r"\b100%\|.*\b4/4 ", prediction["logs"])
    assert "click_labels has 2 values for 1 clicks" in prediction["logs"]


@pytest.mark.parametrize(
    ("inputs", "field", "message"),
    [
        ({"mask_type": "green_screen"}, "mask_type", '"green_screen" is not one of'),
        ({"annotation_type": "bbox"}, "annotation_type", '"bbox" is not one of'),
        ({"video_fps": 241}, "video_fps", "241 is greater than the maximum of 240"),
        ({"text_threshold": 1.5}, "text_threshold", "1.5 is greater than the maximum of 1"),
        ({"output_quality": -1}, "output_quality", "-1 is less than the minimum of 0"),
        ({"output_frame_interval": 0}, "output_frame_interval", "0 is less than the minimum of 1"),
        ({"output_video": "true"}, "output_video", '"true" is not of type "boolean"'),
        ({"click_coordinates": [1, 2]}, "click_coordinates", 'is not of type "string"'),
        ({"input_video": None}, "input_video", 'null is not of type "string"'),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_input_that_the_schema_forbids_fails(
    server: CogServer, clip: str, inputs: dict[str, Any], field: str, message: str
) -> None:
    status, answer = server.predict(**({"input_video": clip} | inputs))
    assert status == 422
    (fault,) = answer["detail"]
    assert fault["loc"] == ["body", "input", field]
    assert message in fault["msg"]


def test_a_missing_video_fails(server: CogServer) -> None:
    status, answer = server.predict(click_coordinates=ON_DISC)
    assert status == 422
    assert answer["detail"][0]["loc"] == ["body", "input", "input_video"]
    assert answer["detail"][0]["msg"] == "Field required"


def test_a_click_outside_the_picture_fails(server: CogServer, clip: str) -> None:
    error = error_of(server.predict(input_video=clip, click_coordinates="[200,10]"))
    assert "click_coordinates[0] is [200, 10]; expected a point inside the 96x64 picture" in error


def test_no_click_at_all_fails(server: CogServer, clip: str) -> None:
    assert "expected click_coordinates, such as" in error_of(server.predict(input_video=clip))


@pytest.mark.parametrize(
    ("content", "media_type"),
    [(b"Not a video.\n" * 50, "video/mp4"), (b"", "video/mp4"), (b"<html></html>", "text/html")],
    ids=["text", "nothing", "page"],
)
def test_a_file_that_is_no_video_fails(server: CogServer, content: bytes, media_type: str) -> None:
    video = data_uri(content, media_type)
    error = error_of(server.predict(input_video=video, click_coordinates=ON_DISC))
    assert re.search("VideoError: input_video is .*(expected|is empty)", error)


def test_a_plain_text_for_a_file_fails(server: CogServer) -> None:
    error = error_of(server.predict(input_video="clip.mp4", click_coordinates=ON_DISC))
    assert "VideoError: input_video ('clip.mp4') cannot be read: No such file or directory" in error


@pytest.mark.parametrize("output_video", [True, False], ids=["video", "images"])
def test_a_cancelled_prediction_leaves_nothing_behind(
    server: CogServer, clip: str, tmp_path: Path, output_video: bool
) -> None:
    inputs = {
        "input_video": clip_uri(tmp_path / "long.mp4", num_frames=600),
        "click_coordinates": ON_DISC,
        "output_video": output_video,
        "model": "pocket",
    }
    name = f"cancelled-{output_video}"
    body = {"id": name, "input": inputs}
    answers: list[tuple[int, Any]] = []
    before = server.written_files()
    thread = threading.Thread(
        target=lambda: answers.append(server.call("PUT", f"/predictions/{name}", body))
    )
    thread.start()
    wait_for(lambda: server.written_files() - before, "the first output")
    assert bool(server.children("ffmpeg")) == output_video
    assert server.call("POST", f"/predictions/{name}/cancel")[0] == 200
    thread.join()
    ((status, prediction),) = answers
    assert (status, prediction["status"]) == (200, "canceled")
    assert server.children("ffmpeg") == []
    assert server.written_files() == set()
    next_one = server.predict(input_video=clip, click_coordinates=ON_DISC)
    assert len(succeeded(next_one)["output"]) == 4


def test_a_failed_prediction_leaves_no_file(server: CogServer, tmp_path: Path) -> None:
    inputs = {"click_coordinates": ON_DISC, "click_frames": "9"}
    error = error_of(server.predict(input_video=clip_uri(tmp_path / "a.mp4", 4), **inputs))
    assert "click_frames[0] is 9; expected a frame from 0 to 3" in error
    assert server.written_files() == set()
