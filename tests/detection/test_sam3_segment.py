"""SAM 3 whole in place of the tracker: frames and prompts in, named masks out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from sam_video.detection.sam3_segment import segment_with_sam3
from sam_video.detection.sam3_video import Sam3, Sam3Video
from sam_video.errors import PromptError
from sam_video.types import Box, Click, MaskFrame, ObjectPrompt
from sam_video.video.frame_list import FrameList
from tests.detection.scripted_sam3 import HEIGHT, WIDTH, Find, Script, clip, scripted
from tests.detection.tiny_sam3 import one_core, save_sam3

LEFT, RIGHT = Find(0.8, (0, 12)), Find(0.9, (20, 32))


@pytest.fixture(scope="module")
def sam3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sam3]:
    with one_core():
        folder = save_sam3(tmp_path_factory.mktemp("sam3"))
        loaded = Sam3(folder, torch.device("cpu"), torch.float32)
        loaded.network.assoc_iou_thresh = 1e-6  # what touches a track is no birth
        yield loaded


def segment(
    sam3: Sam3,
    num_frames: int,
    script: Script,
    concepts: list[str],
    prompts: list[ObjectPrompt] | None = None,
    **options: Any,
) -> list[MaskFrame]:
    """Return all frames of a clip with what SAM 3 finds on them."""
    source = FrameList([frame.image for frame in clip(num_frames)])
    with scripted(sam3, script):
        return list(segment_with_sam3(Sam3Video(sam3, concepts), source, prompts or [], **options))


def names(frame: MaskFrame) -> list[str]:
    return [item.object_id for item in frame.objects]


def test_instances_are_named_by_appearance_and_from_left_to_right(sam3: Sam3) -> None:
    def script(index: int, concept: str) -> list[Find]:
        return [RIGHT, LEFT] if concept == "red dog" else [LEFT] if index else []

    frames = segment(sam3, 3, script, ["cat", "red dog"])

    assert [frame.frame.index for frame in frames] == [0, 1, 2]
    assert [names(frame) for frame in frames] == [
        ["red dog_1", "red dog_2"],
        *[["red dog_1", "red dog_2", "cat_1"]] * 2,
    ]
    left, right = frames[0].objects
    assert left.mask.shape == (HEIGHT, WIDTH)
    assert left.mask[:, :30].all()
    assert right.mask[:, 70:].all()
    assert [item.object_index for item in frames[2].objects] == [0, 1, 2]


def test_each_mask_has_its_concept_and_its_scores(sam3: Sam3) -> None:
    frames = segment(sam3, 2, lambda _, __: [LEFT], ["cat"])
    for frame in frames:
        (item,) = frame.objects
        assert item.concept == "cat"
        assert item.detection_score == item.predicted_iou == pytest.approx(0.8)
        assert item.confidence is None
    assert frames[0].objects[0].object_score == pytest.approx(0.8)
    assert frames[1].objects[0].object_score > 0.99


def test_what_hot_start_removes_leaves_no_gap_in_the_names(sam3: Sam3) -> None:
    sam3.network.trk_assoc_iou_thresh, usual = 1.0, sam3.network.trk_assoc_iou_thresh

    def script(index: int, concept: str) -> list[Find]:
        return [LEFT] if index == 0 else [RIGHT] if index == 9 else []

    frames = segment(sam3, 11, script, ["cat"])

    sam3.network.trk_assoc_iou_thresh = usual
    assert [names(frame) for frame in frames] == [[]] * 9 + [["cat_1"]] * 2


def test_prompts_refine_exclude_and_add(sam3: Sam3) -> None:
    far_left = Find(0.9, (0, 6))
    boss = Box(WIDTH * 0.42, 10, WIDTH * 0.5, 30)
    prompts = [
        ObjectPrompt("cat_2", 1, clicks=(Click(40, 30, 0),)),
        ObjectPrompt("cat", 0, clicks=(Click(5, 5, 0),)),
        ObjectPrompt("boss", 1, box=boss),
        ObjectPrompt("nobody", 1, clicks=(Click(5, 5, 0),)),
    ]
    script = lambda index, _: [] if index else [far_left, RIGHT, Find(0.7, (8, 14))]  # noqa: E731

    plain = segment(sam3, 3, script, ["cat"])
    frames = segment(sam3, 3, script, ["cat"], prompts)

    assert [names(frame) for frame in plain] == [["cat_1", "cat_2", "cat_3"]] * 3
    assert {name for frame in frames for name in names(frame)} == {"cat_1", "cat_2", "boss"}
    assert "boss" not in names(frames[0])
    first = {item.object_id: item for item in frames[0].objects}
    assert not any(item.mask[:, : WIDTH * 6 // 32].any() for item in first.values())
    corrected = {item.object_id: item for item in frames[1].objects}
    assert corrected["boss"].concept is None
    assert corrected["boss"].detection_score is None
    before = plain[1].objects[2].mask
    assert not np.array_equal(corrected["cat_2"].mask, before)


def test_confidences_agree_with_the_masks(sam3: Sam3) -> None:
    frames = segment(sam3, 2, lambda _, __: [LEFT, RIGHT], ["cat"], with_confidences=True)
    for item in (item for frame in frames for item in frame.objects):
        assert item.confidence is not None
        assert np.array_equal(item.confidence >= 128, item.mask)


def test_a_prompt_past_the_end_fails_before_anything_is_found(sam3: Sam3) -> None:
    prompt = ObjectPrompt("boss", 5, clicks=(Click(1, 1),))
    with pytest.raises(PromptError, match="frame_index is 5; expected a frame from 0 to 2"):
        segment(sam3, 3, lambda _, __: pytest.fail("found"), ["cat"], [prompt])
