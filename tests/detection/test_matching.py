"""Pairs of detections and tracked objects."""

from itertools import permutations

import numpy as np
import pytest

from sam_video.detection.matching import Weights, best_pairs


def most(weights: Weights, least: float) -> float:
    """Return the largest sum of weights, by trying all pairs."""
    useful = np.where(weights >= least, weights, 0.0)
    if useful.shape[0] > useful.shape[1]:
        useful = useful.T
    rows = np.arange(useful.shape[0])
    return max(
        float(useful[rows, list(columns)].sum())
        for columns in permutations(range(useful.shape[1]), len(rows))
    )


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 5), (5, 2), (4, 6), (6, 6)], ids=str)
def test_no_other_pairs_have_a_larger_sum(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(shape[0] * 10 + shape[1])
    for _ in range(20):
        weights = generator.random(shape)
        pairs = best_pairs(weights, 0.5)
        assert sum(weights[pair] for pair in pairs) == pytest.approx(most(weights, 0.5))
        assert all(weights[pair] >= 0.5 for pair in pairs)
        for side in zip(*pairs, strict=True):
            assert len(set(side)) == len(pairs)


def test_the_sum_decides_and_not_the_largest_weight() -> None:
    weights = np.array([[0.9, 0.8], [0.8, 0.1]])
    assert best_pairs(weights, 0.5) == [(0, 1), (1, 0)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)], ids=str)
def test_without_things_there_are_no_pairs(shape: tuple[int, int]) -> None:
    assert best_pairs(np.zeros(shape), 0.5) == []


def test_many_things_that_fit_nothing_have_no_pairs() -> None:
    assert best_pairs(np.full((40, 30), 0.4), 0.5) == []
