"""Naming what a file is that is no video."""

import io
import zipfile
from pathlib import Path

import pytest

from sam_video.errors import VideoError
from sam_video.video.file_types import describe_other
from sam_video.video.source import open_video
from sam_video.video.source_file import SourceFile
from tests.clips import draw_clip


def zip_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.jpg", b"\xff\xd8\xff\xe0")
    return buffer.getvalue()


OTHER_FILES = {
    "an empty file (0 bytes)": b"",
    "a text file": "Not a video, naïvely named one.".encode() * 300,
    "an HTML page": b"\n<!doctype html><title>404</title>",
    "a playlist, which names other files": b"#EXTM3U\n/etc/passwd\0",
    "a zip archive": zip_bytes(),
    "a PDF document": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
    "a gzip archive": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "an audio file": b"ID3\x04\x00\x00\x00\x00\x00\x00",
    "a HEIF image, which cannot be decoded here": b"\0\0\0\x1cftypheic\0\0\0\0mif1heic",
    "of no known video or image format": bytes(range(1, 256)) * 20,
    "an MP4 file whose index (moov) is missing or damaged": b"\0\0\0\x14ftypisom\0\0\2\0isom",
}


@pytest.mark.parametrize("found", OTHER_FILES)
def test_something_else_is_named_and_fails(tmp_path: Path, found: str) -> None:
    (tmp_path / "clip.mp4").write_bytes(OTHER_FILES[found])
    with pytest.raises(VideoError) as caught:
        open_video(tmp_path / "clip.mp4")
    assert str(caught.value).startswith(f"'clip.mp4' is {found}")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.avi", "a.ts", "a.flv", "a.gif", "a.webp"])
def test_a_video_is_nothing_else(tmp_path: Path, name: str) -> None:
    draw_clip(tmp_path / name, codec={".ts": "libx264", ".flv": "flv"}.get(Path(name).suffix))
    assert describe_other(SourceFile(tmp_path / name)) is None


def test_raw_pixels_that_look_like_text_are_no_text_file(tmp_path: Path) -> None:
    gray = b"YUV4MPEG2 W96 H64 F24:1\nFRAME\n" + b"d" * (96 * 64 * 3 // 2)
    (tmp_path / "a.y4m").write_bytes(gray)
    (frame,) = open_video(tmp_path / "a.y4m").frames()
    assert frame.image.shape == (64, 96, 3)
