"""The source with the objects as its alpha channel, read back."""

import io
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from sam_video.errors import RequestError
from sam_video.writers.cutouts import PngAlphaWriter, ProResWriter
from tests.mask_frames import INFO, NOTHING, disc, mask_frame, moving_discs, write_all


def alphas(path: Path) -> list[np.ndarray]:
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgba")[..., 3] for frame in container.decode(video=0)]


def test_prores_holds_all_objects_together(tmp_path: Path) -> None:
    frames = moving_discs(3)
    assert write_all(ProResWriter(tmp_path, INFO), frames) == [tmp_path / "cutout.mov"]
    for found, masks in zip(alphas(tmp_path / "cutout.mov"), frames, strict=True):
        dog, cat = (item.mask for item in masks.objects)
        assert np.array_equal(found > 127, dog | cat)


def test_prores_holds_each_object_apart(tmp_path: Path) -> None:
    frames = [mask_frame(0, {"a/b": NOTHING}), mask_frame(1, {"a/b": disc(9, 9), "c": disc(30, 9)})]
    paths = write_all(ProResWriter(tmp_path, INFO, ("a/b", "c")), frames)
    assert [path.name for path in paths] == ["cutout_a_b.mov", "cutout_c.mov"]
    for path, mask in zip(paths, (disc(9, 9), disc(30, 9)), strict=True):
        nothing, found = alphas(path)
        assert not nothing.any()
        assert np.array_equal(found > 127, mask)


def test_too_many_videos_at_once_fail(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="prores=objects for 17 objects; expected at most 16"):
        ProResWriter(tmp_path, INFO, tuple(map(str, range(17))))


def test_png_images_hold_the_source_and_the_masks(tmp_path: Path) -> None:
    frames = moving_discs(2)
    (path,) = write_all(PngAlphaWriter(tmp_path), frames)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["00000.png", "00001.png"]
        found = np.asarray(Image.open(io.BytesIO(archive.read("00001.png"))))
    dog, cat = (item.mask for item in frames[1].objects)
    assert np.array_equal(found[..., :3], frames[1].frame.image)
    assert np.array_equal(found[..., 3] == 255, dog | cat)


def test_png_images_of_objects_are_of_those_that_are_visible(tmp_path: Path) -> None:
    frames = [mask_frame(3, {"dog": disc(9, 9), "cat": NOTHING}), *moving_discs(1)]
    (path,) = write_all(PngAlphaWriter(tmp_path, by_object=True), frames)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["00003_dog.png", "00000_dog.png", "00000_cat.png"]
        found = np.asarray(Image.open(io.BytesIO(archive.read("00003_dog.png"))))
    assert np.array_equal(found[..., 3] == 255, disc(9, 9))
