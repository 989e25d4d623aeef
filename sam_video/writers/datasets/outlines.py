"""Outlines of masks as polygons, for formats without pixels. Holes are lost."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import BoolMask

Polygon = npt.NDArray[np.float64]
"""`(P, 2)`, x and y."""


def pixel_outlines(mask: BoolMask) -> list[Polygon]:
    """Return the outline of each part of a mask, the largest first, through its border pixels.

    A whole number is the middle of a pixel, as for `cv2.fillPoly`, which gives the part back to the
    pixel, without its holes. A part of one or two pixels has so many points.
    """
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    ordered = sorted(contours, key=cv2.contourArea, reverse=True)
    return [np.asarray(contour[:, 0], np.float64) for contour in ordered]


def edge_outlines(mask: BoolMask) -> list[Polygon]:
    """Return the outline of each part of a mask, the largest first, along its pixels' edges.

    A pixel reaches from its whole number to the next one, as for COCO and CVAT; each has a corner
    of its own, so that also a single pixel has an area. Outlines lie a quarter of a pixel inside.
    """
    doubled = mask.repeat(2, axis=0).repeat(2, axis=1)
    return [(outline + 0.5) / 2 for outline in pixel_outlines(doubled)]


def bridged(outlines: Sequence[Polygon]) -> Polygon:
    """Join outlines to one polygon, each by a line there and back between the nearest points."""
    joined, *others = outlines
    for other in others:
        distances = np.square(joined[:, None] - other[None]).sum(axis=2)
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        around = np.concatenate([other[there:], other[: there + 1]])
        joined = np.concatenate([joined[: here + 1], around, joined[here:]])
    return joined


def numbers(polygon: Polygon, digits: int) -> list[Any]:
    """Return x, y, x, y, … rounded."""
    return [round(float(number), digits) for number in polygon.ravel()]
