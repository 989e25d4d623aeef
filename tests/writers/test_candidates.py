"""Candidate masks, read back as images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam_video.types import Candidate, MaskFrame, ObjectMask
from sam_video.writers.candidates import CandidateWriter
from tests.mask_frames import INFO, NOTHING, disc, mask_frame, write_all

STILL = replace(INFO, is_still=True)


def frame_with_candidates(*object_ids: str) -> MaskFrame:
    """A frame whose objects each have three candidates of their own."""
    objects = tuple(
        ObjectMask(
            object_id,
            index,
            disc(10 * index, 20),
            1.0,
            0.9,
            candidates=tuple(
                Candidate(disc(10 * index, 20, radius), radius / 20) for radius in (4, 9, 14)
            ),
        )
        for index, object_id in enumerate(object_ids)
    )
    return MaskFrame(mask_frame(0, {}).frame, objects)


def test_every_candidate_of_every_object_is_an_image_of_its_own(tmp_path: Path) -> None:
    masks = frame_with_candidates("dog", "cat")
    paths = write_all(CandidateWriter(tmp_path, STILL), [masks])
    names = [f"candidate_{name}_{number}.png" for name in ("dog", "cat") for number in (1, 2, 3)]
    assert paths == [tmp_path / name for name in names]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    candidates = [candidate for item in masks.objects for candidate in item.candidates]
    for path, candidate in zip(paths, candidates, strict=True):
        image = Image.open(path)
        assert image.mode == "L"
        assert np.array_equal(np.asarray(image), np.where(candidate.mask, 255, 0))


def test_an_empty_candidate_is_a_black_image(tmp_path: Path) -> None:
    item = ObjectMask("dog", 0, NOTHING, 0.1, 0.1, candidates=(Candidate(NOTHING, 0.1),))
    masks = MaskFrame(mask_frame(0, {}).frame, (item,))
    (path,) = write_all(CandidateWriter(tmp_path, STILL), [masks])
    assert not np.asarray(Image.open(path)).any()


def test_objects_without_candidates_make_no_files(tmp_path: Path) -> None:
    frame = mask_frame(0, {"dog": disc(20, 20)})
    assert write_all(CandidateWriter(tmp_path, STILL), [frame]) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("object_id", ["../../up", "/root", "a\nb", "", "\ud83d", "x" * 500])
def test_any_name_makes_files_in_the_folder(tmp_path: Path, object_id: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    paths = write_all(CandidateWriter(folder, STILL), [frame_with_candidates(object_id, "dog")])
    assert len(set(paths)) == 6
    assert sorted(folder.iterdir()) == sorted(paths)
    assert list(tmp_path.iterdir()) == [folder]


def test_names_that_would_be_one_in_a_url_make_files_of_their_own(tmp_path: Path) -> None:
    masks = frame_with_candidates("cow#1", "cow#2", "%41", "A")
    names = [path.name for path in write_all(CandidateWriter(tmp_path, STILL), [masks])]
    assert names[::3] == [
        "candidate_cow_1_1.png",
        "candidate_cow_2_1.png",
        "candidate__41_1.png",
        "candidate_A_1.png",
    ]
