"""Masks as images, read back by other libraries than those that wrote them."""

import re
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sam_video.errors import RequestError
from sam_video.types import BoolMask, Frame, MaskFrame, ObjectMask, VideoInfo
from sam_video.writers.images import ImageSequenceWriter
from sam_video.writers.render import highlighted, render
from tests.mask_frames import (
    HEIGHT,
    INFO,
    NOTHING,
    WIDTH,
    disc,
    mask_frame,
    moving_discs,
    write_all,
)


def images(folder: Path, info: VideoInfo = INFO, **style: Any) -> ImageSequenceWriter:
    defaults = {"mask_type": "binary", "annotation_type": "mask", "image_format": "webp"}
    return ImageSequenceWriter(folder, info, **{**defaults, "quality": 80, **style})


@pytest.mark.parametrize("image_format", ["webp", "jpg", "png"])
def test_images_are_named_after_the_index_of_their_frame_in_the_source(
    tmp_path: Path, image_format: str
) -> None:
    masks = {"dog": disc(20, 20)}
    frames = [mask_frame(index, masks) for index in (0, 7, 123456)]
    paths = write_all(images(tmp_path, image_format=image_format), frames)
    names = ["frame_00000", "frame_00007", "frame_123456"]
    assert paths == [tmp_path / f"{name}.{image_format}" for name in names]
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_each_image_is_complete_when_its_path_is_returned(tmp_path: Path) -> None:
    with closing(images(tmp_path)) as sink:
        for masks in moving_discs(3):
            (path,) = sink.prepare(masks)()
            assert Image.open(path).size == (WIDTH, HEIGHT)
        assert sink.finish() == []


@pytest.mark.parametrize("quality", [0, 50, 100])
@pytest.mark.parametrize(("image_format", "mode"), [("webp", "RGB"), ("png", "L")])
def test_binary_images_are_exactly_0_and_255_at_any_quality(
    tmp_path: Path, image_format: str, mode: str, quality: int
) -> None:
    ragged = np.random.default_rng(0).random((HEIGHT, WIDTH)) > 0.5
    frame = mask_frame(0, {"dog": ragged, "cat": disc(20, 20)})
    (path,) = write_all(images(tmp_path, image_format=image_format, quality=quality), [frame])
    expected = np.where(ragged | disc(20, 20), 255, 0)
    image = Image.open(path)
    assert image.mode == mode
    assert np.array_equal(np.asarray(image.convert("L")), expected)
    read = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert read is not None
    assert np.array_equal(read, expected)


def test_binary_jpg_has_one_channel_and_keeps_the_mask_when_thresholded(tmp_path: Path) -> None:
    frame = mask_frame(0, {"dog": disc(20, 20)})
    (path,) = write_all(images(tmp_path, image_format="jpg", quality=90), [frame])
    image = Image.open(path)
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image) > 127, disc(20, 20))


@pytest.mark.parametrize(
    ("mask_type", "annotation_type"),
    [("greenscreen", "mask"), ("highlighted", "mask"), ("highlighted", "both")],
)
def test_colour_png_is_lossless(tmp_path: Path, mask_type: str, annotation_type: str) -> None:
    frame = mask_frame(0, {"dog": disc(20, 20), "cat": disc(28, 25)})
    sink = images(
        tmp_path, mask_type=mask_type, annotation_type=annotation_type, image_format="png"
    )
    (path,) = write_all(sink, [frame])
    drawn = render(frame, mask_type, annotation_type)
    assert np.array_equal(np.asarray(Image.open(path)), drawn)


@pytest.mark.parametrize("image_format", ["webp", "png"])
@pytest.mark.parametrize("quality", [0, 80])
def test_transparent_images_are_lossless_also_in_what_is_not_seen(
    tmp_path: Path, image_format: str, quality: int
) -> None:
    ragged = np.random.default_rng(0).random((HEIGHT, WIDTH)) > 0.5
    frame = mask_frame(0, {"dog": ragged & disc(20, 20), "cat": disc(45, 30)})
    sink = images(tmp_path, mask_type="alpha", image_format=image_format, quality=quality)
    (path,) = write_all(sink, [frame])
    image = Image.open(path)
    assert image.mode == "RGBA"
    expected = np.dstack([frame.frame.image, render(frame, "binary")])
    assert np.array_equal(np.asarray(image), expected)
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert read is not None
    assert np.array_equal(read, expected[..., [2, 1, 0, 3]])


@pytest.mark.parametrize("image_format", ["webp", "png"])
@pytest.mark.parametrize("mask", [NOTHING, ~NOTHING], ids=["nothing", "everything"])
def test_an_image_has_an_alpha_channel_even_if_it_is_the_same_everywhere(
    tmp_path: Path, image_format: str, mask: BoolMask
) -> None:
    sink = images(tmp_path, mask_type="alpha", image_format=image_format)
    (path,) = write_all(sink, [mask_frame(0, {"dog": mask})])
    read = np.asarray(Image.open(path).convert("RGBA"))
    assert np.array_equal(read[..., 3], np.where(mask, 255, 0))


@pytest.mark.parametrize("mask_type", ["binary", "alpha", "highlighted"])
@pytest.mark.parametrize("image_format", ["webp", "png"])
def test_the_same_masks_make_the_same_bytes(
    tmp_path: Path, mask_type: str, image_format: str
) -> None:
    sink = images(tmp_path, mask_type=mask_type, image_format=image_format)
    (path,) = write_all(sink, moving_discs(1))
    first = path.read_bytes()
    write_all(sink, moving_discs(1))
    assert path.read_bytes() == first


@pytest.mark.parametrize("image_format", ["webp", "jpg"])
def test_colour_images_at_full_quality_have_the_drawn_colours(
    tmp_path: Path, image_format: str
) -> None:
    frame = mask_frame(0, {"dog": disc(20, 20, radius=14)})
    sink = images(tmp_path, mask_type="highlighted", image_format=image_format, quality=100)
    (path,) = write_all(sink, [frame])
    read = np.asarray(Image.open(path)).astype(int)
    assert read.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(read - highlighted(frame)).mean() < 3


@pytest.mark.parametrize("image_format", ["webp", "jpg"])
def test_every_quality_works_and_more_quality_makes_larger_files(
    tmp_path: Path, image_format: str
) -> None:
    sizes = []
    for quality in (0, 1, 40, 80, 100):
        sink = images(tmp_path, mask_type="greenscreen", image_format=image_format, quality=quality)
        (path,) = write_all(sink, [mask_frame(0, {"dog": ~NOTHING})])
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] < sizes[4]


@pytest.mark.parametrize("image_format", ["webp", "jpg", "png"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (33, 1), (15, 17)])
def test_images_of_any_small_size_keep_it(
    tmp_path: Path, image_format: str, shape: tuple[int, int]
) -> None:
    item = ObjectMask("dog", 0, np.ones(shape, dtype=np.bool_), 1.0, 1.0)
    frame = MaskFrame(Frame(0, 0.0, np.zeros((*shape, 3), dtype=np.uint8)), (item,))
    for mask_type in ("binary", "highlighted"):
        sink = images(tmp_path, mask_type=mask_type, image_format=image_format)
        (path,) = write_all(sink, [frame])
        assert Image.open(path).size == (shape[1], shape[0])


@pytest.mark.parametrize(("image_format", "width"), [("webp", 16384), ("jpg", 65501)])
def test_a_frame_too_large_for_its_image_format_fails(
    tmp_path: Path, image_format: str, width: int
) -> None:
    info = VideoInfo(width, 2, Fraction(24), num_frames=1)
    message = (
        f"output_format is '{image_format}', which holds at most {width - 1} pixels a side; "
        f"expected png for frames of {width}x2"
    )
    with pytest.raises(RequestError, match=re.escape(message)):
        images(tmp_path, info, image_format=image_format)


@pytest.mark.parametrize(
    ("image_format", "width"), [("webp", 16383), ("jpg", 65500), ("png", 65501)]
)
def test_a_frame_as_large_as_its_image_format_allows_is_written(
    tmp_path: Path, image_format: str, width: int
) -> None:
    frame = MaskFrame(Frame(0, 0.0, np.zeros((2, width, 3), dtype=np.uint8)), ())
    info = VideoInfo(width, 2, Fraction(24), num_frames=1)
    (path,) = write_all(images(tmp_path, info, image_format=image_format), [frame])
    assert Image.open(path).size == (width, 2)


def test_an_image_that_cannot_be_put_in_place_leaves_no_partial_file(tmp_path: Path) -> None:
    in_the_way = tmp_path / "frame_00001.webp"
    in_the_way.mkdir()
    first, second = moving_discs(2)
    with closing(images(tmp_path)) as sink:
        (written,) = sink.prepare(first)()
        with pytest.raises(IsADirectoryError):
            sink.prepare(second)()
    assert sorted(tmp_path.iterdir()) == [written, in_the_way]
