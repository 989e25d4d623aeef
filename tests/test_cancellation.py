"""Predictions that Cog's real server cancels, wherever they are: nothing of them stays."""

import base64
import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sam_video.checkpoints.catalogue import CHECKPOINTS
from tests.clips import draw_clip
from tests.cog_server import CogServer, RunningPrediction, running_server, wait_for
from tests.mirror import Mirror, running_mirror
from tests.sound_clips import draw_flash_clip
from tests.test_cli import start as start_command

DATA = Path(__file__).parents[2] / "shared" / "data"
MOST_SECONDS = 5.0
"""From the request to cancel to the answer. It is mostly a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Rig:
    """A server, what it downloads from, and what it is left like between predictions."""

    server: CogServer
    mirror: Mirror
    weights: Path
    """Where downloads go."""
    idle: tuple[set[int], int, int]

    def state(self) -> tuple[set[int], int, int]:
        """Return the processes, and how many threads and open files there are."""
        return self.server.processes, self.server.num_threads(), self.server.num_open_files()

    def assert_clean(self, clip: str) -> None:
        """Check that nothing has stayed, and that the next prediction runs."""
        assert list(self.server.temporary.rglob("*")) == []
        assert self.server.processes == self.idle[0]
        status, prediction = self.server.predict(input_video=clip, click_coordinates="[11,19]")
        assert (status, prediction["status"]) == (200, "succeeded"), prediction
        assert len(prediction["output"]) == 4
        wait_for(lambda: self.state() == self.idle, f"{self.idle} instead of {self.state()}")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, clip: str) -> Iterator[Rig]:
    pytest.importorskip("coglet", reason="Cog is not installed; it comes with the extra `dev`")
    num_bytes = CHECKPOINTS["tiny"].num_bytes
    assert num_bytes is not None
    weights = tmp_path_factory.mktemp("weights")
    with (
        running_mirror(bytes(num_bytes)) as mirror,
        running_server(
            tmp_path_factory.mktemp("cog"),
            SAM_VIDEO_WEIGHTS=str(weights),
            SAM_VIDEO_DOWNLOAD_URL=mirror.url,
        ) as server,
    ):
        for output_video in (False, True):
            server.predict(input_video=clip, click_coordinates="[11,19]", output_video=output_video)
        rig = Rig(server, mirror, weights, (set(), 0, 0))
        yield Rig(server, mirror, weights, rig.state())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip of 4 frames as a data URI."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    draw_clip(path, num_frames=4)
    return uri(path)


def uri(path: Path) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    return f"data:video/{path.suffix[1:]};base64,{content}"


def long_clip(folder: Path) -> dict[str, Any]:
    draw_clip(folder / "long.mp4", num_frames=600)
    return {"input_video": uri(folder / "long.mp4"), "click_coordinates": "[11,19]"}


def counted(folder: Path) -> dict[str, Any]:
    """A click far into many frames, which are counted first."""
    path = DATA / "bad" / "framebomb_18k_frames_720p.mp4"
    if not path.exists():
        pytest.skip("the shared data is not here")
    return {
        "input_video": uri(path),
        "click_coordinates": "[9,9]",
        "click_frames": "17000",
    }


def late(folder: Path) -> dict[str, Any]:
    """A click that is tracked backward for long, when no frame comes out yet."""
    return long_clip(folder) | {"click_frames": "500"}


def video(folder: Path) -> dict[str, Any]:
    return long_clip(folder) | {"output_video": True}


def large_frames(folder: Path) -> dict[str, Any]:
    """Frames that take the encoder longer than the tracker."""
    draw_clip(folder / "large.mp4", num_frames=9, size=(1920, 1080), options={"crf": "35"})
    return {
        "input_video": uri(folder / "large.mp4"),
        "click_coordinates": "[230,324]",
        "output_video": True,
        "mask_type": "alpha",
    }


def zipped(folder: Path) -> dict[str, Any]:
    return long_clip(folder) | {"output_masks": True, "output_confidences": True}


def sound(folder: Path) -> dict[str, Any]:
    """Few frames with minutes of sound."""
    times = [25.0 * index for index in range(20)]
    path = folder / "sound.mkv"
    draw_flash_clip(path, times=times, events=[0.0], sound=(0, 500), sound_rate=8000, frame_rate=1)
    return {"input_video": uri(path), "click_coordinates": "[30,20]", "output_overlay": True}


def large_files(server: CogServer, pattern: str) -> list[Path]:
    """Return the files of a name that the running prediction has begun to write."""
    found = server.temporary.glob(f"sam_video_*/{pattern}")
    return [path for path in found if path.stat().st_size]


def partial_files(server: CogServer, name: str) -> list[Path]:
    """Return the file of a name, if the running prediction has begun to write it."""
    return large_files(server, f".sam_video_*/.{name}.partial")


def has_run_for_a_while(server: CogServer) -> bool:
    time.sleep(0.5)
    return True


POINTS: dict[str, tuple[Callable[[Path], dict[str, Any]], Callable[[CogServer], object]]] = {
    "at its start": (long_clip, lambda server: True),
    "counting frames": (counted, has_run_for_a_while),
    "tracking backward": (late, has_run_for_a_while),
    "tracking": (long_clip, lambda server: large_files(server, "frame_00009.webp")),
    "encoding": (video, lambda server: partial_files(server, "output_video.mp4")),
    "encoding large frames": (
        large_frames,
        lambda server: server.children("ffmpeg") and has_run_for_a_while(server),
    ),
    "writing zips": (zipped, lambda server: partial_files(server, "masks.zip")),
    "joining sound": (sound, lambda server: partial_files(server, "overlay.mp4")),
}
"""Inputs, and how it shows that the prediction has got there."""


@pytest.mark.parametrize("point", POINTS)
def test_a_cancelled_prediction_leaves_nothing(
    rig: Rig, clip: str, tmp_path: Path, point: str
) -> None:
    inputs, is_there = POINTS[point]
    with rig.server.running(**inputs(tmp_path)) as prediction:
        wait_for(lambda: prediction.answer.done() or is_there(rig.server), point)
        assert_cancelled(prediction)
    rig.assert_clean(clip)


def assert_cancelled(prediction: RunningPrediction) -> None:
    seconds = prediction.cancel()
    print(f"{seconds:.2f} s")
    status, answer = prediction.answer.result()
    assert (status, answer["status"]) == (200, "canceled"), answer
    assert seconds < MOST_SECONDS


def test_a_download_is_cancelled_at_once_and_taken_up_later(rig: Rig, clip: str) -> None:
    rig.mirror.may_finish.clear()
    with rig.server.running(input_video=clip, click_coordinates="[11,19]", model="tiny") as running:
        (name,) = [CHECKPOINTS["tiny"].file_name]
        wait_for(lambda: list(rig.weights.glob(f"{name}.part")), "the download")
        wait_for(lambda: (rig.weights / f"{name}.part").stat().st_size > 10**6, "its first bytes")
        assert_cancelled(running)
    rig.mirror.may_finish.set()
    assert {path.name for path in rig.weights.iterdir()} == {f"{name}.part"}
    rig.assert_clean(clip)
    _, answer = rig.server.predict(input_video=clip, click_coordinates="[11,19]", model="tiny")
    assert "has sha256" in answer["error"]  # what the mirror sends are zeros
    assert rig.mirror.ranges[-1] is not None
    rig.assert_clean(clip)


def test_a_server_that_says_nothing_does_not_hold_a_cancellation_up(rig: Rig, clip: str) -> None:
    rig.mirror.may_start.clear()
    rig.mirror.is_asked.clear()
    with rig.server.running(input_video=clip, click_coordinates="[11,19]", model="tiny") as running:
        assert rig.mirror.is_asked.wait(60)
        assert_cancelled(running)
    rig.mirror.may_start.set()
    rig.assert_clean(clip)


def test_a_client_that_goes_away_cancels_its_prediction(
    rig: Rig, clip: str, tmp_path: Path
) -> None:
    inputs = long_clip(tmp_path) | {"model": "pocket", "output_video": True}
    connection = http.client.HTTPConnection("127.0.0.1", rig.server.port)
    body = json.dumps({"input": inputs})
    connection.request("POST", "/predictions", body, {"Content-Type": "application/json"})
    wait_for(lambda: rig.server.children("ffmpeg"), "the encoder")
    connection.close()
    wait_for(lambda: rig.server.health()["status"] == "READY", "the end")
    rig.assert_clean(clip)


def test_a_second_prediction_is_refused_while_one_runs(rig: Rig, clip: str, tmp_path: Path) -> None:
    with rig.server.running(**long_clip(tmp_path)) as running:
        inputs = {"input_video": clip, "click_coordinates": "[11,19]"}
        status, answer = rig.server.call("POST", "/predictions", {"input": inputs})
        assert (status, answer["error"]) == (409, "At capacity - all prediction slots busy")
        assert not running.answer.done()
        assert_cancelled(running)
    rig.assert_clean(clip)


def test_control_c_ends_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    num_bytes = CHECKPOINTS["tiny"].num_bytes
    assert num_bytes is not None
    with running_mirror(bytes(num_bytes)) as mirror:
        mirror.may_finish.clear()
        monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(tmp_path))
        monkeypatch.setenv("SAM_VIDEO_DOWNLOAD_URL", mirror.url)
        process = start_command("download", "tiny")
        assert mirror.is_asked.wait(60)
        os.killpg(process.pid, signal.SIGINT)
        _, log = process.communicate(timeout=MOST_SECONDS)
    assert process.returncode == 130
    assert "Traceback" not in log
    assert {path.suffix for path in tmp_path.iterdir()} <= {".part", ".lock"}
