"""Previews, read back and compared with what is drawn."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sam_video.types import Box, Click, Frame, MaskFrame, ObjectMask, ObjectPrompt
from sam_video.writers.previews import UNKNOWN, PreviewWriter
from sam_video.writers.prompt_marks import (
    NEGATIVE,
    POSITIVE,
    draw_box,
    draw_grid,
    draw_label,
)
from sam_video.writers.render import PALETTE, highlighted
from tests.mask_frames import INFO, disc, mask_frame, write_all

LARGE = replace(INFO, width=310, height=230)


def large_frame(index: int = 0) -> MaskFrame:
    """A dark frame of 310x230 with a dog on its left and a cat that is not visible."""
    dog = cv2.resize(disc(20, 25).view(np.uint8), (310, 230), interpolation=cv2.INTER_NEAREST) > 0
    objects = [ObjectMask("dog", 0, dog, 1.0, 0.9), ObjectMask("cat", 1, dog & False, 0.1, 0.9)]
    return MaskFrame(Frame(index, 0.0, np.full((230, 310, 3), 30, np.uint8)), tuple(objects))


def preview(folder: Path, prompts: Sequence[ObjectPrompt], index: int = 0) -> npt.NDArray[np.uint8]:
    """Write the preview of one frame and read it."""
    (path,) = write_all(PreviewWriter(folder, LARGE, prompts), [large_frame(index)])
    assert path == folder / f"preview_{index:05d}.png"
    return np.asarray(Image.open(path), np.uint8)


def has_colour(image: npt.NDArray[np.uint8], colour: Sequence[int]) -> bool:
    return bool((image == np.array(colour)).all(axis=2).any())


def test_without_prompts_a_preview_is_the_frame_with_a_grid(tmp_path: Path) -> None:
    expected = highlighted(large_frame())
    draw_grid(expected)
    assert np.array_equal(preview(tmp_path, []), expected)


def test_without_prompts_on_a_frame_its_preview_is_the_frame_with_its_masks(tmp_path: Path) -> None:
    elsewhere = [ObjectPrompt("dog", 3, (Click(200, 100),))]
    assert np.array_equal(preview(tmp_path, elsewhere), highlighted(large_frame()))


def test_previews_are_named_after_their_frames(tmp_path: Path) -> None:
    frames = [mask_frame(index, {"dog": disc(20, 20)}) for index in (0, 7, 123456)]
    paths = write_all(PreviewWriter(tmp_path, INFO, []), frames)
    names = ["preview_00000.png", "preview_00007.png", "preview_123456.png"]
    assert paths == [tmp_path / name for name in names]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_prompts_are_drawn_on_their_own_frame(tmp_path: Path) -> None:
    clicks = (Click(200, 100, 1), Click(250, 180, 0))
    prompts = [ObjectPrompt("dog", 3, clicks), ObjectPrompt("cat", 4, box=Box(20, 20, 80, 60))]
    third, fourth = preview(tmp_path, prompts, 3), preview(tmp_path, prompts, 4)
    assert (third[100, 200] > 200).all() and (third[180, 250] > 200).all()
    assert has_colour(third, POSITIVE) and has_colour(third, NEGATIVE)
    assert not has_colour(third, PALETTE[1])
    assert (fourth[20, 30:80] == PALETTE[1]).all()
    assert not has_colour(fourth, POSITIVE)


def test_on_a_still_image_every_prompt_is_of_its_one_frame(tmp_path: Path) -> None:
    prompts = [ObjectPrompt("dog", 9, (Click(200, 100, 1),))]
    writer = PreviewWriter(tmp_path, replace(LARGE, is_still=True), prompts)
    (path,) = write_all(writer, [large_frame()])
    assert has_colour(np.asarray(Image.open(path)), POSITIVE)


@pytest.mark.parametrize(
    ("object_id", "colour"),
    [("dog", PALETTE[0]), ("cat", PALETTE[1]), ("gone", UNKNOWN)],
)
def test_a_name_has_the_colour_of_its_object(
    tmp_path: Path, object_id: str, colour: Sequence[int]
) -> None:
    image = preview(tmp_path, [ObjectPrompt(object_id, 0, (Click(200, 200, 0),))])
    plate = (image == np.array(colour)).all(axis=2)
    assert plate[:195].sum() > 100  # above the click


def test_a_mask_prompt_is_named_at_its_corner(tmp_path: Path) -> None:
    mask = np.zeros((230, 310), np.bool_)
    mask[150:200, 220:280] = True
    image = preview(tmp_path, [ObjectPrompt("cat", 0, mask=mask)])
    rows, columns = np.nonzero((image == PALETTE[1]).all(axis=2))
    assert columns.min() == 220
    assert rows.max() == 149


def test_clicks_lie_over_boxes_and_names(tmp_path: Path) -> None:
    prompts = [
        ObjectPrompt("dog", 0, (Click(60, 90, 1),)),
        ObjectPrompt("cat", 0, box=Box(50, 100, 200, 200)),
    ]
    image = preview(tmp_path, prompts)
    assert (image[90, 60] > 200).all()
    assert has_colour(image[85:96, 55:66], POSITIVE)


def test_the_frame_and_the_masks_stay_as_they_were(tmp_path: Path) -> None:
    frame = large_frame()
    before = frame.frame.image.copy(), frame.objects[0].mask.copy()
    prompts = [ObjectPrompt("dog", 0, (Click(200, 100, 1),), Box(0, 0, 300, 200))]
    write_all(PreviewWriter(tmp_path, LARGE, prompts), [frame])
    assert np.array_equal(frame.frame.image, before[0])
    assert np.array_equal(frame.objects[0].mask, before[1])


def test_the_same_prompts_make_the_same_bytes(tmp_path: Path) -> None:
    prompts = [ObjectPrompt("dog", 0, (Click(200, 100, 1),), Box(0, 0, 300, 200))]
    preview(tmp_path, prompts)
    first = (tmp_path / "preview_00000.png").read_bytes()
    preview(tmp_path, prompts)
    assert (tmp_path / "preview_00000.png").read_bytes() == first


def test_what_words_found_has_its_box_and_its_name_and_no_grid(tmp_path: Path) -> None:
    (dog, cat) = large_frame().objects
    found = [replace(item, concept="dog", detection_score=0.5) for item in (dog, cat)]
    masks = replace(large_frame(), objects=tuple(found))
    (path,) = write_all(PreviewWriter(tmp_path, LARGE, []), [masks])
    expected = highlighted(masks)
    x, y, width, height = cv2.boundingRect(dog.mask.view(np.uint8))
    red, green, blue = PALETTE[0].tolist()
    draw_box(expected, Box(x, y, x + width, y + height), (red, green, blue))
    draw_label(expected, "dog 0.50", (red, green, blue), x, y)
    assert np.array_equal(np.asarray(Image.open(path)), expected)
