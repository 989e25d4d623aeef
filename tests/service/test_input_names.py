"""What messages call the video: the input, the file, or both, as whoever reads them knows it."""

import subprocess
from pathlib import Path

import pytest

from sam_video.errors import RequestError, VideoError
from sam_video.request import Request
from sam_video.service.file_reader import FileReader
from sam_video.service.pipeline import segment_video
from sam_video.service.session import Session
from sam_video.types import Click, ObjectPrompt
from sam_video.writers.video_encoder import find_ffmpeg
from tests.clips import draw_clip
from tests.predictor import predict

TEXT = "a text file; expected a video or an image"
CLICK = "[11,19]"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text("text")
    return tmp_path / "notes.txt"


def test_a_request_names_the_input_and_the_file(text: Path, tmp_path: Path) -> None:
    request = Request(input_video=text, click_coordinates=CLICK)
    with pytest.raises(VideoError, match=rf"^input_video \('notes.txt'\) is {TEXT}$"):
        list(Session().predict(request, tmp_path / "out"))


def test_a_prediction_of_cog_names_the_input_alone(text: Path) -> None:
    with pytest.raises(VideoError, match=rf"^input_video is {TEXT}$"):
        predict(input_video=text, click_coordinates=CLICK)


def test_a_file_that_cog_does_not_find_is_named() -> None:
    with pytest.raises(VideoError, match=r"^input_video \('no.mp4'\) cannot be read: No such file"):
        predict(input_video="no.mp4", click_coordinates=CLICK)


def test_from_python_the_file_is_named(text: Path) -> None:
    with pytest.raises(VideoError, match=rf"^'notes.txt' is {TEXT}$"):
        list(segment_video(text, [ObjectPrompt("a", 0, (Click(0, 0),))]))


@pytest.mark.parametrize("names_files", [True, False])
def test_warnings_name_it_alike(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, names_files: bool
) -> None:
    draw_clip(tmp_path / "a.ts", num_frames=40)
    data = (tmp_path / "a.ts").read_bytes()
    (tmp_path / "a.ts").write_bytes(data[: len(data) * 6 // 10])
    request = Request(input_video=tmp_path / "a.ts", click_coordinates=CLICK, model="pocket")
    list(Session(names_files=names_files).predict(request, tmp_path / "out"))
    (warning,) = [record.message for record in caplog.records if "damaged" in record.message]
    name = "input_video ('a.ts')" if names_files else "input_video"
    assert warning == f"{name} is damaged; the frames that decode are used"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("s3://bucket/clip.mp4", "s3://bucket/clip.mp4"),
        ("gs://bucket/clip.mp4", "gs://bucket/clip.mp4"),
        ("https://example.com/clip.mp4", "https://example.com/clip.mp4"),
        ("HTTP://example.com/clip.mp4", "HTTP://example.com/clip.mp4"),
        ("www.example.com/x.mp4", "www.example.com/x.mp4"),
        ("data:video/mp4;base64,AAAA", "data:video/mp4;base64,AAAA"),
        ("https://" + "a" * 5000, "https://" + "a" * 92),
    ],
    ids=lambda value: value[:20],
)
def test_an_address_is_no_file_and_fails(value: str, shown: str) -> None:
    with pytest.raises(RequestError) as caught:
        Request.from_text({"input_video": value})
    assert str(caught.value) == (
        f"input_video is {shown!r}; expected a file, or an http(s) URL where a server downloads it"
    )


def test_a_file_may_have_the_name_of_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_clip(tmp_path / "www.mp4", num_frames=1)
    assert Request(input_video=Path("www.mp4")).input_video == Path("www.mp4")


@pytest.mark.parametrize("value", ["", "  ", "."])
def test_a_blank_name_fails(value: str) -> None:
    with pytest.raises(RequestError, match=r"^input_video names no file; expected a video or an"):
        Request.from_text({"input_video": value})


def test_a_blank_name_of_masks_means_none() -> None:
    request = Request.from_text({"input_video": "a.mp4", "mask_prompts": ""})
    assert request.mask_prompts is None


def test_a_folder_fails(tmp_path: Path) -> None:
    with (
        FileReader() as reader,
        pytest.raises(VideoError, match=r"^'clips' is a folder; expected a"),
    ):
        (tmp_path / "clips").mkdir()
        reader.open_video(tmp_path / "clips")


def test_an_encrypted_video_is_called_encrypted(tmp_path: Path) -> None:
    draw_clip(tmp_path / "a.mp4")
    key = "76a6c65c5ea762046bd749a2e632ccbb"
    options = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key]
    paths = [str(tmp_path / name) for name in ("a.mp4", "locked.mp4")]
    command = [find_ffmpeg(), "-i", paths[0], "-c", "copy", *options, "-encryption_kid", key]
    subprocess.run([*command, paths[1]], check=True, capture_output=True)
    with FileReader() as reader, pytest.raises(VideoError) as caught:
        reader.open_video(tmp_path / "locked.mp4")
    assert str(caught.value) == "'locked.mp4' is encrypted; expected a video that needs no key"
