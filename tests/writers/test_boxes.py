"""`boxes.json`, compared with the masks that were written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam_video.types import MaskFrame
from sam_video.writers.boxes import BoxWriter
from tests.mask_frames import HEIGHT, NOTHING, WIDTH, disc, mask_frame, moving_discs, write_all


def written(folder: Path, frames: list[MaskFrame]) -> dict[str, Any]:
    assert write_all(BoxWriter(folder), frames) == [folder / "boxes.json"]
    content: dict[str, Any] = json.loads((folder / "boxes.json").read_text(encoding="utf-8"))
    return content


def test_a_box_cuts_the_object_out_of_its_frame_and_is_not_larger(tmp_path: Path) -> None:
    frames = moving_discs(6)
    content = written(tmp_path, frames)
    assert list(content) == ["0", "1", "2", "3", "4", "5"]
    for entries, masks in zip(content.values(), frames, strict=True):
        assert [entry["object_id"] for entry in entries] == ["dog", "cat"]
        for entry, item in zip(entries, masks.objects, strict=True):
            x0, y0, x1, y1 = entry["bbox"]
            window = item.mask[y0:y1, x0:x1]
            assert window.sum() == item.mask.sum()
            assert window[0].any() and window[-1].any()
            assert window[:, 0].any() and window[:, -1].any()


def test_it_has_the_form_of_the_contract(tmp_path: Path) -> None:
    frames = [mask_frame(0, {}), mask_frame(4, {"dog": disc(10, 20, 1), "cat": NOTHING})]
    assert written(tmp_path, frames) == {
        "0": [],
        "4": [{"frame_index": 4, "object_id": "dog", "bbox": [9, 19, 12, 22], "timestep": 0.16}],
    }


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        pytest.param(slice(0, 1), slice(0, 1), [0, 0, 1, 1], id="first pixel"),
        pytest.param(slice(-1, None), slice(-1, None), [61, 45, 62, 46], id="last pixel"),
        pytest.param(slice(None), slice(None), [0, 0, WIDTH, HEIGHT], id="whole frame"),
        pytest.param(slice(7, 8), slice(None), [0, 7, WIDTH, 8], id="one row"),
    ],
)
def test_boxes_are_half_open(
    tmp_path: Path, rows: slice, columns: slice, expected: list[int]
) -> None:
    mask = NOTHING.copy()
    mask[rows, columns] = True
    (entry,) = written(tmp_path, [mask_frame(0, {"dog": mask})])["0"]
    assert entry["bbox"] == expected


def test_a_mask_that_is_a_view_with_strides_has_its_box(tmp_path: Path) -> None:
    mask = np.repeat(disc(20, 20, 5), 2, axis=1)[:, ::2]
    (entry,) = written(tmp_path, [mask_frame(0, {"dog": mask})])["0"]
    assert entry["bbox"] == [15, 15, 26, 26]


@pytest.mark.parametrize("object_id", ["", '"', "a\nb", "狗 🐕", "\ud83d"], ids=ascii)
def test_any_text_is_a_name_that_comes_back(tmp_path: Path, object_id: str) -> None:
    (entry,) = written(tmp_path, [mask_frame(0, {object_id: disc(20, 20)})])["0"]
    assert entry["object_id"] == object_id


def test_boxes_without_frames_are_an_empty_object(tmp_path: Path) -> None:
    assert written(tmp_path, []) == {}
