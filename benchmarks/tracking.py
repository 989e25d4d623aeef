"""Timed tracking by the official predictor and by ours, on the same frames and prompts."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sam2.sam2_video_predictor import SAM2VideoPredictor

from benchmarks.official import add, start
from sam_video.model.sam2 import SegmentationModel
from sam_video.service.metrics import PeakMemory
from sam_video.tracking.tracker import Tracker
from sam_video.types import BoolMask, ObjectPrompt, RGBImage
from sam_video.video.frame_list import FrameList


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


def official_precision(predictor: SAM2VideoPredictor, dtype: torch.dtype) -> torch.autocast:
    """Return the context in which the official predictor is run, as its examples do."""
    is_bf16 = dtype is torch.bfloat16
    return torch.autocast(predictor.device.type, torch.bfloat16, enabled=is_bf16)


def fastest(timings: Sequence[Timing]) -> Timing:
    """Return the run that was disturbed least."""
    return min(timings, key=lambda timing: timing.seconds)
