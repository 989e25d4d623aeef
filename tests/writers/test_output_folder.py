"""A folder has all files of a run in the end, or what was there before."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sam_video.errors import RequestError
from sam_video.writers.output_folder import OutputFolder

ROOT = Path(__file__).parents[2]


def contents(folder: Path) -> dict[str, str]:
    """Return the names of all files, hidden ones too, with their texts."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def publish(output: OutputFolder, name: str, text: str) -> Path:
    """Write a file in private, and publish it."""
    (output.private / name).write_text(text)
    return output.publish(output.private / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two files of an earlier run."""
    path = tmp_path / "out"
    path.mkdir()
    (path / "a").write_text("earlier a")
    (path / "b").write_text("earlier b")
    return path


EARLIER = {"a": "earlier a", "b": "earlier b"}


def test_files_appear_one_by_one_and_replace_earlier_ones(folder: Path) -> None:
    with OutputFolder(folder) as output:
        output.open(["*"])
        assert publish(output, "a", "new a") == folder / "a"
        assert (folder / "a").read_text() == "new a"
        assert (folder / "b").read_text() == "earlier b"
        publish(output, "c", "new c")
    assert contents(folder) == {"a": "new a", "b": "earlier b", "c": "new c"}
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b", "c"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("has_links", [True, False], ids=["links", "no links"])
def test_a_run_that_fails_leaves_what_was_there_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], has_links: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(error), OutputFolder(folder) as output:
        output.open(["*"])
        publish(output, "a", "new a")
        publish(output, "c", "new c")
        (output.private / "b").write_text("incomplete")
        raise error
    assert contents(folder) == EARLIER
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("step", ["mkdir", "link", "replace"])
def test_a_run_that_is_interrupted_while_it_publishes_leaves_what_was_there_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), OutputFolder(folder) as output:
        output.open(["*"])
        publish(output, "b", "new b")
        monkeypatch.setattr(os if step == "link" else Path, step, interrupt)
        publish(output, "a", "new a")
    assert contents(folder) == EARLIER


def test_a_second_run_into_a_folder_fails_at_once_and_leaves_the_first_alone(folder: Path) -> None:
    with OutputFolder(folder) as output:
        output.open(["*"])
        publish(output, "a", "new a")
        message = r"folder '.*out' is in use by another prediction; expected .* \(-o\)"
        with pytest.raises(RequestError, match=message), OutputFolder(folder) as second:
            second.open(["*"])
        publish(output, "b", "new b")
    assert contents(folder) == {"a": "new a", "b": "new b"}
    with OutputFolder(folder) as third:
        third.open(["*"])


def kill_in_the_middle(folder: Path) -> None:
    """Kill a process that has replaced one file, added one, and begun one."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from sam_video.writers.output_folder import OutputFolder\n"
        "output = OutputFolder(Path(sys.argv[1]))\n"
        "output.open(['*'])\n"
        "for name in 'ac':\n"
        "    (output.private / name).write_text('new')\n"
        "    output.publish(output.private / name)\n"
        "(output.private / '.b.partial').write_text('incomplete')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, str(folder)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
    assert len(list(folder.glob(".sam_video_*/.b.partial"))) == 1


def test_what_a_killed_run_leaves_is_removed_by_the_next_and_what_it_replaced_comes_back(
    folder: Path,
) -> None:
    kill_in_the_middle(folder)
    with OutputFolder(folder) as output:
        output.open(["*"])
        assert not list(folder.glob("**/*.partial"))
    assert contents(folder) == EARLIER | {"c": "new"}


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_private_folder_that_cannot_be_removed_at_once_is_removed_by_the_next_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, has_failed: bool
) -> None:
    def refuse(path: str, *_: object, **__: object) -> None:
        raise OSError(39, "Directory not empty", path)

    with suppress(KeyboardInterrupt), OutputFolder(folder) as output:
        output.open([])
        publish(output, "a", "new a")
        monkeypatch.setattr(os, "rmdir", refuse)
        if has_failed:
            raise KeyboardInterrupt
    monkeypatch.undo()
    assert output.private.exists()
    with OutputFolder(folder) as output:
        output.open([])
    assert contents(folder) == EARLIER | ({} if has_failed else {"a": "new a"})
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]


def make_folder(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    (folder / name / "kept").touch()


def make_file(folder: Path, name: str) -> None:
    (folder / name).touch()


def make_link(folder: Path, name: str) -> None:
    (folder.parent / "elsewhere").mkdir()
    make_file(folder.parent / "elsewhere", "kept")
    (folder / name).symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (make_folder, ".sam_video_0123"),
        (make_folder, ".sam_video_0123456789abcdeX"),
        (make_file, ".sam_video_0123456789abcdef"),
        (make_link, ".sam_video_0123456789abcdef"),
    ],
)
def test_what_is_no_private_folder_stays(
    folder: Path, make: Callable[[Path, str], None], name: str
) -> None:
    make(folder, name)
    before = sorted(folder.parent.rglob("*"))
    with OutputFolder(folder) as output:
        output.open([])
    assert sorted(folder.parent.rglob("*")) == before


def test_a_folder_in_the_place_of_a_file_fails(folder: Path) -> None:
    make_folder(folder, "frame_00007.webp")
    message = r"'.*frame_00007.webp' is a folder in the place of an output file; expected .* \(-o\)"
    with pytest.raises(RequestError, match=message), OutputFolder(folder) as output:
        output.open(["frame_*.webp"])
    with OutputFolder(folder) as output:
        output.open(["frame_*.png"])


@pytest.mark.parametrize("name", ["a", "a/below"])
def test_a_file_in_the_place_of_the_folder_fails(folder: Path, name: str) -> None:
    message = r"folder is '.*out/a.*', which is a file or lies in one; expected a folder \(-o\)"
    with pytest.raises(RequestError, match=message), OutputFolder(folder / name) as output:
        output.open([])
    assert contents(folder) == EARLIER


def test_an_error_names_the_file_in_its_place(folder: Path) -> None:
    with OutputFolder(folder) as output:
        output.open([])
        for raised, expected in [
            (OSError(28, "No space left", str(output.private / "a")), folder / "a"),
            (OSError(28, "No space left"), folder / "."),
            (OSError(28, "No space left", "/tmp/x"), Path("/tmp/x")),
        ]:
            with pytest.raises(OSError, match="No space") as caught, output.errors_named():
                raise raised
            assert Path(caught.value.filename) == expected


def test_a_folder_that_cannot_be_locked_is_used_with_a_warning(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    kill_in_the_middle(folder)
    monkeypatch.setattr("fcntl.flock", refuse)
    with OutputFolder(folder) as output:
        output.open([])
        publish(output, "a", "new a")
    assert (folder / "a").read_text() == "new a"
    assert "cannot be locked" in caplog.text
    assert len(list(folder.glob(".sam_video_*/.b.partial"))) == 1  # its run may live
