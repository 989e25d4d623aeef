"""The bundled checkpoint is what its model card says."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from benchmarks.davis import jaccard
from examples.sample_clip import CLICKS, OBJECTS, draw_sample
from sam_video import Click, FrameList, ObjectPrompt, segment_video
from sam_video.types import BoolMask, Box

ROOT = Path(__file__).parents[2]
SAMPLE = list(draw_sample())


def truth(index: int, name: str) -> BoolMask:
    mask: BoolMask = SAMPLE[index][1] == OBJECTS.index(name) + 1
    return mask


def box_around(mask: BoolMask) -> Box:
    rows, columns = np.nonzero(mask)
    return Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


PROMPTS = {
    "click": [ObjectPrompt(c.object_id, c.frame_index, (Click(c.x, c.y),)) for c in CLICKS],
    "box": [ObjectPrompt(name, 0, box=box_around(truth(0, name))) for name in OBJECTS],
    "mask": [ObjectPrompt(name, 0, mask=truth(0, name)) for name in OBJECTS],
}


@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS.keys())
def test_it_follows_the_objects_of_the_sample_clip(prompts: list[ObjectPrompt]) -> None:
    scores: dict[str, list[float]] = defaultdict(list)
    for masks in segment_video(FrameList([i for i, _ in SAMPLE]), prompts, model="pocket"):
        for found in masks.objects:
            expected = truth(masks.frame.index, found.object_id)
            scores[found.object_id].append(jaccard(found.mask, expected))
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    assert set(means) == set(OBJECTS)
    assert min(means.values()) >= 0.85, means


def test_it_is_small() -> None:
    assert (ROOT / "weights" / "pocket.safetensors").stat().st_size < 25_000_000
