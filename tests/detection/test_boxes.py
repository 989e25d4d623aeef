"""From boxes and scores to detections."""

import math

import pytest
import torch

from sam_video.detection.boxes import MAX_DETECTIONS, corners, find_instances
from sam_video.detection.interface import Detection
from sam_video.types import Box

HW = (100, 200)


def found(
    boxes: list[list[float]], *scores: list[float], threshold: float = 0.2
) -> list[tuple[str, Box]]:
    """Return concept and box of what is found; each list of scores is a concept: a, b, ..."""
    return [(item.concept, item.box) for item in detections(boxes, *scores, threshold=threshold)]


def detections(
    boxes: list[list[float]], *scores: list[float], threshold: float = 0.2
) -> list[Detection]:
    table = torch.tensor(scores).T
    return find_instances(torch.tensor(boxes), table, "abcdef"[: len(scores)], HW, threshold)


def test_centres_and_sizes_become_corners() -> None:
    assert corners(torch.tensor([[5.0, 6.0, 4.0, 8.0]])).tolist() == [[3, 2, 7, 10]]


def test_the_surest_come_first() -> None:
    boxes = [[0.0, 0, 10, 10], [20.0, 0, 30, 10], [40.0, 0, 50, 10]]
    assert [box.x0 for _, box in found(boxes, [0.3, 0.9, 0.5])] == [20, 40, 0]


def test_of_equally_sure_ones_the_order_is_that_of_concepts_and_boxes() -> None:
    boxes = [[40.0, 0, 50, 10], [0.0, 0, 10, 10]]
    names = [(name, box.x0) for name, box in found(boxes, [0.5, 0.5], [0.5, 0.5])]
    assert names == [("a", 40), ("a", 0), ("b", 40), ("b", 0)]


def test_what_is_less_sure_than_the_threshold_is_left_out() -> None:
    boxes = [[0.0, 0, 10, 10], [20.0, 0, 30, 10]]
    assert found(boxes, [0.5, 0.49], threshold=0.5) == [("a", Box(0, 0, 10, 10))]


def test_boxes_end_at_the_image() -> None:
    assert found([[-5.0, 90, 30, 120]], [0.9]) == [("a", Box(0, 90, 30, 100))]


@pytest.mark.parametrize(
    "box",
    [
        [0.0, 100, 50, 150],
        [250.0, 0, 300, 50],
        [0.0, 0, 0.5, 50],
        [10.0, 10, 5, 20],
        [math.nan, 0, 10, 10],
    ],
    ids=["below", "right", "narrow", "inside out", "no number"],
)
def test_what_is_not_in_the_image_is_dropped(box: list[float]) -> None:
    assert found([box], [0.9]) == []


def test_a_score_that_is_no_number_is_dropped() -> None:
    assert found([[0.0, 0, 10, 10]], [math.nan]) == []


@pytest.mark.parametrize(
    ("x1", "number"), [(20, 2), (19, 1)], ids=["half is two things", "more is one"]
)
def test_a_thing_is_found_once_for_each_concept(x1: float, number: int) -> None:
    boxes = [[0.0, 0, 10, 10], [0.0, 0, x1, 10]]
    assert len(found(boxes, [0.9, 0.8])) == number
    assert len(found(boxes, [0.9, 0.1], [0.1, 0.9])) == 2


def test_what_was_dropped_drops_nothing_itself() -> None:
    boxes = [[0.0, 0, 10, 10], [3.0, 0, 13, 10], [6.0, 0, 16, 10]]
    assert [box.x0 for _, box in found(boxes, [0.9, 0.8, 0.7])] == [0, 6]


def test_what_a_threshold_of_0_lets_through_is_bounded() -> None:
    boxes = [[0.0, i / 50, 1.0, i / 50 + 1] for i in range(4000)]
    assert len(found(boxes, [0.0] * 4000, threshold=0)) <= MAX_DETECTIONS


def test_no_boxes_are_no_detections() -> None:
    assert find_instances(torch.zeros(0, 4), torch.zeros(0, 1), ["a"], HW, 0.1) == []
