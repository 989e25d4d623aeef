"""J and F against cases that one can count by hand."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.davis import (
    KINDS,
    Score,
    boundary,
    boundary_f,
    jaccard,
    mean_score,
    score_masks,
    score_sequence,
)
from sam_video import load_model
from sam_video.types import BoolMask
from tests.clips import draw_clip, draw_frame


def square(x0: int, x1: int, side: int = 100) -> np.ndarray:
    mask = np.zeros((side, side), np.bool_)
    mask[40:60, x0:x1] = True
    return mask


def test_j_counts_pixels() -> None:
    # 20 rows; 20 columns each, of which 10 are common: 200 of 600 pixels.
    assert jaccard(square(20, 40), square(30, 50)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("measure", [jaccard, boundary_f])
def test_two_empty_masks_agree(measure: Callable[[BoolMask, BoolMask], float]) -> None:
    nothing = square(0, 0)
    assert measure(nothing, nothing) == 1.0
    assert measure(square(20, 40), nothing) == 0.0
    assert measure(nothing, square(20, 40)) == 0.0


def test_the_boundary_lies_on_pixels_before_a_change() -> None:
    mask = np.zeros((5, 5), np.bool_)
    mask[2, 2] = True
    expected = np.zeros((5, 5), np.bool_)
    expected[1:3, 1:3] = True
    assert (boundary(mask) == expected).all()


def test_a_mask_that_reaches_the_edge_has_no_boundary_there() -> None:
    mask = np.zeros((4, 6), np.bool_)
    mask[:, 3:] = True
    expected = np.zeros((4, 6), np.bool_)
    expected[:, 2] = True
    assert (boundary(mask) == expected).all()


def test_f_forgives_a_shift_within_the_tolerance() -> None:
    # The diagonal of 100x100 pixels is 141.4, of which 0.008 is 1.13, rounded up to 2 pixels.
    assert boundary_f(square(20, 40), square(22, 42)) == 1.0


def test_f_counts_boundary_pixels_beyond_the_tolerance() -> None:
    # A bar over all rows: its boundary is a column of 100 pixels on either side. The bar that is
    # 10 columns wider to the right shares one of both columns.
    bar, wider = np.zeros((2, 100, 100), np.bool_)
    bar[:, 20:40], wider[:, 20:50] = True, True
    assert boundary_f(wider, bar) == pytest.approx(0.5)
    # Twice as many boundary pixels as the truth, half of them right: precision 0.5, recall 1.
    edge = np.zeros((100, 100), np.bool_)
    edge[:, :40] = True
    band = np.zeros((100, 100), np.bool_)
    band[:, 20:40] = True
    assert boundary_f(band, edge) == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_a_sequence_is_scored_without_its_first_and_last_frame() -> None:
    truth = square(20, 40)
    wrong = square(70, 90)
    score = score_masks([wrong, truth, square(30, 50), wrong], [truth] * 4)
    assert score.j == pytest.approx((1 + 1 / 3) / 2)
    assert score.jf == pytest.approx((score.j + score.f) / 2)


def test_a_mask_too_few_fails() -> None:
    with pytest.raises(ValueError, match="3 masks for 4 frames; expected as many, and at least 3"):
        score_masks([square(20, 40)] * 3, [square(20, 40)] * 4)


def test_the_mean_of_scores_is_plain() -> None:
    mean = mean_score([Score(0.2, 0.4), Score(0.6, 0.8)])
    assert (mean.j, mean.f) == pytest.approx((0.4, 0.6))


def test_a_sequence_on_disk_is_tracked_and_scored(tmp_path: Path) -> None:
    size, count = (256, 192), 5
    draw_clip(tmp_path / "video.mp4", num_frames=count, size=size)
    (tmp_path / "masks").mkdir()
    for index in range(count):
        masks = draw_frame(index, size)[1]
        labels = masks["disc"].astype(np.uint8) + 2 * masks["rectangle"].astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / "masks" / f"{index:05d}.png")
    entries = {"1": {"frame": 0, "point": [32, 58], "box": [4, 31, 59, 86]}}
    entries["2"] = {"frame": 0, "point": [205, 121], "box": [180, 106, 230, 138]}
    (tmp_path / "clicks.json").write_text(json.dumps(entries))
    model = load_model("pocket")
    for kind in KINDS:
        score = score_sequence(tmp_path, kind, model)
        assert 0.5 < score.j <= 1
        assert 0.3 < score.f <= 1
