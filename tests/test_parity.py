"""The official predictor's masks: fp32, CPU, seeded random weights, a real clip."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from sam2.modeling.sam2_base import SAM2Base

from benchmarks.official import add, official_predictor, seeded_network, start
from sam_video.frames import FrameList
from sam_video.model import SegmentationModel
from sam_video.segmenter import Prediction
from sam_video.tracker import TrackedObject, Tracker
from sam_video.types import BoolMask, Box, Click, ObjectMask, ObjectPrompt, RGBImage
from sam_video.video import open_video

CLIP = Path(__file__).parents[2] / "shared" / "data" / "vos" / "bear" / "video.mp4"
MAX_LOGIT_DIFFERENCE = 1e-4
MAX_DIFFERING_PIXELS = 2

Result = tuple[dict[str, torch.Tensor], dict[str, BoolMask]]
"""Of one frame: mask logits `(h, w)` at low resolution and masks `(H, W)`, by object."""


@dataclass(frozen=True)
class Case:
    """One way of prompting."""

    prompts: tuple[ObjectPrompt, ...]
    """Given before anything is tracked."""
    corrections: tuple[ObjectPrompt, ...] = field(default=())
    """Given after all frames have been tracked; tracking then goes on from there."""
    num_frames: int = 18
    is_backward: bool = False
    """Compare the frames before the first prompt."""


def ellipse(height: int, width: int) -> BoolMask:
    """Return a mask in the middle of a frame."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2) / (width / 4)) ** 2 + ((y - height / 2) / (height / 3)) ** 2 < 1
    return np.asarray(inside, dtype=bool)


BEAR = ObjectPrompt("bear", 0, (Click(311, 290),))
CASES = {
    "one click": Case((BEAR,)),
    "three objects": Case(
        (
            BEAR,
            ObjectPrompt("rock", 0, (Click(600, 100), Click(640, 130))),
            ObjectPrompt("wall", 0, box=Box(20, 20, 400, 120)),
        )
    ),
    "two clicks and a box": Case(
        (ObjectPrompt("bear", 0, (Click(300, 300), Click(120, 400, 0)), Box(96, 214, 465, 435)),)
    ),
    "prompts on frames 0 and 6": Case((BEAR, ObjectPrompt("bear", 6, (Click(330, 300),)))),
    "a negative correction on frame 6": Case(
        (BEAR,), corrections=(ObjectPrompt("bear", 6, (Click(500, 120, 0),)),)
    ),
    "a mask": Case((ObjectPrompt("bear", 0, mask=ellipse(480, 854)),)),
    "a clip shorter than 16 frames": Case((BEAR,), num_frames=12),
    "backward from frame 12": Case(
        (ObjectPrompt("bear", 12, (Click(311, 290),)),), num_frames=16, is_backward=True
    ),
}


class RecordingTracker(Tracker):
    """Keeps the logits of the frame that was tracked last."""

    logits: dict[str, torch.Tensor]

    def _object_masks(
        self, objects: list[TrackedObject], prediction: Prediction
    ) -> list[ObjectMask]:
        masks = super()._object_masks(objects, prediction)
        rows = prediction.mask_logits[:, 0]
        self.logits |= {o.object_id: row for o, row in zip(objects, rows, strict=True)}
        return masks


def ours(network: SAM2Base, images: list[RGBImage], case: Case) -> Iterator[tuple[int, Result]]:
    """Yield frame indices and results, in the order of tracking."""
    model = SegmentationModel(network, device=torch.device("cpu"), dtype=torch.float32)
    prompts = (*case.prompts, *case.corrections)
    with RecordingTracker(model, FrameList(images), prompts) as tracker:
        tracker.logits = {}
        tracker.condition()
        backward = {index: dict(tracker.logits) for index in tracker.backward()}
        for masks in tracker.forward():
            index = masks.frame.index
            logits = backward.get(index, tracker.logits)
            if case.is_backward == (index in backward):
                yield index, (dict(logits), {o.object_id: o.mask for o in masks.objects})


def official(network: SAM2Base, images: list[RGBImage], case: Case, name: str) -> dict[int, Result]:
    """Return the official predictor's results by frame index."""
    predictor = official_predictor(name, network)
    state = start(predictor, images)
    results: dict[int, Result] = {}

    def propagate(first: int) -> None:
        steps = predictor.propagate_in_video(state, first, reverse=case.is_backward)
        for index, names, logits in steps:
            outputs = [
                outputs["cond_frame_outputs"].get(index) or outputs["non_cond_frame_outputs"][index]
                for outputs in state["output_dict_per_obj"].values()
            ]
            low = {n: o["pred_masks"][0, 0] for n, o in zip(names, outputs, strict=True)}
            masks = (logits[:, 0] > 0).numpy()
            results[index] = (low, dict(zip(names, masks, strict=True)))

    for prompt in case.prompts:
        add(predictor, state, prompt)
    propagate(case.prompts[0].frame_index)
    for correction in case.corrections:
        add(predictor, state, correction)
        propagate(correction.frame_index)
    return results


def assert_same_masks(name: str, case: Case) -> None:
    """Track with both, and compare every frame."""
    if not CLIP.exists():
        pytest.skip(f"needs the clip {CLIP.parent.name}/{CLIP.name} of the shared test data")
    images = [frame.image for frame in islice(open_video(CLIP).frames(), case.num_frames)]
    network = seeded_network(name)
    expected = official(network, images, case, name)
    compared = 0
    for index, (logits, masks) in ours(network, images, case):
        expected_logits, expected_masks = expected[index]
        assert masks.keys() == expected_masks.keys()
        for object_id, expected_logit in expected_logits.items():
            difference = (logits[object_id] - expected_logit).abs().max().item()
            assert difference <= MAX_LOGIT_DIFFERENCE, f"frame {index}, {object_id}"
        differing = sum(int((masks[o] != expected_masks[o]).sum()) for o in masks)
        assert differing <= MAX_DIFFERING_PIXELS, f"frame {index}"
        assert 0.01 < np.mean(list(masks.values())) < 0.99, "nothing to compare"
        compared += 1
    assert compared >= 12


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_masks_equal_the_official_ones_with_the_pocket_architecture(case: Case) -> None:
    assert_same_masks("pocket", case)


def test_masks_equal_the_official_ones_with_tiny() -> None:
    assert_same_masks("tiny", CASES["a clip shorter than 16 frames"])


@pytest.mark.parity
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_kind_of_prompt_gives_the_official_masks_with_tiny(case: Case) -> None:
    assert_same_masks("tiny", case)


@pytest.mark.parity
def test_masks_equal_the_official_ones_with_large() -> None:
    assert_same_masks("large", CASES["a clip shorter than 16 frames"])
