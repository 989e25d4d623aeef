"""Whole predictions: a file goes in, files come out."""

import csv
import gc
import json
import re
import time
import weakref
from collections.abc import Callable, Generator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pycocotools import mask as coco_mask

from sam_video.errors import PromptError, VideoError
from sam_video.model.load import build_network
from sam_video.model.sam2 import SegmentationModel
from sam_video.request import Request
from sam_video.service.file_reader import FileReader
from sam_video.service.pipeline import segment_video
from sam_video.service.session import Session
from sam_video.types import (
    BoolMask,
    Click,
    Frame,
    FrameSource,
    MaskFrame,
    ObjectPrompt,
    VideoInfo,
)
from sam_video.video.read_ahead import queue_size
from sam_video.video.source import open_video
from sam_video.writers.sink import Step
from tests.clips import draw_clip
from tests.fake_model import FakeModel
from tests.worker_threads import Cancelled, cancelled_when, take_too_long, worker_threads

SIZE = (384, 256)
DISC, RECTANGLE = "[46,77]", "[300,160]"
VIDEOS = Path(__file__).parents[3] / "shared" / "data" / "videos"


@pytest.fixture(scope="module")
def session() -> Session:
    """Return a session with the bundled checkpoint, for all tests."""
    return Session("pocket")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, BoolMask]]]:
    """Return a clip and the masks of its objects."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return path, draw_clip(path, size=SIZE)


def request(path: Path, coordinates: str = f"{DISC},{RECTANGLE}", **options: Any) -> Request:
    """Ask the bundled checkpoint for a prediction."""
    return Request(input_video=path, click_coordinates=coordinates, model="pocket", **options)


def read_png(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image with as many channels as it has."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image.astype(np.uint8)


def iou(a: BoolMask, b: BoolMask) -> float:
    """Return the intersection over union of two masks that are not both empty."""
    return float((a & b).sum() / (a | b).sum())


def test_clicks_give_masks_of_the_clicked_objects(
    session: Session, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    path, truth = clip
    prompt = request(path, output_format="png", click_object_ids="disc,rectangle", output_rle=True)
    files = list(session.predict(prompt, tmp_path))
    assert [file.name for file in files[:-1]] == [f"frame_{i:05d}.png" for i in range(12)]
    assert files[-1].name == "rle.json"
    document = json.loads(files[-1].read_text())
    for file, frame, masks in zip(files, document["frames"], truth, strict=False):
        image = read_png(file)
        assert image.shape == (SIZE[1], SIZE[0])
        decoded = [coco_mask.decode(o["segmentation"]).astype(bool) for o in frame["objects"]]
        assert np.array_equal(image == 255, np.logical_or.reduce(decoded))
        for found, mask in zip(frame["objects"], decoded, strict=True):
            assert iou(mask, masks[found["object_id"]]) > 0.8


def test_a_video_output_has_the_rate_and_length_of_the_source(
    session: Session, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    (file,) = session.predict(request(clip[0], output_video=True), tmp_path)
    assert file.name == "output_video.mp4"
    with av.open(file) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.pix_fmt) == (Fraction(24), "yuv420p")
        frames = [frame.to_ndarray(format="gray") for frame in container.decode(stream)]
    assert len(frames) == 12
    assert iou(frames[3] > 127, clip[1][3]["disc"] | clip[1][3]["rectangle"]) > 0.8


def test_every_nth_frame_is_drawn_and_all_are_listed(
    session: Session, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    prompt = request(clip[0], output_frame_interval=5, output_rle=True)
    *images, rle = session.predict(prompt, tmp_path)
    assert [file.name for file in images] == [f"frame_{i:05d}.webp" for i in (0, 5, 10)]
    document = json.loads(rle.read_text())
    assert [frame["frame_index"] for frame in document["frames"]] == list(range(12))
    assert document["video"]["num_frames"] == 12


@pytest.mark.parametrize(
    ("options", "num_frames"),
    [
        ({"frame_interval": 3}, 4),
        ({"output_frame_interval": 3}, 4),
        ({"frame_interval": 2, "output_frame_interval": 3}, 2),
        ({"frame_interval": 3, "start_frame": 6}, 2),
    ],
)
def test_videos_of_every_nth_frame_keep_the_time_of_the_source(
    overlapping: "Overlapping",
    clip: tuple[Path, list[dict[str, BoolMask]]],
    tmp_path: Path,
    options: dict[str, int],
    num_frames: int,
) -> None:
    asked = request(clip[0], DISC, click_frames="6", output_video=True, **options)
    (path,) = Session().predict(asked, tmp_path)
    with av.open(path) as container:
        times = [frame.time for frame in container.decode(video=0)]
    step = options.get("frame_interval", 1) * options.get("output_frame_interval", 1)
    assert times == pytest.approx([index * step / 24 for index in range(num_frames)])


@pytest.mark.parametrize("backward", [True, False])
def test_a_late_object_is_there_from_the_start_only_if_tracked_backward(
    session: Session,
    clip: tuple[Path, list[dict[str, BoolMask]]],
    tmp_path: Path,
    backward: bool,
) -> None:
    late = RECTANGLE.replace("160", "170")
    prompt = request(clip[0], late, click_frames="8", track_backward=backward, output_rle=True)
    *_, rle = session.predict(prompt, tmp_path)
    frames = json.loads(rle.read_text())["frames"]
    assert [bool(frame["objects"]) for frame in frames] == [backward] * 8 + [True] * 4
    for frame, masks in zip(frames, clip[1], strict=True):
        for found in frame["objects"]:
            mask = coco_mask.decode(found["segmentation"]).astype(bool)
            assert iou(mask, masks["rectangle"]) > 0.7


def test_the_same_request_gives_the_same_bytes(
    session: Session, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    first, second = (
        [p.read_bytes() for p in session.predict(request(clip[0], output_rle=True), tmp_path / n)]
        for n in ("first", "second")
    )
    assert first == second


def test_an_abandoned_prediction_leaves_no_file(
    session: Session, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    files = session.predict(request(clip[0], output_rle=True), tmp_path)
    assert next(files).exists()
    files.close()
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_found_before_anything_is_loaded_or_written(
    clip: tuple[Path, list[dict[str, BoolMask]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sam_video.service.session.load_model", None)
    folder = tmp_path / "out"
    with pytest.raises(PromptError, match=r"click_frames\[0\] is 12; expected .* 0 to 11"):
        list(Session().predict(request(clip[0], DISC, click_frames="12"), folder))
    with pytest.raises(VideoError, match="text"):
        list(Session().predict(request(Path(__file__)), folder))
    assert not folder.exists()


def test_a_session_keeps_its_model_until_another_is_asked_for_and_never_holds_two(
    clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = clip
    loaded: list[weakref.ref[SegmentationModel]] = []

    def load(name: str, **_: Any) -> SegmentationModel:
        assert all(model() is None for model in loaded), "no garbage has to be collected for it"
        model = SegmentationModel(build_network("pocket"))
        loaded.append(weakref.ref(model))
        return model

    monkeypatch.setattr("sam_video.service.session.load_model", load)
    monkeypatch.setattr("sam_video.service.session.resolve_checkpoint", Path)
    session = Session("tiny")
    for number, name in enumerate(("tiny", "tiny", "small", "tiny")):
        asked = replace(request(path), model=name, end_frame=0)
        list(session.predict(asked, tmp_path / str(number)))
    assert len(loaded) == 3


def test_metrics_tell_what_was_done(
    session: Session, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    list(session.predict(request(clip[0]), tmp_path))
    metrics = session.metrics
    assert (metrics.frames, metrics.objects) == (12, 2)
    parts = (metrics.decoding_seconds, metrics.tracking_seconds, metrics.encoding_seconds)
    # Each runs in one thread, beside the others.
    assert all(0 < seconds < metrics.total_seconds for seconds in parts)


def test_progress_is_told_in_percent(
    session: Session,
    clip: tuple[Path, list[dict[str, BoolMask]]],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    list(session.predict(request(clip[0], DISC), tmp_path))
    assert re.search(r"\b100%\|", capfd.readouterr().err)


def test_from_python_masks_come_frame_by_frame(
    clip: tuple[Path, list[dict[str, BoolMask]]],
) -> None:
    prompts = [ObjectPrompt("disc", 0, (Click(46, 77),))]
    frames = list(segment_video(clip[0], prompts, model="pocket"))
    assert len(frames) == 12
    for masks, truth in zip(frames, clip[1], strict=True):
        assert iou(masks.objects[0].mask, truth["disc"]) > 0.8


def test_from_python_only_negative_prompts_fails(
    clip: tuple[Path, list[dict[str, BoolMask]]],
) -> None:
    prompts = [ObjectPrompt("disc", 0, (Click(46, 77, 0),))]
    with pytest.raises(PromptError, match="nothing positive"):
        next(segment_video(clip[0], prompts, model="pocket"))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (ObjectPrompt("disc", 0, (Click(50, 77),)), "as prompts[0] is; expected only one"),
        (ObjectPrompt("far", 0, (Click(999, 77),)), "expected a point inside the 384x256 picture"),
        (ObjectPrompt("small", 0, mask=np.ones((10, 10), np.bool_)), "is 10x10; expected 384x256"),
        (ObjectPrompt("late", 12, (Click(46, 77),)), "is 12; expected a frame from 0 to 11"),
        (ObjectPrompt("gone", 0, (Click(46, 77, 0),)), "nothing positive for 'gone'"),
    ],
    ids=["twice", "outside", "mask", "frame", "negative"],
)
def test_from_python_a_prompt_that_does_not_fit_the_video_fails_before_a_model_is_loaded(
    clip: tuple[Path, list[dict[str, BoolMask]]],
    monkeypatch: pytest.MonkeyPatch,
    second: ObjectPrompt,
    message: str,
) -> None:
    monkeypatch.setattr("sam_video.service.pipeline.load_model", None)
    prompts = [ObjectPrompt("disc", 0, (Click(46, 77),)), second]
    with pytest.raises(PromptError, match=re.escape(message)):
        next(segment_video(clip[0], prompts))


def test_from_python_a_negative_click_on_a_later_frame_corrects_its_object(
    clip: tuple[Path, list[dict[str, BoolMask]]],
) -> None:
    prompts = [
        ObjectPrompt("disc", 0, (Click(46, 77),)),
        ObjectPrompt("disc", 5, (Click(46, 77, 0),)),
    ]
    frames = list(segment_video(clip[0], prompts, model=FakeModel()))
    assert [bool(masks.objects[0].mask.any()) for masks in frames[:6]] == [True] * 5 + [False]


def video_cases() -> list[dict[str, str]]:
    """Return the rows of the index of real videos, if they are there."""
    index = VIDEOS / "INDEX.tsv"
    if not index.exists():
        return []
    with index.open() as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


@pytest.mark.skipif(not VIDEOS.exists(), reason="needs the shared folder of real videos")
@pytest.mark.parametrize("row", video_cases(), ids=lambda row: row["file"])
def test_every_video_comes_out_as_mask_images(
    row: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sam_video.service.session.load_model", lambda *_, **__: FakeModel())
    prompt = request(VIDEOS / row["file"], "[5,5]", output_format="png", output_frame_interval=7)
    files = list(Session().predict(prompt, tmp_path))
    # The animated WebP is one that FFmpeg 5.1, which the index is by, cannot decode.
    count = 30 if row["vcodec"] == "webp" else int(row["frames_decoded"])
    assert [file.name for file in files] == [f"frame_{i:05d}.png" for i in range(0, count, 7)]
    sizes = {read_png(file).shape for file in files}
    width, height = int(row["w"]), int(row["h"])
    if row["display_rotation"] in ("90", "-90"):
        width, height = height, width
    if row["vcodec"] != "webp":
        assert sizes == {(height, width)}


class Overlapping:
    """What goes on beside the tracker: a sink and a source that do as they are told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[int] = []
        self.num_read = 0
        self.num_exits = 0
        self.on_write: Callable[[int], None] = lambda index: None
        self.on_read: Callable[[int], None] = lambda index: None
        for module in ("session", "pipeline"):
            monkeypatch.setattr(
                f"sam_video.service.{module}.load_model", lambda *_, **__: FakeModel()
            )
        monkeypatch.setattr("sam_video.service.session.extra_sinks", lambda *_: [self])
        monkeypatch.setattr(FileReader, "open_video", lambda _, path, name="": self._source(path))

    def _source(self, path: Path) -> FrameSource:
        source = open_video(path)
        read = source.frames

        def frames(start: int = 0) -> Generator[Frame, None, None]:
            for frame in read(start):
                self.on_read(frame.index)
                self.num_read += 1
                yield frame

        monkeypatched: Any = source
        monkeypatched.frames = frames
        return source

    def close(self) -> None:
        self.num_exits += 1

    def prepare(self, masks: MaskFrame) -> Step:
        return partial(self._write, masks.frame.index)

    def _write(self, index: int) -> list[Path]:
        self.on_write(index)
        self.written.append(index)
        return []

    def finish(self) -> list[Path]:
        return []


@pytest.fixture
def overlapping(monkeypatch: pytest.MonkeyPatch, no_worker_left: None) -> Overlapping:
    return Overlapping(monkeypatch)


def fail_on(bad: int) -> Callable[[int], None]:
    """Return a step that fails on a frame."""

    def step(index: int) -> None:
        if index == bad:
            raise VideoError(f"frame {index} is bad")

    return step


def hang_on(bad: int) -> Callable[[int], None]:
    """Return a step that never ends on a frame."""

    def step(index: int) -> None:
        if index == bad:
            take_too_long()

    return step


@pytest.mark.parametrize("stage", ["on_read", "on_write"])
@pytest.mark.parametrize("bad", [0, 5, 11])
def test_an_error_beside_the_tracker_fails(
    overlapping: Overlapping,
    clip: tuple[Path, list[dict[str, BoolMask]]],
    tmp_path: Path,
    stage: str,
    bad: int,
) -> None:
    setattr(overlapping, stage, fail_on(bad))
    with pytest.raises(VideoError, match=f"frame {bad} is bad"):
        list(Session().predict(request(clip[0], output_video=bad == 5), tmp_path))
    assert worker_threads() == []
    assert list(tmp_path.iterdir()) == []
    assert overlapping.num_exits == 1
    if stage == "on_write":
        assert overlapping.written == list(range(bad))


def test_a_prediction_that_fails_leaves_the_files_of_the_one_before(
    overlapping: Overlapping, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    prompt = request(clip[0])
    before = {path: path.read_bytes() for path in Session().predict(prompt, tmp_path)}
    assert len(before) == 12
    overlapping.on_write = fail_on(7)
    with pytest.raises(VideoError, match="frame 7 is bad"):
        list(Session().predict(replace(prompt, mask_type="highlighted"), tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("stage", ["on_read", "on_write"])
def test_what_hangs_beside_the_tracker_can_be_cancelled(
    overlapping: Overlapping,
    clip: tuple[Path, list[dict[str, BoolMask]]],
    tmp_path: Path,
    stage: str,
) -> None:
    setattr(overlapping, stage, hang_on(5))
    prompt = request(clip[0], output_video=True)
    with pytest.raises(Cancelled), cancelled_when(lambda: len(overlapping.written) == 5):
        list(Session().predict(prompt, tmp_path))
    assert worker_threads() == []
    assert list(tmp_path.iterdir()) == []
    assert overlapping.num_exits == 1


def test_abandoning_leaves_no_file_that_was_complete_but_not_handed_out(
    overlapping: Overlapping, clip: tuple[Path, list[dict[str, BoolMask]]], tmp_path: Path
) -> None:
    files = Session().predict(request(clip[0]), tmp_path)
    assert next(files).exists()
    files.close()
    assert worker_threads() == []
    assert list(tmp_path.iterdir()) == []


def test_a_slow_writer_slows_reading(overlapping: Overlapping, tmp_path: Path) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=40)
    ahead: list[int] = []

    def step(index: int) -> None:
        time.sleep(0.03)
        ahead.append(overlapping.num_read - index)

    overlapping.on_write = step
    list(Session().predict(request(tmp_path / "clip.mp4", "[11,19]"), tmp_path / "out"))
    # Four wait for the tracker and four for the writer, and three are in the tracker's hands.
    assert 5 < max(ahead) <= 11
    assert overlapping.written == list(range(40))


@pytest.mark.parametrize(
    ("size", "bytes_per_pixel", "expected"),
    [
        pytest.param((640, 360), 3, 4, id="small"),
        pytest.param((3840, 2160), 3, 2, id="4k"),
        pytest.param((7680, 4320), 3, 1, id="8k"),
        pytest.param((1920, 1080), 3 + 10, 2, id="ten-objects"),
        pytest.param((1920, 1080), 3 + 2 * 50, 1, id="fifty-with-confidences"),
    ],
)
def test_fewer_frames_wait_where_they_are_large(
    size: tuple[int, int], bytes_per_pixel: int, expected: int
) -> None:
    info = VideoInfo(*size, Fraction(24), None)
    assert queue_size(info, bytes_per_pixel) == expected


@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "forgotten"])
def test_from_python_an_abandoned_video_ends_its_threads(
    overlapping: Overlapping, clip: tuple[Path, list[dict[str, BoolMask]]], is_closed: bool
) -> None:
    prompts = [ObjectPrompt("disc", 0, (Click(46, 77),))]
    frames = segment_video(clip[0], prompts, model="pocket")
    next(frames)
    assert len(worker_threads()) == 4
    if is_closed:
        frames.close()
    del frames
    gc.collect()
    assert worker_threads() == []


def test_from_python_an_error_of_the_source_fails_after_the_frames_before(
    overlapping: Overlapping, clip: tuple[Path, list[dict[str, BoolMask]]]
) -> None:
    overlapping.on_read = fail_on(5)
    frames = segment_video(clip[0], [ObjectPrompt("disc", 0, (Click(46, 77),))], model="pocket")
    assert [next(frames).frame.index for _ in range(5)] == list(range(5))
    with pytest.raises(VideoError, match="frame 5 is bad"):
        next(frames)
