"""Prompts as a user gives them, drawn from known masks: clicks, boxes and corrections."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from sam_video.types import BoolMask

BACKGROUND, FOREGROUND, BOX_START, BOX_END = 0, 1, 2, 3
"""SAM 2's point labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Points and box corners of N objects, as SAM 2's prompt encoder takes them."""

    coordinates: Tensor
    """`(N, P, 2)` float32 (x, y) in pixels of the frame."""
    labels: Tensor
    """`(N, P)` int32."""

    @property
    def count(self) -> int:
        """P, the same for all objects."""
        return self.labels.shape[1]

    def append(self, other: "Points") -> "Points":
        """Return these points with `other`'s after them."""
        return Points(
            torch.cat([self.coordinates, other.coordinates], dim=1),
            torch.cat([self.labels, other.labels], dim=1),
        )

    def to(self, device: torch.device) -> "Points":
        """Copy to `device`."""
        return Points(self.coordinates.to(device), self.labels.to(device))


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """How the objects of a batch are prompted on the first frame, and corrected later."""

    kind: str
    """`click`, `box`, `clicks`, `box_click` or `mask`."""
    corrections: int = 0
    """Rounds of one more click each on the first frame."""
    corrected_frame: int | None = None
    """A later frame that gets a correcting click."""


def draw_plan(rng: np.random.Generator, length: int, burn_in: int = 0) -> PromptPlan:
    """Draw how a batch of `length` frames is prompted."""
    shares = {"click": 0.36, "box": 0.3, "clicks": 0.1, "box_click": 0.04, "mask": 0.2}
    if length == 1:
        del shares["mask"]
    weights = np.array(list(shares.values()))
    kind = str(rng.choice(list(shares), p=weights / weights.sum()))
    corrections = int(rng.choice([0, 1, 2], p=[0.6, 0.25, 0.15])) if kind != "mask" else 0
    corrected = None
    if length - burn_in > 2 and rng.random() < 0.15:
        corrected = int(rng.integers(max(1, burn_in), length))
    return PromptPlan(kind, corrections, corrected)


def click_inside(rng: np.random.Generator, masks: Tensor) -> Points:
    """Click once on every object, anywhere well inside it; on nothing, at a random pixel.

    Args:
        rng: Draws the pixels.
        masks: `(N, S, S)` bool.
    """
    clicks = [_draw_inside(rng, mask) for mask in masks.cpu().numpy()]
    return _as_points([[(x, y, FOREGROUND)] for x, y in clicks])


def correct(rng: np.random.Generator, masks: Tensor, predicted: Tensor) -> Points:
    """Click once per object into the deeper of what was missed and what was too much.

    Args:
        rng: Draws the pixels.
        masks: `(N, S, S)` bool, the truth.
        predicted: `(N, S, S)` bool.
    """
    rows = []
    for mask, guess in zip(masks.cpu().numpy(), predicted.cpu().numpy(), strict=True):
        missed, surplus = mask & ~guess, guess & ~mask
        is_missed = _depth(missed).max() >= _depth(surplus).max()
        if not (missed.any() or surplus.any()):
            missed, is_missed = mask, bool(mask.any())
        x, y = _draw_inside(rng, missed if is_missed else surplus | ~(mask | surplus).any())
        rows.append([(x, y, FOREGROUND if is_missed else BACKGROUND)])
    return _as_points(rows)


def several_clicks(rng: np.random.Generator, masks: Tensor, count: int) -> Points:
    """Click `count` times per object: first inside, then inside or, half as often, outside.

    Args:
        rng: Draws the pixels.
        masks: `(N, S, S)` bool.
        count: Clicks per object.
    """
    rows = []
    for mask in masks.cpu().numpy():
        near = cv2.dilate(mask.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
        row = [(*_draw_inside(rng, mask), FOREGROUND)]
        for _ in range(count - 1):
            is_inside = rng.random() < 0.65
            region = mask if is_inside else near & ~mask
            row.append((*_draw_inside(rng, region), FOREGROUND if is_inside else BACKGROUND))
        rows.append(row)
    return _as_points(rows)


def box_around(rng: np.random.Generator, masks: Tensor) -> Points:
    """Draw a box around every object, half of the time a careless one.

    Args:
        rng: Draws the carelessness: up to a tenth of a side.
        masks: `(N, S, S)` bool.
    """
    rows = []
    for mask in masks.cpu().numpy():
        x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
        slip = rng.uniform(-0.1, 0.1, 4) if rng.random() < 0.5 else np.zeros(4)
        x0, x1 = x + slip[0] * width, x + width + slip[1] * width
        y0, y1 = y + slip[2] * height, y + height + slip[3] * height
        rows.append([(x0, y0, BOX_START), (x1, y1, BOX_END)])
    return _as_points(rows)


def _draw_inside(rng: np.random.Generator, region: BoolMask) -> tuple[float, float]:
    """Draw a pixel of `region` that is not close to its border, or any pixel if it is empty."""
    if not region.any():
        return float(rng.uniform(0, region.shape[1])), float(rng.uniform(0, region.shape[0]))
    depth = _depth(region)
    least = depth.max() * rng.uniform(0.2, 0.95)
    candidates = np.flatnonzero(depth.ravel() >= least)
    row, column = divmod(int(candidates[rng.integers(len(candidates))]), region.shape[1])
    return column + 0.5, row + 0.5


def _depth(region: BoolMask) -> np.ndarray:
    """Return every pixel's distance to the outside of `region`; the frame's edge counts as such."""
    padded = np.pad(region.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]


def _as_points(rows: list[list[tuple[float, float, int]]]) -> Points:
    table = torch.tensor(rows, dtype=torch.float32)
    return Points(table[..., :2], table[..., 2].to(torch.int32))
