"""Cleaned masks, compared with SciPy's morphology on random blobs and on drawn shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from sam_video.cleaning import MaskCleaning
from sam_video.errors import RequestError
from sam_video.types import BoolMask

CROSS, SQUARE = ndimage.generate_binary_structure(2, 1), ndimage.generate_binary_structure(2, 2)


def blobs(seed: int, *, height: int = 60, width: int = 90, sigma: float = 2.0) -> BoolMask:
    """Draw a mask of ragged parts with holes, some of them at the edges."""
    noise = np.random.default_rng(seed).standard_normal((height, width))
    mask: BoolMask = ndimage.gaussian_filter(noise, sigma) > 0.02
    return mask


def filled(mask: BoolMask, most: int) -> BoolMask:
    """Fill holes by SciPy."""
    labels, count = ndimage.label(~mask, CROSS)
    at_edge = {*labels[0], *labels[-1], *labels[:, 0], *labels[:, -1]}
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    holes = [n for n in range(1, count + 1) if n not in at_edge and areas[n] <= most]
    result: BoolMask = mask | np.isin(labels, holes)
    return result


def without_dots(mask: BoolMask, most: int) -> BoolMask:
    """Drop specks by SciPy."""
    labels, count = ndimage.label(mask, SQUARE)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    areas[0] = 0
    result: BoolMask = areas[labels] > most
    return result


def grown(mask: BoolMask, reach: int) -> BoolMask:
    """Grow by SciPy's exact distances; shrink where the object goes on outside the frame."""
    side = mask if reach > 0 else ~mask
    near: BoolMask = (
        ndimage.distance_transform_edt(~side) <= abs(reach) + 1e-6
        if side.any()
        else np.zeros_like(side)
    )
    return near if reach > 0 else ~near


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [1, 7, 40, 10_000])
def test_holes_are_filled_as_scipy_does(seed: int, most: int) -> None:
    mask = blobs(seed)
    assert np.array_equal(MaskCleaning(holes=most).clean(mask), filled(mask, most))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("most", [1, 7, 40, 10_000])
def test_specks_are_dropped_as_scipy_does(seed: int, most: int) -> None:
    mask = blobs(seed)
    assert np.array_equal(MaskCleaning(dots=most).clean(mask), without_dots(mask, most))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reach", [-13, -5, -1, 1, 2, 6, 12, 13, 40])
def test_masks_grow_and_shrink_as_scipy_does(seed: int, reach: int) -> None:
    mask = blobs(seed, sigma=5.0)
    assert np.array_equal(MaskCleaning(grow=reach).clean(mask), grown(mask, reach))


@pytest.mark.parametrize("sigma", [0.8, 1.5, 4.0])
def test_a_smooth_outline_is_that_of_scipys_blurred_mask(sigma: float) -> None:
    mask = blobs(3, sigma=4.0)
    blurred = ndimage.gaussian_filter(mask.astype(float), sigma, mode="nearest", truncate=4)
    cleaning = MaskCleaning(smooth=sigma)
    is_clear = np.abs(blurred - 0.5) > 0.02
    assert np.array_equal(cleaning.clean(mask)[is_clear], (blurred > 0.5)[is_clear])
    assert np.abs(cleaning.alpha(mask) / 255 - blurred).max() < 0.02


def test_the_border_continues_what_is_next_to_it() -> None:
    mask = np.zeros((20, 30), np.bool_)
    mask[5:15, 3:20] = True
    cleaned = MaskCleaning(border=4).clean(mask)
    assert cleaned[5:15, :20].all()
    assert cleaned.sum() == 10 * 20
    assert MaskCleaning(border=100).clean(mask).all()  # the middle, continued everywhere


def test_steps_follow_one_another() -> None:
    mask = blobs(1)
    expected = grown(without_dots(filled(mask, 30), 20), -1)
    assert np.array_equal(MaskCleaning(holes=30, dots=20, grow=-1).clean(mask), expected)


def test_nothing_is_done_by_default() -> None:
    mask = blobs(2)
    cleaned = MaskCleaning().clean(mask)
    assert not MaskCleaning()
    assert np.shares_memory(cleaned, mask)
    assert np.array_equal(MaskCleaning().alpha(mask), mask * np.uint8(255))


@pytest.mark.parametrize("text", ["holes=9", "dots=9", "grow=2", "grow=-2", "border=2", "smooth=2"])
@pytest.mark.parametrize("is_full", [False, True])
def test_empty_and_full_masks_stay_and_the_input_is_left_alone(text: str, is_full: bool) -> None:
    mask = np.full((9, 7), is_full)
    assert (MaskCleaning.from_text(text).clean(mask) == is_full).all()
    ragged = blobs(5)
    before = ragged.copy()
    MaskCleaning.from_text(text).clean(ragged)
    assert np.array_equal(ragged, before)


def test_the_text_names_any_of_the_steps() -> None:
    text = "holes=50, dots=20 ,grow=-1,border = 2, smooth=1.5,"
    assert MaskCleaning.from_text(text) == MaskCleaning(50, 20, -1, 2, 1.5)
    assert MaskCleaning.from_text("  ") == MaskCleaning()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hole=5", "mask_cleaning has 'hole=5'; expected holes=50, dots=20"),
        ("holes", "mask_cleaning has 'holes'; expected holes=50"),
        ("holes=5, holes=6", "mask_cleaning has holes twice; expected it once"),
        ("holes=1.5", "mask_cleaning has holes='1.5'; expected a whole number"),
        ("grow=501", "mask_cleaning has grow=501; expected -500 to 500 pixels"),
        ("smooth=nan", "mask_cleaning has smooth='nan'; expected a finite number"),
        ("smooth=-1", "mask_cleaning has smooth=-1; expected 0 to 50 pixels"),
    ],
)
def test_a_step_that_is_not_understood_fails(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        MaskCleaning.from_text(text)
    assert str(caught.value).startswith(message)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        MaskCleaning.from_text(text)
    except RequestError as error:
        assert str(error).isprintable()
