"""The overlap of two boxes."""

import numpy as np
import numpy.typing as npt


def overlap(box: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the IoU of two boxes: left, top, right, bottom."""
    first, second = np.array(box), np.array(other)
    inside = _extent(np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:]))
    union = _extent(first[:2], first[2:]) + _extent(second[:2], second[2:]) - inside
    return inside / union if union else 0.0


def _extent(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> float:
    return float(np.clip(end - start, 0, None).prod())
