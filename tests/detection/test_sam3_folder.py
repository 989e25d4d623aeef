"""SAM 3's folder: found, loaded whole or refused in one line."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam_video.detection.sam3_folder import (
    Sam3Tokenizer,
    find_sam3_folder,
    load_network,
    quiet_transformers,
)
from sam_video.errors import CheckpointError, PromptError, RequestError
from tests.detection.tiny_sam3 import save_sam3

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sam3(tmp_path_factory.mktemp("sam3"))


def test_the_first_folder_that_holds_it_is_taken(tmp_path: Path, folder: Path) -> None:
    assert find_sam3_folder([tmp_path, folder]) == folder


def test_a_missing_folder_fails_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        find_sam3_folder([tmp_path / "a", tmp_path / "b"])
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        f"SAM 3 is not in {tmp_path / 'a'} or {tmp_path / 'b'}",
        "gated",
        "SAM License",
        "https://huggingface.co/facebook/sam3",
        "weights/sam3",
        "SAM_VIDEO_WEIGHTS",
    ):
        assert part in message


def _without_a_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["detector_model.text_projection.weight"]
    save_file(weights, path, {"format": "pt"})


def _without_half(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _without_a_configuration(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without_a_weight, "lacks 1 weights, such as text_projection.weight"),
        (_without_half, "cannot be loaded"),
        (_without_weights, "cannot be loaded"),
        (_without_a_configuration, "cannot be loaded"),
    ],
)
def test_a_folder_that_is_not_whole_fails(
    folder: Path, tmp_path: Path, damage: object, reason: str
) -> None:
    from transformers import Sam3Model

    assert callable(damage)
    copied = shutil.copytree(folder, tmp_path / "copy")
    damage(copied)

    with pytest.raises(CheckpointError) as caught:
        load_network(Sam3Model, copied, CPU)

    assert reason in str(caught.value)
    assert "SAM License" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_tokenizer_fails(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has no tokenizer.json; .*SAM License"):
        Sam3Tokenizer(tmp_path)


def test_a_concept_of_thirty_word_pieces_is_encoded(folder: Path) -> None:
    tokens, mask = Sam3Tokenizer(folder).encode("ball " * 30, CPU)

    assert tokens.shape == mask.shape == (1, 32)
    assert mask.all()


def test_a_longer_concept_fails(folder: Path) -> None:
    tokenizer = Sam3Tokenizer(folder)
    with pytest.raises(PromptError) as caught:
        tokenizer.encode("ball " * 31, CPU)
    assert "of 31 word pieces; expected at most 30" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_missing_package_fails_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        RequestError, match=r"transformers; run `pip install \"sam_video\[text\]\"`"
    ):
        quiet_transformers()
