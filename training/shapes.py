"""Drawn shapes and textures: composed clips that need no photo."""

import cv2
import numpy as np

from sam_video.types import RGBImage
from training.photos import LabelMap


def draw_texture(rng: np.random.Generator, width: int, height: int) -> RGBImage:
    """Draw a random texture: two colours mixed by smooth noise or stripes, plus grain."""
    colours = rng.uniform(0, 255, (2, 3))
    amount = _noise(rng, width, height) if rng.random() < 0.6 else _stripes(rng, width, height)
    mixed = colours[0] + amount[..., None] * (colours[1] - colours[0])
    grain = rng.normal(0, rng.uniform(0, 12), (height, width, 1))
    return np.asarray(np.clip(mixed + grain, 0, 255), dtype=np.uint8)


def _noise(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    coarse = rng.random((int(rng.integers(2, 24)), int(rng.integers(2, 24)))).astype(np.float32)
    return np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _stripes(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    angle, cycles = rng.uniform(0, np.pi), rng.uniform(2, 20)
    y, x = np.mgrid[:height, :width] / max(width, height)
    wave = np.sin(2 * np.pi * cycles * (x * np.cos(angle) + y * np.sin(angle)))
    return np.asarray(0.5 + 0.5 * np.clip(wave * rng.uniform(1, 4), -1, 1))


def draw_shape(rng: np.random.Generator, side: int = 160) -> tuple[RGBImage, LabelMap]:
    """Draw a textured blob, polygon or ellipse on its own square.

    Returns:
        The `(side, side, 3)` picture and the `(side, side)` map that is 1 on the shape.
    """
    corners = int(rng.integers(3, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    if rng.random() < 0.4:  # evenly spread corners with equal radii: close to an ellipse
        angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radii = rng.uniform(0.35, 1.0, len(angles)) if len(angles) < 48 else np.ones(48)
    reach = np.array([1.0, rng.uniform(0.35, 1.0)]) * 0.47 * side
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] * reach
    labels = np.zeros((side, side), np.uint8)
    cv2.fillPoly(labels, [np.round(points + side / 2).astype(np.int32)], 1)
    return draw_texture(rng, side, side), labels
