"""Are the masks right on this device, whichever way they are computed?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
import torch
from sam2.modeling.sam2_base import SAM2Base

from benchmarks.clips import clicked_objects
from benchmarks.gpu.bench import Bench
from benchmarks.official import official_predictor, start
from benchmarks.tracking import official_masks, official_precision, our_masks
from sam_video.model.attention import attend
from sam_video.model.cuda_graphs import recordings_made
from sam_video.model.sam2 import SegmentationModel
from sam_video.types import BoolMask, ObjectPrompt, RGBImage

FLOAT32_SHARE = 2e-4
"""Of the pixels that may differ from the official masks in float32: sums are in another order."""
SAME_SHARE = 1e-3
"""Of the pixels that may differ between two ways to compute in bfloat16."""
OTHER_ATTENTION_IOU = 0.97
"""Least mean IoU of masks with two kernels of attention in bfloat16."""
BFLOAT16_IOU = 0.9
"""Least mean IoU of masks of a trained network in bfloat16 and in float32."""

Masks = list[BoolMask]


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames and the objects clicked on them."""

    images: Sequence[RGBImage]
    prompts: Sequence[ObjectPrompt]

    def ours(self, model: SegmentationModel) -> Masks:
        """Track with ours."""
        return list(our_masks(model, self.images, self.prompts))

    def official(self, bench: Bench, name: str, network: SAM2Base, dtype: torch.dtype) -> Masks:
        """Track with the official predictor."""
        predictor = official_predictor(name, network).to(bench.device)
        with official_precision(predictor, dtype):
            return list(official_masks(predictor, start(predictor, self.images), self.prompts))


def clip_of(bench: Bench, count: int, num_objects: int, *, late: int = 0) -> Clip:
    """Return the sample clip with clicked objects, each `late` frames after the one before."""
    images = bench.images(count)
    height, width = images[0].shape[:2]
    clicked = enumerate(clicked_objects(width, height, num_objects))
    return Clip(images, [replace(prompt, frame_index=late * n) for n, prompt in clicked])


def check_masks(bench: Bench) -> None:
    """Compare masks in float32 and in bfloat16 with the official ones and with each other."""
    for name in bench.pick(("pocket", "tiny"), ("pocket",)):
        network = bench.load_network(name)
        clip = clip_of(bench, bench.pick(26, 3), 3)
        known = check_float32(bench, name, network, clip)
        check_bfloat16(bench, name, network, clip, known)


def check_float32(bench: Bench, name: str, network: SAM2Base, clip: Clip) -> Masks:
    """Compare with the official predictor; return our masks."""
    allows_tf32 = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        known = clip.official(bench, name, network, torch.float32)
        found = clip.ours(bench.build(network, torch.float32))
    finally:
        torch.backends.cudnn.allow_tf32 = allows_tf32
    text = compared(found, known)
    is_good = differing(found, known) < FLOAT32_SHARE
    bench.report.check(is_good, f"{name}, float32, beside the official masks: {text}")
    return found


def check_bfloat16(bench: Bench, name: str, network: SAM2Base, clip: Clip, known: Masks) -> None:
    """Compare every way to compute in bfloat16."""
    report, before = bench.report, recordings_made()
    model = bench.build(network, torch.bfloat16)
    report.check(recordings_made() > before, f"{name}: the work of a frame is recorded at set-up")
    found = clip.ours(model)
    is_good = mean_iou(found, known) > BFLOAT16_IOU
    if name == "pocket" and not bench.is_rehearsal:  # the others may have random weights
        report.check(is_good, f"{name}, bfloat16 beside float32: {compared(found, known)}")
    else:
        report.info(f"{name}, bfloat16 beside float32: {compared(found, known)}")
    official = clip.official(bench, name, network, torch.bfloat16)
    report.info(f"{name}, official bfloat16 beside float32: {compared(official, known)}")
    again = clip.ours(model)
    report.check(
        differing(again, found) < SAME_SHARE, f"{name}, a second time: {compared(again, found)}"
    )
    report.check(model.free_recordings(), f"{name}: the recordings can be freed")
    eager = clip.ours(model)
    is_same = differing(eager, found) < SAME_SHARE
    report.check(is_same, f"{name}, without recordings: {compared(eager, found)}")
    with patch("sam_video.model.attention_layers.fastest_attention", return_value=attend):
        other = clip.ours(bench.build(network, torch.bfloat16))
    is_same = mean_iou(other, found) > OTHER_ATTENTION_IOU
    report.check(is_same, f"{name}, with PyTorch's attention: {compared(other, found)}")
    late = clip_of(bench, bench.pick(20, 4), bench.pick(5, 2), late=bench.pick(3, 1)).ours(model)
    num_objects = [len(masks) for masks in late]
    report.check(num_objects == sorted(num_objects), f"{name}: objects enter on different frames")


def mean_iou(found: Masks, known: Masks) -> float:
    """Return the mean intersection over union of all masks, 1 where both are empty."""
    return float(
        np.mean(
            [
                (one & other).sum() / max(1, (one | other).sum()) if (one | other).any() else 1.0
                for masks, others in zip(found, known, strict=True)
                for one, other in zip(masks, others, strict=True)
            ]
        )
    )


def differing(found: Masks, known: Masks) -> float:
    """Return the share of pixels that differ."""
    return float(np.mean([(a != b).mean() for a, b in zip(found, known, strict=True)]))


def compared(found: Masks, known: Masks) -> str:
    """Say how like masks are."""
    share = differing(found, known)
    return f"IoU {mean_iou(found, known):.5f}, {share:.1e} of the pixels differ"
