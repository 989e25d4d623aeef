"""Decoding what is damaged, hostile or strange, and the videos of the shared folder."""

import csv
import itertools
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from sam_video.errors import VideoError
from sam_video.video import decoder, frame_map
from sam_video.video.decoder import Decoder
from sam_video.video.source import open_video
from sam_video.video.source_file import SourceFile
from tests.clips import draw_clip, draw_frame
from tests.containers import CONTAINERS, NUM_FRAMES, frame_key

DATA = Path(__file__).parents[3] / "shared" / "data"


def draw(folder: Path, name: str) -> Path:
    """Write one of the clips of `CONTAINERS` and return its path."""
    draw_clip(folder / name, num_frames=NUM_FRAMES, **CONTAINERS[name])
    return folder / name


def test_the_best_of_several_video_streams_is_read(tmp_path: Path) -> None:
    with av.open(tmp_path / "a.mkv", "w") as container:
        sizes = [(32, 32), (96, 64)]
        streams = [container.add_stream("mpeg4", rate=24) for _ in sizes]
        for stream, size in zip(streams, sizes, strict=True):
            (stream.width, stream.height), stream.pix_fmt = size, "yuv420p"
        streams[0].disposition, streams[1].disposition = Disposition(0), Disposition.default
        for index, (stream, size) in itertools.product(range(3), zip(streams, sizes, strict=True)):
            picture = av.VideoFrame.from_ndarray(draw_frame(index, size)[0])
            picture.pts, picture.time_base = index, Fraction(1, 24)
            container.mux(stream.encode(picture))
        for stream in streams:
            container.mux(stream.encode(None))
    source = open_video(tmp_path / "a.mkv")
    assert (source.info.width, source.info.height) == (96, 64)
    assert source.count_frames(10) == 3


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("num_threads", [1, 4])
@pytest.mark.parametrize("name", ["h264-open-gop.mkv", "h264-open-gop.ts", "h264.flv"])
def test_a_truncated_tail_keeps_what_decodes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, num_threads: int
) -> None:
    path = draw(tmp_path, name)
    whole = [frame_key(frame) for frame in open_video(path).frames()]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.cpu_count", lambda: num_threads)
        source = open_video(path)
    frames = [frame_key(frame) for frame in source.frames()]
    assert 20 < len(frames) < 50
    assert frames[:20] == whole[:20]
    assert [frame_key(frame) for frame in source.frames_backward(1000)] == frames[::-1]
    assert len(warnings_of(caplog)) <= 1


@pytest.mark.parametrize("num_threads", [2, 8])
def test_damage_in_the_middle_gives_the_same_frames_with_any_number_of_threads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    num_threads: int,
) -> None:
    path = draw(tmp_path, "h264-open-gop.ts")
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 3, len(data) // 2, 1000):
        data[place] ^= 0x55
    path.write_bytes(data)

    def read(num_threads: int) -> list[tuple[int, float, bytes]]:
        monkeypatch.setattr("os.cpu_count", lambda: num_threads)
        source = open_video(path)
        frames = [frame_key(frame) for frame in source.frames()]
        assert [frame_key(frame) for frame in source.frames()] == frames
        assert [frame_key(frame) for frame in source.frames_backward(1000)] == frames[::-1]
        return frames

    expected = read(1)
    assert len(expected) > NUM_FRAMES // 2
    assert warnings_of(caplog) == [f"{path.name!r} is damaged; the frames that decode are used"]
    assert read(num_threads) == expected


def test_a_stream_that_begins_in_the_middle_does_not_end_the_video(tmp_path: Path) -> None:
    path = draw(tmp_path, "mpeg2.ts")
    data = bytearray(path.read_bytes())
    packets = range(len(data) // 188 * 6 // 10 * 188, len(data), 188)
    begins_picture = (start for start in packets if data[start + 1 : start + 3] == b"\x41\x00")
    data[next(begins_picture) + 2] = 0x05  # the number of the stream: 0x105 instead of 0x100
    path.write_bytes(data)
    assert open_video(path).count_frames(1000) >= NUM_FRAMES - 3


def write_sound(path: Path, *, has_cover: bool) -> None:
    """Write a second of silence, with a cover picture or without."""
    with av.open(path, "w") as container:
        sound = container.add_stream("aac", rate=44100)
        if has_cover:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
            cover.disposition = Disposition.attached_pic
            container.mux(cover.encode(av.VideoFrame.from_ndarray(draw_frame(0)[0])))
            container.mux(cover.encode(None))
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 44100), np.float32), "fltp")
        samples.sample_rate, samples.pts = 44100, 0
        container.mux(sound.encode(samples))
        container.mux(sound.encode(None))


@pytest.mark.parametrize("has_cover", [False, True], ids=["", "with-cover"])
def test_sound_alone_fails(tmp_path: Path, has_cover: bool) -> None:
    write_sound(tmp_path / "song.mp4", has_cover=has_cover)
    with pytest.raises(VideoError, match=r"^'song.mp4' has no video stream \(audio only\)$"):
        open_video(tmp_path / "song.mp4")


def test_a_stream_of_which_no_frame_decodes_fails_with_its_error_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = draw(tmp_path, "mjpeg.avi")
    data = path.read_bytes()
    start = data.index(b"movi") + 4
    path.write_bytes(data[:start] + bytes(len(data) - start))
    with pytest.raises(VideoError, match=r"^'mjpeg.avi' has a video stream of which no frame"):
        open_video(path)
    assert not warnings_of(caplog)


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{}\n#EXT-X-ENDLIST\n"
PLAYLISTS = {
    "hls": HLS,
    "hls-after-a-mark": f"\ufeff{HLS}",
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("reader", [open_video, Decoder], ids=["whole", "decoder-alone"])
@pytest.mark.parametrize("name", PLAYLISTS)
def test_a_playlist_that_names_another_file_fails(tmp_path: Path, name: str, reader: Any) -> None:
    segment = draw(tmp_path, "mpeg2.ts")
    (tmp_path / "list.mp4").write_text(PLAYLISTS[name].format(segment))
    with pytest.raises(VideoError, match=r"^'list.mp4' is (a playlist|a text file|of no known)"):
        reader(SourceFile(tmp_path / "list.mp4"))


def test_frames_that_are_too_large_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw(tmp_path, "h264.mp4")
    monkeypatch.setenv("SAM_VIDEO_MAX_FRAME_PIXELS", str(96 * 64 - 1))
    with pytest.raises(VideoError, match=r"^'h264.mp4' has frames of 96x64 pixels; expected at"):
        open_video(path)


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.avi", "ffv1.mkv"])
def test_frames_as_large_as_allowed_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    draw_clip(tmp_path / name, num_frames=4, size=(98, 50), **CONTAINERS[name])
    monkeypatch.setenv("SAM_VIDEO_MAX_FRAME_PIXELS", str(98 * 50))
    assert open_video(tmp_path / name).count_frames(10) == 4


def write_growing_clip(folder: Path) -> Path:
    """Write a clip of four small frames and four large ones."""
    parts = []
    for name, size in {"small.h264": (96, 64), "large.h264": (192, 96)}.items():
        draw_clip(folder / name, codec="libx264", num_frames=4, size=size)
        parts.append((folder / name).read_bytes())
    (folder / "growing.h264").write_bytes(b"".join(parts))
    return folder / "growing.h264"


def test_a_size_that_changes_is_scaled_to_the_first(tmp_path: Path) -> None:
    frames = list(open_video(write_growing_clip(tmp_path)).frames())
    assert [frame.image.shape for frame in frames] == [(64, 96, 3)] * 8


def test_frames_that_grow_too_large_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_growing_clip(tmp_path)
    monkeypatch.setenv("SAM_VIDEO_MAX_FRAME_PIXELS", str(96 * 64))
    assert open_video(path).count_frames(10) == 4


def index_rows(name: str) -> list[Any]:
    path = DATA / name / "INDEX.tsv"
    if not path.exists():
        reason = pytest.mark.skip(reason=f"the shared folder of {name} is not here")
        return [pytest.param({}, marks=reason)]
    with path.open() as file:
        return [pytest.param(row, id=row["file"]) for row in csv.DictReader(file, delimiter="\t")]


ANIMATED_WEBP = ("derived_animated.webp", 30, (320, 180))
"""FFmpeg 5.1, which the index is from, cannot read animated WebP; Pillow can."""


@pytest.mark.parametrize("row", index_rows("videos"))
def test_a_video_of_the_shared_folder_is_as_its_index_says(row: dict[str, str]) -> None:
    source = open_video(DATA / "videos" / row["file"])
    num_frames, size = int(row["frames_decoded"]), (int(row["w"]), int(row["h"]))
    if row["file"] == ANIMATED_WEBP[0]:
        num_frames, size = ANIMATED_WEBP[1:]
    if row["display_rotation"] in ("90", "-90"):
        size = (size[1], size[0])
    assert source.count_frames(10_000) == num_frames
    assert (source.info.width, source.info.height) == size
    first = next(iter(source.frames()))
    assert first.image.shape == (size[1], size[0], 3)
    assert first.pts_seconds == pytest.approx(float(row["first_pts"] or 0), abs=1e-6)
    assert not source.info.is_still
    if row["file"].endswith(("mp4", "MP4", "mkv", "webm", "mov", "avi")):
        assert source.info.frame_rate == Fraction(row["avg_frame_rate"])
        assert source.info.pixel_aspect == Fraction(row["sar"].replace(":", "/") or 1)


@pytest.mark.parametrize(
    "name",
    [
        "derived_bitrot_midstream.mp4",
        "derived_editlist_midgop.mp4",
        "derived_negative_cts.mp4",
        "derived_phone_portrait_rot.mov",
        "derived_truncated_tail_60pct.mp4",
        "exo_sample_fragmented.mp4",
        "mp4ff_bbb_prog_10s.mp4",
        "torchcodec_nasa_13013.mp4",
    ],
)
def test_a_video_of_the_shared_folder_reads_backward(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = DATA / "videos" / name
    if not path.exists():
        pytest.skip("the shared folder of videos is not here")
    monkeypatch.setattr(frame_map, "BLOCK_BYTES", 12 * 2**20)
    source = open_video(path)
    forward = [frame_key(frame) for frame in source.frames()]
    assert [frame_key(frame) for frame in source.frames_backward(10_000)] == forward[::-1]


@pytest.mark.parametrize("row", index_rows("bad"))
def test_a_hostile_file_gives_frames_or_a_line_that_says_why_not(
    row: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    try:
        source = open_video(DATA / "bad" / row["file"])
        frames = list(source.frames_at(range(5)))
        assert frames
        assert [frame.index for frame in source.frames_backward(3)] == [
            frame.index for frame in frames[3::-1]
        ]
    except VideoError as error:
        assert str(error).startswith(f"{row['file']!r} ")
        assert "\n" not in str(error)
        assert not warnings_of(caplog)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((640, 360), 8), ((3840, 2160), 8), ((7680, 4320), 2), ((8192, 8192), 1), ((0, 0), 8)],
)
def test_fewer_threads_decode_large_frames(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], expected: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert decoder._num_threads(size[0] * size[1]) == expected
