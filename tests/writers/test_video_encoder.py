"""Writing videos: what players need, and what is left behind when it goes wrong."""

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.stream import VideoStream

from sam_video.errors import VideoError
from sam_video.limits import MAX_STALL_SECONDS
from sam_video.types import RGBImage
from sam_video.video.source import open_video
from sam_video.writers.video_encoder import VideoEncoder, find_ffmpeg
from sam_video.writers.video_forms import H264, PRORES_4444, VP9_ALPHA, VideoForm
from tests.alpha_video import decode_alpha
from tests.clips import draw_frame

RATE = Fraction(24)


def encode(
    path: Path,
    images: list[npt.NDArray[np.uint8]],
    frame_rate: Fraction = RATE,
    pixel_aspect: Fraction = Fraction(1),
) -> None:
    """Write images as a video."""
    height, width, num_channels = images[0].shape
    with closing(
        VideoEncoder(
            path,
            width=width,
            height=height,
            frame_rate=frame_rate,
            pixel_aspect=pixel_aspect,
            form=VP9_ALPHA if num_channels == 4 else H264,
        )
    ) as video:
        for image in images:
            video.write(image)
        video.finish()


@contextmanager
def stream_of(path: Path) -> Iterator[VideoStream]:
    with av.open(path) as container:
        yield container.streams.video[0]


def draw(num_frames: int = 5, size: tuple[int, int] = (96, 64)) -> list[RGBImage]:
    return [draw_frame(index, size)[0] for index in range(num_frames)]


def test_a_video_is_what_browsers_play(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", draw())
    with stream_of(tmp_path / "a.mp4") as stream:
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height, stream.pix_fmt) == (96, 64, "yuv420p")
        assert (stream.frames, stream.average_rate) == (5, RATE)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_frames_come_back_as_they_went_in(tmp_path: Path) -> None:
    images = draw(30)
    encode(tmp_path / "a.mp4", images)
    frames = list(open_video(tmp_path / "a.mp4").frames())
    assert [frame.pts_seconds for frame in frames] == [index / 24 for index in range(30)]
    for frame, image in zip(frames, images, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 6


@pytest.mark.parametrize(
    "colour",
    [(0, 255, 0), (255, 255, 255), (0, 0, 0), (255, 64, 64), (30, 60, 200), (128, 128, 128)],
    ids=str,
)
def test_a_plain_colour_stays_itself(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    encode(tmp_path / "a.mp4", [np.full((64, 96, 3), colour, np.uint8)] * 2)
    for frame in open_video(tmp_path / "a.mp4").frames():
        assert np.abs(frame.image.astype(int) - colour).max() <= 3


def test_colours_are_tagged_as_bt709(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", draw(1))
    with stream_of(tmp_path / "a.mp4") as stream:
        context = stream.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.color_range == 1


@pytest.mark.parametrize("size", [(97, 64), (96, 63), (97, 63), (1, 1), (17, 1)], ids=str)
def test_an_odd_size_repeats_its_edge(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    image = draw_frame(0, (97, 64))[0][:height, :width]
    encode(tmp_path / "a.mp4", [image] * 2)
    (first, _) = open_video(tmp_path / "a.mp4").frames()
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert first.image.shape == even.shape
    assert np.abs(first.image.astype(int) - even).mean() < 8


@pytest.mark.parametrize(
    "frame_rate",
    [
        Fraction(1, 60),
        Fraction(1),
        Fraction(30000, 1001),
        Fraction(2997, 100),
        Fraction(1800, 41),
        Fraction(240),
        Fraction(3840000, 239239),
    ],
    ids=str,
)
def test_every_frame_rate_is_kept(tmp_path: Path, frame_rate: Fraction) -> None:
    encode(tmp_path / "a.mp4", draw(), frame_rate)
    info = open_video(tmp_path / "a.mp4").info
    assert info.frame_rate == pytest.approx(frame_rate, rel=1e-9)
    if frame_rate.numerator < 1_000_000:  # the largest term that ffmpeg takes in a rate
        assert info.frame_rate == frame_rate
    times = [frame.pts_seconds for frame in open_video(tmp_path / "a.mp4").frames()]
    assert times == pytest.approx([float(index / frame_rate) for index in range(5)])


@pytest.mark.parametrize(
    "aspect", [Fraction(1), Fraction(16, 11), Fraction(1281, 1280), Fraction(3, 4)], ids=str
)
def test_the_pixel_aspect_is_kept(tmp_path: Path, aspect: Fraction) -> None:
    encode(tmp_path / "a.mp4", draw(), pixel_aspect=aspect)
    info = open_video(tmp_path / "a.mp4").info
    assert (info.width, info.height, info.pixel_aspect) == (96, 64, aspect)


def draw_alpha(num_frames: int = 5, size: tuple[int, int] = (96, 64)) -> list[RGBImage]:
    """Draw frames whose disc and rectangle alone are opaque."""
    images = []
    for index in range(num_frames):
        image, masks = draw_frame(index, size)
        opaque = masks["disc"] | masks["rectangle"]
        images.append(np.dstack([image, np.where(opaque, np.uint8(255), np.uint8(0))]))
    return images


def test_a_transparent_video_is_what_browsers_play(tmp_path: Path) -> None:
    encode(tmp_path / "a.webm", draw_alpha())
    with stream_of(tmp_path / "a.webm") as stream:
        assert stream.codec_context.name == "vp9"
        assert (stream.width, stream.height) == (96, 64)
        assert stream.average_rate == RATE
        assert stream.codec_context.colorspace == 1
    assert b"\x53\xc0\x81\x01" in (tmp_path / "a.webm").read_bytes()  # AlphaMode, 1 byte: 1
    times = [frame.pts_seconds for frame in open_video(tmp_path / "a.webm").frames()]
    assert times == pytest.approx([index / 24 for index in range(5)], abs=6e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["a.webm"]


def test_transparency_comes_back_as_it_went_in(tmp_path: Path) -> None:
    images = draw_alpha(24, (320, 180))
    encode(tmp_path / "a.webm", images)
    decoded = decode_alpha(tmp_path / "a.webm")
    for read, image in zip(decoded, images, strict=True):
        opaque, expected = read[..., 3] > 127, image[..., 3] > 127
        assert (opaque & expected).sum() / (opaque | expected).sum() >= 0.99
        assert np.abs(read[..., :3].astype(int) - image[..., :3]).mean() < 6


@pytest.mark.parametrize("size", [(97, 64), (96, 63), (97, 63), (1, 1)], ids=str)
def test_what_an_odd_size_gains_is_transparent(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    encode(tmp_path / "a.webm", [np.full((height, width, 4), 255, np.uint8)] * 2)
    for image in decode_alpha(tmp_path / "a.webm"):
        assert image.shape == (height + height % 2, width + width % 2, 4)
        opaque = image[..., 3] > 127
        assert opaque[:height, :width].all()
        assert not opaque[height:].any()
        assert not opaque[:, width:].any()


def test_a_transparent_video_keeps_the_pixel_aspect(tmp_path: Path) -> None:
    encode(tmp_path / "a.webm", draw_alpha(1), pixel_aspect=Fraction(4, 3))
    with stream_of(tmp_path / "a.webm") as stream:
        assert stream.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(("name", "drawn"), [("a.mp4", draw), ("a.webm", draw_alpha)])
def test_the_same_images_make_the_same_bytes(
    tmp_path: Path, name: str, drawn: Callable[[], list[RGBImage]]
) -> None:
    encode(tmp_path / name, drawn())
    first = (tmp_path / name).read_bytes()
    encode(tmp_path / name, drawn())
    assert (tmp_path / name).read_bytes() == first


def test_images_need_not_be_contiguous(tmp_path: Path) -> None:
    (image,) = draw(1)
    encode(tmp_path / "a.mp4", [image[::-1, ::-1]])
    (frame,) = open_video(tmp_path / "a.mp4").frames()
    assert np.abs(frame.image.astype(int) - image[::-1, ::-1]).mean() < 6


def test_a_name_is_a_name_and_not_an_option_or_an_address(tmp_path: Path) -> None:
    for name in ("-y.mp4", "http:a.mp4", "a %03d 'b'.mp4"):
        encode(tmp_path / name, draw(1))
        assert open_video(tmp_path / name).count_frames(10) == 1


def test_an_existing_file_is_replaced_only_when_the_new_one_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with closing(VideoEncoder(path, width=96, height=64, frame_rate=RATE)) as video:
        video.write(draw(1)[0])
        assert path.read_bytes() == b"old"
        video.finish()
    assert open_video(path).count_frames(10) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize(("name", "drawn"), [("a.mp4", draw), ("a.webm", draw_alpha)])
def test_leaving_by_an_exception_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException], name: str, drawn: Callable[[], list[RGBImage]]
) -> None:
    image = drawn()[0]
    video = VideoEncoder(
        tmp_path / name,
        width=96,
        height=64,
        frame_rate=RATE,
        form=VP9_ALPHA if image.shape[2] == 4 else H264,
    )
    with pytest.raises(error), closing(video):
        video.write(image)
        raise error
    assert list(tmp_path.iterdir()) == []
    assert video._process.returncode == -signal.SIGKILL


def test_leaving_without_finish_leaves_nothing_behind(tmp_path: Path) -> None:
    with closing(VideoEncoder(tmp_path / "a.mp4", width=96, height=64, frame_rate=RATE)) as video:
        video.write(draw(1)[0])
    assert list(tmp_path.iterdir()) == []


def test_an_exception_from_another_thread_interrupts_a_program_that_hangs(tmp_path: Path) -> None:
    """Cog cancels a prediction like this; here the program is stopped, so that the pipe fills."""
    script = f"""
        import ctypes, os, pathlib, signal, threading, time
        import numpy as np
        from contextlib import closing
        from fractions import Fraction
        from sam_video.writers.video_encoder import VideoEncoder

        class Cancelled(BaseException):
            pass

        def cancel(thread_id):
            time.sleep(0.5)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread_id), ctypes.py_object(Cancelled)
            )

        path = pathlib.Path({str(tmp_path / "a.mp4")!r})
        try:
            encoder = VideoEncoder(path, width=960, height=640, frame_rate=Fraction(24))
            with closing(encoder) as video:
                os.kill(video._process.pid, signal.SIGSTOP)
                threading.Thread(target=cancel, args=[threading.get_ident()]).start()
                while True:
                    video.write(np.zeros((640, 960, 3), np.uint8))
        except Cancelled:
            print("cancelled", list(path.parent.iterdir()), video._process.returncode)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.strip() == f"cancelled [] {-signal.SIGKILL}"


def test_a_program_that_dies_fails(tmp_path: Path) -> None:
    image = draw(1)[0]
    with (
        pytest.raises(VideoError, match=r"^'a.mp4' cannot be encoded: ffmpeg ended with status -9"),
        closing(VideoEncoder(tmp_path / "a.mp4", width=96, height=64, frame_rate=RATE)) as video,
    ):
        os.kill(video._process.pid, signal.SIGKILL)
        while True:
            video.write(image)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("num_images", [1, 50], ids=["at the end", "while it takes images"])
def test_a_program_that_hangs_is_killed_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_images: int
) -> None:
    monkeypatch.setenv(MAX_STALL_SECONDS.variable, "1")
    message = (
        "^'a.mp4' cannot be encoded: ffmpeg gets no further;"
        r" expected progress within 1 \(SAM_VIDEO_MAX_STALL_SECONDS\) seconds$"
    )
    video = VideoEncoder(tmp_path / "a.mp4", width=96, height=64, frame_rate=RATE)
    with pytest.raises(VideoError, match=message), closing(video):
        os.kill(video._process.pid, signal.SIGSTOP)
        for image in draw(num_images):
            video.write(image)
        video.finish()
    assert video._process.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("size", "form", "limit"),
    [((16385, 2), H264, 16384), ((2, 16385), H264, 16384), ((16384, 2), VP9_ALPHA, 16383)],
    ids=["wide", "high", "transparent"],
)
def test_larger_images_than_the_format_takes_fail_before_any_is_written(
    tmp_path: Path, size: tuple[int, int], form: VideoForm, limit: int
) -> None:
    width, height = size
    with pytest.raises(VideoError, match=f"'a' holds at most {limit} .* {width}x{height}; expect"):
        VideoEncoder(tmp_path / "a", width=width, height=height, frame_rate=RATE, form=form)


@pytest.mark.parametrize(("width", "num_channels"), [(16384, 3), (16383, 4)])
def test_the_largest_images_are_encoded(tmp_path: Path, width: int, num_channels: int) -> None:
    encode(tmp_path / "a", [np.zeros((2, width, num_channels), np.uint8)])
    with stream_of(tmp_path / "a") as stream:
        assert stream.width == 16384


def test_a_missing_folder_fails(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"^'a.mp4' cannot be encoded: .*No such file"):
        encode(tmp_path / "missing" / "a.mp4", draw())


def test_a_full_disk_fails(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    video = VideoEncoder(tmp_path / "a.mp4", width=640, height=480, frame_rate=RATE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        video.write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(VideoError, match=r"^'a.mp4' cannot be encoded: "):
        for _ in range(100):
            video.write(noise)
        video.finish()
    video.close()
    assert list(tmp_path.iterdir()) == []


def test_the_systems_program_is_used_if_it_has_all_encoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def install(encoders: str) -> str:
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\necho '{encoders}'\n")
        program.chmod(0o755)
        find_ffmpeg.cache_clear()
        return str(program)

    monkeypatch.setenv("PATH", str(tmp_path))
    every = "V....D libx264 H.264\nV....D libvpx-vp9 VP9\nVFS... prores_ks ProRes"
    program = install(every)
    assert find_ffmpeg() == program
    for missing, another in (("libx264", "libopenh264"), ("libvpx-vp9", "vp9_vaapi")):
        install(every.replace(missing, another))
        assert find_ffmpeg() not in (program, "ffmpeg")
    find_ffmpeg.cache_clear()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"#!/bin/sh\nexec sleep 100", id="hangs"),
        pytest.param(b"#!/nowhere\n", id="cannot be executed"),
        pytest.param(b"#!/bin/sh\nprintf '\\377libx264'", id="prints no text"),
        pytest.param(b"#!/bin/sh\ncat", id="reads its input"),
    ],
)
def test_a_system_program_that_is_of_no_use_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    program = tmp_path / "ffmpeg"
    program.write_bytes(content)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv(MAX_STALL_SECONDS.variable, "1")
    find_ffmpeg.cache_clear()
    assert find_ffmpeg() != str(program)
    find_ffmpeg.cache_clear()


def test_no_program_at_all_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", missing)
    find_ffmpeg.cache_clear()
    with pytest.raises(VideoError, match=r"^no ffmpeg program with libx264, .* and prores_ks is"):
        find_ffmpeg()
    find_ffmpeg.cache_clear()


@pytest.mark.parametrize("size", [(96, 64), (97, 63)], ids=["even", "odd"])
def test_prores_keeps_sizes_colours_and_transparency(tmp_path: Path, size: tuple[int, int]) -> None:
    width, height = size
    image = np.full((height, width, 4), (200, 60, 30, 0), np.uint8)
    image[10:40, 20:70, 3] = 255
    image[:, :20, 3] = 128
    path = tmp_path / "a.mov"
    with closing(
        VideoEncoder(path, width=width, height=height, frame_rate=RATE, form=PRORES_4444)
    ) as video:
        video.write(image)
        video.write(image)
        video.finish()
    with av.open(path) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.codec_tag == "ap4h"
        first, second = container.decode(stream)
        assert (first.width, first.height) == size
        assert first.format.name.startswith("yuva444p")
        for frame in (first, second):
            found = frame.to_ndarray(format="rgba")
            assert np.abs(found[..., 3].astype(int) - image[..., 3]).max() <= 2
            assert np.abs(found[..., :3].astype(int) - image[..., :3]).mean() < 3
