"""Masks as one video, decoded by another library than the one that wrote it."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from sam_video.types import VideoInfo
from sam_video.writers.render import highlighted, render
from sam_video.writers.videos import MaskVideoWriter
from tests.alpha_video import decode_alpha
from tests.mask_frames import HEIGHT, INFO, WIDTH, disc, mask_frame, moving_discs, write_all


def video(folder: Path, info: VideoInfo = INFO, **style: Any) -> MaskVideoWriter:
    defaults = {"mask_type": "binary", "annotation_type": "mask", "video_fps": 0}
    return MaskVideoWriter(folder, info, **{**defaults, **style})


def decode(path: Path) -> list[npt.NDArray[np.uint8]]:
    with av.open(path) as container:
        frames = container.decode(video=0)
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]


def test_the_video_holds_every_mask_in_order(tmp_path: Path) -> None:
    frames = moving_discs(8)
    assert write_all(video(tmp_path), frames) == [tmp_path / "output_video.mp4"]
    assert [path.name for path in tmp_path.iterdir()] == ["output_video.mp4"]
    decoded = decode(tmp_path / "output_video.mp4")
    assert len(decoded) == len(frames)
    for image, masks in zip(decoded, frames, strict=True):
        wrong = (image[..., 1] > 127) != render(masks, "binary").astype(bool)
        assert wrong.mean() < 0.01


def test_a_highlighted_video_has_the_drawn_colours(tmp_path: Path) -> None:
    frames = [mask_frame(index, {"dog": disc(30, 22, radius=18)}) for index in range(3)]
    (path,) = write_all(video(tmp_path, mask_type="highlighted"), frames)
    error = np.abs(decode(path)[1].astype(int) - highlighted(frames[1]))
    assert error.mean() < 6


@pytest.mark.parametrize(
    ("video_fps", "expected"), [(0, Fraction(30000, 1001)), (12, Fraction(12))]
)
def test_the_rate_of_the_video_is_video_fps_or_the_rate_of_the_source(
    tmp_path: Path, video_fps: int, expected: Fraction
) -> None:
    (path,) = write_all(video(tmp_path, video_fps=video_fps), moving_discs(5))
    with av.open(path) as container:
        assert container.streams.video[0].average_rate == expected


@pytest.mark.parametrize(
    ("interval", "num_frames", "expected"),
    [
        (5, None, Fraction(6000, 1001)),
        (5, 100, Fraction(6000, 1001)),
        (1000, 10, Fraction(3000, 1001)),
        (10**9, None, Fraction(1, 3600)),
    ],
)
@pytest.mark.parametrize("mask_type", ["binary", "alpha"])
def test_every_nth_frame_keeps_the_time_of_the_source(
    tmp_path: Path, interval: int, num_frames: int | None, expected: Fraction, mask_type: str
) -> None:
    info = replace(INFO, num_frames=num_frames)
    sink = video(tmp_path, info, interval=interval, mask_type=mask_type)
    (path,) = write_all(sink, moving_discs(3))
    with av.open(path) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
    assert times == pytest.approx([float(index / expected) for index in range(3)], abs=6e-4)


def test_a_transparent_video_has_the_masks_as_its_alpha_plane(tmp_path: Path) -> None:
    frames = moving_discs(8)
    assert write_all(video(tmp_path, mask_type="alpha"), frames) == [tmp_path / "output_video.webm"]
    assert [path.name for path in tmp_path.iterdir()] == ["output_video.webm"]
    decoded = decode_alpha(tmp_path / "output_video.webm")
    assert len(decoded) == len(frames)
    for image, masks in zip(decoded, frames, strict=True):
        mask, opaque = render(masks, "binary").astype(bool), image[..., 3] > 127
        assert (mask & opaque).sum() / (mask | opaque).sum() >= 0.99
        assert np.abs(image[..., :3].astype(int) - masks.frame.image).mean() < 6


def test_the_video_carries_the_pixel_aspect_of_the_source(tmp_path: Path) -> None:
    info = VideoInfo(WIDTH, HEIGHT, Fraction(25), None, pixel_aspect=Fraction(16, 15))
    (path,) = write_all(video(tmp_path, info), moving_discs(2))
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(16, 15)
        assert (stream.width, stream.height) == (WIDTH, HEIGHT)
