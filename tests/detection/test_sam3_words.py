"""SAM 3's folder, loaded whole or refused in one line, and concepts in its tokens."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from sam_video.detection.sam3_words import Sam3Tokenizer, load_sam3
from sam_video.errors import CheckpointError, PromptError
from tests.detection.tiny_sam3 import save_sam3

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_sam3(tmp_path_factory.mktemp("sam3"))


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


def _of_another_kind(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"sam3_tracker_video"', '"timm_wrapper"'))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_without_a_weight, "lacks 1 weights of the network, such as text_projection.weight"),
        (_without_half, "cannot be loaded"),
        (_without_weights, "cannot be loaded"),
        (_without_a_configuration, "is not JSON"),
        (_of_another_kind, "tracker_config.model_type is 'timm_wrapper'"),
    ],
)
def test_a_folder_that_is_not_whole_fails(
    folder: Path, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    copied = shutil.copytree(folder, tmp_path / "copy")
    damage(copied)
    with pytest.raises(CheckpointError, match=reason):
        load_sam3(copied, "Sam3Model", CPU)


def test_weights_of_half_the_precision_are_loaded_in_float32(folder: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(folder, tmp_path / "copy")
    weights = {name: w.bfloat16() for name, w in load_file(copied / "model.safetensors").items()}
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    network = load_sam3(copied, "Sam3Model", CPU)
    assert {weights.dtype for weights in network.parameters()} == {torch.float32}


def test_a_folder_without_a_tokenizer_fails(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        Sam3Tokenizer(tmp_path)


def test_a_concept_of_thirty_word_pieces_is_encoded(folder: Path) -> None:
    tokens, mask = Sam3Tokenizer(folder).encode("ball " * 30, CPU)
    assert tokens.shape == mask.shape == (1, 32)
    assert mask.all()


def test_padding_is_told_from_words(folder: Path) -> None:
    _, mask = Sam3Tokenizer(folder).encode("red ball", CPU)
    assert mask[0].tolist() == [1] * 4 + [0] * 28


@pytest.mark.parametrize(
    ("concept", "size"),
    [("ball " * 31, "31 word pieces"), ("", "0 word pieces"), ("ball " * 10**6, "5000000 char")],
    ids=["long", "empty", "huge"],
)
def test_a_concept_of_another_length_fails(folder: Path, concept: str, size: str) -> None:
    with pytest.raises(PromptError) as caught:
        Sam3Tokenizer(folder).encode(concept, CPU)
    assert f"of {size}" in str(caught.value)
    assert "expected 1 to 30 word pieces a concept with sam3" in str(caught.value)
    assert len(str(caught.value)) < 200
