"""Timed runs of the official predictor and of ours from a video to a video of the masks."""

from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
from sam2.sam2_video_predictor import SAM2VideoPredictor

from benchmarks.clips import read_images
from benchmarks.official import start
from benchmarks.tracking import Masks, Timing, fastest, official_masks, official_precision, timed
from examples.sample_clip import FRAME_RATE
from sam_video.model.sam2 import SegmentationModel
from sam_video.service.pipeline import segment_video
from sam_video.types import ObjectPrompt, RGBImage
from sam_video.video.source import open_video
from sam_video.writers.video_encoder import VideoEncoder


def official_file(
    predictor: SAM2VideoPredictor, video: Path, prompts: Sequence[ObjectPrompt], output: Path
) -> Masks:
    """Decode a file, track with the official predictor, and write a video of the masks."""
    images = read_images(video, None)
    return written(official_masks(predictor, start(predictor, images), prompts), video, output)


def our_file(
    model: SegmentationModel, video: Path, prompts: Sequence[ObjectPrompt], output: Path
) -> Masks:
    """Track a file with ours, and write a video of the masks."""
    steps = segment_video(video, prompts, model=model)
    return written(
        (np.stack([found.mask for found in masks.objects]) for masks in steps), video, output
    )


def written(steps: Masks, video: Path, output: Path) -> Masks:
    """Write what is in any mask as a video, and hand the masks on."""
    info = open_video(video).info
    encoder = VideoEncoder(output, width=info.width, height=info.height, frame_rate=info.frame_rate)
    with closing(encoder):
        for masks in steps:
            covered = np.where(masks.any(axis=0), np.uint8(255), np.uint8(0))
            encoder.write(np.stack([covered] * 3, axis=2))
            yield masks
        encoder.finish()


def files_by_turns(
    predictor: SAM2VideoPredictor,
    model: SegmentationModel,
    video: Path,
    prompts: Sequence[ObjectPrompt],
    rounds: int,
) -> tuple[Timing, Timing]:
    """Do as `by_turns` from a file to a file."""
    official, ours = [], []
    output = video.with_name("masks.mp4")
    for _ in range(rounds):
        with official_precision(predictor, model.dtype):
            official.append(timed(lambda: official_file(predictor, video, prompts, output)))
        ours.append(timed(lambda: our_file(model, video, prompts, output)))
    return fastest(official), fastest(ours)


def write_clip(images: Sequence[RGBImage], path: Path) -> None:
    """Write a video for runs that start from a file."""
    height, width = images[0].shape[:2]
    encoder = VideoEncoder(path, width=width, height=height, frame_rate=Fraction(FRAME_RATE))
    with closing(encoder):
        for image in images:
            encoder.write(image)
        encoder.finish()
