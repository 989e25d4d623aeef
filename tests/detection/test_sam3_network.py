"""The faults of transformers' class for SAM 3's video network, mended."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.sam3_video import modeling_sam3_video

from sam_video.detection.sam3_video import Sam3, Sam3Video
from tests.detection.scripted_sam3 import Find, clip, run, scripted


def early_cat_and_dogs(index: int, concept: str) -> list[Find]:
    """A cat on the first frame alone, so that hot start removes it on frame 8; a dog on all."""
    if concept == "cat":
        return [Find(0.9, (0, 12))] if index == 0 else []
    return [Find(0.9)]


def test_on_the_frame_of_a_removal_the_masks_belong_to_their_objects(
    sam3: Sam3, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: Any = sam3.network
    propagate = network.run_tracker_propagation
    outputs: list[dict[int, Tensor]] = []
    rows: list[tuple[list[int], Tensor, Tensor]] = []

    def noted(*, inference_session: Any, **others: Any) -> tuple[Tensor, Tensor]:
        numbers = list(inference_session.obj_ids)
        masks, scores = propagate(inference_session=inference_session, **others)
        rows.append((numbers, masks.clone(), scores.clone()))
        return masks, scores

    monkeypatch.setattr(network, "run_tracker_propagation", noted)
    build = network.build_outputs

    def built(**given: Any) -> dict[int, Tensor]:
        outputs.append(build(**given))
        return outputs[-1]

    monkeypatch.setattr(network, "build_outputs", built)
    with scripted(sam3, early_cat_and_dogs):
        video = Sam3Video(sam3, ["cat", "dog"])
        shown = run(video, clip(9))

    numbers, masks, scores = rows[8]
    assert numbers == [0, 1]
    assert list(outputs[8]) == [1]
    assert torch.equal(outputs[8][1][0], masks[1])
    assert not torch.equal(masks[0], masks[1])
    assert shown[8][0].presence == pytest.approx(float(scores[1].sigmoid()))


def test_what_hot_start_removes_is_on_no_frame(sam3: Sam3) -> None:
    with scripted(sam3, early_cat_and_dogs):
        shown = run(Sam3Video(sam3, ["cat", "dog"]), clip(9))
    assert [[found.instance.concept for found in masks] for masks in shown] == [["dog"]] * 9


def test_one_thing_detected_twice_is_born_once(sam3: Sam3) -> None:
    twice = [Find(0.9, (2, 20)), Find(0.95, (3, 21)), Find(0.8, (24, 30))]
    with scripted(sam3, lambda _, __: twice):
        shown = run(Sam3Video(sam3, ["cat"]), clip(1))
    scores = [found.instance.score for found in shown[0]]
    assert scores == [pytest.approx(0.95), pytest.approx(0.8)]


def test_specks_are_removed_and_holes_are_filled(sam3: Sam3) -> None:
    mask = torch.full((1, 1, 32, 32), -5.0)
    mask[..., 8:24, 8:24] = 5
    mask[..., 12:15, 12:15] = -5  # a hole of 9 pixels
    mask[..., 1:3, 1:3] = 5  # a speck of 4
    mask[..., 28:31, 0:30] = 5  # 90 pixels

    cleaned = modeling_sam3_video.fill_holes_in_mask_scores(mask, max_area=16) > 0

    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[8:24, 8:24], expected[28:31, 0:30] = True, True
    assert torch.equal(cleaned[0, 0], expected)


def test_a_birth_leaves_the_memories_of_other_objects_alone(sam3: Sam3) -> None:
    def late_dog(index: int, concept: str) -> list[Find]:
        return [Find(0.9)] if concept == "cat" or index == 2 else []

    memories = []
    for concepts in (["cat"], ["cat", "dog"]):
        with scripted(sam3, late_dog):
            video = Sam3Video(sam3, concepts)
            run(video, clip(3))
        outputs = video._session.output_dict_per_obj[0]
        memories.append(outputs["non_cond_frame_outputs"][2]["maskmem_features"])
    assert list(video.instances) == [0, 1]
    assert torch.equal(*memories)


@pytest.mark.parametrize(
    ("presence_logit", "is_reconditioned"),
    [(1.0, False), (1.3, False), (1.5, True)],
    ids=["0.73", "0.79", "0.82"],
)
def test_reconditioning_compares_the_probability_of_presence(
    sam3: Sam3, presence_logit: float, is_reconditioned: bool
) -> None:
    assert sam3.network.high_conf_thresh == 0.8
    with scripted(sam3, lambda _, __: [Find(0.9)]):
        video = Sam3Video(sam3, ["cat"])
        run(video, clip(1))

    _, numbers = sam3.network._prepare_recondition_masks(
        inference_session=video._session,
        frame_idx=1,
        det_out={},
        trk_masks=torch.zeros(1, 32, 32),
        trk_id_to_max_iou_high_conf_det={0: 0},
        tracker_obj_scores_global=torch.tensor([presence_logit]),
    )
    assert numbers == ({0} if is_reconditioned else set())


def test_the_pointers_of_the_latest_four_conditioning_frames_are_read(
    sam3: Sam3, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: Any = sam3.network
    for name, value in {
        "recondition_every_nth_frame": 2,
        "high_iou_thresh": 0.0,
        "high_conf_thresh": 0.5,
    }.items():
        monkeypatch.setattr(network, name, value)
    tracker = network.tracker_model
    read, ages = tracker._get_object_pointers, []

    def noted(*given: Any) -> Any:
        found = read(*given)
        ages.append(found[0])
        return found

    monkeypatch.setattr(tracker, "_get_object_pointers", noted)
    with scripted(sam3, lambda _, __: [Find(0.9)]):
        run(Sam3Video(sam3, ["cat"]), clip(24))
    assert sorted(ages[-1]) == list(range(1, 16))  # 16, 18, … are conditioning frames no more
    assert ages[-1][:4] == [1, 3, 5, 7]


@pytest.mark.parametrize("is_stated", [True, False], ids=["stated", "found"])
def test_a_detection_of_what_a_prompt_states_is_no_birth(sam3: Sam3, is_stated: bool) -> None:
    masks = torch.stack([Find(0.9, (0, 12)).logits, Find(0.9, (20, 32)).logits])
    born, *_ = sam3.network._associate_det_trk(
        det_masks=masks,
        det_scores=torch.tensor([0.9, 0.9]),
        trk_masks=Find(0.9, (2, 12)).logits[None],
        trk_obj_ids=[5],
        det_prompt_ids=torch.tensor([0, 0]),
        trk_prompt_ids=torch.tensor([-6 if is_stated else 1]),
    )
    assert born == ([1] if is_stated else [0, 1])


def test_without_words_only_what_prompts_state_is_tracked(sam3: Sam3) -> None:
    assert run(Sam3Video(sam3, []), clip(2)) == [[], []]
