"""Draw masks on a frame; every function returns a new image and leaves the frame unchanged.

Objects are drawn in the order of their index; where two overlap, the later one is on top.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from sam_video.types import BoolMask, MaskFrame, RGBImage
from sam_video.writers.pictures import mask_picture

GrayImage = npt.NDArray[np.uint8]
"""`(H, W)` uint8."""

Opacity = Callable[[BoolMask], GrayImage]

RGBAImage = npt.NDArray[np.uint8]
"""`(H, W, 4)` uint8, RGB (not multiplied by alpha) and alpha."""

_COLOURS = (
    "FF4040 00C4FF 530087 D1D435 CD3AFF 1B9640 FF97CA 40DE8A 364797 2E9CAA "
    "0019EF FFB633 6675FF FF7633 FF39C9 FFA1A0 00D6C1 863AFF 4CFB12 94CF1A"
)
"""Ordered so that neighbours differ, the first eight most, also for colour-blind people."""
PALETTE: npt.NDArray[np.uint8] = np.array(
    [tuple(bytes.fromhex(colour)) for colour in _COLOURS.split()], dtype=np.uint8
)
"""`(20, 3)` uint8 RGB: the colour of an object is `PALETTE[object_index % 20]`."""

BOX_WIDTH_PX = 2
"""Thickness of a box's outline, which is inside the object's bounding box."""


def render(
    masks: MaskFrame,
    mask_type: str,
    annotation_type: str = "mask",
    opacity: Opacity = mask_picture,
) -> GrayImage | RGBImage | RGBAImage:
    """Draw a frame's masks in one of the request's styles.

    Args:
        masks: The frame and its masks, all of one size `(H, W)`.
        mask_type: `binary`, `highlighted`, `greenscreen` or `alpha`.
        annotation_type: Marks that `highlighted` draws, `mask`, `box` or `both`; others ignore it.
        opacity: For `alpha`, which others ignore too.

    Returns:
        `(H, W)` uint8 for `binary`, `(H, W, 4)` uint8 RGBA for `alpha`, `(H, W, 3)` uint8 RGB for
        the others.
    """
    if mask_type == "highlighted":
        return highlighted(masks, annotation_type)
    if mask_type == "alpha":
        return alpha(masks, opacity)
    return {"binary": binary, "greenscreen": greenscreen}[mask_type](masks)


def binary(masks: MaskFrame) -> GrayImage:
    """Draw the union of all objects: `(H, W)` uint8, 255 on any object and 0 elsewhere."""
    return mask_picture(union(masks))


def greenscreen(masks: MaskFrame) -> RGBImage:
    """Cut the objects out over pure green: the source on any object, (0, 255, 0) elsewhere."""
    screen = np.zeros_like(masks.frame.image, order="C")
    screen[..., 1] = 255
    cv2.copyTo(masks.frame.image, union(masks).view(np.uint8), screen)
    return screen


def alpha(masks: MaskFrame, opacity: Opacity = mask_picture) -> RGBAImage:
    """Cut the objects out: the source, opaque (255) on any object and transparent (0) elsewhere.

    Transparent pixels keep the colour of the source, so that scaled or compressed edges do not turn
    dark, and users can still widen the mask.

    Args:
        masks: The frame and its masks.
        opacity: Turns the union of all masks into the alpha channel, such as one of soft edges.
    """
    image = cv2.cvtColor(masks.frame.image, cv2.COLOR_RGB2RGBA)
    image[..., 3] = opacity(union(masks))
    return np.asarray(image, dtype=np.uint8)


def highlighted(masks: MaskFrame, annotation_type: str = "mask") -> RGBImage:
    """Tint every object with its colour, outline it with a box, or both.

    A tinted channel is the mean of source and colour, with halves rounded up:
    `(source + colour + 1) // 2`. Boxes are opaque and drawn after all tints, so that no box is
    tinted. An object with an empty mask gets neither.

    Args:
        masks: The frame and its masks.
        annotation_type: `mask`, `box` or `both`.

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    image = masks.frame.image.copy()
    visible = [(item, window) for item in masks.objects if (window := _bounding_window(item.mask))]
    if annotation_type != "box":
        for item, window in visible:
            _tint(image[window], item.mask[window], colour_of(item.object_index))
    if annotation_type != "mask":
        for item, window in visible:
            _outline(image[window], colour_of(item.object_index))
    return image


def union(masks: MaskFrame) -> BoolMask:
    """Return the pixels of any object, `(H, W)` bool."""
    covered = np.zeros(masks.frame.image.shape[:2], dtype=np.bool_)
    for item in masks.objects:
        np.logical_or(covered, item.mask, out=covered)
    return covered


def colour_of(object_index: int) -> npt.NDArray[np.uint8]:
    """Return the `(3,)` uint8 RGB colour of an object, by its `object_index`."""
    colour: npt.NDArray[np.uint8] = PALETTE[object_index % len(PALETTE)]
    return colour


def _bounding_window(mask: BoolMask) -> tuple[slice, slice] | None:
    """Return rows and columns of the mask's bounding box; None for an empty mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return None
    return slice(y, y + height), slice(x, x + width)


def _tint(region: RGBImage, mask: BoolMask, colour: npt.NDArray[np.uint8]) -> None:
    """Blend the colour into the region's pixels in the mask, in place."""
    # A lookup table per channel is several times faster than arithmetic on the pixels.
    table = (np.arange(256)[:, None] + colour.astype(int) + 1) // 2
    tinted = cv2.LUT(region, table.astype(np.uint8)[None])
    cv2.copyTo(tinted, mask.view(np.uint8), region)


def _outline(region: RGBImage, colour: npt.NDArray[np.uint8]) -> None:
    """Draw an outline along the region's edges, in place; it fills a very small region."""
    region[:BOX_WIDTH_PX] = colour
    region[-BOX_WIDTH_PX:] = colour
    region[:, :BOX_WIDTH_PX] = colour
    region[:, -BOX_WIDTH_PX:] = colour
