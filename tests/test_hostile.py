"""Hostile files of any kind, sent to the real server: each is answered, and the next one too."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.hostile import ON_DISC, SHARED, Outcome, good_clip, outcomes, row, send, zipped
from sam_video.cli import main
from sam_video.errors import SamVideoError
from sam_video.service.pipeline import segment_video
from sam_video.types import Click, ObjectPrompt
from tests.cog_server import CogServer
from tests.hostile_files import VIDEOS, clip, png_texts

PATIENCE = 3
"""Times the seconds that are accepted elsewhere: the machine may be busy."""
SHARED_FILES = sorted(SHARED.iterdir()) if SHARED.exists() else []


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return good_clip(tmp_path_factory.mktemp("good"))


def assert_answered(outcome: Outcome) -> None:
    assert not outcome.faults(patience=PATIENCE), row(outcome)


@pytest.mark.skipif(not SHARED_FILES, reason="needs the shared folder of bad files")
@pytest.mark.parametrize("path", SHARED_FILES, ids=lambda path: path.name)
def test_a_hostile_file_is_answered(server: CogServer, good: bytes, path: Path) -> None:
    for outcome in outcomes(server, path, good):
        assert_answered(outcome)


@pytest.mark.parametrize("name", VIDEOS)
def test_a_file_that_promises_too_much_is_answered(
    server: CogServer, good: bytes, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(VIDEOS[name](tmp_path))
    for outcome in outcomes(server, path, good):
        assert_answered(outcome)
    # What names another file does not get its pictures.
    if path.suffix in (".sdp", ".svg", ".asx", ".pls", ".url") or name.startswith(("hls", "con")):
        assert outcome.status == "failed"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(png_texts, id="texts of 600 MB"),
        pytest.param(lambda folder: clip(folder, "a.gif"), id="no PNG"),
        pytest.param(lambda folder: clip(folder, "a.png"), id="moving"),
    ],
)
def test_a_hostile_mask_is_answered(
    server: CogServer, good: bytes, tmp_path: Path, make: Callable[[Path], bytes]
) -> None:
    masks = zipped(make(tmp_path))
    outcome = send(server, "mask", len(masks), {"input_video": good, "mask_prompts": masks})
    assert_answered(outcome)
    assert outcome.status == "failed"


def test_the_server_works_after_all_of_them(server: CogServer, good: bytes) -> None:
    outcome = send(server, "", 0, {"input_video": good, "click_coordinates": ON_DISC})
    assert (outcome.status, outcome.text) == ("succeeded", "2 frames")


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_fifo(path: Path) -> None:
    make_fifo(path.with_name("pipe"))
    path.symlink_to("pipe")


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path may be no longer than 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(path.name)
    finally:
        os.chdir(here)


NO_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": make_fifo,
    "folder": Path.mkdir,
    "socket": make_socket,
    "link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "link to itself": lambda path: path.symlink_to(path),
    "link to a pipe": make_link_to_fifo,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to memory": lambda path: path.symlink_to("/proc/self/mem"),
}


@pytest.fixture(params=NO_FILES)
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    NO_FILES[request.param](tmp_path / "input")
    return tmp_path / "input"


def test_what_is_no_file_fails_at_once_on_the_command_line(
    no_file: Path, tmp_path: Path, good: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.mp4").write_bytes(good)
    options = ["-i", f"click_coordinates={ON_DISC}", "--model", "pocket", "-o", f"{tmp_path}/out"]
    for arguments in (
        ["info", str(no_file)],
        ["predict", "-i", f"input_video=@{no_file}", *options],
        ["predict", "-i", f"input_video=@{tmp_path}/good.mp4", "-i", f"mask_prompts=@{no_file}",
         *options],
    ):  # fmt: skip
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and "'input'" in line
    assert not (tmp_path / "out").exists()


def test_what_is_no_file_fails_at_once_from_python(no_file: Path) -> None:
    prompts = [ObjectPrompt("a", 0, (Click(1, 1),))]
    with pytest.raises(SamVideoError, match=r"^'input' "):
        next(segment_video(no_file, prompts, model="pocket"))
