"""Every output of one prediction, read back and held against the masks that tracking gives."""

import json
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam_video.errors import RequestError
from sam_video.request import RLE_FORMATS, Request
from sam_video.service.pipeline import segment_video
from sam_video.service.session import Session
from sam_video.types import BoolMask, Click, ObjectPrompt
from sam_video.video.source import open_video
from sam_video.writers.prompt_marks import draw_grid
from tests.alpha_video import decode_alpha
from tests.clips import draw_clip

SIZE = (192, 128)
NUM_FRAMES = 10
PROMPTS = (
    ObjectPrompt("disc", 0, (Click(23, 38),)),
    ObjectPrompt("a/b", 4, (Click(150, 84),)),
)
INPUTS = {
    "click_coordinates": "[23,38],[150,84]",
    "click_object_ids": "disc,a/b",
    "click_frames": "0,4",
    "model": "pocket",
}
EVERYTHING = {
    "output_rle": True,
    "output_boxes": True,
    "output_masks": True,
    "output_confidences": True,
    "output_overlay": True,
}

Masks = dict[int, dict[str, BoolMask]]
"""By frame index and object."""


@pytest.fixture(scope="module")
def session() -> Session:
    return Session("pocket")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    draw_clip(path, num_frames=NUM_FRAMES, size=SIZE)
    return path


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("still") / "still.png"
    draw_clip(path, num_frames=1, size=SIZE)
    return path


@pytest.fixture(scope="module")
def masks(clip: Path) -> Masks:
    """Return what the tracker yields."""
    tracked = segment_video(clip, PROMPTS, model="pocket")
    return {m.frame.index: {o.object_id: o.mask for o in m.objects} for m in tracked}


def predict(session: Session, video: Path, folder: Path, **options: Any) -> list[str]:
    """Run a prediction and return the names of its files, in their order."""
    request = Request(input_video=video, **{**INPUTS, **options})
    return [path.name for path in session.predict(request, folder)]


def read_zip(path: Path) -> dict[str, npt.NDArray[np.uint8]]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {n: np.asarray(Image.open(BytesIO(archive.read(n)))) for n in archive.namelist()}


def test_all_outputs_of_one_pass_hold_the_masks_of_the_tracker(
    session: Session, clip: Path, masks: Masks, tmp_path: Path
) -> None:
    names = predict(session, clip, tmp_path, output_video=True, **EVERYTHING)
    assert names == [
        "output_video.mp4", "overlay.mp4", "rle.json", "boxes.json", "masks.zip", "confidences.zip"
    ]  # fmt: skip
    rle = json.loads((tmp_path / "rle.json").read_text())
    boxes = json.loads((tmp_path / "boxes.json").read_text())
    images, confidences = read_zip(tmp_path / "masks.zip"), read_zip(tmp_path / "confidences.zip")
    assert list(images) == list(confidences)
    assert list(images) == [
        f"{index}_{n}.png" for index in range(NUM_FRAMES) for n in ("disc", "a_b")
    ]
    for index, expected in masks.items():
        listed = {o["object_id"]: o["segmentation"] for o in rle["frames"][index]["objects"]}
        boxed = {entry["object_id"]: entry["bbox"] for entry in boxes[str(index)]}
        for name, mask in expected.items():
            file = f"{index}_{name.replace('/', '_')}.png"
            assert ((images[file] == 255) == mask).all()
            assert set(np.unique(images[file])) <= {0, 255}
            assert ((confidences[file] >= 128) == mask).all()
            assert (name in listed) == (name in boxed) == bool(mask.any())
            if mask.any():
                assert (coco.decode(listed[name]) == mask).all()
                rows, columns = np.nonzero(mask)
                box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert boxed[name] == box
    for video in ("output_video.mp4", "overlay.mp4"):
        with av.open(tmp_path / video) as container:
            assert sum(1 for _ in container.decode(video=0)) == NUM_FRAMES


@pytest.mark.parametrize(
    ("options", "indices"),
    [
        pytest.param({"start_frame": 3, "end_frame": 6}, [3, 4, 5, 6], id="from-to"),
        pytest.param({"frame_interval": 3}, [0, 3, 4, 6, 9], id="every-third"),
        pytest.param({"frame_interval": 3, "start_frame": 1}, [1, 4, 7], id="from-the-second"),
        pytest.param({"start_frame": 6}, [6, 7, 8, 9], id="after-all-prompts"),
        pytest.param({"end_frame": 2}, [0, 1, 2], id="before-a-prompt"),
        pytest.param({"output_frame_interval": 4}, [0, 4, 8], id="drawn"),
    ],
)
def test_chosen_frames_come_out_under_their_own_index(
    session: Session, clip: Path, tmp_path: Path, options: dict[str, int], indices: list[int]
) -> None:
    names = predict(session, clip, tmp_path, output_boxes=True, **options)
    assert names == [*(f"frame_{index:05d}.webp" for index in indices), "boxes.json"]
    boxes = json.loads((tmp_path / "boxes.json").read_text())
    processed = range(NUM_FRAMES) if "output_frame_interval" in options else indices
    assert [int(index) for index in boxes] == list(processed)
    assert session.metrics.frames == len(processed)
    for index, entries in boxes.items():
        assert entries, index
        assert all(entry["timestep"] == pytest.approx(int(index) / 24) for entry in entries)


def test_what_is_skipped_makes_no_difference_to_prompted_frames(
    clip: Path, masks: Masks, session: Session, tmp_path: Path
) -> None:
    predict(session, clip, tmp_path, frame_interval=5, output_masks=True)
    images = read_zip(tmp_path / "masks.zip")
    assert ((images["0_disc.png"] == 255) == masks[0]["disc"]).all()
    assert ((images["4_a_b.png"] == 255) == masks[4]["a/b"]).all()


def test_a_video_shorter_than_its_start_frame_fails(
    session: Session, clip: Path, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match="start_frame is 10; expected a frame from 0 to 9"):
        predict(session, clip, tmp_path, start_frame=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_alpha_images_show_the_source_where_the_objects_are(
    session: Session, clip: Path, masks: Masks, tmp_path: Path, output_format: str
) -> None:
    predict(session, clip, tmp_path, mask_type="alpha", output_format=output_format)
    for index, expected in masks.items():
        image = np.asarray(Image.open(tmp_path / f"frame_{index:05d}.{output_format}"))
        union = np.logical_or.reduce(list(expected.values()))
        assert image.shape == (SIZE[1], SIZE[0], 4)
        assert ((image[..., 3] == 255) == union).all()
        assert set(np.unique(image[..., 3])) <= {0, 255}


def test_an_alpha_video_is_transparent_where_the_objects_are_not(
    session: Session, clip: Path, masks: Masks, tmp_path: Path
) -> None:
    names = predict(session, clip, tmp_path, mask_type="alpha", output_video=True)
    assert names == ["output_video.webm"]
    with av.open(tmp_path / "output_video.webm") as container:
        stream = container.streams.video[0]
        assert stream.metadata["ALPHA_MODE"] == "1"
    frames = decode_alpha(tmp_path / "output_video.webm")
    assert len(frames) == NUM_FRAMES
    for index, frame in enumerate(frames):
        alpha = frame[..., 3] >= 128
        union = np.logical_or.reduce(list(masks[index].values()))
        assert (alpha & union).sum() / (alpha | union).sum() > 0.97


@pytest.mark.parametrize(
    ("options", "index"),
    [
        pytest.param({}, 0, id="video"),
        pytest.param({"start_frame": 3, "end_frame": 6}, 3, id="range"),
        pytest.param({"prompts": "[]", "frame_interval": 3}, 0, id="empty-list"),
    ],
)
def test_a_preview_without_any_prompt_is_the_first_frame_with_a_grid_and_needs_no_model(
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    index: int,
) -> None:
    monkeypatch.setattr("sam_video.service.session.load_model", None)
    session = Session()
    request = Request(input_video=clip, preview=True, **options)
    (path,) = session.predict(request, tmp_path)
    assert path.name == f"preview_{index:05d}.png"
    (frame,) = open_video(clip).frames_at([index])
    expected = frame.image.copy()
    draw_grid(expected)
    assert np.array_equal(np.asarray(Image.open(path)), expected)
    assert (session.metrics.frames, session.metrics.objects) == (1, 0)


def test_a_preview_of_a_still_image_without_any_prompt_has_a_grid(
    still: Path, tmp_path: Path
) -> None:
    request = Request(input_video=still, preview=True, start_frame=5)
    assert [path.name for path in Session().predict(request, tmp_path)] == ["preview_00000.png"]


@pytest.mark.parametrize("rle_format", RLE_FORMATS)
def test_the_data_files_of_a_preview_without_any_prompt_hold_no_object(
    clip: Path, tmp_path: Path, rle_format: str
) -> None:
    options: dict[str, Any] = EVERYTHING | {"rle_format": rle_format}
    request = Request(input_video=clip, preview=True, **options)
    assert [path.name for path in Session().predict(request, tmp_path)] == [
        "preview_00000.png", "rle.json", "boxes.json", "masks.zip", "confidences.zip"
    ]  # fmt: skip
    assert read_zip(tmp_path / "masks.zip") == read_zip(tmp_path / "confidences.zip") == {}
    assert json.loads((tmp_path / "boxes.json").read_text()) == {"0": []}
    json.loads((tmp_path / "rle.json").read_text())


def test_a_preview_without_any_prompt_past_the_end_fails(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="start_frame is 10; expected a frame from 0 to 9"):
        list(Session().predict(Request(input_video=clip, preview=True, start_frame=10), tmp_path))


def test_a_preview_has_the_prompted_frames_with_the_objects_prompted_there(
    session: Session, clip: Path, masks: Masks, tmp_path: Path
) -> None:
    names = predict(session, clip, tmp_path, preview=True, output_rle=True)
    assert names == ["preview_00000.png", "preview_00004.png", "rle.json"]
    frames = json.loads((tmp_path / "rle.json").read_text())["frames"]
    assert [frame["frame_index"] for frame in frames] == [0, 4]
    for frame, name in zip(frames, ("disc", "a/b"), strict=True):
        (found,) = frame["objects"]
        assert found["object_id"] == name
        assert (coco.decode(found["segmentation"]) == masks[frame["frame_index"]][name]).all()


def test_a_still_image_gives_the_masks_that_a_click_may_mean(
    session: Session, still: Path, tmp_path: Path
) -> None:
    names = predict(session, still, tmp_path, multimask_output=True)
    candidates = [f"candidate_{name}_{n}.png" for name in ("disc", "a_b") for n in (1, 2, 3)]
    assert sorted(names) == sorted(["frame_00000.webp", "rle.json", *candidates])
    (frame,) = json.loads((tmp_path / "rle.json").read_text())["frames"]
    for found in frame["objects"]:
        scores = [candidate["score"] for candidate in found["candidates"]]
        assert len(scores) == 3
        best = found["candidates"][int(np.argmax(scores))]
        assert best["segmentation"] == found["segmentation"]  # one click takes the best of them
        for number, candidate in enumerate(found["candidates"], start=1):
            name = found["object_id"].replace("/", "_")
            image = np.asarray(Image.open(tmp_path / f"candidate_{name}_{number}.png"))
            assert ((image == 255) == coco.decode(candidate["segmentation"]).astype(bool)).all()


def test_candidates_of_a_video_fail(session: Session, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(
        RequestError, match="multimask_output is true for a video; expected a still"
    ):
        predict(session, clip, tmp_path, multimask_output=True)


@pytest.mark.parametrize("rle_format", ["youtube_vis", "start_length"])
def test_other_forms_of_run_lengths_can_be_asked_for(
    session: Session, clip: Path, tmp_path: Path, rle_format: str
) -> None:
    predict(session, clip, tmp_path, output_rle=True, rle_format=rle_format)
    document = json.loads((tmp_path / "rle.json").read_text())
    if rle_format == "youtube_vis":
        assert len(document["annotations"]) == len(PROMPTS)
    else:
        assert len(document["rle"]) == NUM_FRAMES


def test_box_mask_and_json_prompts_are_tracked_together(
    session: Session, clip: Path, masks: Masks, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.zip"
    with zipfile.ZipFile(prompts, "w") as archive:
        data = BytesIO()
        Image.fromarray(masks[0]["disc"]).save(data, "png")
        archive.writestr("0_masked.png", data.getvalue())
    inputs = {
        "click_coordinates": "", "click_object_ids": "", "click_frames": "0",
        "box_coordinates": "[8,18,40,58]", "box_object_ids": "boxed",
        "mask_prompts": prompts,
        "prompts": json.dumps([{"frame_index": 2, "object_id": 7, "points": [[150, 80]]}]),
    }  # fmt: skip
    predict(session, clip, tmp_path / "out", output_rle=True, **inputs)
    document = json.loads((tmp_path / "out" / "rle.json").read_text())
    assert [o["object_id"] for o in document["objects"]] == ["boxed", "masked", "7"]
    first = {o["object_id"]: o["segmentation"] for o in document["frames"][0]["objects"]}
    found = coco.decode(first["masked"]).astype(bool)
    union = (found | masks[0]["disc"]).sum()
    assert (found & masks[0]["disc"]).sum() / union > 0.9
