"""`rle.json` in the form `coco`, read back by pycocotools."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from sam_video.types import Candidate, Frame, MaskFrame, ObjectMask
from sam_video.writers.coco import CocoWriter
from tests.mask_frames import (
    HEIGHT,
    INFO,
    NOTHING,
    WIDTH,
    disc,
    mask_frame,
    moving_discs,
    picture,
    write_all,
)


def coco_writer(folder: Path) -> CocoWriter:
    return CocoWriter(folder, INFO)


def read_rle(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "rle.json").read_text(encoding="utf-8"))
    return content


def test_rle_masks_decode_to_the_masks_that_were_written(tmp_path: Path) -> None:
    frames = moving_discs(6)
    assert write_all(coco_writer(tmp_path), frames) == [tmp_path / "rle.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["rle.json"]
    entries = read_rle(tmp_path)["frames"]
    assert [entry["frame_index"] for entry in entries] == [0, 1, 2, 3, 4, 5]
    for entry, masks in zip(entries, frames, strict=True):
        assert [item["object_id"] for item in entry["objects"]] == ["dog", "cat"]
        for item, written in zip(entry["objects"], masks.objects, strict=True):
            assert np.array_equal(coco.decode(item["segmentation"]), written.mask)
            rows, columns = np.nonzero(written.mask)
            corner = [columns.min(), rows.min()]
            size = [np.ptp(columns) + 1, np.ptp(rows) + 1]
            assert item["bbox"] == corner + size
            assert item["area"] == written.mask.sum()


def test_rle_json_has_the_form_of_the_contract(tmp_path: Path) -> None:
    masks = {"dog": disc(10, 10, radius=1), "cat": NOTHING}
    write_all(coco_writer(tmp_path), [mask_frame(4, masks, iou=0.987654)])
    segmentation = {
        "size": [HEIGHT, WIDTH],
        "counts": coco.encode(np.asfortranarray(masks["dog"].astype(np.uint8)))["counts"].decode(),
    }
    dog = {
        "object_id": "dog",
        "segmentation": segmentation,
        "bbox": [9, 9, 3, 3],
        "area": 5,
        "score": 0.9877,
    }
    assert read_rle(tmp_path) == {
        "video": {
            "width": WIDTH,
            "height": HEIGHT,
            "frame_rate": 30000 / 1001,
            "num_frames": 1,
        },
        "objects": [{"object_id": "dog", "index": 1}, {"object_id": "cat", "index": 2}],
        "frames": [{"frame_index": 4, "timestamp": 0.16, "objects": [dog]}],
    }


def test_absent_objects_are_left_out_of_a_frame_but_not_of_the_list(tmp_path: Path) -> None:
    here, late = disc(20, 20), disc(40, 30)
    frames = [
        mask_frame(0, {"dog": NOTHING}),
        mask_frame(1, {"dog": here, "cat": NOTHING}),
        mask_frame(2, {"dog": NOTHING, "cat": late}),
    ]
    write_all(coco_writer(tmp_path), frames)
    content = read_rle(tmp_path)
    named = [[item["object_id"] for item in entry["objects"]] for entry in content["frames"]]
    assert named == [[], ["dog"], ["cat"]]
    assert content["objects"] == [
        {"object_id": "dog", "index": 1},
        {"object_id": "cat", "index": 2},
    ]


def test_objects_are_listed_by_index_whichever_was_seen_first(tmp_path: Path) -> None:
    late = ObjectMask("late", 1, disc(20, 20), 1.0, 0.9)
    early = ObjectMask("early", 0, disc(40, 30), 1.0, 0.9)
    frames = [
        MaskFrame(Frame(0, 0.0, picture()), (late,)),
        MaskFrame(Frame(1, 0.1, picture()), (early, late)),
    ]
    write_all(coco_writer(tmp_path), frames)
    listed = [(item["object_id"], item["index"]) for item in read_rle(tmp_path)["objects"]]
    assert listed == [("early", 1), ("late", 2)]


def test_an_object_with_candidates_lists_them_with_their_scores(tmp_path: Path) -> None:
    masks = [disc(20, 20, radius) for radius in (4, 8, 12)]
    candidates = tuple(
        Candidate(mask, predicted_iou=iou)
        for mask, iou in zip(masks, (0.5, 0.91234567, 0.25), strict=True)
    )
    item = ObjectMask("dog", 0, masks[1], 1.0, 0.9, candidates=candidates)
    plain = ObjectMask("cat", 1, masks[0], 1.0, 0.9)
    write_all(coco_writer(tmp_path), [MaskFrame(Frame(0, 0.0, picture()), (item, plain))])
    dog, cat = read_rle(tmp_path)["frames"][0]["objects"]
    assert "candidates" not in cat
    assert [entry["score"] for entry in dog["candidates"]] == [0.5, 0.9123, 0.25]
    assert [entry["area"] for entry in dog["candidates"]] == [int(mask.sum()) for mask in masks]
    assert [entry["bbox"] for entry in dog["candidates"]] == [
        [20 - radius, 20 - radius, 2 * radius + 1, 2 * radius + 1] for radius in (4, 8, 12)
    ]
    for entry, mask in zip(dog["candidates"], masks, strict=True):
        assert np.array_equal(coco.decode(entry["segmentation"]), mask)


def test_candidates_are_listed_even_if_the_best_of_them_is_empty(tmp_path: Path) -> None:
    candidates = (Candidate(NOTHING, 0.9), Candidate(disc(20, 20), 0.8))
    item = ObjectMask("dog", 0, NOTHING, 0.1, 0.9, candidates=candidates)
    write_all(coco_writer(tmp_path), [MaskFrame(Frame(0, 0.0, picture()), (item,))])
    (dog,) = read_rle(tmp_path)["frames"][0]["objects"]
    assert dog["area"] == 0
    assert [entry["area"] > 0 for entry in dog["candidates"]] == [False, True]
