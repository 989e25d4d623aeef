"""Data files say which words have found an object, and how sure the detector was."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sam_video.types import MaskFrame
from sam_video.writers.boxes import BoxWriter
from sam_video.writers.for_request import rle_writer
from tests.mask_frames import INFO, disc, mask_frame, moving_discs, write_all

WORDS = {"concept": "dog", "detection_score": 0.8123}


def found_by_words(masks: MaskFrame, score: float | None = 0.81234) -> MaskFrame:
    """Return a frame whose first object was found by the word `dog`."""
    first, *others = masks.objects
    return replace(masks, objects=(replace(first, concept="dog", detection_score=score), *others))


def written(folder: Path, rle_format: str, frames: list[MaskFrame]) -> Any:
    (path,) = write_all(rle_writer(rle_format, folder, INFO), frames)
    return json.loads(path.read_text())


@pytest.mark.parametrize("rle_format", ["coco", "start_length"])
def test_an_object_that_words_found_has_its_concept(tmp_path: Path, rle_format: str) -> None:
    content = written(tmp_path, rle_format, list(map(found_by_words, moving_discs(2))))
    dog, cat = ({k: v for k, v in o.items() if k != "rle"} for o in content["objects"])
    assert dog == {"object_id": "dog", "index": 1, **WORDS}
    assert cat == {"object_id": "cat", "index": 2}


def test_the_last_score_of_an_object_is_the_one_that_is_written(tmp_path: Path) -> None:
    frames = [
        found_by_words(masks, score)
        for masks, score in zip(moving_discs(3), [None, 0.5, 0.75], strict=True)
    ]
    assert written(tmp_path, "coco", frames)["objects"][0]["detection_score"] == 0.75


def test_a_concept_is_a_category_of_youtube_vis(tmp_path: Path) -> None:
    content = written(tmp_path, "youtube_vis", list(map(found_by_words, moving_discs(2))))
    dog, cat = content["annotations"]
    assert [(c["id"], c["name"]) for c in content["categories"]] == [(1, "object"), (2, "dog")]
    assert (dog["category_id"], cat["category_id"]) == (2, 1)
    assert {key: dog[key] for key in WORDS} == WORDS
    assert not WORDS.keys() & cat.keys()


def test_a_concept_named_object_is_the_category_that_is_there(tmp_path: Path) -> None:
    masks = mask_frame(0, {"object_1": disc(9, 9)})
    (item,) = masks.objects
    named = replace(masks, objects=(replace(item, concept="object", detection_score=0.5),))
    content = written(tmp_path, "youtube_vis", [named])
    assert [category["id"] for category in content["categories"]] == [1]
    assert content["annotations"][0]["category_id"] == 1


def test_a_box_that_words_found_has_its_concept(tmp_path: Path) -> None:
    (path,) = write_all(BoxWriter(tmp_path), [found_by_words(moving_discs(1)[0])])
    dog, cat = json.loads(path.read_text())["0"]
    assert {key: dog[key] for key in WORDS} == WORDS
    assert not WORDS.keys() & cat.keys()
