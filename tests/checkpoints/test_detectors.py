"""Detectors' weights: how they are found, downloaded from the hub, and not taken for others."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from sam_video.checkpoints.detectors import (
    DETECTORS,
    DetectorWeights,
    download_detector,
    find_detector,
    lies_here,
    resolve_detector,
)
from sam_video.checkpoints.hub import RECORD
from sam_video.errors import CheckpointError
from tests.hub_server import COMMIT, Hub, running_hub

ROOT = Path(__file__).parents[2]
WEIGHTS = Random(8).randbytes(300_000)
FILES = {
    "config.json": b'{"model_type": "owlv2"}',
    "model.safetensors": WEIGHTS,
    "tokenizer_config.json": b"{}",
    "vocab.json": b'{"a": 0}',
    "merges.txt": b"#version",
    "pytorch_model.bin": b"never fetched",
}
FETCHED = sorted({*FILES} - {"pytorch_model.bin"})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub that `HF_ENDPOINT` names."""
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with running_hub(dict(FILES)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that `SAM_VIDEO_WEIGHTS` names; there is no other."""
    folder = tmp_path / "weights"
    monkeypatch.setenv("SAM_VIDEO_WEIGHTS", str(folder))
    monkeypatch.setattr("sam_video.checkpoints.detectors.search_folders", lambda: [folder])
    return folder


def fetch(name: str = "owlv2_base") -> Path:
    return download_detector(name, show_progress=False, pauses_seconds=(0, 0))


def own_folder(folder: Path) -> Path:
    """Make a folder that a user has put there."""
    (folder / "sam3").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (folder / "sam3" / name).write_bytes(b"own")
    return folder / "sam3"


# What there is


@pytest.mark.parametrize("item", DETECTORS.values(), ids=DETECTORS)
def test_every_detector_says_how_to_get_it_and_under_which_licence(item: DetectorWeights) -> None:
    assert f"`sam-video download {item.name.replace('_', '-')}`" in item.remedy
    assert item.licence in item.remedy
    assert re.fullmatch(r"main|[0-9a-f]{40}", item.revision)


def test_the_weights_folders_note_lists_them_all() -> None:
    note = (ROOT / "weights" / "README.md").read_text()
    pattern = r"^\| `([\w-]+)` \| `(\S+/\S+)` \| ([\d.]+) GB \| (Apache-2\.0|SAM License)"
    rows = re.findall(pattern, note, re.MULTILINE)
    assert rows == [
        (item.name.replace("_", "-"), item.hub_id, str(item.gigabytes), item.licence)
        for item in DETECTORS.values()
    ]


# Downloads


def test_the_files_that_are_needed_arrive(hub: Hub, folder: Path) -> None:
    assert fetch() == folder / "owlv2_base" == find_detector("owlv2_base")
    assert sorted(path.name for path in fetch().iterdir()) == sorted([*FETCHED, RECORD])
    assert all((fetch() / name).read_bytes() == FILES[name] for name in FETCHED)


def test_a_branch_is_resolved_once_and_recorded(hub: Hub, folder: Path) -> None:
    record = json.loads((fetch() / RECORD).read_text())
    assert (record["hub_id"], record["revision"]) == (DETECTORS["owlv2_base"].hub_id, COMMIT)
    assert sum("/resolve/main/" in request for request in hub.requests) == 1


def test_a_commit_that_is_known_is_asked_for(hub: Hub, folder: Path) -> None:
    hub.commit = DETECTORS["owlv2_large"].revision
    fetch("owlv2_large")
    assert not any("/main/" in request for request in hub.requests)


def test_a_commit_that_is_not_there_fails(hub: Hub, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is not there, or the server does not"):
        fetch("owlv2_large")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_repository_without_what_is_needed_fails(hub: Hub, folder: Path, name: str) -> None:
    del hub.files[name]
    with pytest.raises(CheckpointError, match=name):
        fetch()
    assert not folder.exists()


def test_what_is_there_is_not_downloaded_again(hub: Hub, folder: Path) -> None:
    fetch()
    before = list(hub.requests)
    fetch()
    assert hub.requests == before


def test_a_broken_download_is_resumed_at_the_commit_that_it_began_with(
    hub: Hub, folder: Path
) -> None:
    hub.cut = [100_000, 0, 0]
    with pytest.raises(CheckpointError, match=r"cannot be downloaded: .* run `sam-video download"):
        fetch()
    assert find_detector("owlv2_base") is None
    before = len(hub.requests)
    assert (fetch() / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.requests[before:] == [
        f"GET /{DETECTORS['owlv2_base'].hub_id}/resolve/{COMMIT}/model.safetensors",
        "bytes=100000- /model.safetensors",
    ]


def test_a_wrong_file_is_replaced(hub: Hub, folder: Path) -> None:
    (fetch() / "vocab.json").write_bytes(b'{"b": 0}')
    fetch()
    assert (folder / "owlv2_base" / "vocab.json").read_bytes() == FILES["vocab.json"]


def test_a_file_that_is_not_the_announced_one_fails(hub: Hub, folder: Path) -> None:
    (fetch() / "model.safetensors").unlink()
    hub.files["model.safetensors"] = WEIGHTS[::-1]
    with pytest.raises(CheckpointError, match=r"has sha256 .*, expected .* has been removed"):
        fetch()


@pytest.mark.parametrize(
    ("hidden", "message"),
    [
        ("X-Repo-Commit", "the server does not say its commit"),
        ("X-Linked-Etag", "the server does not say its SHA-256"),
        ("X-Linked-Size", "has a size of ''; expected up to"),
    ],
)
def test_a_server_that_does_not_say_what_it_sends_fails(
    hub: Hub, folder: Path, hidden: str, message: str
) -> None:
    hub.hidden = {hidden}
    with pytest.raises(CheckpointError, match=message):
        fetch()
    assert not folder.exists()


def test_a_small_file_without_a_digest_is_checked_by_its_size(hub: Hub, folder: Path) -> None:
    hub.hidden = {"ETag"}
    (fetch() / "vocab.json").write_bytes(b"longer than before")
    with pytest.raises(CheckpointError, match=r"vocab\.json has 18 bytes, expected 8; delete it"):
        find_detector("owlv2_base")


def test_offline_there_is_no_download_fails(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"^HF_HUB_OFFLINE is set; expected it unset"):
        fetch()
    assert hub.requests == []


@pytest.mark.parametrize("url", ["file:///etc", "ftp://host", "huggingface.co"])
def test_an_endpoint_that_is_not_http_fails(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", url)
    with pytest.raises(CheckpointError, match=f"^HF_ENDPOINT is '{url}'; expected an http"):
        fetch()


def test_a_disk_that_cannot_be_written_fails(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_bytes(b"a file in the folder's place")
    with pytest.raises(CheckpointError, match=r"download\.json cannot be written: "):
        fetch()


# Gated weights


def test_gated_weights_need_a_token_fails(hub: Hub, folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^facebook/sam3 is gated, and HF_TOKEN is not set;"):
        fetch("sam3")
    assert hub.requests == []


def test_a_token_that_is_not_accepted_fails_and_is_not_shown(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    hub.token = "hf_right"
    with pytest.raises(
        CheckpointError, match=r"answers 401 .*; accept the SAM License at"
    ) as error:
        fetch("sam3")
    assert "hf_wrong" not in str(error.value)


def test_a_token_goes_to_the_hub_and_nowhere_else(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_right")
    hub.token = "hf_right"
    assert (fetch("sam3") / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.tokens == {None}


# Where they lie


def test_what_is_not_there_is_one_line_with_licence_and_command_fails(folder: Path) -> None:
    assert find_detector("owlv2_base") is None
    with pytest.raises(CheckpointError) as error:
        resolve_detector("owlv2_base")
    assert str(error.value) == (
        f"text_model owlv2_base has no weights in {folder}/owlv2_base; run `sam-video download"
        " owlv2-base` (0.6 GB, Apache-2.0, from google/owlv2-base-patch16-ensemble)"
    )


def test_a_missing_one_is_downloaded_where_that_is_asked_for(hub: Hub, folder: Path) -> None:
    assert resolve_detector("llmdet_tiny", download=True) == folder / "llmdet_tiny"


def test_a_file_that_is_changed_after_the_download_fails(hub: Hub, folder: Path) -> None:
    path = fetch() / "model.safetensors"
    path.write_bytes(WEIGHTS[::-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors has sha256 .*; delete it, then"):
        find_detector("owlv2_base")


def test_a_folder_without_a_record_is_the_users_own(folder: Path) -> None:
    assert own_folder(folder) == resolve_detector("sam3") == lies_here("sam3")


def test_a_folder_without_weights_is_not_one(folder: Path) -> None:
    (own_folder(folder) / "model.safetensors").unlink()
    assert find_detector("sam3") is lies_here("sam3") is None


def test_an_explicit_folder_goes_first(folder: Path, tmp_path: Path) -> None:
    own_folder(folder)
    assert resolve_detector("sam3", explicit=tmp_path) == tmp_path


def test_an_explicit_folder_that_is_missing_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere is not a folder; expected the weights of"):
        find_detector("sam3", explicit=tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"hub_id": "a/b", "revision": "main", "files": [["../x", 1, ""]]}',
        '{"hub_id": "a/b", "revision": "main", "files": []}',
        "[" * 100_000,
    ],
    ids=["empty", "list", "path", "no files", "deep"],
)
def test_a_record_that_is_none_fails(folder: Path, text: str) -> None:
    (own_folder(folder) / RECORD).write_text(text)
    with pytest.raises(CheckpointError, match=r"download\.json is not a record of a download"):
        find_detector("sam3")


def test_an_unknown_name_fails() -> None:
    with pytest.raises(CheckpointError, match=r"^text_model is 'huge'; expected one of owlv2_base"):
        resolve_detector("huge")
