"""Frames that SAM 3 holds back, and the masks that are shown of them."""

import numpy as np
import torch

from sam_video.detection.sam3_instances import Instance, WaitingFrame
from sam_video.types import Frame

FRAME = Frame(0, 0.0, np.zeros((8, 12, 3), np.uint8))


def halves(concepts: tuple[str | None, str | None]) -> list[np.ndarray]:
    """Return the masks of two instances, the first on the left, that meet in the middle."""
    logits = torch.full((2, 4, 6), -5.0)
    logits[0, :, :4], logits[1, :, 2:] = 5, 5
    instances = {n: Instance(n, concept, 0.9) for n, concept in enumerate(concepts)}
    waiting = WaitingFrame(FRAME, dict(enumerate(logits)), {0: 0.6, 1: 0.8})
    return [found.mask for found in waiting.masks(instances, with_confidences=False)]


def test_masks_have_the_size_of_the_frame() -> None:
    assert [mask.shape for mask in halves(("cat", "dog"))] == [(8, 12)] * 2


def test_of_one_concept_the_likeliest_has_the_pixel() -> None:
    left, right = halves(("cat", "cat"))
    assert not (left & right).any()
    assert right[:, 4:].all()
    assert left[:, :4].all()


def test_instances_of_different_concepts_and_of_prompts_may_share_pixels() -> None:
    for concepts in (("cat", "dog"), (None, None), ("cat", None)):
        left, right = halves(concepts)
        assert (left & right)[:, 4:8].all()


def test_a_frame_without_instances_has_no_masks() -> None:
    assert WaitingFrame(FRAME, {}, {}).masks({}, with_confidences=True) == []
