"""Files are read in a process of their own as they would be in this one, whatever they do to it."""

import io
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sam_video.errors import PromptError, VideoError
from sam_video.limits import MAX_DECODER_BYTES, MAX_STALL_SECONDS
from sam_video.prompts.mask_zip import read_masks
from sam_video.request import Request
from sam_video.service.file_reader import FileReader
from sam_video.service.pipeline import segment_video
from sam_video.service.session import Session
from sam_video.types import Click, FrameSource, ObjectPrompt, Span
from sam_video.video.sound import read_sound
from sam_video.video.source import open_video
from tests.clips import draw_clip, draw_frame
from tests.containers import frame_key
from tests.fake_model import FakeModel
from tests.processes import PROC, children
from tests.sound_clips import draw_flash_clip
from tests.worker_threads import Cancelled, cancelled_when

pytestmark = [
    pytest.mark.skipif(not PROC.exists(), reason="needs Linux's /proc to see what is left"),
    pytest.mark.usefixtures("nothing_left"),
]


@pytest.fixture
def reader() -> Iterator[FileReader]:
    with FileReader() as running:
        yield running


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])


def draw_slow_image(path: Path) -> None:
    """Write a progressive JPEG whose last scan is repeated: 31 bytes, and milliseconds, each."""
    buffer = io.BytesIO()
    Image.new("L", (4000, 4000), 128).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    path.write_bytes(data[:-2] + 20_000 * last + data[-2:])


def outcome(read: Callable[[], Any]) -> Any:
    """Return what reading gives, or the error that it fails with."""
    try:
        return read()
    except (VideoError, PromptError) as error:
        return type(error), str(error)


def all_readings(source: FrameSource) -> list[Any]:
    return [
        source.info,
        [frame_key(frame) for frame in source.frames()],
        [frame_key(frame) for frame in source.frames_at([7, 2, 2, 100, -1])],
        [frame_key(frame) for frame in source.frames_backward(5)],
        source.count_frames(4),
        source.count_frames(1000),
    ]


CLIPS: dict[str, dict[str, Any]] = {
    "a.mp4": {},
    "rotated.mp4": {"rotation": 90, "hflip": True},
    "odd.webm": {"size": (97, 63)},
    "a.gif": {},
    "still.png": {"num_frames": 1},
}


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_those_of_reading_in_this_process(
    reader: FileReader, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    draw_clip(path, **CLIPS[name])
    assert all_readings(reader.open_video(path)) == all_readings(open_video(path))


@pytest.mark.parametrize("name", ["a.ts", "a.png"])
def test_of_a_damaged_file_the_same_frames_and_one_warning_come(
    reader: FileReader, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    draw_clip(tmp_path / name, num_frames=40)
    truncate(tmp_path / name)
    found = all_readings(reader.open_video(tmp_path / name))
    warned = caplog.record_tuples
    caplog.clear()
    assert found == all_readings(open_video(tmp_path / name))
    assert warned == caplog.record_tuples
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("missing.mp4", None), ("empty.mp4", b""), ("a\x1b.mp4", b"text"), ("a.mp4", b"\0" * 99)],
    ids=["missing", "empty", "text", "zeros"],
)
def test_what_is_no_video_fails_as_in_this_process(
    reader: FileReader, tmp_path: Path, name: str, content: bytes | None
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    expected = outcome(lambda: open_video(path))
    assert expected[0] is VideoError
    assert outcome(lambda: reader.open_video(path)) == expected


def write_masks(path: Path, masks: dict[str, np.ndarray[Any, Any]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, mask in masks.items():
            with archive.open(name, "w") as file:
                Image.fromarray(mask).save(file, "PNG")


MASK = draw_frame(0)[1]["disc"]


def test_masks_are_those_of_reading_in_this_process(reader: FileReader, tmp_path: Path) -> None:
    write_masks(tmp_path / "a.zip", {"0_dog.png": MASK, "3_cat.png": ~MASK})
    read = [
        function(tmp_path / "a.zip", width=96, height=64)
        for function in (reader.read_masks, read_masks)
    ]
    there, here = [
        [(p.object_id, p.frame_index, p.place, p.frame_place, p.value.tobytes()) for p in prompts]  # type: ignore[union-attr]
        for prompts in read
    ]
    assert there == here
    assert [prompt[0] for prompt in there] == ["dog", "cat"]


@pytest.mark.parametrize("width", [96, 97], ids=["no-zip", "other-size"])
def test_masks_that_cannot_be_used_fail_as_in_this_process(
    reader: FileReader, tmp_path: Path, width: int
) -> None:
    path = tmp_path / "a.zip"
    write_masks(path, {"0_dog.png": MASK})
    if width == 96:
        path.write_bytes(b"no zip")
    expected = outcome(lambda: read_masks(path, width=width, height=64))
    assert expected[0] is PromptError
    assert outcome(lambda: reader.read_masks(path, width=width, height=64)) == expected


def test_the_sound_is_that_of_reading_in_this_process(reader: FileReader, tmp_path: Path) -> None:
    path, spans = tmp_path / "a.mkv", [Span(0.0, 1.0, 0.0), Span(1.5, 2.5, 1.0)]
    times = [index / 24 for index in range(60)]
    draw_flash_clip(path, times=times, events=(0.5, 1.75), sound=(0, 2.5))
    there, here = [
        np.concatenate(list(read(path, spans)), axis=1) for read in (reader.read_sound, read_sound)
    ]
    assert np.array_equal(there, here)
    assert there.shape[1] > 48000


def kill_child(number: signal.Signals) -> None:
    (child,) = children()
    os.kill(child, number)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_fails_by_the_name_of_the_file(
    reader: FileReader, tmp_path: Path, number: signal.Signals
) -> None:
    draw_clip(tmp_path / "clip.mp4")
    write_masks(tmp_path / "a.zip", {"0_dog.png": MASK})
    frames = reader.open_video(tmp_path / "clip.mp4").frames()
    next(frames)
    kill_child(number)
    crash = rf"crashes what reads it \({number.name}\); expected an undamaged file$"
    with pytest.raises(VideoError, match=rf"^'clip.mp4' {crash}"):
        list(frames)
    with pytest.raises(PromptError, match=rf"^mask_prompts is 'a.zip', which {crash}"):
        reader.read_masks(tmp_path / "a.zip", width=96, height=64)
    with pytest.raises(VideoError, match=rf"^'clip.mp4' {crash}"):
        list(reader.read_sound(tmp_path / "clip.mp4", [Span(0, 1, 0)]))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    for module in ("session", "pipeline"):
        monkeypatch.setattr(f"sam_video.service.{module}.load_model", lambda *_, **__: FakeModel())
    return Session()


def request(path: Path, **fields: Any) -> Request:
    fields = {"click_coordinates": "[11,19]", "model": "pocket"} | fields
    return Request(input_video=path, **fields)


def test_an_image_that_takes_for_ever_fails_and_the_next_prediction_works(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_slow_image(tmp_path / "a.jpg")
    draw_clip(tmp_path / "b.png", num_frames=1)
    with monkeypatch.context() as limited:
        limited.setenv(MAX_STALL_SECONDS.variable, "1")
        with pytest.raises(
            VideoError, match=r"^input_video \('a.jpg'\) gets no further .* within 1 \(SAM_VIDEO_"
        ):
            list(session.predict(request(tmp_path / "a.jpg"), tmp_path / "out"))
    assert len(list(session.predict(request(tmp_path / "b.png"), tmp_path / "out"))) == 1


def test_an_image_that_takes_for_ever_can_be_cancelled(session: Session, tmp_path: Path) -> None:
    draw_slow_image(tmp_path / "a.jpg")
    with pytest.raises(Cancelled), cancelled_when(children):
        list(session.predict(request(tmp_path / "a.jpg"), tmp_path / "out"))


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.png", "a.gif"])
def test_a_lack_of_memory_fails_and_is_not_taken_for_damage(
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
) -> None:
    draw_clip(tmp_path / name, size=(1280, 720), num_frames=3)
    for megabytes in (4, 8, 12):
        monkeypatch.setenv(MAX_DECODER_BYTES.variable, str(megabytes * 2**20))
        with pytest.raises(
            VideoError, match=rf"^input_video \('{name}'\) takes too much memory to be read"
        ):
            list(session.predict(request(tmp_path / name), tmp_path / "out"))
    assert caplog.text == ""
    assert not (tmp_path / "out").exists()


def test_masks_that_take_too_much_memory_fail(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_clip(tmp_path / "a.png", num_frames=1, size=(960, 640))
    mask = draw_frame(0, (960, 640))[1]["disc"]
    write_masks(tmp_path / "a.zip", {f"0_{name}.png": mask for name in range(200)})
    monkeypatch.setenv(MAX_DECODER_BYTES.variable, str(64 * 2**20))
    prompt = request(tmp_path / "a.png", click_coordinates="", mask_prompts=tmp_path / "a.zip")
    with pytest.raises(PromptError, match=r"^mask_prompts is 'a.zip', which takes too much memory"):
        list(session.predict(prompt, tmp_path / "out"))


@pytest.mark.parametrize("fields", [{}, {"output_overlay": True, "output_video": True}])
def test_a_crash_in_the_middle_of_a_prediction_fails_and_the_next_one_works(
    session: Session, tmp_path: Path, fields: dict[str, bool]
) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=60)
    files = session.predict(request(tmp_path / "clip.mp4", output_format="png"), tmp_path / "out")
    assert next(files).exists()
    kill_child(signal.SIGSEGV)
    with pytest.raises(
        VideoError, match=r"^input_video \('clip.mp4'\) crashes what .* \(SIGSEGV\)"
    ):
        list(files)
    assert list((tmp_path / "out").iterdir()) == []
    prompt = request(tmp_path / "clip.mp4", end_frame=3, **fields)
    assert len(list(session.predict(prompt, tmp_path / "out"))) == (2 if fields else 4)


def test_a_file_that_is_overwritten_while_it_is_tracked_fails(
    session: Session, tmp_path: Path
) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=600)
    draw_clip(tmp_path / "other.mp4", num_frames=40)
    files = session.predict(request(tmp_path / "clip.mp4"), tmp_path / "out")
    next(files)
    (tmp_path / "clip.mp4").write_bytes((tmp_path / "other.mp4").read_bytes())
    with pytest.raises(VideoError, match=r"^input_video \('clip.mp4'\) changed while it was read$"):
        list(files)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_is_removed_while_it_is_tracked_costs_the_sound_and_a_warning(
    session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    times = [index / 24 for index in range(24)]
    draw_flash_clip(tmp_path / "a.mkv", times=times, events=(0.5,), sound=(0, 1))
    frames = request(tmp_path / "a.mkv", output_overlay=True)
    files = session.predict(frames, tmp_path / "out")
    next(files)
    (tmp_path / "a.mkv").unlink()
    assert [path.name for path in files][-1] == "overlay.mp4"
    assert "cannot be read: No such file or directory; what is written has no sound" in caplog.text


def test_the_whole_file_is_decoded_to_count_exactly(reader: FileReader, tmp_path: Path) -> None:
    draw_clip(tmp_path / "a.mp4", num_frames=9)
    video = reader.open_video(tmp_path / "a.mp4")
    assert (video.count_frames(4), video.count_exactly()) == (4, 9)


def test_a_prediction_that_is_abandoned_leaves_nothing(session: Session, tmp_path: Path) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=60)
    files = session.predict(request(tmp_path / "clip.mp4"), tmp_path / "out")
    next(files)
    files.close()


def test_from_python_a_video_is_read_in_a_process_of_its_own(
    session: Session, tmp_path: Path
) -> None:
    draw_clip(tmp_path / "clip.mp4", num_frames=60)
    prompts = [ObjectPrompt("disc", 0, (Click(11, 19),))]
    segment = partial(segment_video, tmp_path / "clip.mp4", prompts)
    frames = segment(model="pocket")
    next(frames)
    kill_child(signal.SIGSEGV)
    with pytest.raises(VideoError, match=r"^'clip.mp4' crashes what reads it"):
        list(frames)
    assert len(list(segment(model="pocket", end_frame=3))) == 4
