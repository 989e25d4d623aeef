"""Checkpoints: which there are, where they are found, and that no wrong one is used."""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sam_video.checkpoints.catalogue import (
    CHECKPOINTS,
    Checkpoint,
    default_model,
    download,
    find_checkpoint,
    resolve_checkpoint,
)
from sam_video.checkpoints.verified import find_fault
from sam_video.errors import CheckpointError
from sam_video.request import MODEL_NAMES
from tests.mirror import CONTENT, Mirror

ROOT = Path(__file__).parents[2]
FILE_NAME = "made_up.pt"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `SAM_VIDEO_WEIGHTS` names."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(folder))
    for name in ("SAM_VIDEO_MODEL", "SAM_VIDEO_DOWNLOAD_URL"):
        monkeypatch.delenv(name, raising=False)
    return folder


def made_up(server: str = "http://127.0.0.1:9") -> Checkpoint:
    """An entry like the published ones, of a small file."""
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Checkpoint("made_up", FILE_NAME, sha256, len(CONTENT), f"{server}/{FILE_NAME}")


# What there is


def test_every_model_of_a_request_has_a_checkpoint() -> None:
    assert tuple(CHECKPOINTS) == MODEL_NAMES


@pytest.mark.parametrize("name", [name for name in MODEL_NAMES if name != "pocket"])
def test_sam2_checkpoints_come_from_metas_server(name: str) -> None:
    checkpoint = CHECKPOINTS[name]
    base = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
    assert checkpoint.url == f"{base}sam2.1_hiera_{name}.pt"
    assert re.fullmatch(r"[0-9a-f]{64}", checkpoint.sha256)


def test_the_bundled_file_has_the_hash_that_is_stated(folder: Path) -> None:
    assert find_checkpoint("pocket") == ROOT / "weights" / "pocket.safetensors"


def test_the_weights_folders_note_states_the_same_hashes() -> None:
    note = (ROOT / "weights" / "README.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*`([0-9a-f]{64})` \|$", note, re.MULTILINE))
    assert rows == {name: checkpoint.sha256 for name, checkpoint in CHECKPOINTS.items()}


def test_large_is_the_default(folder: Path) -> None:
    assert default_model() == "large"


def test_the_environment_names_another_default(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_MODEL", "tiny")
    assert default_model() == "tiny"


def test_an_unknown_default_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_VIDEO_MODEL", "huge")
    accepted = "expected one of large, base_plus, small, tiny, pocket"
    with pytest.raises(CheckpointError, match=f"^SAM_VIDEO_MODEL is 'huge'; {accepted}$"):
        default_model()


@pytest.mark.parametrize("function", [find_checkpoint, resolve_checkpoint, download])
def test_an_unknown_name_fails(function: Callable[[str], object]) -> None:
    with pytest.raises(
        CheckpointError, match=r"^model is 'huge'; expected one of large, base_plus"
    ):
        function("huge")


# Where it lies


def test_an_explicit_file_goes_first_and_is_the_users_own(folder: Path, tmp_path: Path) -> None:
    (folder / FILE_NAME).write_bytes(CONTENT)
    own = tmp_path / "finetuned.pt"
    own.write_bytes(b"of any content")
    assert resolve_checkpoint(made_up(), explicit=own) == own


def test_an_explicit_file_that_is_missing_fails(tmp_path: Path) -> None:
    own = tmp_path / "finetuned.pt"
    with pytest.raises(CheckpointError, match=r"finetuned\.pt is not a file; expected weights of"):
        resolve_checkpoint("pocket", explicit=own)


def test_the_source_trees_folder_goes_before_that_of_the_environment(folder: Path) -> None:
    (folder / "pocket.safetensors").write_bytes(b"another")
    assert find_checkpoint("pocket") == ROOT / "weights" / "pocket.safetensors"


def test_the_environments_folder_is_searched(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(CONTENT)
    assert resolve_checkpoint(made_up(), download=False) == folder / FILE_NAME


def test_what_is_not_there_is_not_found(folder: Path) -> None:
    assert find_checkpoint(made_up()) is None


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        pytest.param(CONTENT[:-1], "has 299999 bytes, expected 300000", id="truncated"),
        pytest.param(b"", "has 0 bytes, expected 300000", id="empty"),
        pytest.param(CONTENT[::-1], "has sha256 [0-9a-f]{64}, expected [0-9a-f]{64}", id="another"),
    ],
)
def test_a_file_that_is_not_the_published_one_fails(
    folder: Path, content: bytes, fault: str
) -> None:
    (folder / FILE_NAME).write_bytes(content)
    remedy = "delete it, then run `sam-video download made_up`"
    with pytest.raises(CheckpointError, match=f"made_up.pt {fault}; {remedy}"):
        resolve_checkpoint(made_up())


def test_a_file_that_cannot_be_read_fails(folder: Path) -> None:
    (folder / FILE_NAME).symlink_to(FILE_NAME)
    with pytest.raises(CheckpointError, match=r"made_up\.pt cannot be read: Too many levels of"):
        find_checkpoint(made_up())


def test_a_missing_file_that_must_not_be_downloaded_fails(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"sam-video download made_up.*--model pocket"):
        resolve_checkpoint(made_up(), download=False)


def test_a_missing_bundled_file_fails(folder: Path) -> None:
    bundled = Checkpoint("own", "own.safetensors", "0" * 64)
    remedy = "take it from the source: `git checkout weights/own.safetensors`"
    with pytest.raises(CheckpointError, match=re.escape(remedy)):
        resolve_checkpoint(bundled)
    with pytest.raises(CheckpointError, match="own is not for download"):
        download(bundled)


def test_a_missing_file_whose_download_is_refused_fails_with_the_ways_out(
    folder: Path, mirror: Mirror
) -> None:
    mirror.statuses = [404]
    with pytest.raises(CheckpointError, match=r"404.*sam-video download made_up.*--model pocket"):
        resolve_checkpoint(made_up(mirror.url))


# Where it comes from


def test_a_missing_file_is_downloaded_to_the_environments_folder(
    folder: Path, mirror: Mirror, capsys: pytest.CaptureFixture[str]
) -> None:
    path = resolve_checkpoint(made_up(mirror.url))
    assert path == folder / FILE_NAME
    assert path.read_bytes() == CONTENT
    captured = capsys.readouterr()
    assert "100%|" in captured.err
    assert captured.out == ""


def test_a_mirror_serves_the_published_names(
    folder: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_DOWNLOAD_URL", f"{mirror.url}/sam2/")
    mirror.statuses = [404]
    with pytest.raises(CheckpointError, match=f"{mirror.url}/sam2/sam2.1_hiera_tiny.pt cannot be"):
        download("tiny")
    assert mirror.requests == [("/sam2/sam2.1_hiera_tiny.pt", None)]


@pytest.mark.parametrize("url", ["file:///etc", "ftp://host/", "weights", "https:/host"])
def test_a_mirror_that_is_not_http_fails(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_DOWNLOAD_URL", url)
    with pytest.raises(CheckpointError, match=f"SAM_VIDEO_DOWNLOAD_URL is '{url}'; expected an"):
        download("tiny")


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port/", "http://" + "a" * 70])
def test_a_mirror_that_is_no_url_fails(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM_VIDEO_DOWNLOAD_URL", url)
    with pytest.raises(CheckpointError, match="is not a URL"):
        download("tiny")


# What has been verified before


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read to verify them."""
    read: list[Path] = []

    def counted(path: Path, *, num_bytes: int | None, digest: str) -> str | None:
        read.append(path)
        return find_fault(path, num_bytes=num_bytes, digest=digest)

    monkeypatch.setattr("sam_video.checkpoints.verified.find_fault", counted)
    return read


def test_a_file_is_verified_once(folder: Path, read_files: list[Path]) -> None:
    path = folder / FILE_NAME
    path.write_bytes(CONTENT)
    assert [resolve_checkpoint(made_up()) for _ in range(3)] == [path] * 3
    assert read_files == [path]


@pytest.mark.parametrize("is_replaced", [True, False], ids=["replaced", "changed in place"])
def test_a_verified_file_that_is_changed_is_verified_again(
    folder: Path, read_files: list[Path], *, is_replaced: bool
) -> None:
    path = folder / FILE_NAME
    path.write_bytes(CONTENT)
    before = path.stat()
    resolve_checkpoint(made_up())
    wrong = CONTENT[:-1] + b"?"
    if is_replaced:
        (folder / "other").write_bytes(wrong)
        os.utime(folder / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
        (folder / "other").replace(path)
    else:
        path.write_bytes(wrong)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(CheckpointError, match="has sha256"):
        resolve_checkpoint(made_up())
    assert read_files == [path] * 2


def test_a_verified_file_is_another_one_for_another_checkpoint(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(CONTENT)
    resolve_checkpoint(made_up())
    with pytest.raises(CheckpointError, match="has sha256"):
        resolve_checkpoint(replace(made_up(), sha256="0" * 64))
