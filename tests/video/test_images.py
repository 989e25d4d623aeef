"""Reading still and animated images."""

import logging
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_video.errors import VideoError
from sam_video.types import RGBImage
from sam_video.video import images
from sam_video.video.source import open_video
from tests.clips import draw_clip, draw_frame
from tests.mutations import elements_of

ORIENTATION = 0x0112
"""EXIF tag."""

PICTURE, _ = draw_frame(0)

STILLS = ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tiff", "a.ppm", "a.gif", "a.avif", "a.jp2"]


def save(path: Path, image: RGBImage = PICTURE) -> Path:
    """Write an image, without loss where the format can."""
    lossless: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    Image.fromarray(image).save(path, **lossless)
    return path


@pytest.mark.parametrize("name", STILLS)
def test_a_still_image_is_a_video_of_one_frame(tmp_path: Path, name: str) -> None:
    source = open_video(save(tmp_path / name))
    assert source.info.is_still
    assert (source.info.width, source.info.height, source.info.num_frames) == (96, 64, 1)
    assert source.info.frame_rate > 0
    (frame,) = source.frames()
    assert (frame.index, frame.pts_seconds) == (0, 0.0)
    assert frame.image.flags.c_contiguous and frame.image.flags.writeable
    assert np.abs(frame.image.astype(int) - PICTURE).mean() < 9
    assert [len(list(source.frames_at(wanted))) for wanted in ([0], [0, 5], [3])] == [1, 1, 0]
    assert len(list(source.frames_backward(7))) == source.count_frames(7) == 1


def rgba(index: int) -> Image.Image:
    """Return a picture whose left half is opaque, and the rest transparent or half so."""
    image = np.dstack([draw_frame(index)[0], np.full((64, 96), 255, np.uint8)])
    image[:, 48:, 3], image[:, 72:, 3] = 0, 128
    return Image.fromarray(image)


def check_on_white(image: RGBImage, index: int, *, has_half: bool) -> None:
    drawn = draw_frame(index)[0].astype(int)
    assert np.abs(image[:, :46] - drawn[:, :46]).mean() < 9
    assert (image[:, 50:72] == 255).mean() > 0.9
    if has_half:
        assert np.abs(image[:, 74:] - (drawn[:, 74:] + 255) / 2).mean() < 9


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.avif", "a.tiff", "a.gif"])
def test_transparent_pixels_are_shown_on_white(tmp_path: Path, name: str) -> None:
    rgba(0).save(tmp_path / name)
    (frame,) = open_video(tmp_path / name).frames()
    check_on_white(frame.image, 0, has_half=name != "a.gif")


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.gif"])
def test_transparent_pixels_of_an_animation_are_shown_on_white(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"disposal": 2} if name == "a.gif" else {}
    rest = [rgba(index) for index in range(1, 4)]
    rgba(0).save(tmp_path / name, save_all=True, append_images=rest, duration=40, **options)
    frames = list(open_video(tmp_path / name).frames())
    assert len(frames) == 4
    for frame in frames:
        check_on_white(frame.image, frame.index, has_half=name != "a.gif")


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_colour_that_is_declared_transparent_is_shown_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (20, 10), 3 if mode != "RGB" else (3, 4, 5))
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.paste(200 if mode != "RGB" else (200, 0, 0), (0, 0, 10, 10))
    image.save(tmp_path / "a.png", transparency=3 if mode != "RGB" else (3, 4, 5))
    (frame,) = open_video(tmp_path / "a.png").frames()
    assert (frame.image[:, 10:] == 255).all()
    assert (frame.image[:, :10] == np.asarray(image.convert("RGB"))[:, :10]).all()


def test_the_suffix_of_an_image_does_not_matter(tmp_path: Path) -> None:
    assert open_video(save(tmp_path / "a.png").rename(tmp_path / "a.mp4")).info.is_still


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = PICTURE if orientation < 5 else PICTURE.swapaxes(0, 1)
    stored = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored,
        6: stored[::-1],
        7: stored[::-1, ::-1],
        8: stored[:, ::-1],
    }[orientation]
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    source = open_video(tmp_path / "a.png")
    assert (source.info.width, source.info.height) == (96, 64)
    assert np.array_equal(next(iter(source.frames())).image, PICTURE)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 96 * 64).reshape(64, 96).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    (frame,) = open_video(tmp_path / "a.png").frames()
    assert np.array_equal(frame.image, np.repeat((deep >> 8)[..., None], 3, axis=2))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    suffix = ".tiff" if mode == "CMYK" else ".png"
    Image.fromarray(PICTURE).convert(mode).save(tmp_path / f"a{suffix}")
    (frame,) = open_video(tmp_path / f"a{suffix}").frames()
    assert frame.image.shape == (64, 96, 3)


def test_pixels_of_32_bits_fail(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((64, 96), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(VideoError, match=r"^'a.tiff' .*pixels are of 32 bits, where 8 or 16"):
        open_video(tmp_path / "a.tiff")


def test_of_several_pages_the_first_is_the_image(tmp_path: Path) -> None:
    pages = [Image.fromarray(draw_frame(index)[0]) for index in range(3)]
    pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
    source = open_video(tmp_path / "a.tiff")
    assert source.info.is_still
    assert np.array_equal(next(iter(source.frames())).image, PICTURE)


TIMES = [0.0, 0.1, 0.3, 0.35, 0.5, 0.9]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_has_the_times_of_its_pictures(tmp_path: Path, name: str) -> None:
    draw_clip(tmp_path / name, num_frames=6, times=TIMES)
    source = open_video(tmp_path / name)
    frames = list(source.frames())
    assert [frame.pts_seconds for frame in frames] == TIMES
    for frame in frames:
        assert np.abs(frame.image.astype(int) - draw_frame(frame.index)[0]).mean() < 9
    assert source.info.frame_rate == Fraction(6, 1) / Fraction("1.3")
    assert source.info.num_frames == 6
    assert not source.info.is_still


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
@pytest.mark.parametrize("last", [11, 4, 0, 100, -1])
def test_an_animation_reads_backward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, last: int
) -> None:
    draw_clip(tmp_path / name, num_frames=12)
    monkeypatch.setattr(images, "BLOCK_BYTES", 5 * 96 * 64 * 3)
    source = open_video(tmp_path / name)
    forward = [(f.index, f.pts_seconds, f.image.tobytes()) for f in source.frames()]
    backward = [(f.index, f.pts_seconds, f.image.tobytes()) for f in source.frames_backward(last)]
    assert backward == forward[: last + 1][::-1]


def test_pictures_without_a_time_are_shown_for_a_tenth_of_a_second(tmp_path: Path) -> None:
    pictures = [Image.fromarray(draw_frame(index)[0]) for index in range(3)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=0)
    source = open_video(tmp_path / "a.gif")
    assert [frame.pts_seconds for frame in source.frames()] == [0.0, 0.1, 0.2]
    assert source.info.frame_rate == 10


def test_the_picture_for_programs_that_do_not_animate_is_no_frame(tmp_path: Path) -> None:
    still, *moving = [Image.fromarray(draw_frame(index)[0]) for index in range(4)]
    still.save(tmp_path / "a.png", save_all=True, append_images=moving, default_image=True)
    frames = list(open_video(tmp_path / "a.png").frames())
    assert len(frames) == 3
    assert np.array_equal(frames[0].image, np.asarray(moving[0]))


def test_an_animation_longer_than_the_probe_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PROBED_PICTURES", 4)
    draw_clip(tmp_path / "a.gif", num_frames=12, frame_rate=25)
    source = open_video(tmp_path / "a.gif")
    assert source.info.num_frames is None
    assert source.info.frame_rate == 25
    assert source.count_frames(100) == 12


def test_a_truncated_animation_keeps_what_decodes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.png"
    draw_clip(path, num_frames=12)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    source = open_video(path)
    assert 3 < len(list(source.frames())) < 12
    messages = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(messages) == 1
    assert messages[0].startswith("'a.png' is a damaged image")


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_a_truncated_still_image_fails(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(VideoError, match=rf"^'{name}' is a damaged image \(.+\)$"):
        open_video(path)


def test_an_image_that_is_too_large_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_VIDEO_MAX_FRAME_PIXELS", str(96 * 64 - 1))
    with pytest.raises(VideoError, match=r"^'a.png' has too many pixels; expected at most 6143"):
        open_video(save(tmp_path / "a.png"))


def test_a_header_of_absurd_size_fails(tmp_path: Path) -> None:
    data = bytearray(save(tmp_path / "a.gif").read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"
    (tmp_path / "a.gif").write_bytes(data)
    with pytest.raises(VideoError, match=r"^'a.gif' has too many pixels"):
        open_video(tmp_path / "a.gif")


def move_picture(data: bytes, number: int, x: int, y: int) -> bytes:
    """Place one picture of a GIF elsewhere."""
    pictures = [part for part in elements_of(data) if data[part.start] == 0x2C]
    place = pictures[number].start + 1
    return data[:place] + struct.pack("<HH", x, y) + data[place + 4 :]


def test_a_picture_beyond_the_edge_of_an_animation_is_cut_off(tmp_path: Path) -> None:
    draw_clip(tmp_path / "a.gif", num_frames=4)
    data = move_picture((tmp_path / "a.gif").read_bytes(), 2, 90, 60)
    (tmp_path / "a.gif").write_bytes(data)
    frames = list(open_video(tmp_path / "a.gif").frames())
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)] * 4


def test_a_picture_far_beyond_the_edge_of_an_animation_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draw_clip(tmp_path / "a.gif", num_frames=4)
    data = move_picture((tmp_path / "a.gif").read_bytes(), 2, 9000, 9000)
    (tmp_path / "a.gif").write_bytes(data)
    assert open_video(tmp_path / "a.gif").count_frames(10) == 2
    assert "its first 2 frames are used" in caplog.text


def test_of_large_pictures_fewer_are_read_to_learn_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "PROBED_PIXELS", 2 * 96 * 64)
    draw_clip(tmp_path / "a.gif", num_frames=2)
    assert open_video(tmp_path / "a.gif").info.num_frames == 2
    draw_clip(tmp_path / "a.gif", num_frames=3)
    source = open_video(tmp_path / "a.gif")
    assert (source.info.num_frames, source.count_frames(10)) == (None, 3)
