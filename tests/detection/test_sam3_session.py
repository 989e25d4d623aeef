"""What SAM 3 remembers of a video."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sam_video.detection.sam3_session import Sam3Session

TRACKER = SimpleNamespace(max_cond_frame_num=4, num_maskmem=7, max_object_pointers_in_encoder=16)


def encode(concept: str) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[len(concept)]]), torch.ones(1, 1)


@pytest.fixture
def session() -> Sam3Session:
    return Sam3Session(TRACKER, torch.device("cpu"))


def output() -> dict[str, Any]:
    return dict.fromkeys(
        ["high_res_masks", "pred_masks", "maskmem_features", "maskmem_pos_enc", "object_pointer"],
        torch.zeros(1),
    )


def test_the_tracker_takes_it_for_a_part_of_a_long_video(session: Sam3Session) -> None:
    assert session.num_frames > 10**9


def test_each_word_has_a_number_of_its_own_whatever_went_before(session: Sam3Session) -> None:
    session.set_concepts(["cat", "dog", "cat"], [], encode)
    session.set_concepts(["dog", "red bird"], ["poster"], encode)
    assert session.prompts == {1: "dog", 2: "red bird", 3: "poster"}
    assert session.prompt_input_ids.keys() == session.prompts.keys()
    assert session.prompt_attention_masks.keys() == session.prompts.keys()
    assert session.unwanted == {3}
    session.set_concepts(["poster"], [], encode)
    assert session.prompts == {3: "poster"}
    assert session.unwanted == set()


def test_features_of_words_are_forgotten_with_them(session: Sam3Session) -> None:
    session.set_concepts(["cat"], [], encode)
    session.prompt_embeddings[0] = torch.zeros(1)
    session.set_concepts(["dog"], [], encode)
    assert session.prompt_embeddings == {}


def test_a_view_of_some_objects_stores_in_the_session(session: Sam3Session) -> None:
    for number in (4, 7, 9):
        session.obj_id_to_idx(number)
    view = session.only([9])
    assert view.get_obj_num() == 1
    assert view.obj_with_new_inputs == [9]

    view.store_output(0, 3, output_value=output())

    assert list(session.output_dict_per_obj[2]["cond_frame_outputs"]) == [3]
    assert session.obj_ids == [4, 7, 9]
    assert session.obj_with_new_inputs == []


def test_only_what_later_frames_read_is_kept(session: Sam3Session) -> None:
    session.obj_id_to_idx(0)
    stored = session.output_dict_per_obj[0]
    conditioning = dict.fromkeys([0, 3, 10, 25, 30, 37])
    stored["cond_frame_outputs"] = {index: output() for index in conditioning}
    stored["non_cond_frame_outputs"] = {i: output() for i in range(41) if i not in conditioning}
    for index in range(41):
        session.add_new_frame(torch.zeros(3, 2, 2), index)
        session.frames_tracked_per_obj[0][index] = {}
        session.obj_id_to_tracker_score_frame_wise[index] = {}
        session.suppressed_obj_ids[index] = set()

    session.prune(40)

    assert list(stored["cond_frame_outputs"]) == [37, 30, 25, 10]  # as read where there are more
    ordinary = stored["non_cond_frame_outputs"]
    assert sorted(ordinary) == [i for i in range(26, 41) if i not in conditioning]
    with_memory = [i for i, kept in ordinary.items() if kept["maskmem_features"] is not None]
    assert sorted(with_memory) == [35, 36, 38, 39, 40]
    assert all(kept["object_pointer"] is not None for kept in ordinary.values())
    for kept in (*ordinary.values(), *stored["cond_frame_outputs"].values()):
        assert kept["high_res_masks"] is kept["pred_masks"] is None
    assert list(session.processed_frames or {}) == [40]
    assert list(session.frames_tracked_per_obj[0]) == [40]
    assert list(session.suppressed_obj_ids) == [40]


def test_nothing_is_counted_of_objects_that_were_removed(session: Sam3Session) -> None:
    for number in (0, 1, 2):
        session.obj_id_to_score[number] = 0.9
        session.obj_first_frame_idx[number] = 0
        session.trk_keep_alive[number] = 30
        session.unmatched_frame_inds[number] = list(range(70))
    session.overlaps.update({(0, 1): [1], (0, 2): [1] * 70})
    session.processed_frames = {}
    session.removed_obj_ids = {1}

    session.prune(3)

    for counted in (session.obj_id_to_score, session.trk_keep_alive, session.obj_first_frame_idx):
        assert list(counted) == [0, 2]
    assert {n: len(missed) for n, missed in session.unmatched_frame_inds.items()} == {0: 50, 2: 50}
    assert {pair: len(frames) for pair, frames in session.overlaps.items()} == {(0, 2): 50}


def test_the_features_of_the_frame_outlive_the_last_object(session: Sam3Session) -> None:
    session.obj_id_to_idx(5)
    session.cache.cache_vision_features(2, {"vision_feats": torch.zeros(1)})

    session.remove_object(5)

    assert session.obj_ids == []
    assert session.cache.get_vision_features(2) is not None


def test_stated_objects_compete_with_none_for_pixels(session: Sam3Session) -> None:
    session.adopt(0)
    session.adopt(1)
    assert len(set(session.obj_id_to_prompt_id.values())) == 2  # of one prompt, they would
    assert all(number < 0 for number in session.obj_id_to_prompt_id.values())


def test_a_session_that_is_reset_numbers_its_objects_from_0(session: Sam3Session) -> None:
    session.adopt(0)
    session.reset_state()
    assert session.max_obj_id == -1
    assert session.obj_ids == []
    assert session.point_inputs_per_obj == {}
