"""The files of a prediction, as Cog's server uploads them one by one: names are all they have."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clips import draw_clip
from tests.cog_server import CogServer, data_uri, running_server, wait_for
from tests.openapi import PREDICT, read_inputs
from tests.predictor import predict
from tests.upload_server import UploadServer, upload_server

MEDIA_TYPES = {
    ".webp": "image/webp",
    ".png": "image/png",
    ".mp4": "video/mp4",
    ".json": "application/json",
    ".zip": "application/zip",
}
DATA_FILES = {
    "output_rle": True,
    "output_boxes": True,
    "output_masks": True,
    "output_confidences": True,
}
ON_DISC = "[11,19]"
"""A click on the disc of the first frame of a drawn clip."""


@pytest.fixture(scope="module")
def storage() -> Iterator[UploadServer]:
    with upload_server() as running:
        yield running


@pytest.fixture(scope="module")
def server(storage: UploadServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CogServer]:
    pytest.importorskip("coglet", reason="Cog is not installed; it comes with the extra `dev`")
    folder = tmp_path_factory.mktemp("cog")
    with running_server(folder, "--upload-url", storage.url) as running:
        yield running


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 4 frames."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    draw_clip(path, num_frames=4)
    return path


def video_uri(path: Path) -> str:
    return data_uri(path.read_bytes(), "video/mp4")


@pytest.mark.parametrize(
    "asked",
    [{"output_format": "png"}, {"output_video": True, "output_overlay": True}],
    ids=["images", "videos"],
)
def test_every_file_arrives_once_and_whole_under_its_own_name(
    server: CogServer, storage: UploadServer, clip: Path, asked: dict[str, Any]
) -> None:
    inputs = DATA_FILES | asked | {"click_coordinates": ON_DISC}
    prediction = server.predict(input_video=video_uri(clip), **inputs)[1]
    assert prediction["status"] == "succeeded", prediction
    uploads = storage.of(prediction["id"])
    expected = {path.name: path.read_bytes() for path in predict(input_video=clip, **inputs)}
    assert len(uploads) == len(expected)
    assert {upload.name: upload.content for upload in uploads} == expected
    for upload in uploads:
        assert upload.media_type == MEDIA_TYPES[Path(upload.name).suffix]
    assert sorted(prediction["output"]) == [f"{storage.url}{name}" for name in sorted(expected)]


def test_files_are_listed_in_the_order_in_which_their_uploads_end(
    server: CogServer, storage: UploadServer, clip: Path
) -> None:
    # Cog does so with lists too. Where this fails it has changed, and the form may promise more.
    storage.held = "output_video.mp4"
    inputs = {"click_coordinates": ON_DISC, "output_video": True, "output_rle": True}
    prediction = server.predict(input_video=video_uri(clip), **inputs)[1]
    storage.held = ""
    names = [url.removeprefix(storage.url) for url in prediction["output"]]
    assert names == ["rle.json", "output_video.mp4"]
    for field in read_inputs(PREDICT.read_text()):
        if field.name in {"output_video", "output_rle"}:
            assert "name" in field.options["description"]


def test_any_names_of_objects_make_files_of_their_own(
    server: CogServer, storage: UploadServer, tmp_path: Path
) -> None:
    draw_clip(tmp_path / "still.png", num_frames=1)
    names = ["cow#1", "cow#2", "cow_1", "%41", "A", "a?b", "a/b", "50 %", "狗", ".."]
    prompts = [{"x": 11, "y": 19, "frame_index": 0, "object_id": name} for name in names]
    prediction = server.predict(
        input_video=data_uri((tmp_path / "still.png").read_bytes(), "image/png"),
        prompts=json.dumps(prompts),
        multimask_output=True,
    )[1]
    assert prediction["status"] == "succeeded", prediction
    arrived = [upload.name for upload in storage.of(prediction["id"])]
    assert len(set(arrived)) == len(arrived) == len(set(prediction["output"]))
    assert len(arrived) == len(["frame_00000.webp", "rle.json"]) + 3 * len(names)
    assert {"candidate_cow_1_1.png", "candidate_cow_2_1.png", "candidate_狗_3.png"} <= set(arrived)


def cancel(server: CogServer, name: str) -> None:
    assert server.call("POST", f"/predictions/{name}/cancel")[0] == 200


def remove_output_folder(server: CogServer, name: str) -> None:
    (folder,) = server.temporary.glob("sam_video_*")
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("end", "status"),
    [(cancel, "canceled"), (remove_output_folder, "failed")],
    ids=["cancelled", "failed"],
)
def test_a_prediction_that_ends_early_uploads_nothing_more(
    server: CogServer,
    storage: UploadServer,
    tmp_path: Path,
    end: Callable[[CogServer, str], None],
    status: str,
) -> None:
    draw_clip(tmp_path / "long.mp4", num_frames=600)
    inputs = DATA_FILES | {"input_video": video_uri(tmp_path / "long.mp4"), "model": "pocket"}
    body = {"input": inputs | {"click_coordinates": ON_DISC}}
    answers: list[tuple[int, Any]] = []
    thread = threading.Thread(
        target=lambda: answers.append(server.call("PUT", f"/predictions/{status}", body))
    )
    thread.start()
    wait_for(lambda: storage.of(status), "the first file")
    end(server, status)
    thread.join()
    assert answers[0][1]["status"] == status
    counts = []
    for _ in range(2):  # what was on its way has arrived when another prediction has ended
        run_another(server, tmp_path)
        counts.append(len(storage.of(status)))
    assert counts[0] == counts[1]
    arrived = [upload.name for upload in storage.of(status)]
    assert len(set(arrived)) == len(arrived) < 600
    assert set(arrived) <= {f"frame_{index:05d}.webp" for index in range(600)}


def run_another(server: CogServer, folder: Path) -> None:
    draw_clip(folder / "short.mp4", num_frames=1)
    server.predict(input_video=video_uri(folder / "short.mp4"), click_coordinates=ON_DISC)
