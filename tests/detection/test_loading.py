"""Folders of detectors: what is missing, damaged or hostile is one line, and runs nothing."""

import json
import pickle
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam_video.detection import loading
from sam_video.detection.grounding_dino import GroundingDinoDetector
from sam_video.detection.interface import Detector
from sam_video.detection.loading import load_tokenizer
from sam_video.detection.owlv2 import Owlv2Detector
from sam_video.errors import CheckpointError
from tests.worker_threads import Cancelled, cancelled_when

CPU = torch.device("cpu")


@pytest.fixture
def owlv2(owlv2_folder: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(owlv2_folder, tmp_path / "owlv2"))


@pytest.fixture
def llmdet(llmdet_folder: Path, tmp_path: Path) -> Path:
    """A copy that the test may change."""
    return Path(shutil.copytree(llmdet_folder, tmp_path / "llmdet"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def fault(folder: Path, kind: type[Any] = Owlv2Detector) -> str:
    """Load a folder, which fails, and return the message."""
    with pytest.raises(CheckpointError) as error:
        kind(folder, CPU)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("config.json", "config.json cannot be read: No such file"),
        ("model.safetensors", "cannot be loaded: "),
        ("tokenizer.json", "has no tokenizer; expected one of tokenizer.json, vocab.json"),
    ],
)
def test_a_file_that_is_missing_fails(owlv2: Path, name: str, message: str) -> None:
    (owlv2 / name).unlink()
    assert message in fault(owlv2)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"<html>", b"[1]", b"\xff" * 100])
def test_a_file_that_is_damaged_fails(owlv2: Path, name: str, content: bytes) -> None:
    (owlv2 / name).write_bytes(content)
    assert str(owlv2) in fault(owlv2)


def test_a_configuration_without_end_fails(owlv2: Path) -> None:
    (owlv2 / "config.json").write_bytes(b" " * 2_000_000)
    assert "is not a configuration; expected a short JSON object" in fault(owlv2)


def test_a_folder_of_another_network_fails(llmdet: Path) -> None:
    assert "model_type is 'mm-grounding-dino'; expected owlv2" in fault(llmdet)


@pytest.mark.parametrize("part", ["text_config", "backbone_config"])
def test_a_network_within_that_is_another_one_fails(llmdet: Path, part: str) -> None:
    change_config(llmdet, **{part: {"model_type": "timm_backbone", "backbone": "resnet50"}})
    message = fault(llmdet, GroundingDinoDetector)
    assert f"{part}.model_type is 'timm_backbone'; expected " in message


def test_weights_that_are_missing_fail(owlv2: Path) -> None:
    weights = load_file(owlv2 / "model.safetensors")
    del weights["box_head.dense0.weight"]
    save_file(weights, owlv2 / "model.safetensors", metadata={"format": "pt"})
    assert "lacks 1 weights of the network, such as box_head.dense0.weight" in fault(owlv2)


def test_weights_of_another_size_fail(owlv2: Path) -> None:
    weights = load_file(owlv2 / "model.safetensors")
    weights["box_head.dense0.weight"] = torch.zeros(3, 3)
    save_file(weights, owlv2 / "model.safetensors", metadata={"format": "pt"})
    assert "cannot be loaded: " in fault(owlv2)


def test_weights_that_the_network_does_not_have_are_left(owlv2: Path) -> None:
    weights = load_file(owlv2 / "model.safetensors")
    weights["owlv2.vision_model.embeddings.position_ids"] = torch.arange(65)[None]
    save_file(weights, owlv2 / "model.safetensors", metadata={"format": "pt"})
    Owlv2Detector(owlv2, CPU)


def test_a_tokenizer_may_be_the_files_of_its_vocabulary(owlv2: Path, llmdet: Path) -> None:
    before = [load_tokenizer(owlv2, "CLIPTokenizer"), load_tokenizer(llmdet, "BertTokenizer")]
    clip, bert = (
        json.loads((folder / "tokenizer.json").read_text())["model"] for folder in (owlv2, llmdet)
    )
    for folder in (owlv2, llmdet):
        (folder / "tokenizer.json").unlink()
    (owlv2 / "vocab.json").write_text(json.dumps(clip["vocab"]))
    merges = (" ".join(pair) for pair in clip["merges"])
    (owlv2 / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    (llmdet / "vocab.txt").write_text("\n".join(sorted(bert["vocab"], key=bert["vocab"].get)))
    after = [load_tokenizer(owlv2, "CLIPTokenizer"), load_tokenizer(llmdet, "BertTokenizer")]
    for text in ("Red  ball, q!", "a balloon's", "Ünïcode 12"):
        assert [t(text).input_ids for t in after] == [t(text).input_ids for t in before]


class Bomb:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def test_pickled_weights_are_not_read_fails(owlv2: Path, tmp_path: Path) -> None:
    (owlv2 / "model.safetensors").unlink()
    (owlv2 / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    fault(owlv2)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["owlv2", "llmdet"])
def test_code_that_a_folder_brings_is_not_run(
    kind: str, owlv2: Path, llmdet: Path, tmp_path: Path
) -> None:
    folder = owlv2 if kind == "owlv2" else llmdet
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    change_config(folder, auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Own"})
    path = folder / "tokenizer_config.json"
    named = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **named}))
    (Owlv2Detector if kind == "owlv2" else GroundingDinoDetector)(folder, CPU)
    assert not (tmp_path / "ran").exists()


def test_a_cancellation_is_not_kept_waiting_and_breaks_no_import(
    owlv2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun, may_end, has_ended = (threading.Event() for _ in range(3))

    def load(*_: Any) -> None:
        has_begun.set()
        may_end.wait(10)
        has_ended.set()

    monkeypatch.setattr(loading, "_load", load)
    with pytest.raises(Cancelled), cancelled_when(has_begun.is_set):
        load_tokenizer(owlv2_folder, "CLIPTokenizer")
    assert not has_ended.is_set()
    may_end.set()
    assert has_ended.wait(10)


@pytest.mark.parametrize("kind", ["owlv2", "llmdet"])
def test_nothing_is_asked_of_the_network_and_nothing_is_printed(
    kind: str,
    owlv2_folder: Path,
    llmdet_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a connection")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    detector: Detector
    if kind == "owlv2":
        detector = Owlv2Detector(owlv2_folder, CPU)
    else:
        detector = GroundingDinoDetector(llmdet_folder, CPU)
    detector.check(["red ball"])
    assert capfd.readouterr() == ("", "")
