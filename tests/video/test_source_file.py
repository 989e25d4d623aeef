"""A file that changes while it is read is an error, and never a shorter video."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sam_video.errors import VideoError
from sam_video.types import Span
from sam_video.video.sound import read_sound
from sam_video.video.source import open_video
from sam_video.video.source_file import SourceFile
from tests.clips import draw_clip
from tests.sound_clips import draw_flash_clip

CHANGED = r"^'a\.\w+' changed while it was read$"


def overwrite(path: Path) -> None:
    """Write another video into the same file."""
    other = path.with_name(f"other{path.suffix}")
    draw_clip(other, num_frames=4)
    path.write_bytes(other.read_bytes())


def replace(path: Path) -> None:
    """Put another file in its place."""
    other = path.with_name(f"other{path.suffix}")
    draw_clip(other, num_frames=4)
    other.replace(path)


def touch(path: Path) -> None:
    """Set another time."""
    os.utime(path, (0, 0))


@pytest.mark.parametrize("change", [overwrite, replace, touch])
@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_a_file_that_changes_between_two_passes_fails(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    draw_clip(tmp_path / name, num_frames=30)
    source = open_video(tmp_path / name)
    change(tmp_path / name)
    with pytest.raises(VideoError, match=CHANGED):
        list(source.frames())


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.gif"])
def test_a_file_that_is_overwritten_in_the_middle_of_a_pass_fails(
    tmp_path: Path, name: str
) -> None:
    draw_clip(tmp_path / name, num_frames=200)
    frames = open_video(tmp_path / name).frames()
    next(frames)
    overwrite(tmp_path / name)
    with pytest.raises(VideoError, match=CHANGED):
        list(frames)


def test_a_file_that_is_removed_is_read_to_the_end_of_the_pass_and_then_fails(
    tmp_path: Path,
) -> None:
    draw_clip(tmp_path / "a.mp4", num_frames=30)
    source = open_video(tmp_path / "a.mp4")
    frames = source.frames()
    next(frames)
    (tmp_path / "a.mp4").unlink()
    assert len(list(frames)) == 29
    with pytest.raises(VideoError, match=r"^'a.mp4' cannot be read: No such file"):
        list(source.frames())


@pytest.mark.parametrize("change", [Path.unlink, overwrite])
def test_a_sound_that_is_not_there_any_more_is_a_warning(
    tmp_path: Path, change: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.mkv"
    draw_flash_clip(path, times=[index / 24 for index in range(24)], events=(0.5,), sound=(0, 1))
    file = SourceFile(path)
    assert np.concatenate(list(read_sound(file, [Span(0, 1, 0)])), axis=1).any()
    change(path)
    assert list(read_sound(file, [Span(0, 1, 0)])) == []
    (message,) = caplog.messages
    assert message.startswith("'a.mkv' ") and message.endswith("; what is written has no sound")


def test_a_file_has_the_name_that_it_is_given(tmp_path: Path) -> None:
    (tmp_path / "tmp123.txt").write_text("text")
    with pytest.raises(VideoError, match=r"^input_video is a text file; expected a video or an"):
        open_video(SourceFile(tmp_path / "tmp123.txt", "input_video"))
