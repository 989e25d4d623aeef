"""Replicate's own clients run the model: Cog's real server behind a stand-in for the API."""

import base64
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from sam_video import Click, ObjectPrompt, segment_video
from sam_video.types import BoolMask
from tests.clips import draw_clip
from tests.cog_server import PATIENCE_SECONDS, running_server
from tests.predictor import predict
from tests.replicate_api import ReplicateAPI, replicate_api

replicate = pytest.importorskip("replicate", reason="it comes with the extra `dev`")
pytest.importorskip("coglet", reason="Cog is not installed; it comes with the extra `dev`")

JAVASCRIPT = Path(__file__).parent / "javascript"
SERVICES = (Path(__file__).parents[1] / "docs" / "services.md").read_text()
MODEL = "sam/video"
VERSION = "sam/video:1"
INPUTS = {"click_coordinates": "[11,19]", "output_format": "png"}
"""A click on the disc of the first frame of a drawn clip."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicateAPI]:
    with running_server(tmp_path_factory.mktemp("cog")) as cog, replicate_api(cog) as running:
        yield running


@pytest.fixture(scope="module")
def client(api: ReplicateAPI) -> Any:
    client = replicate.Client(api_token="any", base_url=api.url)
    client.poll_interval = 0.05
    return client


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 4 frames."""
    path = tmp_path_factory.mktemp("clips") / "my clip.mp4"
    draw_clip(path, num_frames=4)
    return path


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that takes long enough to be cancelled meanwhile."""
    path = tmp_path_factory.mktemp("clips") / "long.mp4"
    draw_clip(path, num_frames=600)
    return path


@pytest.fixture(scope="module")
def masks(clip: Path) -> list[BoolMask]:
    """The masks of the clip's frames, as the package gives them."""
    prompts = [ObjectPrompt("disc", 0, clicks=(Click(11, 19),))]
    return [found.objects[0].mask.copy() for found in segment_video(clip, prompts, model="pocket")]


def masks_of(files: list[Any]) -> list[BoolMask]:
    """Read the files that a client got as binary masks."""
    images = [Image.open(BytesIO(file.read())) for file in files]
    assert {(image.mode, image.format) for image in images} == {("L", "PNG")}
    return [np.asarray(image) == 255 for image in images]


def frames_of(content: bytes) -> list[np.ndarray]:
    with av.open(BytesIO(content), "r") as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


# The client for Python


@pytest.mark.parametrize("wait", [True, False], ids=["wait", "poll"])
def test_a_file_is_uploaded_and_its_masks_come_back(
    api: ReplicateAPI, client: Any, clip: Path, masks: list[BoolMask], wait: bool
) -> None:
    with clip.open("rb") as file:
        files = client.run(MODEL, input=INPUTS | {"input_video": file}, wait=wait)
    np.testing.assert_array_equal(masks_of(files), masks)
    *_, sent = api.predictions.values()
    assert sent["input"]["input_video"].startswith(f"{api.url}/v1/files/")


def test_a_prediction_that_takes_longer_than_the_client_waits_is_polled(
    client: Any, clip: Path, masks: list[BoolMask], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.replicate_api.WAIT_SECONDS", 0)
    files = client.run(MODEL, input=INPUTS | {"input_video": clip})
    np.testing.assert_array_equal(masks_of(files), masks)


def test_a_file_may_be_sent_within_the_request(
    api: ReplicateAPI, client: Any, clip: Path, masks: list[BoolMask]
) -> None:
    files = client.run(MODEL, input=INPUTS | {"input_video": clip}, file_encoding_strategy="base64")
    np.testing.assert_array_equal(masks_of(files), masks)
    *_, sent = api.predictions.values()
    assert sent["input"]["input_video"].startswith("data:video/mp4;base64,")


def test_a_version_gives_its_files_one_by_one(
    api: ReplicateAPI, client: Any, clip: Path, masks: list[BoolMask]
) -> None:
    url = api.create_file("application/octet-stream", clip.read_bytes())["urls"]["get"]
    files = client.run(VERSION, input=INPUTS | {"input_video": f"{url}?signature=a%2Fb"})
    assert iter(files) is files
    np.testing.assert_array_equal(masks_of(list(files)), masks)


def test_videos_and_data_come_back_as_they_are_without_a_client(client: Any, clip: Path) -> None:
    asked = INPUTS | {"mask_type": "highlighted", "output_video": True, "output_rle": True}
    video, rle = client.run(MODEL, input=asked | {"input_video": clip})
    own_video, own_rle = predict(**asked, input_video=clip)
    np.testing.assert_array_equal(frames_of(video.read()), frames_of(own_video.read_bytes()))
    assert json.loads(rle.read()) == json.loads(own_rle.read_bytes())


def test_a_mistake_is_one_clear_line_and_the_logs_are_there(client: Any, clip: Path) -> None:
    inputs = INPUTS | {"click_labels": "1,0", "click_coordinates": "[200,10]"}
    with pytest.raises(replicate.exceptions.ModelError) as caught:
        client.run(MODEL, input=inputs | {"input_video": clip})
    expected = "click_coordinates[0] is [200, 10]; expected a point inside the 96x64 picture"
    assert str(caught.value).endswith(f"PromptError: {expected}")
    assert "click_labels has 2 values for 1 clicks" in caught.value.prediction.logs


def test_an_input_that_the_schema_forbids_names_its_field(client: Any, clip: Path) -> None:
    with pytest.raises(replicate.exceptions.ReplicateError) as caught:
        client.run(MODEL, input=INPUTS | {"input_video": clip, "mask_type": "green"})
    assert caught.value.status == 422
    assert 'input.mask_type: "green" is not one of' in caught.value.detail


def test_a_cancelled_prediction_makes_room_for_the_next_one(
    api: ReplicateAPI, client: Any, long_clip: Path, clip: Path, masks: list[BoolMask]
) -> None:
    files = client.run(VERSION, input=INPUTS | {"input_video": long_clip}, wait=False)
    (first,) = masks_of([next(files)])
    assert first.shape == (64, 96)
    assert first.any()
    *_, name = api.predictions
    client.predictions.cancel(name)
    assert len(list(files)) < 599
    prediction = client.predictions.get(name)
    assert prediction.status == "canceled"
    assert prediction.progress.current < prediction.progress.total == 600
    again = client.run(MODEL, input=INPUTS | {"input_video": clip})
    np.testing.assert_array_equal(masks_of(again), masks)


def test_progress_and_metrics_are_those_of_the_whole_video(client: Any, clip: Path) -> None:
    prediction = client.models.predictions.create(MODEL, INPUTS | {"input_video": clip})
    prediction.wait()
    progress = prediction.progress
    assert (progress.percentage, progress.current, progress.total) == (1.0, 4, 4)
    assert (prediction.metrics["frames"], prediction.metrics["objects"]) == (4, 1)


# The client for JavaScript


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the client and the scripts that use it."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("Node.js and npm are not installed")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copytree(JAVASCRIPT, folder, dirs_exist_ok=True)
    command = "npm ci --omit=optional --ignore-scripts --no-audit --no-fund --loglevel=error"
    try:
        installed = subprocess.run(
            [*command.split(), "--fetch-retries=0", "--fetch-timeout=20000"],
            cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip("npm cannot fetch Replicate's client in a minute")
    wrong_lock = re.search("EUSAGE|EINTEGRITY|ETARGET", installed.stderr)
    assert not wrong_lock, installed.stderr
    if installed.returncode:
        reason = " ".join(installed.stderr.split())
        pytest.skip(f"npm cannot fetch Replicate's client: {reason:.200}")
    return folder


Run = Callable[[str, Path], Any]


@pytest.fixture
def run_script(api: ReplicateAPI, scripts: Path) -> Run:
    """Runs a scenario on a clip, and returns what it prints."""

    def run(scenario: str, clip: Path) -> Any:
        ended = subprocess.run(
            ["node", "scenarios.js", scenario, f"{api.url}/v1", str(clip)],
            cwd=scripts, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


def decoded(contents: list[str]) -> list[BytesIO]:
    return [BytesIO(base64.b64decode(content)) for content in contents]


def test_javascript_uploads_a_buffer_and_reads_the_files(
    run_script: Run, clip: Path, masks: list[BoolMask]
) -> None:
    *images, rle = decoded(run_script("file", clip))
    np.testing.assert_array_equal(masks_of(images), masks)
    assert len(json.load(rle)["frames"]) == 4


def test_javascript_finds_the_progress_in_the_logs(
    run_script: Run, clip: Path, masks: list[BoolMask]
) -> None:
    got = run_script("url", clip)
    np.testing.assert_array_equal(masks_of(decoded(got["files"])), masks)
    assert got["progress"] == {"percentage": 1, "current": 4, "total": 4}


def test_javascript_gets_a_mistake_as_one_line(run_script: Run, clip: Path) -> None:
    message = run_script("mistake", clip)["message"]
    expected = "click_coordinates[0] is [200, 10]; expected a point inside the 96x64 picture"
    assert message.endswith(f"PromptError: {expected}")
    assert "\n" not in message


def test_javascript_learns_which_input_the_schema_forbids(run_script: Run, clip: Path) -> None:
    refusal = run_script("refusal", clip)
    assert refusal["status"] == 422
    assert "input.mask_type: " in refusal["message"]


def test_javascript_aborts_a_prediction(
    api: ReplicateAPI, run_script: Run, long_clip: Path
) -> None:
    got = run_script("abort", long_clip)
    assert 0 < got["progress"]["current"] < got["progress"]["total"] == 600
    assert api.wait_for_end(got["id"])["status"] == "canceled"


# The examples of docs/services.md


def examples(language: str, text: str) -> list[str]:
    """Find the page's examples in a language that have a text in them."""
    blocks = re.findall(rf"```{language}\n(.*?)```", SERVICES, re.DOTALL)
    return [block for block in blocks if text in block]


@pytest.fixture
def home(api: ReplicateAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to a folder with what the examples need: a video, and the clients' settings."""
    draw_clip(tmp_path / "clip.mp4", num_frames=2, size=(854, 480))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPLICATE_API_TOKEN", "any")
    monkeypatch.setenv("REPLICATE_BASE_URL", api.url)
    return tmp_path


@pytest.mark.parametrize("command", examples("sh", "curl "))
def test_the_requests_of_the_page_succeed(api: ReplicateAPI, home: Path, command: str) -> None:
    file = api.create_file("video/mp4", (home / "clip.mp4").read_bytes())
    words = shlex.split(command.replace("https://example.com/clip.mp4", file["urls"]["get"]))
    request = json.loads(words[words.index("-d") + 1])
    assert words[:2] == ["curl", "http://localhost:5000/predictions"]
    assert words[words.index("-H") + 1] == "Content-Type: application/json"
    status, prediction = api.cog.predict(**request["input"])
    assert (status, prediction["status"]) == (200, "succeeded"), prediction
    assert prediction["output"]


@pytest.mark.parametrize("program", examples("python", "import replicate"))
def test_the_programs_in_python_of_the_page_run(home: Path, program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert new_files(home)


@pytest.mark.parametrize("program", examples("js", 'from "replicate"'))
def test_the_programs_in_javascript_of_the_page_run(
    api: ReplicateAPI, home: Path, scripts: Path, program: str
) -> None:
    (home / "node_modules").symlink_to(scripts / "node_modules")
    given = program.replace("new Replicate()", f"new Replicate({{ baseUrl: '{api.url}/v1' }})")
    assert given != program
    (home / "program.mjs").write_text(given)
    ended = subprocess.run(
        ["node", "program.mjs"],
        capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert new_files(home)


def new_files(home: Path) -> list[Path]:
    """What a program has written; each file is a video of two frames."""
    videos = [path for path in home.glob("*.mp4") if path.name != "clip.mp4"]
    for video in videos:
        assert len(frames_of(video.read_bytes())) == 2
    return videos
