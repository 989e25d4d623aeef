"""What the three forms of `rle.json` have in common."""

import json
from collections.abc import Generator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_video.errors import RequestError
from sam_video.request import RLE_FORMATS, Request
from sam_video.types import Candidate, Click, MaskFrame, ObjectPrompt, Samples
from sam_video.writers.exports import export_sinks
from sam_video.writers.for_request import extra_sinks, file_patterns, primary_sink, rle_writer
from tests.mask_frames import HEIGHT, INFO, WIDTH, disc, mask_frame, moving_discs, write_all

FORMATS = pytest.mark.parametrize("rle_format", RLE_FORMATS)


def written(folder: Path, rle_format: str, frames: list[MaskFrame]) -> dict[str, Any]:
    (path,) = write_all(rle_writer(rle_format, folder, INFO), frames)
    assert path == folder / "rle.json"
    assert list(folder.iterdir()) == [path]
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def object_ids(content: dict[str, Any]) -> list[str]:
    entries = content["annotations"] if "annotations" in content else content["objects"]
    return [entry["object_id"] for entry in entries]


@FORMATS
@pytest.mark.parametrize(
    "object_id",
    [
        "",
        " ",
        '"',
        "a\nb\r\n\t",
        "\\",
        "狗 🐕",
        "\x00\x1f\x7f\u2028",
        "\ud83d",
        "</script>",
        "null",
    ],
    ids=ascii,
)
def test_any_text_is_a_name_that_comes_back(
    tmp_path: Path, rle_format: str, object_id: str
) -> None:
    content = written(tmp_path, rle_format, [mask_frame(0, {object_id: disc(20, 20)})])
    assert object_ids(content) == [object_id]
    if rle_format == "coco":
        assert content["frames"][0]["objects"][0]["object_id"] == object_id


@FORMATS
def test_names_are_written_as_they_read(tmp_path: Path, rle_format: str) -> None:
    written(tmp_path, rle_format, [mask_frame(0, {"狗 🐕": disc(20, 20)})])
    assert "狗 🐕".encode() in (tmp_path / "rle.json").read_bytes()


@FORMATS
def test_objects_are_listed_by_index_whichever_was_seen_first(
    tmp_path: Path, rle_format: str
) -> None:
    both = moving_discs(2)
    late = MaskFrame(both[0].frame, both[0].objects[1:])
    assert object_ids(written(tmp_path, rle_format, [late, both[1]])) == ["dog", "cat"]


@FORMATS
def test_it_tells_the_size_rate_and_number_of_frames(tmp_path: Path, rle_format: str) -> None:
    content = written(tmp_path, rle_format, moving_discs(3))
    video = content["video"] if "video" in content else content["videos"][0]
    assert (video["width"], video["height"]) == (WIDTH, HEIGHT)
    assert video["frame_rate"] == 30000 / 1001
    assert video["num_frames" if "num_frames" in video else "length"] == 3


@FORMATS
def test_times_and_indices_are_those_of_the_source(tmp_path: Path, rle_format: str) -> None:
    content = written(tmp_path, rle_format, [mask_frame(index, {}) for index in (3, 5, 100)])
    if rle_format == "coco":
        stated = [(entry["frame_index"], entry["timestamp"]) for entry in content["frames"]]
    else:
        of_frames = content["videos"][0] if rle_format == "youtube_vis" else content
        stated = list(zip(of_frames["frame_indices"], of_frames["timestamps"], strict=True))
    assert stated == [(3, 0.12), (5, 0.2), (100, 4.0)]


def test_coco_without_frames_is_valid(tmp_path: Path) -> None:
    content = written(tmp_path, "coco", [])
    assert content["video"]["num_frames"] == 0
    assert content["frames"] == content["objects"] == []


def test_youtube_vis_without_frames_is_valid(tmp_path: Path) -> None:
    content = written(tmp_path, "youtube_vis", [])
    assert content["videos"][0]["length"] == 0
    assert content["videos"][0]["file_names"] == content["annotations"] == []


def test_start_length_without_frames_is_valid(tmp_path: Path) -> None:
    content = written(tmp_path, "start_length", [])
    assert content["video"]["num_frames"] == 0
    assert content["rle"] == content["frame_indices"] == content["objects"] == []


@pytest.mark.parametrize(
    ("inputs", "is_still"),
    [
        ({}, False),
        ({"output_format": "jpg", "output_rle": True, "output_boxes": True}, False),
        ({"output_format": "png", "multimask_output": True}, True),
        ({"output_video": True, "output_masks": True, "output_confidences": True}, False),
        ({"output_video": True, "output_overlay": True, "mask_type": "alpha"}, False),
        ({"preview": True, "output_video": True, "output_overlay": True}, False),
        ({"export_formats": "davis, coco_tracks, yolo=parts, mot, mots"}, False),
        ({"export_formats": "cvat, label_studio, prores, png_alpha=objects"}, False),
        ({"export_formats": "prores=objects", "mask_cleaning": "smooth=2"}, False),
    ],
)
def test_the_names_of_all_files_are_known_before(
    tmp_path: Path, inputs: dict[str, Any], is_still: bool
) -> None:
    request = Request(input_video=Path("a.mp4"), **inputs)
    info = replace(INFO, is_still=is_still)
    masks = mask_frame(0, {"dog": disc(20, 20)})
    candidates = (Candidate(disc(20, 20), 0.5),)
    masks = replace(masks, objects=(replace(masks.objects[0], candidates=candidates),))

    def silence(_: object) -> Generator[Samples, None, None]:
        yield from ()

    prompts = [ObjectPrompt("dog", 0, (Click(20, 20),))]
    sinks = [
        primary_sink(request, info, prompts, tmp_path),
        *extra_sinks(request, info, prompts, tmp_path, silence),
    ]
    names = [path.name for sink in sinks for path in write_all(sink, [masks])]
    patterns = file_patterns(request)
    assert all(any(fnmatchcase(name, pattern) for pattern in patterns) for name in names)
    assert all(any(fnmatchcase(name, pattern) for name in names) for pattern in patterns)


def test_videos_of_objects_that_words_find_fail(tmp_path: Path) -> None:
    request = Request(input_video=Path("a.mp4"), text_prompt="dog", export_formats="prores=objects")
    with pytest.raises(RequestError, match="prores=objects with text_prompt, whose objects are"):
        list(export_sinks(request, INFO, [], tmp_path))


def test_a_smooth_edge_is_half_transparent(tmp_path: Path) -> None:
    request = Request(
        input_video=Path("a.mp4"),
        mask_type="alpha",
        output_format="png",
        mask_cleaning="smooth=2",
    )
    sink = primary_sink(request, INFO, [], tmp_path)
    (path,) = write_all(sink, [mask_frame(0, {"dog": disc(20, 20)})])
    opacity = np.asarray(Image.open(path))[20, :, 3]
    assert opacity[20] == 255
    assert opacity[40] == 0
    assert ((opacity > 60) & (opacity < 200)).any()
