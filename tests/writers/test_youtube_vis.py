"""`rle.json` in the form `youtube_vis`, read back by the benchmark's own code."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from sam_video.types import MaskFrame
from sam_video.writers.youtube_vis import YouTubeVisWriter
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

COLUMNS = ("segmentations", "bboxes", "areas")


def written(folder: Path, frames: list[MaskFrame]) -> dict[str, Any]:
    (path,) = write_all(YouTubeVisWriter(folder, INFO), frames)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def coming_and_going() -> list[MaskFrame]:
    """One object is there, leaves and comes back; one is named late; one is never visible."""
    return [
        mask_frame(0, {"dog": disc(20, 20)}),
        mask_frame(1, {"dog": NOTHING, "cat": NOTHING, "ghost": NOTHING}),
        mask_frame(2, {"dog": disc(30, 20, 5), "cat": disc(40, 30), "ghost": NOTHING}),
        mask_frame(3, {"dog": NOTHING, "cat": disc(42, 30), "ghost": NOTHING}),
        mask_frame(4, {}),
    ]


def test_an_annotation_has_an_entry_per_frame_which_is_null_where_nothing_is_visible(
    tmp_path: Path,
) -> None:
    frames = coming_and_going()
    annotations = written(tmp_path, frames)["annotations"]
    assert [annotation["object_id"] for annotation in annotations] == ["dog", "cat"]
    for annotation in annotations:
        name = annotation["object_id"]
        for frame, masks in enumerate(frames):
            shown = [item.mask for item in masks.objects if item.object_id == name]
            entry = [annotation[column][frame] for column in COLUMNS]
            if not shown or not shown[0].any():
                assert entry == [None, None, None]
                continue
            segmentation, bbox, area = entry
            assert np.array_equal(coco.decode(segmentation), shown[0])
            assert bbox == coco.toBbox(segmentation).tolist()
            assert area == shown[0].sum()
        assert [len(annotation[column]) for column in COLUMNS] == [len(frames)] * 3


def test_it_has_the_form_of_youtube_vis(tmp_path: Path) -> None:
    mask = disc(10, 10, radius=1)
    content = written(
        tmp_path, [mask_frame(0, {"dog": mask}, iou=0.5), mask_frame(4, {"dog": mask}, iou=0.9)]
    )
    segmentation = {
        "size": [HEIGHT, WIDTH],
        "counts": coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode(),
    }
    assert content == {
        "videos": [
            {
                "id": 1,
                "width": WIDTH,
                "height": HEIGHT,
                "length": 2,
                "frame_rate": 30000 / 1001,
                "file_names": ["video/00000.jpg", "video/00004.jpg"],
                "frame_indices": [0, 4],
                "timestamps": [0.0, 0.16],
            }
        ],
        "categories": [{"id": 1, "name": "object", "supercategory": "object"}],
        "annotations": [
            {
                "id": 1,
                "video_id": 1,
                "category_id": 1,
                "object_id": "dog",
                "width": WIDTH,
                "height": HEIGHT,
                "iscrowd": 0,
                "score": 0.7,
                "segmentations": [segmentation, segmentation],
                "bboxes": [[9, 9, 3, 3], [9, 9, 3, 3]],
                "areas": [5, 5],
            }
        ],
    }


def benchmark_module(name: str) -> ModuleType:
    """Load a module of the YouTube-VIS benchmark from the copy that mmdet carries.

    mmdet itself need not be importable, which takes mmcv: the two files stand alone.
    """
    mmdet = importlib.util.find_spec("mmdet")
    if mmdet is None or not mmdet.submodule_search_locations:
        pytest.skip("the YouTube-VIS benchmark's code is absent (pip install --no-deps mmdet)")
    path = Path(mmdet.submodule_search_locations[0], "evaluation", "functional", f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def average_precision(
    monkeypatch: pytest.MonkeyPatch, truth: dict[str, Any], results: list[dict[str, Any]]
) -> float:
    # The benchmark's code is older than NumPy 1.24, which took this name away.
    monkeypatch.setattr(np, "float", float, raising=False)
    expected = benchmark_module("ytvis").YTVIS(truth)
    evaluation = benchmark_module("ytviseval").YTVISeval(
        expected, expected.loadRes(results), "segm"
    )
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def test_the_benchmark_gives_full_marks_to_masks_compared_with_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, coming_and_going())
    text = (tmp_path / "rle.json").read_text()
    results = json.loads(text)["annotations"]
    assert average_precision(monkeypatch, json.loads(text), results) == pytest.approx(1)


def test_the_benchmark_tells_other_masks_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = written(tmp_path, moving_discs(6))
    shifted = [mask_frame(i, {"dog": disc(13 + 3 * i, 22), "cat": NOTHING}) for i in range(6)]
    results = written(tmp_path, shifted)["annotations"]
    assert 0 < average_precision(monkeypatch, truth, results) < 0.5
