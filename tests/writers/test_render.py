"""Drawn images, compared pixel by pixel with the rule computed the slow way."""

from itertools import combinations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sam_video.request import ANNOTATION_TYPES, MASK_TYPES
from sam_video.types import BoolMask, Frame, MaskFrame, ObjectMask
from sam_video.writers.render import (
    PALETTE,
    alpha,
    binary,
    colour_of,
    greenscreen,
    highlighted,
    render,
)

HEIGHT, WIDTH = 24, 37
STYLES = [
    ("binary", "mask"),
    ("greenscreen", "mask"),
    ("highlighted", "mask"),
    ("highlighted", "box"),
    ("highlighted", "both"),
    ("alpha", "mask"),
]


def noise(height: int = HEIGHT, width: int = WIDTH) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def rectangle(y0: int, y1: int, x0: int, x1: int) -> BoolMask:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def mask_frame(*masks: BoolMask, first_index: int = 0) -> MaskFrame:
    objects = tuple(
        ObjectMask(f"object {index}", index, mask, object_score=1.0, predicted_iou=0.9)
        for index, mask in enumerate(masks, start=first_index)
    )
    return MaskFrame(Frame(0, 0.0, noise()), objects)


def tinted(image: npt.NDArray[np.uint8], colour: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    halves_up = np.floor((image.astype(float) + colour) / 2 + 0.5)
    return halves_up.astype(np.uint8)


LEFT = rectangle(3, 15, 2, 14)
RIGHT = rectangle(8, 20, 20, 31)
OVER_LEFT = rectangle(10, 18, 9, 18)
NOTHING = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
RAGGED = np.random.default_rng(5).random((HEIGHT, WIDTH)) > 0.5


SIGHTS = {
    "usual": np.eye(3),
    "without red": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "without green": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
}  # fmt: skip
"""How linear RGB is seen: Machado, Oliveira and Fernandes (2009), full severity."""


def test_the_palette_has_the_twenty_colours_of_the_published_model() -> None:
    names = {bytes(colour.tolist()).hex().upper() for colour in PALETTE}
    published = (
        "FF4040 FFA1A0 FF7633 FFB633 D1D435 4CFB12 94CF1A 40DE8A 1B9640 00D6C1 "
        "2E9CAA 00C4FF 364797 6675FF 0019EF 863AFF 530087 CD3AFF FF97CA FF39C9"
    )
    assert names == set(published.split())


@pytest.mark.parametrize("sight", SIGHTS)
def test_the_first_eight_colours_are_told_apart(sight: str) -> None:
    encoded = PALETTE[:8].astype(np.float32) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.asarray(SIGHTS[sight]).T, 0, 1).astype(np.float32)
    lab = cv2.cvtColor(seen[None], cv2.COLOR_LRGB2LAB)[0]
    distances = [float(np.linalg.norm(a - b)) for a, b in combinations(lab, 2)]
    assert min(distances) > 15  # 2.3 can just be told apart


def test_binary_is_255_on_any_object_and_0_elsewhere() -> None:
    drawn = binary(mask_frame(LEFT, NOTHING, RIGHT, OVER_LEFT))
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, np.where(LEFT | RIGHT | OVER_LEFT, 255, 0))


def test_binary_without_objects_is_black() -> None:
    drawn = binary(mask_frame())
    assert drawn.shape == (HEIGHT, WIDTH)
    assert not drawn.any()


def test_greenscreen_shows_the_source_on_any_object_and_pure_green_elsewhere() -> None:
    masks = mask_frame(RAGGED & LEFT, RAGGED & RIGHT)
    on_object = (RAGGED & (LEFT | RIGHT))[..., None]
    expected = np.where(on_object, masks.frame.image, np.array([0, 255, 0]))
    assert np.array_equal(greenscreen(masks), expected)


def test_greenscreen_without_objects_is_all_green() -> None:
    assert (greenscreen(mask_frame()) == [0, 255, 0]).all()


def test_alpha_is_opaque_on_any_object_and_keeps_the_source_everywhere() -> None:
    masks = mask_frame(RAGGED & LEFT, NOTHING, RAGGED & RIGHT)
    drawn = alpha(masks)
    assert drawn.shape == (HEIGHT, WIDTH, 4)
    assert np.array_equal(drawn[..., :3], masks.frame.image)
    assert np.array_equal(drawn[..., 3], np.where(RAGGED & (LEFT | RIGHT), 255, 0))


def test_alpha_without_objects_is_all_transparent() -> None:
    assert not alpha(mask_frame())[..., 3].any()


@pytest.mark.parametrize("mask", [LEFT, RAGGED, rectangle(0, 1, 0, 1), rectangle(23, 24, 0, 37)])
def test_a_tint_is_the_mean_of_source_and_colour_on_the_mask_alone(mask: BoolMask) -> None:
    masks = mask_frame(mask)
    source = masks.frame.image
    expected = np.where(mask[..., None], tinted(source, PALETTE[0]), source)
    assert np.array_equal(highlighted(masks), expected)


def test_halves_are_rounded_up_for_every_source_value() -> None:
    image = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    item = ObjectMask("ramp", 1, np.ones((1, 256), dtype=np.bool_), 1.0, 1.0)
    drawn = highlighted(MaskFrame(Frame(0, 0.0, image), (item,)))
    red, green, blue = 0x00, 0xC4, 0xFF
    assert drawn[0].tolist() == [
        [(red + value + 1) // 2, (green + value + 1) // 2, (blue + value + 1) // 2]
        for value in range(256)
    ]


def test_where_two_objects_overlap_the_later_tint_lies_over_the_earlier() -> None:
    masks = mask_frame(LEFT, OVER_LEFT)
    expected = masks.frame.image.copy()
    for mask, colour in ((LEFT, PALETTE[0]), (OVER_LEFT, PALETTE[1])):
        expected[mask] = tinted(expected, colour)[mask]
    assert np.array_equal(highlighted(masks), expected)


@pytest.mark.parametrize(("object_index", "row"), [(0, 0), (1, 1), (19, 19), (20, 0), (43, 3)])
def test_colours_follow_the_object_index_and_wrap_around(object_index: int, row: int) -> None:
    drawn = highlighted(mask_frame(LEFT, first_index=object_index), "box")
    assert (drawn[3, 2] == PALETTE[row]).all()
    assert (colour_of(object_index) == PALETTE[row]).all()


def test_a_box_is_two_pixels_wide_and_inside_the_bounding_box() -> None:
    masks = mask_frame(RAGGED & LEFT | rectangle(3, 4, 2, 3) | rectangle(14, 15, 13, 14))
    outline = LEFT & ~rectangle(5, 13, 4, 12)
    expected = np.where(outline[..., None], PALETTE[0], masks.frame.image)
    assert np.array_equal(highlighted(masks, "box"), expected)


@pytest.mark.parametrize(
    "mask",
    [
        rectangle(5, 6, 7, 8),
        rectangle(0, 24, 36, 37),
        rectangle(23, 24, 4, 9),
        rectangle(1, 5, 0, 4),
    ],
    ids=["one pixel", "last column", "last row", "four pixels square"],
)
def test_a_box_too_small_for_an_outline_is_filled(mask: BoolMask) -> None:
    masks = mask_frame(mask)
    expected = np.where(mask[..., None], PALETTE[0], masks.frame.image)
    assert np.array_equal(highlighted(masks, "box"), expected)


def test_both_draws_opaque_boxes_over_all_tints() -> None:
    masks = mask_frame(LEFT, OVER_LEFT)
    expected = highlighted(masks, "mask")
    outlines = [LEFT & ~rectangle(5, 13, 4, 12), OVER_LEFT & ~rectangle(12, 16, 11, 16)]
    for outline, colour in zip(outlines, PALETTE, strict=False):
        expected[outline] = colour
    assert np.array_equal(highlighted(masks, "both"), expected)


@pytest.mark.parametrize("annotation_type", ANNOTATION_TYPES)
def test_an_object_that_is_not_visible_is_not_drawn(annotation_type: str) -> None:
    masks = mask_frame(NOTHING)
    assert np.array_equal(highlighted(masks, annotation_type), masks.frame.image)


@pytest.mark.parametrize(("mask_type", "annotation_type"), STYLES)
def test_drawing_leaves_the_frame_and_the_masks_as_they_were(
    mask_type: str, annotation_type: str
) -> None:
    masks = mask_frame(LEFT.copy(), OVER_LEFT.copy())
    arrays = [masks.frame.image, *(item.mask for item in masks.objects)]
    before = [array.copy() for array in arrays]
    drawn = render(masks, mask_type, annotation_type)
    assert all(map(np.array_equal, arrays, before))
    assert not any(np.shares_memory(drawn, array) for array in arrays)


@pytest.mark.parametrize(("mask_type", "annotation_type"), STYLES)
def test_read_only_and_strided_arrays_are_drawn_alike(mask_type: str, annotation_type: str) -> None:
    masks = mask_frame(RAGGED)
    image = np.repeat(np.asfortranarray(masks.frame.image), 2, axis=1)[:, ::2]
    mask = np.repeat(RAGGED, 2, axis=0)[::2]
    image.flags.writeable = mask.flags.writeable = False
    strided = MaskFrame(Frame(0, 0.0, image), (ObjectMask("object 0", 0, mask, 1.0, 0.9),))
    expected = render(masks, mask_type, annotation_type)
    assert np.array_equal(render(strided, mask_type, annotation_type), expected)


def test_every_style_of_the_request_can_be_drawn() -> None:
    for mask_type in MASK_TYPES:
        for annotation_type in ANNOTATION_TYPES:
            drawn = render(mask_frame(LEFT), mask_type, annotation_type)
            assert drawn.shape[:2] == (HEIGHT, WIDTH)
            assert drawn.dtype == np.uint8
