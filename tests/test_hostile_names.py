"""Names of files and objects are data: whatever they hold, nothing is broken by it."""

import json
import logging
import re
import zipfile
from pathlib import Path

import pytest

from sam_video.cli import main
from sam_video.errors import VideoError
from sam_video.request import Request
from sam_video.service.session import Session
from tests.clips import draw_clip
from tests.fake_model import FakeModel

FILE_NAMES = {
    "line break": "a\nb",
    "escape sequence": "\x1b[31mred",
    "right-to-left override": "\u202eabc",
    "no text": "\udcff\udcfe",
    "quotes": 'it\'s "a" `b` $(c); d',
    "long": "x" * 250,
    "option": "-y",
    "pattern": "%05d %s {0}",
    "protocol": "concat:a|b",
    "backslash": "..\\..\\a",
    "dots": "...",
}
OBJECT_NAMES = [
    "", ".", "..", "../../a", "/etc/passwd", "C:\\a", "a\0b", "a\nb", "a\tb", "\x1b[2J",
    "\u202egnp", "\u200b", "'\"`", "CON", "nul.png", "a ", "a.", "a", "A", "é", "e\u0301",
    "x" * 300, "x" * 301, "X" * 300, "ü" * 300, "🐕" * 300, "////", "....", "%s", "{0}", "-rf",
    "$(a)", "<b>", "\u3164",
]  # fmt: skip


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Session:
    monkeypatch.setattr("sam_video.service.session.load_model", lambda *_, **__: FakeModel())
    return Session()


def named_clip(folder: Path, name: str, suffix: str = ".mp4") -> Path:
    draw_clip(folder / f"clip{suffix}", num_frames=1 if suffix == ".png" else 4)
    return (folder / f"clip{suffix}").rename(folder / (name + suffix[: 255 - len(name)]))


def named_objects(names: list[str]) -> str:
    """Return the prompts for objects of these names, all at one place."""
    return json.dumps([{"x": 11, "y": 19, "object_id": name} for name in names])


def assert_one_line_each(messages: list[str]) -> None:
    for message in messages:
        assert message.isprintable(), message


@pytest.mark.parametrize("name", FILE_NAMES.values(), ids=FILE_NAMES)
def test_a_video_of_any_name_is_read(session: Session, name: str, tmp_path: Path) -> None:
    request = Request(
        input_video=named_clip(tmp_path, name),
        click_coordinates="[11,19]",
        model="pocket",
        output_video=True,
        output_overlay=True,
    )
    files = [path.name for path in session.predict(request, tmp_path / "out")]
    assert files == ["output_video.mp4", "overlay.mp4"]


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize("name", FILE_NAMES.values(), ids=FILE_NAMES)
def test_what_is_said_of_a_damaged_file_of_any_name_is_one_line(
    session: Session, name: str, suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = named_clip(tmp_path, name, suffix)
    data = path.read_bytes()
    path.write_bytes(data[:-20] if suffix == ".gif" else spoil_pictures(data))
    request = Request(input_video=path, click_coordinates="[11,19]", model="pocket")
    with caplog.at_level(logging.INFO):
        assert list(session.predict(request, tmp_path / "out"))
    assert any("damaged" in message for message in caplog.messages)
    assert_one_line_each(caplog.messages)
    path.write_bytes(b"")
    with pytest.raises(VideoError) as caught:
        list(session.predict(request, tmp_path / "out"))
    assert_one_line_each([str(caught.value)])
    assert str(caught.value).startswith(f"input_video ({path.name!r}) ")


def spoil_pictures(data: bytes) -> bytes:
    """Overwrite the end of an MP4 file's pictures."""
    start = data.index(b"mdat")
    end = start - 4 + int.from_bytes(data[start - 4 : start])
    return data[: end - 100] + b"\xff" * 100 + data[end:]


@pytest.mark.parametrize("name", FILE_NAMES.values(), ids=FILE_NAMES)
def test_the_command_line_says_one_line_of_any_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(named_clip(tmp_path, name))]) == 0
    assert capsys.readouterr().out.startswith("kind: video\nsize: 96x64\n")
    for arguments in (
        ["info", f"{tmp_path}/{name}/missing"],
        ["predict", "-i", f"{name}=1"],
        ["predict", "-i", f"input_video=@{tmp_path}/{name}/missing", "--model", "pocket"],
        ["predict", "-i", "input_video=a", "-i", f"model={name}"],
        ["download", name],
        [f"--{name}"],
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.removesuffix("\n").split("\n")
        assert line.startswith("error: ")
        assert_one_line_each([line])


def test_a_folder_of_any_name_takes_the_files(
    session: Session, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = named_clip(tmp_path, "clip")
    inputs = [f"input_video=@{path}", "click_coordinates=[11,19]", "output_video=true"]
    options = [word for item in inputs for word in ("-i", item)]
    for number, name in enumerate(FILE_NAMES.values()):
        folder = tmp_path / str(number) / name
        assert main(["predict", *options, "--model", "pocket", "-o", str(folder)]) == 0
        assert (folder / "output_video.mp4").exists()
        written = capfdbinary.readouterr().out
        assert written == bytes(folder / "output_video.mp4") + b"\n"


def test_objects_of_any_names_have_files_of_their_own(session: Session, tmp_path: Path) -> None:
    request = Request(
        input_video=named_clip(tmp_path, "clip"),
        prompts=named_objects(OBJECT_NAMES),
        model="pocket",
        output_masks=True,
        output_confidences=True,
        output_rle=True,
        output_boxes=True,
        end_frame=1,
    )
    list(session.predict(request, tmp_path / "out"))
    num_objects = len({name.strip() for name in OBJECT_NAMES})
    for name in ("masks.zip", "confidences.zip"):
        with zipfile.ZipFile(tmp_path / "out" / name) as archive:
            members = archive.namelist()
            archive.extractall(tmp_path / name.removesuffix(".zip"))
        assert len({member.casefold() for member in members}) == len(members) == 2 * num_objects
        assert all(re.fullmatch(r"[01]_[^/\\\x00-\x1f\x7f]+\.png", member) for member in members)
        extracted = sorted(path.name for path in (tmp_path / name.removesuffix(".zip")).iterdir())
        assert extracted == sorted(members)
    document = json.loads((tmp_path / "out" / "rle.json").read_text())
    named = [item["object_id"] for item in document["objects"]]
    assert named == list(dict.fromkeys(name.strip() for name in OBJECT_NAMES))


def test_candidates_of_any_names_have_files_of_their_own(
    session: Session, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = Request(
        input_video=named_clip(tmp_path, "clip", ".png"),
        prompts=named_objects(OBJECT_NAMES),
        model="pocket",
        preview=True,
        multimask_output=True,
    )
    with caplog.at_level(logging.INFO):
        files = list(session.predict(request, tmp_path / "out"))
    assert_one_line_each(caplog.messages)
    names = [path.name for path in files]
    num_objects = len({name.strip() for name in OBJECT_NAMES})
    assert sum(name.startswith("candidate_") for name in names) == 3 * num_objects
    assert len({name.casefold() for name in names}) == len(names)
    assert {path.parent for path in files} == {tmp_path / "out"}
    assert sorted(names) == sorted(path.name for path in (tmp_path / "out").iterdir())
