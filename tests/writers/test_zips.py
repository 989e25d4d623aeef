"""`masks.zip` and `confidences.zip`, read back by zipfile, Pillow and OpenCV."""

import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sam_video.types import MaskFrame, ObjectMask
from sam_video.writers.zips import ObjectZipWriter, confidence_zip, mask_zip
from tests.mask_frames import NOTHING, WIDTH, disc, mask_frame, moving_discs, write_all

ZIPS = pytest.mark.parametrize(
    ("make_sink", "name"), [(mask_zip, "masks.zip"), (confidence_zip, "confidences.zip")]
)
MakeSink = Callable[[Path], ObjectZipWriter]


def written(make_sink: MakeSink, folder: Path, frames: list[MaskFrame]) -> dict[str, bytes]:
    (path,) = write_all(make_sink(folder), frames)
    assert list(folder.iterdir()) == [path]
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        return {name: file.read(name) for name in file.namelist()}


def decoded(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode a PNG by two libraries, which agree."""
    with Image.open(BytesIO(data), formats=["PNG"]) as image:
        assert image.mode == "L"
        pixels = np.asarray(image)
    again = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert again is not None
    assert np.array_equal(pixels, again)
    return pixels


def expected(item: ObjectMask, name: str) -> npt.NDArray[np.uint8]:
    if name == "masks.zip":
        return np.where(item.mask, 255, 0).astype(np.uint8)
    assert item.confidence is not None
    return item.confidence


@ZIPS
def test_there_is_an_image_for_every_object_on_every_frame(
    tmp_path: Path, make_sink: MakeSink, name: str
) -> None:
    frames = moving_discs(6)
    members = written(make_sink, tmp_path, frames)
    assert list(members) == [f"{index}_{dog}.png" for index in range(6) for dog in ("dog", "cat")]
    for masks in frames:
        for item in masks.objects:
            image = decoded(members[f"{masks.frame.index}_{item.object_id}.png"])
            assert np.array_equal(image, expected(item, name))
    assert (tmp_path / name).exists()


@ZIPS
def test_an_object_that_is_tracked_but_not_visible_has_its_image(
    tmp_path: Path, make_sink: MakeSink, name: str
) -> None:
    frames = [mask_frame(7, {"dog": NOTHING}), mask_frame(123456, {"cat": disc(20, 20)})]
    members = written(make_sink, tmp_path, frames)
    assert list(members) == ["7_dog.png", "123456_cat.png"]
    assert np.array_equal(decoded(members["7_dog.png"]), expected(frames[0].objects[0], name))


def test_confidences_keep_every_value(tmp_path: Path) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    frame = mask_frame(0, {}).frame
    item = ObjectMask("dog", 0, values > 127, 1.0, 0.9, confidence=values)
    members = written(confidence_zip, tmp_path, [MaskFrame(frame, (item,))])
    assert np.array_equal(decoded(members["0_dog.png"]), values)


def test_a_mask_that_is_a_view_with_strides_is_written(tmp_path: Path) -> None:
    mask = np.repeat(disc(20, 20, 5), 2, axis=1)[:, ::2]
    members = written(mask_zip, tmp_path, [mask_frame(0, {"dog": mask})])
    assert np.array_equal(decoded(members["0_dog.png"]) == 255, mask)


@ZIPS
def test_names_that_no_file_can_have_are_replaced_and_stay_apart(
    tmp_path: Path, make_sink: MakeSink, name: str
) -> None:
    ids = ["../../up", "a/b", "a\\b", "\ud83d", "Dog", "dog"]
    frames = [mask_frame(index, {i: disc(20, 20) for i in ids}) for index in range(2)]
    assert list(written(make_sink, tmp_path, frames)) == [
        f"{index}_{member}.png"
        for index in range(2)
        for member in ("_.._up", "a_b", "a_b-2", "_", "Dog", "dog-2")
    ]
    with zipfile.ZipFile(tmp_path / name) as file:
        file.extractall(tmp_path / "extracted")
    assert len(list((tmp_path / "extracted").iterdir())) == 12


def test_masks_of_one_column_are_written(tmp_path: Path) -> None:
    mask = np.ones((WIDTH, 1), dtype=np.bool_)
    members = written(mask_zip, tmp_path, [mask_frame(0, {"dog": mask})])
    assert decoded(members["0_dog.png"]).shape == (WIDTH, 1)
