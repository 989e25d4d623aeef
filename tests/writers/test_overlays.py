"""The overlay video: its pictures and its sound, decoded and compared in time with the source."""

import logging
import tracemalloc
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from fractions import Fraction
from functools import partial
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from sam_video.types import (
    Frame,
    MaskFrame,
    ObjectMask,
    RGBImage,
    Samples,
    Span,
    VideoInfo,
)
from sam_video.video.sound import read_sound
from sam_video.video.source import open_video
from sam_video.writers.overlays import OverlayWriter
from sam_video.writers.render import highlighted
from tests.clips import draw_clip, draw_frame
from tests.mask_frames import INFO, mask_frame, moving_discs, write_all
from tests.sound_clips import CODECS, beeps, draw_flash_clip, flashes

EVENTS = (0.5, 1.25, 1.75)
REGULAR = [index / 24 for index in range(48)]


def overlay(
    folder: Path,
    source: Path,
    *,
    start: int = 0,
    interval: int = 1,
    video_fps: int = 0,
) -> Path:
    """Write the overlay of a clip, without any masks."""
    video = open_video(source)
    frames = islice(video.frames(), start, None, interval)
    writer = OverlayWriter(folder, video.info, partial(read_sound, source), video_fps)
    (path,) = write_all(writer, (MaskFrame(frame, ()) for frame in frames))
    return path


def no_sound(_: Sequence[Span]) -> Generator[Samples, None, None]:
    """Read the sound of a file that has none."""
    yield from ()


def times_of(path: Path) -> list[float]:
    with av.open(path) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def test_the_overlay_has_every_frame_with_its_masks_drawn_on_it(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    known = draw_clip(source, num_frames=10)
    video = open_video(source)
    frames = [
        MaskFrame(frame, (ObjectMask("disc", 0, masks["disc"], 1.0, 1.0),))
        for frame, masks in zip(video.frames(), known, strict=True)
    ]
    (path,) = write_all(OverlayWriter(tmp_path, video.info, partial(read_sound, source)), frames)
    assert path == tmp_path / "overlay.mp4"
    assert sorted(tmp_path.iterdir()) == [path, source]
    decoded = list(open_video(path).frames())
    assert [frame.pts_seconds for frame in decoded] == [index / 24 for index in range(10)]
    for frame, masks in zip(decoded, frames, strict=True):
        assert np.abs(frame.image.astype(int) - highlighted(masks)).mean() < 6


@pytest.mark.parametrize("suffix", CODECS)
def test_a_beep_is_heard_when_its_flash_is_seen(tmp_path: Path, suffix: str) -> None:
    source = tmp_path / f"source.{suffix}"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 2))
    path = overlay(tmp_path, source)
    assert flashes(path) == pytest.approx(EVENTS, abs=1e-3)
    assert beeps(path) == pytest.approx(EVENTS, abs=0.02)


def test_the_overlay_is_what_browsers_play(tmp_path: Path) -> None:
    source = tmp_path / "source.mkv"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 2), layout="5.1")
    path = overlay(tmp_path, source)
    with av.open(path) as container:
        (video,), (audio,) = container.streams.video, container.streams.audio
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (video.average_rate, video.frames) == (Fraction(24), 48)
        assert video.codec_context.colorspace == 1
        assert (audio.codec_context.name, audio.layout.name) == ("aac", "stereo")
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi", "flv", "webm"])
@pytest.mark.parametrize("start", [11, 30])
def test_an_overlay_that_begins_later_has_the_sound_from_there_on(
    tmp_path: Path, suffix: str, start: int
) -> None:
    source = tmp_path / f"source.{suffix}"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 2))
    path = overlay(tmp_path, source, start=start)
    expected = [event - start / 24 for event in EVENTS if event >= start / 24]
    assert flashes(path) == pytest.approx(expected, abs=2e-3)
    assert beeps(path) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize(
    ("video_start", "sound"),
    [(0.0, (0.25, 2.0)), (0.0, (1.0, 2.0)), (0.375, (0.0, 2.0)), (0.0, (0.0, 1.5))],
    ids=["late sound", "very late sound", "late picture", "short sound"],
)
def test_streams_that_begin_or_end_apart_stay_in_time(
    tmp_path: Path, suffix: str, video_start: float, sound: tuple[float, float]
) -> None:
    source = tmp_path / f"source.{suffix}"
    times = [video_start + time for time in REGULAR]
    draw_flash_clip(source, times=times, events=EVENTS, sound=sound)
    path = overlay(tmp_path, source)
    assert flashes(path) == pytest.approx([event - video_start for event in EVENTS], abs=2e-3)
    heard = [event - video_start for event in EVENTS if sound[0] <= event < sound[1]]
    assert beeps(path) == pytest.approx(heard, abs=0.02)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_variable_rate_is_shown_at_its_own_times(tmp_path: Path, suffix: str) -> None:
    times = [*REGULAR[:12:3], *REGULAR[12:20], *REGULAR[30:48:2]]
    source = tmp_path / f"source.{suffix}"
    draw_flash_clip(source, times=times, events=EVENTS, sound=(0, 2))
    path = overlay(tmp_path, source)
    with av.open(path) as container:
        rate = container.streams.video[0].average_rate
        assert rate is not None
    assert times_of(path) == pytest.approx([n / rate for n in range(len(times_of(path)))])
    assert flashes(path) == pytest.approx(EVENTS, abs=0.5 / float(rate) + 1e-3)
    assert beeps(path) == pytest.approx(EVENTS, abs=0.02)


def shown(path: Path, sources: Sequence[RGBImage]) -> list[int]:
    """Return which of some pictures each frame of a video shows."""
    stacked = np.stack(sources).astype(int)
    return [
        int(np.abs(stacked - frame.image).mean(axis=(1, 2, 3)).argmin())
        for frame in open_video(path).frames()
    ]


def test_every_frame_of_a_variable_rate_is_shown(tmp_path: Path) -> None:
    times = [0.0]
    for index in range(22):
        times.append(times[-1] + (1, 1, 3, 1, 2, 1, 5)[index % 7] / 24)
    draw_clip(tmp_path / "source.mp4", num_frames=len(times), times=times)
    path = overlay(tmp_path, tmp_path / "source.mp4")
    expected = [
        sum(time <= slot / 24 + 1e-3 for time in times) - 1
        for slot in range(round(times[-1] * 24) + 1)
    ]
    found = shown(path, [draw_frame(index)[0] for index in range(len(times))])
    assert found[: len(expected)] == expected
    assert set(found) == set(range(len(times)))


def test_the_frames_of_a_burst_beyond_the_start_are_shown_a_little_later(tmp_path: Path) -> None:
    times = [*(index / 24 for index in range(12)), 0.51, 0.52, 0.7, 0.9]
    path = write_times(tmp_path, times)
    found = shown(path, [draw_frame(index)[0] for index in range(len(times))])
    assert set(found) == set(range(len(times)))


@pytest.mark.parametrize(("interval", "video_fps"), [(3, 0), (6, 10), (1, 12), (1, 48), (1, 30)])
def test_intervals_and_other_rates_keep_the_time(
    tmp_path: Path, interval: int, video_fps: int
) -> None:
    source = tmp_path / "source.mp4"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 2))
    path = overlay(tmp_path, source, interval=interval, video_fps=video_fps)
    rate = video_fps or 24
    assert len(times_of(path)) == 2 * rate
    assert flashes(path) == pytest.approx(EVENTS, abs=0.5 / rate + 1e-3)
    assert beeps(path) == pytest.approx(EVENTS, abs=0.02)


def test_time_stamps_that_jump_leave_picture_and_sound_in_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two recordings one after the other, as a receiver writes them: the second starts anew."""
    first, second = tmp_path / "first.ts", tmp_path / "second.ts"
    for path in (first, second):
        draw_flash_clip(path, times=REGULAR, events=EVENTS, sound=(0, 2))
    source = tmp_path / "source.ts"
    source.write_bytes(first.read_bytes() + second.read_bytes())
    path = overlay(tmp_path, source)
    expected = [*EVENTS, *(event + 2 for event in EVENTS)]
    assert flashes(path) == pytest.approx(expected, abs=1e-3)
    assert beeps(path) == pytest.approx(expected, abs=0.02)
    assert "jump" in caplog.text


def write_times(folder: Path, times: Sequence[float], rate: Fraction = Fraction(24)) -> Path:
    """Write the overlay of frames from nowhere."""
    info = VideoInfo(96, 64, rate, None)
    frames = [
        MaskFrame(Frame(index, time, draw_frame(index)[0]), ()) for index, time in enumerate(times)
    ]
    (path,) = write_all(OverlayWriter(folder, info, no_sound), frames)
    return path


def test_a_jump_of_a_year_does_not_write_a_year(tmp_path: Path) -> None:
    path = write_times(tmp_path, [0, 1 / 24, 3e7, 3e7 + 1 / 24])
    assert len(times_of(path)) == 2 + 60 * 24 + 2


def test_a_still_image_is_one_frame(tmp_path: Path) -> None:
    assert times_of(write_times(tmp_path, [0.0])) == [0.0]


def test_a_source_without_sound_makes_an_overlay_without_sound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("source.mp4", "source.gif", "source.png"):
        draw_clip(tmp_path / name, num_frames=3)
        with av.open(overlay(tmp_path, tmp_path / name)) as container:
            assert [stream.type for stream in container.streams] == ["video"]
    assert caplog.text == ""


def test_an_odd_size_and_the_pixel_aspect_are_kept(tmp_path: Path) -> None:
    info = VideoInfo(97, 63, Fraction(24), None, pixel_aspect=Fraction(16, 11))
    frames = [MaskFrame(Frame(0, 0.0, draw_frame(0, (97, 63))[0]), ())]
    (path,) = write_all(OverlayWriter(tmp_path, info, no_sound), frames)
    written = open_video(path).info
    assert (written.width, written.height, written.pixel_aspect) == (98, 64, Fraction(16, 11))


def test_the_same_input_makes_the_same_bytes(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 2))
    first = overlay(tmp_path, source).read_bytes()
    assert overlay(tmp_path, source).read_bytes() == first


def damage_sound(path: Path) -> None:
    """Overwrite every packet of the sound with noise, but for the first few."""
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    with av.open(path) as container:
        for packet in list(container.demux(audio=0))[20:]:
            if packet.pos is not None and packet.size:
                data[packet.pos : packet.pos + packet.size] = noise.bytes(packet.size)
    path.write_bytes(data)


def test_of_a_damaged_sound_what_decodes_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "source.mp4"
    draw_flash_clip(source, times=REGULAR, events=(0.25,), sound=(0, 2))
    damage_sound(source)
    path = overlay(tmp_path, source)
    assert flashes(path) == pytest.approx([0.25], abs=1e-3)
    assert beeps(path)[0] == pytest.approx(0.25, abs=0.02)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("the sound of 'source.mp4' is damaged (Invalid data")


def test_a_truncated_source_keeps_the_sound_that_is_there(tmp_path: Path) -> None:
    source = tmp_path / "source.ts"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 2))
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 2 // 3])
    path = overlay(tmp_path, source)
    assert flashes(path)[0] == pytest.approx(EVENTS[0], abs=2e-3)
    assert beeps(path)[0] == pytest.approx(EVENTS[0], abs=0.02)


def leave(writer: OverlayWriter) -> None:
    with closing(writer):
        writer.prepare(moving_discs(1)[0])()


def interrupt(writer: OverlayWriter) -> None:
    with pytest.raises(KeyboardInterrupt), closing(writer):
        writer.prepare(moving_discs(1)[0])()
        raise KeyboardInterrupt


@pytest.mark.parametrize("end", [leave, interrupt])
def test_an_overlay_that_is_not_finished_leaves_nothing_behind(
    tmp_path: Path, end: Callable[[OverlayWriter], None]
) -> None:
    end(OverlayWriter(tmp_path, INFO, no_sound))
    assert list(tmp_path.iterdir()) == []


def test_an_overlay_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    in_the_way = tmp_path / "overlay.mp4"
    in_the_way.mkdir()
    with pytest.raises(IsADirectoryError):
        write_all(OverlayWriter(tmp_path, INFO, no_sound), moving_discs(2))
    assert list(tmp_path.iterdir()) == [in_the_way]


def test_memory_does_not_grow_with_the_number_of_frames(tmp_path: Path) -> None:
    with closing(OverlayWriter(tmp_path, INFO, no_sound)) as writer:
        for index in range(10):
            writer.prepare(mask_frame(index, {}))()
        tracemalloc.start()
        for index in range(10, 510):
            writer.prepare(mask_frame(index, {}))()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert held < 50_000  # five hundred pictures are 4 MB
