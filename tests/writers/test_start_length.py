"""`rle.json` in the form `start_length`, read back by the decoder of docs/outputs.md."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sam_video.types import BoolMask, MaskFrame
from sam_video.writers.start_length import StartLengthWriter
from tests.mask_frames import (
    HEIGHT,
    INFO,
    NOTHING,
    WIDTH,
    disc,
    mask_frame,
    moving_discs,
    write_all,
)


def decode(text: str, width: int, height: int) -> BoolMask:
    mask = np.zeros(height * width, dtype=bool)
    numbers = [int(number) for number in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        mask[start : start + length] = True
    return mask.reshape(height, width)


def written(folder: Path, frames: list[MaskFrame]) -> dict[str, Any]:
    (path,) = write_all(StartLengthWriter(folder, INFO), frames)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_the_texts_decode_to_the_union_and_to_every_object(tmp_path: Path) -> None:
    frames = moving_discs(6)
    content = written(tmp_path, frames)
    size = content["video"]["width"], content["video"]["height"]
    assert len(content["rle"]) == len(frames)
    assert [len(item["rle"]) for item in content["objects"]] == [6, 6]
    for frame, masks in enumerate(frames):
        dog, cat = masks.objects
        assert np.array_equal(decode(content["rle"][frame], *size), dog.mask | cat.mask)
        for item, expected in zip(content["objects"], masks.objects, strict=True):
            assert np.array_equal(decode(item["rle"][frame], *size), expected.mask)


def test_a_text_is_empty_where_nothing_is_visible_or_nothing_tracked(tmp_path: Path) -> None:
    frames = [
        mask_frame(0, {}),
        mask_frame(1, {"dog": disc(20, 20)}),
        mask_frame(2, {"dog": NOTHING, "cat": disc(40, 30)}),
        mask_frame(3, {"dog": NOTHING, "cat": NOTHING}),
    ]
    content = written(tmp_path, frames)
    assert [bool(text) for text in content["rle"]] == [False, True, True, False]
    visible = {
        item["object_id"]: [bool(text) for text in item["rle"]] for item in content["objects"]
    }
    assert visible == {
        "dog": [False, True, False, False],
        "cat": [False, False, True, False],
    }


def test_an_object_that_is_never_visible_is_listed(tmp_path: Path) -> None:
    content = written(tmp_path, [mask_frame(index, {"dog": NOTHING}) for index in range(2)])
    assert content["objects"] == [{"object_id": "dog", "index": 1, "rle": ["", ""]}]


def test_it_says_how_it_is_to_be_read(tmp_path: Path) -> None:
    mask = NOTHING.copy()
    mask[0, :2] = mask[1, -1] = mask[2, 0] = True
    assert written(tmp_path, [mask_frame(4, {"dog": mask})]) == {
        "order": "row",
        "base": 0,
        "video": {
            "width": WIDTH,
            "height": HEIGHT,
            "frame_rate": 30000 / 1001,
            "num_frames": 1,
        },
        "frame_indices": [4],
        "timestamps": [0.16],
        "rle": [f"0 2 {2 * WIDTH - 1} 2"],
        "objects": [{"object_id": "dog", "index": 1, "rle": [f"0 2 {2 * WIDTH - 1} 2"]}],
    }
