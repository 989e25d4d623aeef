"""Run-length encodings equal an independent reading of the formats, and pycocotools."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from sam_video import rle
from sam_video.types import BoolMask


def column_major_runs(mask: BoolMask) -> list[int]:
    """Lengths of the runs down the columns, background first."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


def packed(runs: list[int]) -> str:
    """Pack runs as COCO does: differences to the run before the last, 5 bits a character."""
    text = ""
    for i, run in enumerate(runs):
        rest = run - runs[i - 2] if i > 2 else run
        while True:
            bits, rest = rest & 0x1F, rest >> 5
            is_last = rest == (-1 if bits & 0x10 else 0)
            text += chr(48 + (bits if is_last else bits | 0x20))
            if is_last:
                break
    return text


def blob(height: int, width: int) -> BoolMask:
    y, x = np.mgrid[:height, :width]
    mask: BoolMask = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 4) ** 2
    return mask


def noise(height: int, width: int, share: float) -> BoolMask:
    return np.random.default_rng(seed=height * width).random((height, width)) < share


CENTRE_BLOCK = np.pad(np.ones((2, 2), bool), 1)
MASKS = [
    pytest.param(CENTRE_BLOCK, id="block in the middle"),
    pytest.param(np.zeros((5, 7), bool), id="empty"),
    pytest.param(np.ones((5, 7), bool), id="full"),
    pytest.param(np.ones((1, 1), bool), id="one pixel"),
    pytest.param(np.array([[0, 1, 1, 0, 1]], bool), id="one row"),
    pytest.param(np.array([[1], [0], [1]], bool), id="one column"),
    pytest.param(np.eye(9, dtype=bool), id="diagonal"),
    pytest.param(blob(120, 90), id="disc"),
    pytest.param(blob(90, 120)[::-1, ::2], id="view with strides"),
    pytest.param(noise(37, 53, 0.5), id="noise"),
    pytest.param(noise(64, 20, 0.03), id="sparse noise"),
    pytest.param(noise(20, 64, 0.97), id="dense noise"),
    pytest.param(np.pad(np.ones((3, 1), bool), ((900, 900), (500, 40))), id="long runs"),
]


@pytest.mark.parametrize("mask", MASKS)
def test_counts_are_the_runs_down_the_columns(mask: BoolMask) -> None:
    encoded = rle.encode(mask)
    assert encoded == {"size": list(mask.shape), "counts": packed(column_major_runs(mask))}


@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_comes_back_as_it_was(mask: BoolMask) -> None:
    before = mask.copy()
    decoded = rle.decode(rle.encode(mask))
    assert decoded.dtype == np.bool_
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    np.testing.assert_array_equal(decoded, before)
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("mask", MASKS)
def test_pycocotools_reads_it_after_a_trip_through_json(mask: BoolMask) -> None:
    encoded = json.loads(json.dumps(rle.encode(mask)))
    np.testing.assert_array_equal(coco_mask.decode(encoded), mask)


@pytest.mark.parametrize("mask", MASKS)
def test_area_counts_the_pixels(mask: BoolMask) -> None:
    assert rle.area(rle.encode(mask)) == mask.sum()


@pytest.mark.parametrize("mask", MASKS)
def test_the_box_is_tight_and_equals_that_of_pycocotools(mask: BoolMask) -> None:
    ys, xs = np.nonzero(mask)
    tight = (
        (xs.min(), ys.min(), xs.max() - xs.min() + 1, ys.max() - ys.min() + 1)
        if mask.any()
        else (0, 0, 0, 0)
    )
    encoded = rle.encode(mask)
    assert rle.bbox_xywh(encoded) == tight
    assert rle.bbox_xywh(encoded) == tuple(coco_mask.toBbox(encoded))


def test_numbers_of_an_encoding_fit_into_json() -> None:
    encoded = rle.encode(CENTRE_BLOCK)
    assert json.dumps([rle.bbox_xywh(encoded), rle.area(encoded)]) == "[[1, 1, 2, 2], 4]"


def test_the_block_in_the_middle_has_the_known_runs() -> None:
    assert column_major_runs(CENTRE_BLOCK) == [5, 2, 2, 2, 5]
    assert rle.encode(CENTRE_BLOCK)["counts"] == packed([5, 2, 2, 2, 5]) == "52203"


def row_major_runs(mask: BoolMask) -> str:
    """Start and length of every run of the object along the rows, pixel by pixel."""
    runs: list[list[int]] = []
    for position, pixel in enumerate(mask.ravel().tolist()):
        if pixel and runs and sum(runs[-1]) == position:
            runs[-1][1] += 1
        elif pixel:
            runs.append([position, 1])
    return " ".join(f"{start} {length}" for start, length in runs)


@pytest.mark.parametrize("mask", MASKS)
def test_start_length_names_the_runs_along_the_rows(mask: BoolMask) -> None:
    before = mask.copy()
    assert rle.start_length(mask) == row_major_runs(mask)
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        pytest.param(CENTRE_BLOCK, "5 2 9 2", id="block in the middle"),
        pytest.param(np.zeros((4, 4), bool), "", id="empty"),
        pytest.param(np.ones((4, 4), bool), "0 16", id="full"),
        pytest.param(np.eye(2, dtype=bool), "0 1 3 1", id="corners"),
        pytest.param(np.array([[0, 1], [1, 0]], bool), "1 2", id="over the end of a row"),
        pytest.param(np.array([[0, 1, 0], [0, 0, 0]], bool).T, "2 1", id="transposed"),
    ],
)
def test_start_length_has_the_known_text(mask: BoolMask, expected: str) -> None:
    assert rle.start_length(mask) == expected


def test_the_ious_of_masks_are_those_of_their_pixels() -> None:
    generator = np.random.default_rng(0)
    masks = [generator.random((9, 7)) < share for share in (0, 0.3, 0.6, 1)]
    found = rle.ious([rle.encode(mask) for mask in masks], [rle.encode(mask) for mask in masks])
    for row, one in enumerate(masks):
        for column, other in enumerate(masks):
            expected = (one & other).sum() / max(1, (one | other).sum())
            assert found[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("sizes", [(0, 0), (0, 2), (3, 0)], ids=str)
def test_no_masks_have_no_ious(sizes: tuple[int, int]) -> None:
    one = rle.encode(np.ones((4, 5), dtype=bool))
    assert rle.ious([one] * sizes[0], [one] * sizes[1]).shape == sizes
