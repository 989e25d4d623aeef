"""Reading videos: what every container must give, forward and backward."""

import itertools
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from sam_video.errors import VideoError
from sam_video.types import RGBImage
from sam_video.video import decoder, frame_map
from sam_video.video.source import open_video
from sam_video.writers.video_encoder import find_ffmpeg
from tests.clips import DISC_COLOUR, RECTANGLE_COLOUR, draw_clip, draw_frame
from tests.containers import CONTAINERS, NUM_FRAMES, frame_key


def difference(image: RGBImage, other: RGBImage) -> float:
    """Return the mean absolute difference of two images, 0 to 255."""
    return float(np.abs(image.astype(int) - other).mean())


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, options in CONTAINERS.items():
        draw_clip(folder / name, num_frames=NUM_FRAMES, **options)
    return folder


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_gives_all_frames_in_order(clips: Path, name: str) -> None:
    source = open_video(clips / name)
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(NUM_FRAMES))
    times = np.array([frame.pts_seconds for frame in frames])
    rate = 25 if name == "raw.h264" else 24  # a raw stream has no times; 25 is FFmpeg's guess
    assert np.abs(times - times[0] - np.arange(NUM_FRAMES) / rate).max() < 0.002
    assert source.info.frame_rate == rate
    assert source.info.num_frames in (None, NUM_FRAMES)
    for frame in frames:
        image, masks = draw_frame(frame.index)
        assert frame.image.flags.c_contiguous and frame.image.dtype == np.uint8
        assert difference(frame.image, image) < 20
        assert difference(frame.image[masks["disc"]].mean(0), np.array(DISC_COLOUR)) < 25
        assert difference(frame.image[masks["rectangle"]].mean(0), np.array(RECTANGLE_COLOUR)) < 25


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize(
    "bounds",
    [(70_000, 64), (2**28, 1), (2**28, 20), (1, 64)],
    ids=["parts-of-a-gop", "a-gop", "two-gops", "single-frames"],
)
@pytest.mark.parametrize("last", [NUM_FRAMES - 1, 37])
def test_backward_is_forward_reversed(
    clips: Path, monkeypatch: pytest.MonkeyPatch, name: str, bounds: tuple[int, int], last: int
) -> None:
    block_bytes, min_block = bounds
    monkeypatch.setattr(frame_map, "BLOCK_BYTES", block_bytes)
    monkeypatch.setattr(frame_map, "MIN_BLOCK", min_block)
    source = open_video(clips / name)
    forward = [frame_key(frame) for frame in source.frames()]
    backward = [frame_key(frame) for frame in source.frames_backward(last)]
    assert backward == forward[: last + 1][::-1]


@pytest.mark.parametrize("last", [-1, 0, 10_000])
def test_backward_may_begin_anywhere(clips: Path, last: int) -> None:
    source = open_video(clips / "h264.mp4")
    indices = [frame.index for frame in source.frames_backward(last)]
    assert indices == list(range(min(last + 1, NUM_FRAMES)))[::-1]


@pytest.mark.parametrize("name", ["h264.mp4", "h264-open-gop.mkv", "vp9-hidden-frames.webm"])
def test_backward_decodes_each_frame_a_few_times_only(
    clips: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    source = open_video(clips / name)
    num_decoded = 0
    decode_packet = decoder._decode_packet

    def count(*args: Any) -> tuple[list[av.VideoFrame], bool]:
        nonlocal num_decoded
        pictures, is_damaged = decode_packet(*args)
        num_decoded += len(pictures)
        return pictures, is_damaged

    monkeypatch.setattr(frame_map, "BLOCK_BYTES", 70_000)
    monkeypatch.setattr(decoder, "_decode_packet", count)
    assert len(list(source.frames_backward(NUM_FRAMES - 1))) == NUM_FRAMES
    assert num_decoded < 4 * NUM_FRAMES


def test_frames_at_gives_the_frames_asked_for_in_order(clips: Path) -> None:
    source = open_video(clips / "h264.mp4")
    every = [frame_key(frame) for frame in source.frames()]
    found = [frame_key(frame) for frame in source.frames_at([41, 3, 3, 0, 60, 1000, -1])]
    assert found == [every[0], every[3], every[41]]
    assert list(source.frames_at([])) == []


def test_count_frames_stops_at_the_limit(clips: Path) -> None:
    source = open_video(clips / "h264-open-gop.mkv")
    assert [source.count_frames(limit) for limit in (0, 7, 1000)] == [0, 7, NUM_FRAMES]


def test_passes_over_one_source_do_not_disturb_each_other(clips: Path) -> None:
    source = open_video(clips / "h264.mp4")
    once = [frame_key(frame) for frame in source.frames()]
    pairs = zip(source.frames(), itertools.islice(source.frames(), 5, None), strict=False)
    assert [(frame_key(a), frame_key(b)) for a, b in pairs] == list(
        zip(once, once[5:], strict=False)
    )


@pytest.mark.parametrize("hflip", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_and_mirroring_are_applied(tmp_path: Path, rotation: int, hflip: bool) -> None:
    draw_clip(tmp_path / "a.mp4", num_frames=2, rotation=rotation, hflip=hflip)
    source = open_video(tmp_path / "a.mp4")
    assert (source.info.width, source.info.height) == (96, 64)
    for frame in source.frames():
        assert difference(frame.image, draw_frame(frame.index)[0]) < 8


@pytest.mark.parametrize(
    ("rotation", "expected"), [(0, Fraction(4, 3)), (90, Fraction(3, 4)), (180, Fraction(4, 3))]
)
def test_pixels_are_not_stretched_but_their_aspect_is_told(
    tmp_path: Path, rotation: int, expected: Fraction
) -> None:
    draw_clip(tmp_path / "a.mp4", rotation=rotation, pixel_aspect=Fraction(4, 3))
    info = open_video(tmp_path / "a.mp4").info
    assert (info.width, info.height, info.pixel_aspect) == (96, 64, expected)


@pytest.mark.parametrize("name", ["odd.mp4", "odd.webm"])
def test_odd_sizes_are_read_to_the_last_pixel(tmp_path: Path, name: str) -> None:
    draw_clip(tmp_path / name, size=(97, 63), num_frames=2)
    frame = next(iter(open_video(tmp_path / name).frames()))
    assert difference(frame.image, draw_frame(0, (97, 63))[0]) < 8


def test_a_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = [(5 * index + 2 * (index % 2)) / 100 for index in range(40)]
    draw_clip(tmp_path / "a.mp4", num_frames=40, times=times)
    source = open_video(tmp_path / "a.mp4")
    assert [frame.pts_seconds for frame in source.frames()] == times
    assert source.info.frame_rate == pytest.approx(20, rel=0.05)


def test_times_are_those_of_the_source_and_need_not_start_at_zero(tmp_path: Path) -> None:
    draw_clip(tmp_path / "a.mkv", num_frames=3, times=[1.5, 1.6, 1.7])
    frames = open_video(tmp_path / "a.mkv").frames()
    assert [frame.pts_seconds for frame in frames] == [1.5, 1.6, 1.7]


def test_a_rate_like_that_of_television_is_exact(tmp_path: Path) -> None:
    draw_clip(tmp_path / "a.mp4", frame_rate=Fraction(30000, 1001))
    source = open_video(tmp_path / "a.mp4")
    assert source.info.frame_rate == Fraction(30000, 1001)
    assert [frame.pts_seconds for frame in source.frames_at([11])] == [11 * 1001 / 30000]


def test_a_video_of_one_frame_is_no_still_image(tmp_path: Path) -> None:
    draw_clip(tmp_path / "a.mp4", num_frames=1)
    source = open_video(tmp_path / "a.mp4")
    assert not source.info.is_still
    assert source.count_frames(10) == 1


@pytest.mark.parametrize("name", ["clip.txt", "clip.m3u8", "clip.png", "clip", "ćlip %d\n.yuv"])
def test_the_name_of_a_file_does_not_matter(clips: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes((clips / "h264.mp4").read_bytes())
    assert open_video(tmp_path / name).count_frames(1000) == NUM_FRAMES


@pytest.mark.parametrize(
    ("pix_fmt", "tags"),
    [
        ("yuv420p", {}),
        ("yuv420p", {"colorspace": 1, "color_range": 1}),
        ("yuv420p", {"colorspace": 5, "color_range": 2}),
        ("yuv444p", {"colorspace": 9, "color_range": 1}),
        ("yuv420p10le", {"colorspace": 1, "color_range": 1}),
    ],
    ids=["untagged", "bt709", "bt601-full", "bt2020-444", "bt709-10-bit"],
)
def test_colours_are_those_of_the_ffmpeg_program(
    tmp_path: Path, pix_fmt: str, tags: dict[str, int]
) -> None:
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        picture = av.VideoFrame.from_ndarray(draw_frame(0)[0]).reformat(format=pix_fmt)
        picture.pts = 0
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    command = [find_ffmpeg(), "-i", str(path), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(64, 96, 3)
    (frame,) = open_video(path).frames()
    assert difference(frame.image, expected) < 0.5


def test_a_missing_file_fails(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"^'clip.mp4' cannot be read: No such file"):
        open_video(tmp_path / "clip.mp4")


def test_a_name_that_is_too_long_fails(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"^'x+' cannot be read: File name too long$"):
        open_video(tmp_path / ("x" * 1000))


def test_a_folder_fails(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r" is a folder; expected a video or an image$"):
        open_video(tmp_path)
