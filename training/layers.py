"""The layers of a composed clip and how they are painted into frames."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import RGBImage
from training.motion import Placement
from training.photos import IGNORE, LabelMap


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A picture that moves: the base of a clip, or an object pasted over it."""

    image: RGBImage
    labels: LabelMap
    """Labels in the clip's own numbering; for a pasted object its label or 0."""
    placement: Placement
    ripple: float = 0.0
    """Largest displacement by the layer's bending, in layer pixels."""
    ripple_phase: float = 0.0


def paint_frame(layers: list[Layer], frame_index: int, size: int) -> tuple[RGBImage, LabelMap]:
    """Paint layers over each other, the first at the bottom.

    Returns:
        The `(size, size, 3)` frame and its `(size, size)` label map.
    """
    base, *sprites = layers
    grid = _source_grid(base, frame_index, size)
    image = _sample(base.image, grid, border=cv2.BORDER_REFLECT_101)
    labels = _sample(base.labels, grid, cv2.INTER_NEAREST, value=IGNORE)
    for sprite in sprites:
        _paste(sprite, image, labels, frame_index)
    return image, labels


def _paste(layer: Layer, image: RGBImage, labels: LabelMap, frame_index: int) -> None:
    """Blend a sprite into `image` and write its label into `labels`."""
    grid = _source_grid(layer, frame_index, len(labels))
    cover = _sample(np.where(layer.labels > 0, np.uint8(255), np.uint8(0)), grid)
    x, y, width, height = cv2.boundingRect(cover)
    if width == 0:
        return
    window = np.s_[y : y + height, x : x + width]
    pixels = _sample(layer.image, grid[window], border=cv2.BORDER_REFLECT_101)
    labels[cover > 127] = layer.labels.max()
    weight = cv2.GaussianBlur(cover, (3, 3), 0)[window].astype(np.float32)[..., None] / 255
    image[window] = _blend(image[window], pixels, weight)


def _blend(under: RGBImage, over: RGBImage, weight: npt.NDArray[Any]) -> RGBImage:
    """Mix two pictures by the share of the upper one, `(H, W, 1)`."""
    return np.asarray(under + (np.float32(over) - under) * weight, dtype=np.uint8)


def fill(image: RGBImage, hole: npt.NDArray[np.uint8]) -> RGBImage:
    """Fill a hole of `(H, W)` ones smoothly from what is around it."""
    height, width = hole.shape
    wider = cv2.dilate(hole, np.ones((7, 7), np.uint8))  # the edge still has the object's colours
    small_wh = (max(1, width // 4), max(1, height // 4))
    small = cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA)
    small_hole = cv2.resize(255 * wider, small_wh, interpolation=cv2.INTER_AREA) > 0
    filled = cv2.inpaint(small, small_hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    weight = cv2.GaussianBlur(wider.astype(np.float32), (7, 7), 0)[..., None]
    smooth = np.asarray(cv2.resize(filled, (width, height)), dtype=np.uint8)
    return _blend(image, smooth, weight)


def _sample(
    picture: npt.NDArray[np.uint8],
    grid: npt.NDArray[np.float32],
    interpolation: int = cv2.INTER_LINEAR,
    *,
    border: int = cv2.BORDER_CONSTANT,
    value: int = 0,
) -> npt.NDArray[np.uint8]:
    """Look up `picture` at the coordinates of `grid`, which may lie beyond its border."""
    sampled = cv2.remap(  # type: ignore[call-overload]
        picture, grid, None, interpolation, borderMode=border, borderValue=value
    )
    return np.asarray(sampled, dtype=np.uint8)


def _source_grid(layer: Layer, frame_index: int, size: int) -> npt.NDArray[np.float32]:
    """Return `(size, size, 2)` layer coordinates (x, y) of every frame pixel."""
    matrix = layer.placement.matrix(frame_index).astype(np.float32)
    axis = np.arange(size, dtype=np.float32)
    grid = axis[None, :, None] * matrix[:, 0] + axis[:, None, None] * matrix[:, 1] + matrix[:, 2]
    return _bend(grid, layer, frame_index) if layer.ripple else grid


def _bend(grid: npt.NDArray[np.float32], layer: Layer, frame_index: int) -> npt.NDArray[np.float32]:
    """Displace coordinates by a wave that runs over the layer, so that objects deform."""
    height, width = layer.labels.shape
    phase = np.float32(layer.ripple_phase + 0.6 * frame_index)
    # The wave is long, so that a coarse grid of it is enough.
    waves = 2 * np.pi * grid[::8, ::8] / np.array([width, height], np.float32) * np.float32(1.3)
    shift = np.sin(waves[..., ::-1] + phase) * np.float32(layer.ripple)
    height, width = grid.shape[:2]
    return np.asarray(grid + cv2.resize(shift, (width, height)))
