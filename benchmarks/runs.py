"""Timed runs of the official predictor and of ours, on the same frames and prompts."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from benchmarks.clips import read_images
from benchmarks.official import add, start
from examples.sample_clip import FRAME_RATE
from sam_video.model.sam2 import SegmentationModel
from sam_video.service.metrics import PeakMemory
from sam_video.service.pipeline import segment_video
from sam_video.tracking.tracker import Tracker
from sam_video.types import BoolMask, ObjectPrompt, RGBImage
from sam_video.video.frame_list import FrameList
from sam_video.video.source import open_video
from sam_video.writers.video_encoder import VideoEncoder


@dataclass(frozen=True, slots=True)
class Timing:
    """What one run took."""

    seconds: float
    """By the clock, from the first prompt, or from opening the file, to the last mask."""
    cpu_seconds: float
    """Of all threads of this process: tells more where others use the machine too."""
    first_mask_seconds: float
    """Until the masks of the first frame were there."""
    peak_megabytes: float
    """The most memory that the process held, with whatever was loaded before."""
    peak_gpu_megabytes: float

    def as_dict(self) -> dict[str, float]:
        """Return the values by name."""
        return asdict(self)


Masks = Iterator[BoolMask]
"""The masks of the objects on one frame after the other, `(N, H, W)` bool, on the CPU."""


def timed(masks: Callable[[], Masks]) -> Timing:
    """Run to the end and time it."""
    peak = PeakMemory()
    started, cpu_started = time.perf_counter(), time.process_time()
    steps = masks()
    next(steps)
    first = time.perf_counter() - started
    for _ in steps:
        pass
    return Timing(
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        first_mask_seconds=first,
        peak_megabytes=peak.megabytes(),
        peak_gpu_megabytes=peak.gpu_megabytes(),
    )


def official_masks(
    predictor: SAM2VideoPredictor, state: dict[str, Any], prompts: Sequence[ObjectPrompt]
) -> Masks:
    """Track with the official predictor, over frames that it holds already."""
    for prompt in prompts:
        add(predictor, state, prompt)
    for _, _, logits in predictor.propagate_in_video(state):
        yield np.asarray((logits > 0)[:, 0].cpu())


def our_masks(
    model: SegmentationModel, images: Sequence[RGBImage], prompts: Sequence[ObjectPrompt]
) -> Masks:
    """Track with ours, over frames that are decoded but not resized."""
    with Tracker(model, FrameList(images), prompts) as tracker:
        tracker.condition()
        for masks in tracker.forward():
            yield np.stack([found.mask for found in masks.objects])


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


def by_turns(
    predictor: SAM2VideoPredictor,
    model: SegmentationModel,
    images: Sequence[RGBImage],
    prompts: Sequence[ObjectPrompt],
    rounds: int,
) -> tuple[Timing, Timing]:
    """Track with the official predictor and ours in turn; return the fastest run of each."""
    official, ours = [], []
    for _ in range(rounds):
        with official_precision(predictor, model.dtype):
            steps = partial(official_masks, predictor, start(predictor, images), prompts)
            official.append(timed(steps))
        del steps
        ours.append(timed(lambda: our_masks(model, images, prompts)))
    return fastest(official), fastest(ours)


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


def official_precision(predictor: SAM2VideoPredictor, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which the official predictor is run, as its examples do."""
    is_bf16 = dtype is torch.bfloat16
    return torch.autocast(predictor.device.type, torch.bfloat16, enabled=is_bf16)


def fastest(timings: Sequence[Timing]) -> Timing:
    """Return the run that was disturbed least."""
    return min(timings, key=lambda timing: timing.seconds)


def write_clip(images: Sequence[RGBImage], path: Path) -> None:
    """Write a video for runs that start from a file."""
    height, width = images[0].shape[:2]
    encoder = VideoEncoder(path, width=width, height=height, frame_rate=Fraction(FRAME_RATE))
    with closing(encoder):
        for image in images:
            encoder.write(image)
        encoder.finish()
