"""Masks come back from the spool as they were put in, and nothing else remains of them."""

import sqlite3
import tracemalloc
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sam_video.tracking.mask_spool import MaskSpool
from sam_video.types import ObjectMask


def object_mask(seed: int, *, name: str = "dog", index: int = 0) -> ObjectMask:
    random = np.random.default_rng(seed)
    return ObjectMask(
        object_id=name,
        object_index=index,
        mask=random.random((24, 33)) < 0.4,
        object_score=float(random.random()),
        predicted_iou=float(random.random()),
    )


def assert_same(got: tuple[ObjectMask, ...], expected: list[ObjectMask]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one.mask, other.mask)
        assert one.mask.dtype == np.bool_
        assert (one.object_id, one.object_index) == (other.object_id, other.object_index)
        assert (one.object_score, one.predicted_iou) == (other.object_score, other.predicted_iou)


@pytest.mark.parametrize("name", ["dog", "", "0", "left hand", "Löffel 🥄", 'a"\n\\b', "\ud800"])
def test_a_mask_comes_back_as_it_was(name: str) -> None:
    stored = [object_mask(1, name=name, index=3)]
    with closing(MaskSpool()) as spool:
        spool.append(0, stored)
        assert_same(spool.read(0), stored)


def test_confidences_come_back_with_their_mask() -> None:
    plain = object_mask(1)
    levels = np.random.default_rng(2).integers(0, 256, plain.mask.shape, dtype=np.uint8)
    with closing(MaskSpool()) as spool:
        spool.append(0, [replace(plain, confidence=levels), plain])
        first, second = spool.read(0)
    np.testing.assert_array_equal(first.confidence, levels)
    assert second.confidence is None


def test_objects_keep_their_order() -> None:
    stored = [object_mask(1, name="b", index=1), object_mask(2, name="a", index=0)]
    with closing(MaskSpool()) as spool:
        spool.append(5, stored)
        assert_same(spool.read(5), stored)


def test_frames_appended_backward_are_read_forward() -> None:
    frames = {index: [object_mask(index)] for index in range(20)}
    with closing(MaskSpool()) as spool:
        for index in reversed(frames):
            spool.append(index, frames[index])
        for index, stored in frames.items():
            assert_same(spool.read(index), stored)


def test_reading_between_appends_disturbs_neither() -> None:
    frames = {index: [object_mask(index), object_mask(-index % 7)] for index in (9, 2, 40, 7)}
    with closing(MaskSpool()) as spool:
        for index, stored in frames.items():
            spool.append(index, stored)
            assert_same(spool.read(9), frames[9])
        for index in (40, 2, 7, 9, 2):
            assert_same(spool.read(index), frames[index])


def test_a_frame_never_appended_has_no_masks() -> None:
    with closing(MaskSpool()) as spool:
        assert spool.read(0) == ()
        spool.append(3, [object_mask(3)])
        assert spool.read(2) == ()


def test_a_frame_without_objects_has_no_masks() -> None:
    with closing(MaskSpool()) as spool:
        spool.append(3, [])
        spool.append(2, [object_mask(2)])
        assert spool.read(3) == ()


def test_a_frame_appended_twice_fails() -> None:
    with closing(MaskSpool()) as spool:
        spool.append(3, [object_mask(3)])
        with pytest.raises(sqlite3.IntegrityError):
            spool.append(3, [object_mask(4)])


def test_nothing_is_left_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(KeyboardInterrupt), closing(MaskSpool()) as spool:
        spool.append(0, [object_mask(0)])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        spool.read(0)


def test_memory_does_not_hold_masks() -> None:
    num_frames = 1000
    stored = [object_mask(0)]
    tracemalloc.start()
    with closing(MaskSpool()) as spool:
        spool.append(0, stored)
        before, _ = tracemalloc.get_traced_memory()
        for index in range(1, num_frames):
            spool.append(index, stored)
        spool.read(num_frames // 2)
        after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / num_frames < 200
