"""The sound that is put to pictures: every format, damage, and sounds that are made to harm."""

import struct
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sam_video.errors import VideoError
from sam_video.types import Span
from sam_video.video.sound import read_sound
from sam_video.writers.mux import add_sound
from sam_video.writers.video_encoder import VideoEncoder
from tests.clips import draw_clip
from tests.sound_clips import HEIGHT, WIDTH, beeps, draw_flash_clip

REGULAR = [index / 24 for index in range(24)]
EVENTS = (0.25, 0.75)
WHOLE = (Span(0.0, 1.0, 0.0),)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A silent video of one second."""
    path = tmp_path / "pictures.mp4"
    with closing(VideoEncoder(path, width=WIDTH, height=HEIGHT, frame_rate=Fraction(24))) as video:
        for level in range(24):
            video.write(np.full((HEIGHT, WIDTH, 3), level, np.uint8))
        video.finish()
    return path


def join(pictures: Path, source: Path, spans: Sequence[Span] = WHOLE) -> Path:
    path = pictures.with_name("joined.mp4")
    add_sound(pictures, read_sound(source, spans), path)
    return path


def stream_types(path: Path) -> list[str]:
    with av.open(path) as container:
        return [stream.type for stream in container.streams]


def packets(path: Path) -> list[tuple[Fraction, bytes]]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


def test_pictures_are_copied_as_they_are(tmp_path: Path, pictures: Path) -> None:
    source = tmp_path / "source.mkv"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 1))
    joined = join(pictures, source)
    assert stream_types(joined) == ["video", "audio"]
    assert packets(joined) == packets(pictures)
    assert len(packets(joined)) == 24


@pytest.mark.parametrize(
    ("codec", "rate", "layout"),
    [
        ("pcm_u8", 8000, "mono"),
        ("pcm_s16le", 11025, "stereo"),
        ("pcm_f32le", 96000, "7.1"),
        ("flac", 192000, "quad"),
        ("ac3", 48000, "5.1"),
        ("mp2", 22050, "mono"),
        ("libmp3lame", 16000, "mono"),
    ],
)
def test_any_rate_and_any_channels_become_stereo(
    tmp_path: Path, pictures: Path, codec: str, rate: int, layout: str
) -> None:
    source = tmp_path / "source.mkv"
    draw_flash_clip(
        source,
        times=REGULAR,
        events=EVENTS,
        sound=(0, 1),
        sound_codec=codec,
        sound_rate=rate,
        layout=layout,
    )
    joined = join(pictures, source)
    with av.open(joined) as container:
        stream = container.streams.audio[0]
        assert (stream.codec_context.name, stream.rate, stream.layout.name) == (
            "aac",
            48000,
            "stereo",
        )
    assert beeps(joined) == pytest.approx(EVENTS, abs=0.02)


def test_a_sound_longer_than_the_pictures_is_cut(tmp_path: Path, pictures: Path) -> None:
    source = tmp_path / "source.mkv"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 3))
    with av.open(join(pictures, source)) as container:
        stream = container.streams.audio[0]
        assert stream.duration is not None
        assert stream.time_base is not None
        assert float(stream.duration * stream.time_base) == pytest.approx(1, abs=1e-3)


def test_spans_take_their_stretches_of_the_sound(tmp_path: Path, pictures: Path) -> None:
    source = tmp_path / "source.mkv"
    draw_flash_clip(source, times=REGULAR, events=(0.25, 1.25, 2.25), sound=(0, 3))
    spans = [Span(0.1, 0.5, 0.0), Span(2.0, 2.6, 0.4)]
    assert beeps(join(pictures, source, spans)) == pytest.approx([0.15, 0.65], abs=0.02)


def test_a_span_without_any_sound_is_silent(tmp_path: Path, pictures: Path) -> None:
    source = tmp_path / "source.mkv"
    draw_flash_clip(source, times=REGULAR, events=EVENTS, sound=(0, 1))
    assert stream_types(join(pictures, source, [Span(5.0, 6.0, 0.0)])) == ["video"]
    spans = [Span(5.0, 5.4, 0.0), Span(0.6, 1.0, 0.4)]
    assert beeps(join(pictures, source, spans)) == pytest.approx([0.55], abs=0.02)


def write_raw_sound(path: Path, codec: str, data: bytes, rate: int = 8000) -> None:
    """Write a clip whose sound is one packet of whatever data."""
    draw_clip(path.with_suffix(".silent.avi"), num_frames=24)
    with (
        av.open(path.with_suffix(".silent.avi")) as silent,
        av.open(path, "w") as container,
    ):
        video = container.add_stream_from_template(silent.streams.video[0])
        audio = container.add_stream(codec, rate=rate, layout="mono")
        sound = av.Packet(data)
        sound.stream, sound.pts, sound.dts, sound.time_base = audio, 0, 0, Fraction(1, rate)
        container.mux(sound)
        for packet in silent.demux(video=0):
            if packet.dts is not None:
                packet.stream = video
                container.mux(packet)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e30"])
def test_samples_that_are_no_numbers_are_survived(
    tmp_path: Path, pictures: Path, value: str
) -> None:
    source = tmp_path / "source.mkv"
    write_raw_sound(source, "pcm_f32le", struct.pack("<f", float(value)) * 8000)
    assert stream_types(join(pictures, source)) == ["video", "audio"]


@pytest.mark.parametrize(
    ("rate", "num_samples"), [(1, 100_000), (2_000_000_000, 100_000), (8000, 2**21)]
)
def test_a_sound_that_would_fill_the_memory_is_left_out(
    tmp_path: Path,
    pictures: Path,
    caplog: pytest.LogCaptureFixture,
    rate: int,
    num_samples: int,
) -> None:
    source = tmp_path / "source.avi"
    write_raw_sound(source, "pcm_u8", b"\x90" * num_samples)
    data = bytearray(source.read_bytes())
    # The wave format of the header: format 1 (PCM), one channel, and the rate.
    where = data.index(struct.pack("<HHI", 1, 1, 8000)) + 4
    data[where : where + 4] = struct.pack("<I", rate)
    source.write_bytes(data)
    assert stream_types(join(pictures, source)) == ["video"]
    reason = (
        f"{rate} samples per second" if rate != 8000 else f"{num_samples} samples in one packet"
    )
    assert reason in caplog.text


def test_a_codec_that_is_not_known_is_left_out(
    tmp_path: Path, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "source.mkv"
    write_raw_sound(source, "pcm_s16le", bytes(8000))
    source.write_bytes(source.read_bytes().replace(b"A_PCM/INT/LIT", b"A_PCX/INT/LIT"))
    assert stream_types(join(pictures, source)) == ["video"]
    (record,) = caplog.records
    assert record.getMessage() == (
        "the sound of 'source.mkv' is damaged (a codec that cannot be decoded here);"
        " what decodes is used"
    )


def test_a_playlist_is_not_followed(tmp_path: Path, pictures: Path) -> None:
    draw_flash_clip(tmp_path / "secret.mp4", times=REGULAR, events=EVENTS, sound=(0, 1))
    source = tmp_path / "source.mp4"
    source.write_text(f"ffconcat version 1.0\nfile '{tmp_path}/secret.mp4'\n")
    assert stream_types(join(pictures, source)) == ["video"]


def test_a_target_that_cannot_be_written_fails(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(VideoError, match=r"^'a.mp4' cannot be written: No such file or directory"):
        add_sound(pictures, iter(()), tmp_path / "missing" / "a.mp4")
