"""Any frame is reached without decoding all before it, and is the same to the bit."""

import itertools
import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import av
import pytest

from sam_video.video import decoder, frame_map, picture_reader
from sam_video.video.source import open_video
from sam_video.video.source_file import SourceFile
from tests.clips import draw_clip
from tests.containers import CONTAINERS, NUM_FRAMES, frame_key

NOT_TOLD_BY_PACKETS = {
    "h264-open-gop.ts",
    "h264-refresh.ts",
    "h264.flv",
    "h264.avi",
    "raw.h264",
    "mpeg2.mpg",
    "mpeg2.ts",
    "mpeg4.avi",
    "mjpeg.avi",
    "wmv.wmv",
}
"""Clips whose frames only decoding can number."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, options in CONTAINERS.items():
        draw_clip(folder / name, num_frames=NUM_FRAMES, **options)
    return folder


@pytest.fixture(params=[0, 10**15], ids=["far", "near"])
def distance(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all frames count as far from the start, or none."""
    monkeypatch.setattr(picture_reader, "NEAR_PIXELS", request.param)
    monkeypatch.setattr(picture_reader, "MIN_BLOCK", 4)
    monkeypatch.setattr(frame_map, "MIN_BLOCK", 4)


@pytest.mark.usefixtures("distance")
@pytest.mark.parametrize("is_counted", [False, True], ids=["", "counted"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_frames_from_anywhere_are_those_of_decoding_all(
    clips: Path, name: str, is_counted: bool
) -> None:
    whole = [frame_key(frame) for frame in open_video(clips / name).frames()]
    source = open_video(clips / name)
    if is_counted:
        assert source.count_frames(50) == 50
    found = [frame_key(frame) for frame in source.frames_at([55, 3, 29, 30, 99])]
    assert found == [whole[index] for index in (3, 29, 30, 55)]
    for start in (37, 12, 0, NUM_FRAMES - 1, NUM_FRAMES, 1000):
        assert [frame_key(frame) for frame in source.frames(start)] == whole[start:]
    for last, first in ((44, 31), (59, 59), (1000, 40), (12, 0), (3, 9)):
        backward = [frame_key(frame) for frame in source.frames_backward(last, first)]
        assert backward == whole[first : last + 1][::-1]
    assert [source.count_frames(limit) for limit in (45, 1000)] == [45, NUM_FRAMES]


class Counter:
    """Counts what is decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.num_pictures = 0
        decode_packet = decoder._decode_packet

        def count(*args: Any) -> tuple[list[av.VideoFrame], bool]:
            pictures, is_damaged = decode_packet(*args)
            self.num_pictures += len(pictures)
            return pictures, is_damaged

        monkeypatch.setattr(decoder, "_decode_packet", count)


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    gop = "keyint=20:min-keyint=20:scenecut=0:bframes=3"
    draw_clip(tmp_path / "a.mkv", num_frames=400, options={"x264-params": gop})
    return tmp_path / "a.mkv"


def test_the_end_of_a_long_video_is_reached_by_seeking(
    long_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_reader, "NEAR_PIXELS", 10**6)
    source = open_video(long_clip)
    counter = Counter(monkeypatch)
    assert source.count_frames(391) == 391
    assert [frame.index for frame in source.frames_at([390])] == [390]
    assert [frame.index for frame in source.frames_backward(389, 385)] == [*range(389, 384, -1)]
    with closing(source.frames(390)) as frames:
        assert [frame.index for frame in itertools.islice(frames, 5)] == [*range(390, 395)]
    assert counter.num_pictures < 250


@pytest.mark.parametrize("name", CONTAINERS)
def test_packets_number_frames_where_time_stamps_are_trustworthy(clips: Path, name: str) -> None:
    found = frame_map.map_packets(SourceFile(clips / name), 40, picture_bytes=96 * 64)
    assert (found is None) is (name in NOT_TOLD_BY_PACKETS)
    if found is not None:
        assert (found.stop, found.is_complete) == (NUM_FRAMES, True)


def test_packets_are_read_as_far_as_needed(
    long_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_map, "PACKETS_AHEAD", 100)
    found = frame_map.map_packets(SourceFile(long_clip), 200, picture_bytes=96 * 64)
    assert found is not None
    assert 200 < found.stop < 300
    assert not found.is_complete
    assert found.keys_before(200) == [200, 180]


def zero_packet(path: Path, number: int) -> None:
    """Overwrite one packet of a file, by its number in the order of decoding."""
    with av.open(path) as container:
        packet = next(itertools.islice(container.demux(video=0), number, None))
        position, size = packet.pos, packet.size
    assert position is not None
    data = bytearray(path.read_bytes())
    data[position : position + size] = bytes(size)
    path.write_bytes(data)


@pytest.fixture(params=[13, 25, 41])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    draw_clip(tmp_path / "a.mp4", num_frames=NUM_FRAMES, **CONTAINERS["h264.mp4"])
    zero_packet(tmp_path / "a.mp4", request.param)
    yield tmp_path / "a.mp4"


@pytest.mark.parametrize("start", [20, 38])
def test_a_frame_that_is_lost_shifts_the_numbers_of_those_after_it(
    damaged: Path, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [frame_key(frame) for frame in open_video(damaged).frames()]
    assert len(whole) < NUM_FRAMES
    source = open_video(damaged)
    assert [frame_key(frame) for frame in source.frames_at([start])] == [whole[start]]
    assert [frame_key(frame) for frame in source.frames(start)] == whole[start:]
    backward = [frame_key(frame) for frame in source.frames_backward(1000, start)]
    assert backward == whole[start:][::-1]
    assert source.count_frames(1000) == len(whole)


def test_damage_that_a_seek_meets_does_not_change_the_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_clip(tmp_path / "a.mp4", num_frames=NUM_FRAMES, **CONTAINERS["h264.mp4"])
    zero_packet(tmp_path / "a.mp4", 50)
    whole = [frame_key(frame) for frame in open_video(tmp_path / "a.mp4").frames()]
    monkeypatch.setattr(picture_reader, "NEAR_PIXELS", 0)
    source = open_video(tmp_path / "a.mp4")
    assert [frame_key(frame) for frame in source.frames_at([38, 47])] == [whole[38], whole[47]]
    assert [frame_key(frame) for frame in source.frames(38)] == whole[38:]
    assert source.count_frames(1000) == len(whole)


def test_a_long_search_says_how_far_it_is(
    clips: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(picture_reader, "SECONDS_PER_REPORT", 0)
    source = open_video(clips / "h264-open-gop.ts")
    caplog.set_level(logging.INFO)
    counts = list(source.counts(50))
    assert (len(counts), counts[-1]) == (51, 50)
    assert caplog.messages[19] == "looking for frame 49: 20 frames are decoded"
