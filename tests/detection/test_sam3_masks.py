"""Images and masks as SAM 3 takes and gives them."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from sam_video.detection.sam3_masks import (
    Sam3Kernels,
    component_areas,
    mask_ious,
    to_pixels,
    without_duplicates,
)
from tests.clips import draw_frame

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [(331, 173), (64, 48)], ids=["shrinks", "grows"])
def test_an_image_is_resized_as_the_original_does(size: tuple[int, int]) -> None:
    image, _ = draw_frame(3, size)
    expected = Image.fromarray(image).resize((112, 112), Image.Resampling.BILINEAR)

    pixels = to_pixels(image, 112, CPU)

    levels = (pixels * 0.5 + 0.5).permute(1, 2, 0).numpy() * 255
    assert pixels.shape == (3, 112, 112)
    assert np.abs(levels - np.asarray(expected)).max() <= 1.001  # Pillow rounds once more
    assert np.abs(levels - levels.round()).max() < 1e-3


def test_of_things_that_overlap_the_surest_stays() -> None:
    masks = torch.zeros(4, 8, 8, dtype=torch.bool)
    masks[0, :4], masks[1, :5], masks[2, 6:], masks[3, 5:] = True, True, True, True
    scores = torch.tensor([0.6, 0.9, 0.5, 0.4])

    kept = without_duplicates(mask_ious(masks), scores, 0.1)

    assert kept.tolist() == [1, 2]


def test_nothing_has_no_duplicates() -> None:
    none = torch.zeros(0, 8, 8, dtype=torch.bool)
    assert without_duplicates(mask_ious(none), torch.zeros(0), 0.1).tolist() == []


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_areas_of_components_are_those_of_opencv(share: float) -> None:
    masks = np.random.default_rng(0).random((3, 1, 40, 33)) < share

    areas = component_areas(torch.tensor(masks), 16)

    for mask, found in zip(masks[:, 0], areas[:, 0].numpy(), strict=True):
        _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        counts = np.bincount(labels.ravel())
        counts[0] = 0
        expected = counts[labels]
        assert np.array_equal(found, np.where(expected <= 16, expected, 40 * 33 + 1))


def test_a_winding_component_has_one_area() -> None:
    mask = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    mask[..., ::2, :] = True
    mask[..., 1::4, -1], mask[..., 3::4, 0] = True, True  # a single line of 210 pixels

    areas = component_areas(mask, 16)

    assert areas.unique().tolist() == [0, 401]


def test_the_stand_in_gives_what_transformers_asks_for() -> None:
    masks = torch.zeros(2, 1, 6, 6, dtype=torch.uint8)
    masks[0, 0, 1:3, 1:3] = 1

    _, areas = Sam3Kernels(16).cc_2d(masks, get_counts=True)

    assert areas.dtype == torch.int32
    assert areas.amax(dim=(1, 2, 3)).tolist() == [4, 0]
