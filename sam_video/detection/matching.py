"""Pair detections with tracked objects: the assignment problem, in NumPy alone."""

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float64]
"""`(N, M)` float64, how well each of N things fits each of M others, 0 or more."""


def best_pairs(weights: Weights, least: float) -> list[tuple[int, int]]:
    """Return pairs of rows and columns, each in one pair at most, of the largest sum of weights.

    Args:
        weights: Of all pairs.
        least: The least weight of a pair.
    """
    if weights.shape[0] > weights.shape[1]:
        return sorted((row, column) for column, row in best_pairs(weights.T, least))
    useful = np.where(weights >= least, weights, 0.0)
    columns = _assigned(-useful)
    return [(row, int(j)) for row, j in enumerate(columns) if weights[row, j] >= least]


def _assigned(costs: Weights) -> npt.NDArray[np.int64]:
    """Return the column of each row, `(N,)`, at the least sum of costs `(N, M)`, N <= M.

    The Hungarian method by shortest augmenting paths. Row 0 and column 0 stand for none.
    """
    num_rows, num_columns = costs.shape
    row_prices, column_prices = np.zeros(num_rows + 1), np.zeros(num_columns + 1)
    row_of = np.zeros(num_columns + 1, np.int64)
    for row in range(1, num_rows + 1):
        row_of[0], column = row, 0
        distances = np.full(num_columns + 1, np.inf)
        before = np.zeros(num_columns + 1, np.int64)
        is_passed = np.zeros(num_columns + 1, np.bool_)
        while row_of[column] != 0 or column == 0:
            is_passed[column] = True
            current = row_of[column]
            steps = costs[current - 1] - row_prices[current] - column_prices[1:]
            is_shorter = ~is_passed[1:] & (steps < distances[1:])
            distances[1:][is_shorter] = steps[is_shorter]
            before[1:][is_shorter] = column
            column = int(np.where(is_passed, np.inf, distances).argmin())
            step = distances[column]
            row_prices[row_of[is_passed]] += step
            column_prices[is_passed] -= step
            distances[~is_passed] -= step
        while column:
            row_of[column] = row_of[before[column]]
            column = int(before[column])
    columns = np.zeros(num_rows + 1, np.int64)
    columns[row_of[1:]] = np.arange(num_columns)
    return columns[1:]
