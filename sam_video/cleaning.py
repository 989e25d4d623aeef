"""Clean masks after tracking: holes, specks, growth, the frame's border and rough edges.

Nothing here changes what the tracker remembers, so that the same masks can be cleaned again with
other values. All lengths are pixels of the frame. A step with the value 0 is off.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.errors import RequestError, one_line
from sam_video.types import BoolMask, ConfidenceMap, MaskFrame

_EXAMPLE = "holes=50, dots=20, grow=-1, border=2, smooth=1.5"
_RANGES = {
    "holes": (0, 10**8),
    "dots": (0, 10**8),
    "grow": (-500, 500),
    "border": (0, 100),
    "smooth": (0, 50),
}
_MOST_ROWS = 12
"""Rows of half a disc up to which widening row by row is faster than a map of distances."""
_BLUR_REACH = 3
"""Deviations of the Gaussian after which its weights are negligible."""

_Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class MaskCleaning:
    """What is cleaned, in the order of the fields but for `border`, which comes first.

    Raises:
        RequestError: A value is outside its range.
    """

    holes: int = 0
    """Fill enclosed background of at most so many pixels (4-connected; not at the frame's edge)."""
    dots: int = 0
    """Drop parts of the object of at most so many pixels (8-connected)."""
    grow: int = 0
    """Add all pixels up to so far from the object; a negative number takes away as far."""
    border: int = 0
    """Replace so wide a border of the frame by what lies next to it: masks often end before it."""
    smooth: float = 0.0
    """Deviation of the Gaussian that rounds the outline and makes the edge of an alpha soft."""

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = _RANGES[field.name]
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise RequestError(
                    f"mask_cleaning has {field.name}={value:g}; expected {low} to {high} pixels"
                )

    @classmethod
    def from_text(cls, text: str) -> "MaskCleaning":
        """Read `holes=50, dots=20, grow=-1, border=2, smooth=1.5`, or a part of it.

        Raises:
            RequestError: A part is not `NAME=PIXELS`, a name is unknown or repeated, or a number
                is not accepted.
        """
        values: dict[str, float] = {}
        for part in filter(None, map(str.strip, text.split(","))):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if name not in _RANGES or not equals:
                raise RequestError(f"mask_cleaning has {_shown(part)}; expected {_EXAMPLE}")
            if name in values:
                raise RequestError(f"mask_cleaning has {name} twice; expected it once")
            values[name] = _number(name, number)
        return cls(**values)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return self != MaskCleaning()

    def apply(self, masks: MaskFrame) -> MaskFrame:
        """Return a frame with all its masks cleaned; confidences and candidates stay."""
        if not self:
            return masks
        objects = (replace(item, mask=self.clean(item.mask)) for item in masks.objects)
        return replace(masks, objects=tuple(objects))

    def clean(self, mask: BoolMask) -> BoolMask:
        """Return a cleaned copy of a mask, `(H, W)` bool; the mask itself where all is off."""
        pixels: _Pixels = mask.view(np.uint8)
        if self.border:
            pixels = _repair_border(pixels, self.border)
        if self.holes:
            pixels = _within_object(pixels, 1, lambda crop: _fill_holes(crop, self.holes))
        if self.dots:
            pixels = _within_object(pixels, 0, lambda crop: _drop_dots(crop, self.dots))
        if self.grow > 0:
            pixels = _within_object(pixels, self.grow, lambda crop: _grown(crop, self.grow))
        if self.grow < 0:
            pixels = _within_object(pixels, 1, lambda crop: 1 - _grown(1 - crop, -self.grow))
        if self.smooth:
            pixels = (self._blurred(pixels) >= 128).view(np.uint8)
        return pixels.view(np.bool_)

    def alpha(self, mask: BoolMask) -> ConfidenceMap:
        """Return a mask as opacity, `(H, W)` uint8, with an edge as soft as `smooth` says."""
        pixels: _Pixels = mask.view(np.uint8)
        return self._blurred(pixels) if self.smooth else pixels * np.uint8(255)

    def _blurred(self, pixels: _Pixels) -> _Pixels:
        reach = math.ceil(_BLUR_REACH * self.smooth)
        size = (2 * reach + 1, 2 * reach + 1)

        def blur(crop: _Pixels) -> _Pixels:
            blurred = cv2.GaussianBlur(
                crop * np.uint8(255), size, self.smooth, borderType=cv2.BORDER_REPLICATE
            )
            return np.asarray(blurred, np.uint8)

        return _within_object(pixels, reach, blur)


def _number(name: str, text: str) -> float:
    try:
        value = float(text) if name == "smooth" else int(text)
    except ValueError:
        kind = "a number" if name == "smooth" else "a whole number"
        raise RequestError(f"mask_cleaning has {name}={_shown(text)}; expected {kind}") from None
    if not math.isfinite(value):
        raise RequestError(f"mask_cleaning has {name}={_shown(text)}; expected a finite number")
    return value


def _shown(text: str) -> str:
    return one_line(repr(text[:80]))


def _within_object(pixels: _Pixels, reach: int, change: Callable[[_Pixels], _Pixels]) -> _Pixels:
    """Change the object's box and `reach` pixels around it; nothing else can change."""
    x, y, width, height = cv2.boundingRect(pixels)
    if width == 0:
        return pixels
    place = (
        slice(max(0, y - reach), y + height + reach),
        slice(max(0, x - reach), x + width + reach),
    )
    changed = np.zeros_like(pixels)
    changed[place] = change(pixels[place].copy())
    return changed


def _fill_holes(pixels: _Pixels, most: int) -> _Pixels:
    """Fill the background's enclosed parts of at most `most` pixels."""
    # Contours are found many times faster than parts; around n pixels they have at most 4 n steps.
    contours, levels = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes = [c for c, level in zip(contours, levels[0], strict=True) if level[3] >= 0]
    for place, _ in _places([c for c in holes if len(c) <= 4 * most], pixels):
        crop = pixels[place]
        _, labels, stats, _ = cv2.connectedComponentsWithStats(1 - crop, connectivity=4)
        x, y, width, height, area = stats.T
        is_inside = (x > 0) & (y > 0) & (x + width < crop.shape[1]) & (y + height < crop.shape[0])
        is_hole = is_inside & (area <= most)
        is_hole[0] = False  # the object
        crop[is_hole[labels]] = 1
    return pixels


def _drop_dots(pixels: _Pixels, most: int) -> _Pixels:
    """Drop the object's parts of at most `most` pixels."""
    contours, levels = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts = [c for c, level in zip(contours, levels[0], strict=True) if level[3] < 0]
    for place, start in _places([c for c in parts if len(c) <= 2 * most], pixels):
        crop = pixels[place]
        _, labels = cv2.connectedComponents(crop, connectivity=8)
        is_dot = np.bincount(labels.ravel()) <= most
        is_dot[0] = False  # the background
        if start is not None:  # other parts reach into the crop, and may be larger than it shows
            is_dot &= np.arange(len(is_dot)) == labels[start]
        crop[is_dot[labels]] = 0
    return pixels


def _places(
    contours: Sequence[npt.NDArray[Any]], pixels: _Pixels
) -> Iterator[tuple[tuple[slice, slice], tuple[int, int] | None]]:
    """Yield the box of each contour and a point of it in there; all pixels where that is less."""
    boxes = [cv2.boundingRect(contour) for contour in contours]
    if sum(width * height for _, _, width, height in boxes) > pixels.size:
        yield (slice(None), slice(None)), None
        return
    for contour, (x, y, width, height) in zip(contours, boxes, strict=True):
        column, row = contour[0, 0]
        yield (slice(y, y + height), slice(x, x + width)), (row - y, column - x)


def _grown(pixels: _Pixels, reach: int) -> _Pixels:
    """Add all pixels at a Euclidean distance of at most `reach`; beyond the crop is nothing."""
    if reach > _MOST_ROWS:
        # Squares of distances are whole numbers: between reach² and reach² + 1 lies none.
        distances = cv2.distanceTransform(1 - pixels, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return (distances < reach + 0.25 / reach).view(np.uint8)
    grown = np.zeros_like(pixels)
    for row in range(min(reach + 1, len(pixels))):
        half = math.isqrt(reach**2 - row**2)
        widened = np.asarray(cv2.dilate(pixels, np.ones((1, 2 * half + 1), np.uint8)), np.uint8)
        grown[row:] |= widened[: len(pixels) - row]
        grown[: len(pixels) - row] |= widened[row:]
    return grown


def _repair_border(pixels: _Pixels, width: int) -> _Pixels:
    """Continue the inner part of a mask to the frame's edge."""
    rows, columns = (min(width, (size - 1) // 2) for size in pixels.shape)
    inner = pixels[rows : pixels.shape[0] - rows, columns : pixels.shape[1] - columns]
    return np.pad(inner, ((rows, rows), (columns, columns)), mode="edge")
